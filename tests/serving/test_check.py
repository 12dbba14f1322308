"""The check before traffic: a model computes its logged input example, and a difference is a failed load."""

import json
import shutil

import harness
import pytest

from . import python_models, support


@pytest.fixture
def churn(tmp_path):
    """The recorded churn model, which was logged with an example."""
    target = tmp_path / "churn"
    shutil.copytree(support.churn_model(), target)
    target.chmod(0o755)
    for path in target.iterdir():
        path.chmod(0o644)
    return target


def predicted(folder, tmp_path):
    done = harness.run_once(
        ["model", "predict", folder, "--input", folder / "serving_input_example.json", "--data", tmp_path / "data"]
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["predictions"]


def served(folder, *flags):
    with support.serve({"m": folder}, *flags) as running:
        assert running.get("/v2/models/m/ready")[0] == 200
        return running.proc.stderr()


def test_a_stored_output_must_be_met(churn, tmp_path):
    expected = churn / "expected_output.json"
    right = predicted(churn, tmp_path)
    for stored in (right, {"predictions": right}):
        expected.write_text(json.dumps(stored))
        assert "checked" in served(churn, "--check", "strict")
    expected.write_text(json.dumps([right[0] + 1]))
    ended = support.refused(churn)
    assert "expected_output.json" in ended.text
    assert f"row 0: {right[0]} here, {right[0] + 1} expected" in ended.text
    served(churn, "--check", "off")


def test_strict_wants_something_to_compare_with(churn, tmp_path):
    (churn / "requirements.txt").write_text("--config-settings x\n")  # no environment either
    assert "cannot be checked" in support.refused(churn, "--check", "strict", "--data", tmp_path).text
    for name in ("serving_input_example.json", "input_example.json"):
        (churn / name).unlink()
    assert "cannot be checked" in support.refused(churn, "--check", "strict", "--data", tmp_path).text
    served(churn)


def test_an_example_that_cannot_be_computed(churn):
    example = json.loads((churn / "serving_input_example.json").read_text())
    example["dataframe_split"]["data"][0][0] = None  # the model refuses missing values
    (churn / "serving_input_example.json").write_text(json.dumps(example))
    assert "input example cannot be computed" in support.refused(churn).text


def test_the_original_library_is_asked_where_its_environment_is(python_worker, tmp_path):
    import mlflow
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    rows = np.array([[0.0, 1.0], [1.0, 0.5], [3.0, 2.0], [4.0, 0.0]])
    model = LogisticRegression().fit(rows, [0, 0, 1, 1])
    mlflow.sklearn.save_model(
        model,
        tmp_path / "model",
        serialization_format="cloudpickle",
        signature=infer_signature(rows, model.predict(rows)),
        input_example=rows,
        pip_requirements=python_models.requirements(),
    )
    with support.serve({"m": tmp_path / "model"}, "--data", python_worker[0], timeout=90) as running:
        assert running.get("/v2/models/m/ready")[0] == 200
        assert "checked: its input example gives what is expected" in running.proc.stderr()
