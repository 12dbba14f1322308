"""The example of a pipeline, as its README says, on the real table."""

import subprocess
import sys

import harness
import pytest
from mlflow.tracking import MlflowClient

pytestmark = [pytest.mark.binary, pytest.mark.slow]

EXAMPLE = harness.REPO_ROOT / "examples" / "bank_churn_pipeline" / "pipeline.py"
CHURN = harness.shared_dir() / "data" / "churn.csv"


def test_the_example_trains_and_promotes_a_model(millrace):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--host", millrace.gateway_url, "--data", str(CHURN)],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip()]
    assert ["SUCCEEDED", "promote-model"] in lines
    champion = MlflowClient(millrace.tracking_url).get_model_version_by_alias("bank-churn-pipeline", "champion")
    assert champion.version == "1"


def test_it_compiles_and_lints(tmp_path):
    package = tmp_path / "bank_churn.yaml"
    subprocess.run([sys.executable, str(EXAMPLE), "--compile", str(package)], check=True)
    done = subprocess.run(
        [harness.binary_path(), "pipeline", "lint", str(package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
