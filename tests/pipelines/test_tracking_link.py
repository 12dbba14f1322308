"""plugins_input.mlflow: a parent run for the pipeline's run, a nested run for each step, found by the step in its environment."""

import harness
import pytest
from kfp import dsl
from mlflow.tracking import MlflowClient

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401
from pipelines.steps import BUSYBOX


@dsl.component(base_image="python:3.11")
def score(depth: int, metrics: dsl.Output[dsl.Metrics]):
    import os

    print("run", os.environ.get("MLFLOW_RUN_ID"), os.environ["MLFLOW_TRACKING_URI"])
    metrics.log_metric("accuracy", 0.75)


@dsl.container_component
def broken():
    return dsl.ContainerSpec(image=BUSYBOX, command=["false"])


@dsl.pipeline
def scored(depth: int = 3):
    score(depth=depth).set_caching_options(False)


@dsl.pipeline
def failing():
    broken().set_caching_options(False)


@pytest.fixture
def submit(api, tmp_path):
    def run(function, plugin):
        (spec,) = helpers.documents(helpers.compiled(function, tmp_path))
        body = {"display_name": f"linked {function.name}", "pipeline_spec": spec}
        if plugin is not None:
            body["plugins_input"] = {"mlflow": plugin}
        status, made = api.call("POST", "/runs", body)
        assert status == 200, made
        return helpers.Run(api, made["run_id"]).wait(60)

    return run


@pytest.fixture
def client(millrace):
    return MlflowClient(tracking_uri=millrace.tracking_url)


def test_parent_and_nested_runs(submit, client):
    run = submit(scored, {"experiment_name": "linked pipelines"})
    assert run.state == "SUCCEEDED", run.describe()
    output = run.api["plugins_output"]["mlflow"]
    assert output["state"] == "PLUGIN_SUCCEEDED"
    entries = {k: v["value"] for k, v in output["entries"].items()}
    assert entries["experiment_name"] == "linked pipelines"
    assert output["entries"]["run_url"]["render_type"] == "URL"
    parent = client.get_run(entries["root_run_id"])
    assert parent.info.experiment_id == entries["experiment_id"]
    assert parent.info.run_name == "linked scored"
    assert parent.data.tags["kfp.pipeline_run_id"] == run.id
    # The parent's end follows the run's own.
    harness.until(lambda: client.get_run(entries["root_run_id"]).info.status == "FINISHED", "the parent run is over")
    (nested,) = client.search_runs([entries["experiment_id"]], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert nested.info.run_name == "score" and nested.info.status == "FINISHED"
    assert nested.data.metrics == {"accuracy": 0.75}
    assert nested.data.params == {"depth": "3"}
    assert f"run {nested.info.run_id} http://mlflow.kubeflow.svc.cluster.local:5000" in run.log("score")


def test_a_failed_run_is_failed_there_too(submit, client):
    run = submit(failing, {"experiment_name": "linked pipelines"})
    assert run.state == "FAILED"
    root = run.api["plugins_output"]["mlflow"]["entries"]["root_run_id"]["value"]
    harness.until(lambda: client.get_run(root).info.status == "FAILED", "the parent run is over")


def test_without_the_plugin_only_the_address_is_given(submit):
    for plugin in (None, {"disabled": True}):
        run = submit(scored, plugin)
        assert run.state == "SUCCEEDED", run.describe()
        assert "plugins_output" not in run.api
        assert "run None http://mlflow.kubeflow.svc.cluster.local:5000" in run.log("score")


def test_trouble_there_is_told_and_stops_nothing(submit):
    run = submit(scored, {"experiment_id": "987654321"})
    assert run.state == "SUCCEEDED", run.describe()
    output = run.api["plugins_output"]["mlflow"]
    assert output["state"] == "PLUGIN_FAILED"
    assert "987654321" in output["state_message"]
