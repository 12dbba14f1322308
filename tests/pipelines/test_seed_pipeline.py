"""The seed's pipeline, compiled as it is: data from S3, four steps with the cluster's addresses, a model that is served."""

import json
import urllib.request

import boto3
import harness
import mlflow
import pytest
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401
from serving.isvc import Services, manifest, v2_request

pytestmark = [pytest.mark.binary, pytest.mark.slow]

PIPELINE = harness.shared_dir() / "data" / "bank_churn_pipeline.yaml"
CHURN = harness.shared_dir() / "data" / "churn.csv"
STEPS = {"preprocess-data", "train-model", "evaluate-model", "log-to-mlflow"}


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def finished(millrace, tmp_path_factory):
    """The run, submitted as the seed does, from a place with a token as a PodDefault of Kubeflow gives it."""
    import kfp

    boto3.client(
        "s3", endpoint_url=millrace.s3_url, aws_access_key_id="minio", aws_secret_access_key="minio123",
        region_name="us-east-1",
    ).upload_file(str(CHURN), "mlflow-artifacts", "churn.csv")  # fmt: skip
    token = tmp_path_factory.mktemp("secrets") / "token"
    token.write_text("a.service.account")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
        client = kfp.Client(host=millrace.gateway_url)
        run = client.create_run_from_pipeline_package(str(PIPELINE), arguments={}, namespace="kubeflow")
    url = f"{millrace.gateway_url}/apis/v2beta1/runs/{run.run_id}"
    # The first run makes the steps' environments out of the packages that the pipeline pins.
    return harness.until(
        lambda: (r := get(url))["state"] in ("SUCCEEDED", "FAILED", "CANCELED") and r, "the run is over", seconds=400
    )


def test_every_step_succeeds(finished):
    tasks = {t["display_name"]: t for t in finished["run_details"]["task_details"]}
    assert finished["state"] == "SUCCEEDED", json.dumps(finished.get("error")) + json.dumps(tasks)[:4000]
    assert set(tasks) >= STEPS
    assert {tasks[s]["state"] for s in STEPS} == {"SUCCEEDED"}
    begun = {s: tasks[s]["start_time"] for s in STEPS}
    assert begun["preprocess-data"] <= begun["train-model"] <= begun["evaluate-model"] <= begun["log-to-mlflow"]


def test_tracking_has_what_the_steps_logged(finished, millrace):
    mlflow.set_tracking_uri(millrace.tracking_url)
    runs = mlflow.search_runs(experiment_names=["bank-churn-prediction2"], output_format="list")
    scores = [r.data.metrics for r in runs if r.data.metrics]
    assert scores and 0.75 < scores[0]["accuracy"] < 0.9
    assert {r.data.params.get("max_iter") for r in runs} == {"1000"}


def test_a_step_s_log_is_kept(finished, millrace):
    task = next(t for t in finished["run_details"]["task_details"] if t["display_name"] == "train-model")
    url = f"{millrace.gateway_url}/apis/v1alpha1/runs/{finished['run_id']}/nodes/{task['task_id']}/log"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    assert 'Loading KFP component "train_model"' in text


def test_the_model_is_served(finished, millrace, kubectl):
    runs = mlflow.search_runs(experiment_names=["bank-churn-prediction2"], output_format="list")
    (trained,) = [r for r in runs if not r.data.metrics]
    isvc = Services(kubectl, millrace.gateway_url)
    isvc.apply(
        manifest("churn", trained.info.artifact_uri.replace("mlflow-artifacts:", "s3://mlflow-artifacts") + "/model")
    )
    isvc.ready("churn")
    status, answer = isvc.post(f"/serving/{isvc.ns}/churn/v2/models/churn/infer", v2_request())
    assert status == 200, answer
    assert answer["outputs"][0]["data"][0] in (0, 1)
