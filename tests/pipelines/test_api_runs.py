"""Runs through the SDK: what is submitted, shown, archived and deleted; lists with filters and pages."""

import base64
import json
import urllib.parse

import harness
import pytest
from kfp import dsl

from pipelines.api_parts import (  # noqa: F401
    demanding,
    experiment,
    finished,
    greeting,
    named,
    only_version,
    package,
    pipeline,
    refused,
    where,
)
from pipelines.runs import api, compiled, documents, processes  # noqa: F401
from pipelines.steps import BUSYBOX


@pytest.fixture
def submit(kfp_client, experiment):
    def run(name="run", function=greeting, **arguments):
        return kfp_client.create_run_from_pipeline_func(
            function, arguments=arguments, experiment_id=experiment.experiment_id, run_name=name
        )

    return run


def test_a_run_from_a_function(kfp_client, submit, experiment):
    made = submit("first", text="good morning")
    run = finished(kfp_client, made)
    assert run.state == "SUCCEEDED"
    assert run.experiment_id == experiment.experiment_id
    assert run.runtime_config.parameters == {"text": "good morning"}
    assert run.pipeline_spec["pipelineInfo"]["name"] == "greeting"
    assert run.finished_at.year > 2000 and run.created_at <= run.finished_at
    assert [s.state for s in run.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
    root, task = run.run_details.task_details
    assert (root.display_name, task.display_name) == ("root", "say")
    assert task.parent_task_id == root.task_id
    assert [c.task_id for c in root.child_tasks] == [task.task_id]
    assert (task.state, task.run_id) == ("SUCCEEDED", run.run_id)
    assert task.pod_name == task.executor_detail.main_job
    shown = kfp_client.get_experiment(experiment_id=experiment.experiment_id)
    assert shown.last_run_created_at == run.created_at


def test_a_run_without_an_experiment_is_in_the_default_one(kfp_client):
    run = kfp_client.create_run_from_pipeline_func(greeting, arguments={}, namespace="kubeflow")
    shown = kfp_client.get_run(run.run_id)
    assert kfp_client.get_experiment(experiment_id=shown.experiment_id).display_name == "Default"


def test_a_run_of_a_version(kfp_client, experiment, pipeline, package, api):
    version = only_version(kfp_client, pipeline)
    run = kfp_client.run_pipeline(
        experiment.experiment_id,
        "versioned",
        params={"text": "hi"},
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    reference = run.pipeline_version_reference
    assert (reference.pipeline_id, reference.pipeline_version_id) == (
        pipeline.pipeline_id,
        version.pipeline_version_id,
    )
    newer = kfp_client.upload_pipeline_version(str(package), named("v"), pipeline_id=pipeline.pipeline_id)
    body = {"display_name": "latest", "pipeline_version_reference": {"pipeline_id": pipeline.pipeline_id}}
    status, latest = api.call("POST", "/runs", body)
    assert status == 200, latest
    assert latest["pipeline_version_reference"]["pipeline_version_id"] == newer.pipeline_version_id


def test_what_is_refused_at_submission(api, tmp_path, experiment):
    spec, *_ = documents(compiled(demanding, tmp_path))
    for parameters in ({}, {"text": "a", "more": 1}, {"text": "a", "times": "many"}):
        status, error = api.create_run(spec, parameters)
        assert (status, error["code"]) == (400, 3), (parameters, error)
    assert api.create_run(spec, {"text": "a"}, name="")[0] == 400
    body = {"display_name": "r", "pipeline_spec": spec, "runtime_config": {"parameters": {"text": "a"}}}
    assert api.call("POST", "/runs", {**body, "experiment_id": "none"})[0] == 404
    assert api.call("POST", "/runs", {**body, "colour": "red"})[0] == 400
    assert api.call("POST", "/runs", {**body, "plugins_output": {}})[0] == 409
    both = {**body, "pipeline_version_reference": {"pipeline_id": "p"}}
    assert "oneof" in api.call("POST", "/runs", both)[1]["message"]
    assert api.call("POST", "/runs", {"display_name": "r"})[0] == 400
    status, error = api.call("GET", "/runs/none")
    assert (status, error["details"][0]["message"]) == (404, "Run none not found")
    assert api.call("GET", "/nothing")[0] == 404


def test_states_bind_what_can_be_done(kfp_client, submit, api):
    run = submit("over")
    assert finished(kfp_client, run).state == "SUCCEEDED"
    for verb in ("terminate", "retry"):
        status, error = api.call("POST", f"/runs/{run.run_id}:{verb}")
        assert (status, error["code"]) == (400, 3 if verb == "terminate" else 9), error
    kfp_client.archive_run(run.run_id)
    assert kfp_client.get_run(run.run_id).storage_state == "ARCHIVED"
    kfp_client.unarchive_run(run.run_id)
    assert kfp_client.get_run(run.run_id).storage_state == "AVAILABLE"
    kfp_client.delete_run(run.run_id)
    refused(404, kfp_client.get_run, run.run_id)
    for verb in ("terminate", "retry", "archive", "unarchive"):
        assert api.call("POST", f"/runs/{run.run_id}:{verb}")[0] == 404


def test_deleting_a_run_ends_it(kfp_client, submit):
    @dsl.container_component
    def hang():
        return dsl.ContainerSpec(image=BUSYBOX, command=["sleep", "4127"])

    @dsl.pipeline(name="hanging")
    def hanging():
        hang().set_caching_options(False)

    run = submit("hangs", hanging)
    harness.until(lambda: processes("sleep 4127"), "the step runs", 30)
    kfp_client.delete_run(run.run_id)
    refused(404, kfp_client.get_run, run.run_id)
    harness.until(lambda: not processes("sleep 4127"), "the step is gone", 30)


def test_pages_stay_right_while_runs_are_made(kfp_client, submit, experiment):
    first = [submit(f"r{i}").run_id for i in range(5)]
    seen, token = [], ""
    for i in range(10):
        page = kfp_client.list_runs(
            experiment_id=experiment.experiment_id, page_size=2, sort_by="created_at desc", page_token=token
        )
        assert page.total_size == 5 + i
        seen += [r.run_id for r in page.runs]
        token = page.next_page_token
        if not token:
            break
        submit(f"later-{i}")
    assert sorted(seen) == sorted(first)
    assert len(seen) == 5


def test_a_token_belongs_to_its_list(kfp_client, submit, experiment):
    for i in range(3):
        submit(f"r{i}")
    same = {"experiment_id": experiment.experiment_id, "page_size": 1}
    token = kfp_client.list_runs(sort_by="name", **same).next_page_token
    assert kfp_client.list_runs(page_token=token, sort_by="name", **same).runs[0].display_name == "r1"
    assert kfp_client.list_runs(page_token=token, **same).runs[0].display_name == "r1"
    refused(400, kfp_client.list_runs, page_token=token, sort_by="name desc", **same)
    refused(400, kfp_client.list_runs, page_token=token, filter=where("name", 1, string_value="r1"), **same)
    refused(400, kfp_client.list_runs, page_token="nonsense", **same)


def test_filters_of_runs(kfp_client, submit, experiment, api):
    runs = {name: submit(name) for name in ("alpha", "beta", "gamma")}
    for run in runs.values():
        finished(kfp_client, run)
    kfp_client.archive_run(runs["gamma"].run_id)

    def found(text):
        page = kfp_client.list_runs(experiment_id=experiment.experiment_id, sort_by="name", filter=text)
        names = [r.display_name for r in page.runs or []]
        assert (page.total_size or 0) == len(names)
        return names

    assert found(where("display_name", "EQUALS", string_value="beta")) == ["beta"]
    assert found(where("display_name", 2, stringValue="beta")) == ["alpha", "gamma"]
    assert found(where("name", "IN", string_values={"values": ["alpha", "gamma", "delta"]})) == ["alpha", "gamma"]
    assert found(where("display_name", "IS_SUBSTRING", string_value="AMM")) == ["gamma"]
    assert found(where("state", "EQUALS", string_value="SUCCEEDED")) == ["alpha", "beta", "gamma"]
    assert found(where("storage_state", "NOT_EQUALS", string_value="ARCHIVED")) == ["alpha", "beta"]
    assert found(where("created_at", "LESS_THAN", timestamp_value="2020-01-01T00:00:00Z")) == []
    assert found(where("created_at", "GREATER_THAN", timestamp_value="2020-01-01T00:00:00Z")) == sorted(runs)
    either = {
        "predicates": [{"operation": "EQUALS", "key": "storage_state", "string_value": "AVAILABLE"}],
        "any_of": [
            {
                "predicates": [
                    {"operation": "EQUALS", "key": "name", "string_value": "alpha"},
                    {"operation": "EQUALS", "key": "name", "string_value": "gamma"},
                ]
            }
        ],
    }
    assert found(json.dumps(either)) == ["alpha"]
    twice = urllib.parse.quote(where("name", "EQUALS", string_value="beta"))
    assert found(twice) == ["beta"]
    for bad in (
        "nonsense",
        where("colour", "EQUALS", string_value="x"),
        where("name", "IN", string_value="x"),
        where("name", "EQUALS", string_values={"values": ["x"]}),
        where("name", 4, string_value="x"),
        where("created_at", "EQUALS", string_value="x"),
    ):
        refused(400, kfp_client.list_runs, filter=bad)
    refused(400, kfp_client.list_runs, sort_by="colour")
    refused(400, kfp_client.list_runs, sort_by="name up")
    assert api.call("GET", "/runs?page_size=-1")[0] == 400
    assert api.call("GET", "/runs?page_size=&sort_by=&filter=&page_token=&namespace=")[0] == 200
    refused(404, kfp_client.list_runs, experiment_id="none")


def test_the_bytes_of_an_artifact(submit, api, kfp_client):
    @dsl.container_component
    def write(data: dsl.Output[dsl.Artifact]):
        return dsl.ContainerSpec(
            image=BUSYBOX, command=["sh", "-c", 'mkdir -p "$(dirname "$0")"; seq 100000 > "$0"', data.path]
        )

    @dsl.pipeline(name="writing")
    def writing():
        write()

    run = finished(kfp_client, submit("writes", writing))
    assert run.state == "SUCCEEDED"
    _, task = run.run_details.task_details
    (artifact,) = task.outputs["data"].artifact_ids
    assert api.get(f"/artifacts/{artifact}")["uri"].endswith("/data")
    answer = api.get(f"/runs/{run.run_id}/nodes/{task.task_id}/artifacts/data:read")
    assert base64.b64decode(answer["data"]) == b"".join(b"%d\n" % i for i in range(1, 100001))
    status, error = api.call("GET", f"/runs/{run.run_id}/nodes/{task.task_id}/artifacts/other:read")
    assert status == 404 and "other" in error["error_message"]
    of_run = api.get(f"/artifacts?run_id={run.run_id}")
    assert [a["artifact_id"] for a in of_run["artifacts"]] == [artifact]
    (use,) = api.get(f"/artifact_tasks?artifact_id={artifact}")["artifact_tasks"]
    assert (use["type"], use["producer_task_name"], use["task_id"]) == ("OUTPUT", "write", task.task_id)
