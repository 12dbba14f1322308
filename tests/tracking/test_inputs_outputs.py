"""Datasets and models that go into runs, models that come out."""

import json

import pytest

from .api import NO_RUN, missing, pair, pairs, wrong_type

BAD = (400, "INVALID_PARAMETER_VALUE")
GONE = (404, "RESOURCE_DOES_NOT_EXIST")
DATASET = {"name": "ds", "digest": "dg", "source_type": "http", "source": '{"url": 1}', "schema": "sc", "profile": "pr"}


def inputs(api, run):
    return api.run(run)["inputs"].get("dataset_inputs", [])


def test_a_dataset(api, run):
    tags = [pair("mlflow.data.context", "training"), pair("z", "y")]
    assert api.post("/runs/log-inputs", run_id=run, datasets=[{"tags": tags, "dataset": DATASET}]) == {}
    assert inputs(api, run) == [{"tags": tags, "dataset": DATASET}]


def test_schema_and_profile_may_be_left_out(api, run):
    small = {k: DATASET[k] for k in ("name", "digest", "source_type", "source")}
    api.post("/runs/log-inputs", run_id=run, datasets=[{"dataset": small}])
    assert inputs(api, run) == [{"dataset": small}]


def test_the_same_dataset_again_changes_nothing(api, run):
    for context in ("training", "eval"):
        api.post(
            "/runs/log-inputs",
            run_id=run,
            datasets=[{"tags": [pair("mlflow.data.context", context)], "dataset": DATASET}],
        )
    assert inputs(api, run) == [{"tags": [pair("mlflow.data.context", "training")], "dataset": DATASET}]


def test_several_datasets_and_two_runs_that_share_one(api, experiment, run):
    other = {**DATASET, "digest": "d2"}
    api.post("/runs/log-inputs", run_id=run, datasets=[{"dataset": DATASET}, {"dataset": other}])
    second = api.new_run(experiment)
    api.post("/runs/log-inputs", run_id=second, datasets=[{"dataset": DATASET, "tags": pairs(a="b")}])
    assert [i["dataset"]["digest"] for i in inputs(api, run)] == ["dg", "d2"]
    assert inputs(api, second) == [{"dataset": DATASET, "tags": pairs(a="b")}]


def test_models_in_and_out(api, experiment, run):
    source, made = (api.new_logged_model(experiment, name=n) for n in ("source", "made"))
    assert api.post("/runs/log-inputs", run_id=run, models=[{"model_id": source}]) == {}
    assert api.post("/runs/outputs", run_id=run, models=[{"model_id": made, "step": 3}]) == {}
    stored = api.run(run)
    assert stored["inputs"] == {"model_inputs": [{"model_id": source}]}
    assert stored["outputs"] == {"model_outputs": [{"model_id": made, "step": 3}]}
    found = api.post("/runs/search", experiment_ids=[experiment])["runs"]
    assert [(r["info"], r["data"], r["outputs"]) for r in found] == [
        (stored["info"], stored["data"], stored["outputs"])
    ]


def test_nothing_to_log(api, run):
    assert api.post("/runs/log-inputs", run_id=run) == {}
    assert api.run(run)["inputs"] == {}
    assert api.run(run)["outputs"] == {}


def test_refusals(api, run):
    api.fail("POST", "/runs/log-inputs", *BAD, missing("run_id"), datasets=[])
    api.fail(
        "POST",
        "/runs/log-inputs",
        *GONE,
        f"Run with id={NO_RUN} not found",
        run_id=NO_RUN,
        datasets=[{"dataset": DATASET}],
    )
    api.fail("POST", "/runs/log-inputs", *BAD, wrong_type('"x"', "datasets", "str"), run_id=run, datasets="x")
    api.fail("POST", "/runs/outputs", *BAD, missing("models"), run_id=run)
    api.fail("POST", "/runs/outputs", *BAD, missing("run_id"), models=[{"model_id": "m-1"}])
    api.fail(
        "POST", "/runs/outputs", *GONE, f"Run with id={NO_RUN} not found", run_id=NO_RUN, models=[{"model_id": "m-1"}]
    )


@pytest.mark.parametrize("field, limit", [("name", 500), ("digest", 36), ("schema", 1048575), ("source", 65535)])
def test_dataset_limits(api, run, field, limit):
    api.fail(
        "POST",
        "/runs/log-inputs",
        *BAD,
        f"'{field}' exceeds the maximum length of {limit} characters",
        run_id=run,
        datasets=[{"dataset": {**DATASET, field: "x" * (limit + 1)}}],
    )
    assert inputs(api, run) == []
    longest = {**DATASET, "digest": run, field: "x" * limit}
    api.post("/runs/log-inputs", run_id=run, datasets=[{"dataset": longest}])
    assert inputs(api, run)[0]["dataset"] == longest


def test_dataset_tag_limits(api, run):
    for tag, text in (
        (pair("k" * 256, "v"), "'key' exceeds the maximum length of 255 characters"),
        (pair("k", "v" * 501), "'value' exceeds the maximum length of 500 characters"),
    ):
        api.fail("POST", "/runs/log-inputs", *BAD, text, run_id=run, datasets=[{"dataset": DATASET, "tags": [tag]}])


def test_a_deleted_run_takes_neither(api, run):
    api.post("/runs/delete", run_id=run)
    text = f"The run {run} must be in the 'active' state. Current state is deleted."
    api.fail("POST", "/runs/log-inputs", *BAD, text, run_id=run, datasets=[{"dataset": DATASET}])
    api.fail("POST", "/runs/outputs", *BAD, text, run_id=run, models=[{"model_id": "m-1", "step": 0}])


# The older way to tell a run of its model: a JSON document in a tag.


def test_log_model(api, run):
    first = {"artifact_path": "model", "flavors": {"x": {}}, "utc_time_created": "t", "run_id": run}
    second = {**first, "artifact_path": "other"}
    for document in (first, second):
        assert api.post("/runs/log-model", run_id=run, model_json=json.dumps(document)) == {}
    history = json.loads(api.data(run)[1]["mlflow.log-model.history"])
    # Other fields of a model may be there, without value.
    assert [{k: v for k, v in entry.items() if v is not None} for entry in history] == [first, second]


def test_log_model_refusals(api, run):
    text = api.fail("POST", "/runs/log-model", *BAD, run_id=run, model_json="{}")
    assert text.startswith("Model json is missing mandatory fields: {")
    text = api.fail("POST", "/runs/log-model", *BAD, run_id=run, model_json="x")
    assert text.startswith("Malformed model info.") and text.endswith("is not a valid JSON.")
    api.fail("POST", "/runs/log-model", *BAD, missing("model_json"), run_id=run)
    api.fail("POST", "/runs/log-model", *BAD, missing("run_id"), model_json="{}")
