"""Runs: create, names, status, tags, params, single metrics, delete and restore."""

import json
import re

import pytest

from .api import NO_RUN, as_dict, metric, missing, pair, pairs, unique, wrong_type

BAD = (400, "INVALID_PARAMETER_VALUE")
GONE = (404, "RESOURCE_DOES_NOT_EXIST")


def test_create_answers_the_whole_run(api, experiment):
    run = api.post(
        "/runs/create",
        experiment_id=experiment,
        run_name="first",
        user_id="ann",
        start_time=1234567890123,
        tags=[pair("k", "v"), pair("mlflow.source.type", "LOCAL")],
    )["run"]
    info = run["info"]
    run_id = info["run_id"]
    assert re.fullmatch("[0-9a-f]{32}", run_id)
    assert info == {
        "run_id": run_id,
        "run_uuid": run_id,
        "experiment_id": experiment,
        "run_name": "first",
        "user_id": "ann",
        "status": "RUNNING",
        "start_time": 1234567890123,
        "artifact_uri": f"mlflow-artifacts:/{experiment}/{run_id}/artifacts",
        "lifecycle_stage": "active",
    }
    assert as_dict(run["data"]["tags"]) == {"k": "v", "mlflow.source.type": "LOCAL", "mlflow.runName": "first"}
    assert run["inputs"] == {}
    assert api.run(run_id) == {**run, "outputs": {}}


def test_create_with_nothing_but_the_experiment(api, experiment):
    info = api.post("/runs/create", experiment_id=experiment)["run"]["info"]
    # Stored as empty text and zero, hence printed; the end is not known, hence absent.
    assert (info["user_id"], info["start_time"]) == ("", 0)
    assert "end_time" not in info


def test_get_takes_the_old_name_of_the_id(api, run):
    assert api.get("/runs/get", run_uuid=run) == api.get("/runs/get", run_id=run)


def test_the_new_name_of_the_id_wins(api, run):
    api.post("/runs/set-tag", run_id=run, run_uuid=NO_RUN, key="k", value="v")
    api.post("/runs/set-tag", run_uuid=run, key="k2", value="v2")
    _, tags, _ = api.data(run)
    assert (tags["k"], tags["k2"]) == ("v", "v2")


def test_camel_case_names_in_a_body(api, experiment):
    info = api.post("/runs/create", experimentId=experiment, runName="camel", startTime=7)["run"]["info"]
    assert (info["experiment_id"], info["run_name"], info["start_time"]) == (experiment, "camel", 7)


def test_create_refusals(api, experiment):
    create = "/runs/create"
    api.fail("POST", create, *GONE, "No Experiment with id=99999999 exists", experiment_id="99999999")
    api.fail(
        "POST", create, *BAD, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.", experiment_id="abc"
    )
    api.fail("POST", create, *BAD, wrong_type("7", "experiment_id", "int"), experiment_id=7)
    api.fail("POST", create, *BAD, wrong_type('"x"', "start_time", "str"), experiment_id=experiment, start_time="x")


def test_create_without_experiment_is_refused(api):
    assert api.call("POST", "/runs/create", body={}).status_code == 400


def test_create_with_one_tag_twice_is_refused(api, experiment):
    answer = api.call(
        "POST", "/runs/create", body={"experiment_id": experiment, "tags": [pair("a", "1"), pair("a", "2")]}
    )
    assert answer.status_code == 400
    assert api.post("/runs/search", experiment_ids=[experiment]) == {}


# Names of runs: public case 14.


@pytest.mark.parametrize("fields", [{}, {"run_name": ""}])
def test_a_run_without_a_name_gets_one(api, experiment, fields):
    run = api.post("/runs/create", experiment_id=experiment, **fields)["run"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", run["info"]["run_name"])
    assert as_dict(run["data"]["tags"])["mlflow.runName"] == run["info"]["run_name"]


def test_the_tag_names_the_run_too(api, experiment):
    info = api.post("/runs/create", experiment_id=experiment, tags=[pair("mlflow.runName", "t")])["run"]["info"]
    assert info["run_name"] == "t"
    both = api.post("/runs/create", experiment_id=experiment, run_name="s", tags=[pair("mlflow.runName", "s")])
    assert both["run"]["info"]["run_name"] == "s"


def test_two_different_names_are_refused(api, experiment):
    api.fail(
        "POST",
        "/runs/create",
        *BAD,
        "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
        "(run_name='a', mlflow.runName='b').",
        experiment_id=experiment,
        run_name="a",
        tags=[pair("mlflow.runName", "b")],
    )


def test_an_update_renames_in_both_places(api, run):
    info = api.post("/runs/update", run_id=run, run_name="neu ñ")["run_info"]
    assert info["run_name"] == "neu ñ"
    assert api.run(run)["info"]["run_name"] == "neu ñ"
    assert api.data(run)[1]["mlflow.runName"] == "neu ñ"


def test_an_empty_new_name_changes_nothing(api, experiment):
    run = api.new_run(experiment, run_name="keep")
    assert api.post("/runs/update", run_id=run, run_name="")["run_info"]["run_name"] == "keep"
    api.post("/runs/set-tag", run_id=run, key="mlflow.runName", value="")
    assert api.run(run)["info"]["run_name"] == "keep"
    assert api.data(run)[1]["mlflow.runName"] == "keep"


def test_the_name_follows_the_tag(api, run):
    api.post("/runs/set-tag", run_id=run, key="mlflow.runName", value="by tag")
    assert api.run(run)["info"]["run_name"] == "by tag"
    api.post("/runs/delete-tag", run_id=run, key="mlflow.runName")
    assert api.run(run)["info"]["run_name"] == "by tag"
    assert "mlflow.runName" not in api.data(run)[1]


# Status and times.


def test_update_sets_only_what_is_given(api, experiment):
    run = api.new_run(experiment, run_name="n", start_time=5)
    info = api.post("/runs/update", run_id=run, status="FINISHED", end_time=99)["run_info"]
    assert (info["status"], info["end_time"], info["start_time"], info["run_name"]) == ("FINISHED", 99, 5, "n")
    info = api.post("/runs/update", run_id=run)["run_info"]
    assert (info["status"], info["end_time"]) == ("FINISHED", 99)
    assert api.run(run)["info"] == info


@pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"])
def test_every_status(api, run, status):
    assert api.post("/runs/update", run_id=run, status=status)["run_info"]["status"] == status


def test_unknown_status_is_ignored(api, run):
    assert api.post("/runs/update", run_id=run, status="NOPE")["run_info"]["status"] == "RUNNING"


def test_status_by_number(api, run):
    assert api.post("/runs/update", run_id=run, status=4)["run_info"]["status"] == "FAILED"


def test_update_refusals(api, run):
    api.fail("POST", "/runs/update", *GONE, f"Run with id={NO_RUN} not found", run_id=NO_RUN, status="FINISHED")
    api.fail("POST", "/runs/update", *BAD, missing("run_id"), status="FINISHED")
    api.fail("POST", "/runs/update", *BAD, wrong_type('"x"', "end_time", "str"), run_id=run, end_time="x")


# Times in other units and types: public case 16.


@pytest.mark.parametrize(
    "value, stored",
    [
        (1700000000, 1700000000),
        (1700000000000, 1700000000000),
        (1700000000000000, 1700000000000000),
        ("1700000000000", 1700000000000),
        (2**63 - 1, 2**63 - 1),
        (0, 0),
    ],
)
def test_times_are_stored_as_given(api, experiment, run, value, stored):
    api.post("/runs/log-metric", run_id=run, key="m", value=1, timestamp=value)
    assert api.history(run, "m") == [(0, stored, 1.0)]
    other = api.new_run(experiment, start_time=value)
    assert api.run(other)["info"]["start_time"] == stored


def test_negative_metric_time_is_refused(api, run):
    api.fail(
        "POST",
        "/runs/log-metric",
        *BAD,
        "Invalid value -5 for parameter 'timestamp' supplied: metric 'm' (value=1.0). "
        "Timestamp must be a nonnegative long (64-bit integer) ",
        run_id=run,
        key="m",
        value=1,
        timestamp=-5,
    )


@pytest.mark.fix
@pytest.mark.parametrize("value", [1700000000.5, "1700000000.5", 1.5])
def test_a_fraction_of_a_time_is_refused_or_rounded_but_never_zeroed(api, experiment, value):
    answer = api.call("POST", "/runs/create", body={"experiment_id": experiment, "start_time": value})
    if answer.status_code == 200:
        assert abs(answer.json()["run"]["info"]["start_time"] - float(value)) <= 1
    else:
        assert answer.status_code == 400
        assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    run = api.new_run(experiment)
    answer = api.call("POST", "/runs/log-metric", body={"run_id": run, **metric("m", timestamp=value)})
    if answer.status_code == 200:
        assert abs(api.history(run, "m")[0][1] - float(value)) <= 1
    else:
        assert answer.status_code == 400


@pytest.mark.fix
@pytest.mark.parametrize("value", [2**63, str(2**63), 1e30])
def test_a_time_beyond_64_bits_is_refused(api, experiment, run, value):
    api.fail("POST", "/runs/log-metric", *BAD, run_id=run, key="m", value=1, timestamp=value)
    api.fail("POST", "/runs/create", *BAD, experiment_id=experiment, start_time=value)
    assert api.history(run, "m") == []


# Tags.


def test_tags_are_set_changed_and_removed(api, run):
    assert api.post("/runs/set-tag", run_id=run, key="k", value="1") == {}
    api.post("/runs/set-tag", run_id=run, key="k", value="2")
    api.post("/runs/set-tag", run_id=run, key="empty")
    assert {"k": "2", "empty": ""}.items() <= api.data(run)[1].items()
    assert api.post("/runs/delete-tag", run_id=run, key="k") == {}
    assert "k" not in api.data(run)[1]


def test_tag_refusals(api, run):
    api.fail("POST", "/runs/set-tag", *BAD, missing("key"), run_id=run, value="v")
    api.fail("POST", "/runs/set-tag", *BAD, missing("run_id"), key="k", value="v")
    api.fail("POST", "/runs/set-tag", *BAD, wrong_type("5", "value", "int"), run_id=run, key="k", value=5)
    api.fail("POST", "/runs/delete-tag", *GONE, f"No tag with name: nope in run with id {run}", run_id=run, key="nope")
    api.fail("POST", "/runs/delete-tag", *BAD, missing("key"), run_id=run)
    api.fail("POST", "/runs/delete-tag", *GONE, f"Run with id={NO_RUN} not found", run_id=NO_RUN, key="k")


CHARSET = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) "
    "and slashes (/)."
)
PATHLIKE = (
    "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. "
    "This name would resolve to '{}'"
)


@pytest.mark.parametrize(
    "key, text",
    [
        ("b$", CHARSET),
        ("a;b", CHARSET),
        ("a\nb", CHARSET),
        ("a\\b", CHARSET),
        ("🙂", CHARSET),
        ("a/../b", PATHLIKE.format("b")),
        ("/a", PATHLIKE.format("/a")),
        (".", PATHLIKE.format(".")),
        ("..", PATHLIKE.format("..")),
        ("a//b", PATHLIKE.format("a/b")),
        ("a/", PATHLIKE.format("a")),
        ("./a", PATHLIKE.format("a")),
    ],
)
def test_key_rules(api, run, key, text):
    shown = json.dumps(key)
    for path, more in (
        ("/runs/set-tag", {"value": "v"}),
        ("/runs/log-parameter", {"value": "v"}),
    ):
        api.fail(
            "POST",
            path,
            *BAD,
            f"Invalid value {shown} for parameter 'key' supplied: {text}",
            run_id=run,
            key=key,
            **more,
        )
    api.fail("POST", "/runs/log-metric", *BAD, re.compile(re.escape(text)), run_id=run, **metric(key))


@pytest.mark.parametrize("key", ["a b", "a.b-c/d_e:f", "ünï", "日本", "1st", "a..b", ".hidden", "x" * 250])
def test_keys_that_pass(api, run, key):
    api.post("/runs/set-tag", run_id=run, key=key, value="t")
    api.post("/runs/log-parameter", run_id=run, key=key, value="p")
    api.post("/runs/log-metric", run_id=run, **metric(key, 2.5))
    params, tags, metrics = api.data(run)
    assert (params[key], tags[key], metrics[key]) == ("p", "t", 2.5)


# Params: public case 2.


def test_a_param_never_changes(api, run):
    for _ in range(2):
        assert api.post("/runs/log-parameter", run_id=run, key="p", value="1") == {}
    api.fail(
        "POST",
        "/runs/log-parameter",
        *BAD,
        "Changing param values is not allowed. Param with key='p' was already logged with value='1' "
        f"for run ID='{run}'. Attempted logging new value '2'.",
        run_id=run,
        key="p",
        value="2",
    )
    assert api.data(run)[0] == {"p": "1"}


def test_a_param_without_value_is_empty(api, run):
    api.post("/runs/log-parameter", run_id=run, key="q")
    assert api.data(run)[0] == {"q": ""}


@pytest.mark.parametrize("value", ["it's", 'say "hi"', "ünï 🙂", "a\nb\tc", " ", '{"json": [1]}', "\\"])
def test_param_and_tag_values_come_back_as_sent(api, run, value):
    api.post("/runs/log-parameter", run_id=run, key="p", value=value)
    api.post("/runs/set-tag", run_id=run, key="t", value=value)
    params, tags, _ = api.data(run)
    assert (params["p"], tags["t"]) == (value, value)


def test_param_refusals(api, run):
    api.fail("POST", "/runs/log-parameter", *BAD, missing("key"), run_id=run, key="", value="5")
    api.fail("POST", "/runs/log-parameter", *BAD, missing("run_id"), key="x", value="5")
    api.fail("POST", "/runs/log-parameter", *BAD, wrong_type("5", "value", "int"), run_id=run, key="n", value=5)
    for unknown in (NO_RUN, "nope", "!!"):
        api.fail(
            "POST", "/runs/log-parameter", *GONE, f"Run with id={unknown} not found", run_id=unknown, key="x", value="5"
        )


# Single metrics.


def test_metric_values(api, run):
    for key, value in (
        ("half", 0.5),
        ("whole", 3),
        ("text", "1.25"),
        ("big", 1e308),
        ("tiny", 5e-324),
        ("long", 123456789012),
        ("minus", -0.1),
    ):
        assert api.post("/runs/log-metric", run_id=run, key=key, value=value, timestamp=10) == {}
    expected = {
        "half": 0.5,
        "whole": 3.0,
        "text": 1.25,
        "big": 1e308,
        "tiny": 5e-324,
        "long": 123456789012.0,
        "minus": -0.1,
    }
    assert api.data(run)[2] == expected


def test_special_metric_values(api, run):
    largest = 1.7976931348623157e308
    for key, value in (("nan", "NaN"), ("inf", "Infinity"), ("ninf", "-Infinity")):
        api.post("/runs/log-metric", run_id=run, key=key, value=value, timestamp=10)
    assert api.data(run)[2] == {"nan": "NaN", "inf": largest, "ninf": -largest}
    assert api.history(run, "nan") == [(0, 10, "NaN")]


def test_step_may_be_left_out_negative_or_text(api, run):
    api.post("/runs/log-metric", run_id=run, key="m", value=1, timestamp=1)
    api.post("/runs/log-metric", run_id=run, key="m", value=2, timestamp=2, step=-3)
    api.post("/runs/log-metric", run_id=run, key="m", value=3, timestamp=3, step="4")
    assert api.history(run, "m") == [(0, 1, 1.0), (-3, 2, 2.0), (4, 3, 3.0)]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"key": "m", "timestamp": 1}, missing("value")),
        ({"key": "m", "value": 1}, missing("timestamp")),
        ({"value": 1, "timestamp": 1}, missing("key")),
        ({"key": 5, "value": 1, "timestamp": 1}, wrong_type("5", "key", "int")),
        ({"key": "m", "value": "abc", "timestamp": 1}, wrong_type('"abc"', "value", "str")),
        ({"key": "m", "value": 1, "timestamp": "x"}, wrong_type('"x"', "timestamp", "str")),
        ({"key": "x" * 251, "value": 1, "timestamp": 1}, "'Metric name' exceeds the maximum length of 250 characters"),
    ],
)
def test_metric_refusals(api, run, fields, message):
    api.fail("POST", "/runs/log-metric", *BAD, message, run_id=run, **fields)
    assert api.data(run)[2] == {}


@pytest.mark.fix
@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_metric_value_of_a_compound_type_is_refused(api, run, value):
    # The stock server answers 500, which its own client then repeats for minutes.
    api.fail("POST", "/runs/log-metric", *BAD, run_id=run, key="m", value=value, timestamp=1)


# Delete and restore.


def test_delete_and_restore_may_be_repeated(api, run):
    for path, stage in (("/runs/delete", "deleted"), ("/runs/restore", "active")):
        for _ in range(2):
            assert api.post(path, run_id=run) == {}
            assert api.run(run)["info"]["lifecycle_stage"] == stage


def test_a_deleted_run_takes_no_writes(api, run):
    api.post("/runs/delete", run_id=run)
    for path, fields in (
        ("/runs/set-tag", pair("k", "v")),
        ("/runs/delete-tag", {"key": "mlflow.runName"}),
        ("/runs/log-parameter", pair("k", "v")),
        ("/runs/log-metric", metric("m")),
        ("/runs/log-batch", {"tags": pairs(a="1")}),
        ("/runs/log-batch", {}),
        ("/runs/update", {"status": "FAILED"}),
    ):
        api.fail(
            "POST",
            path,
            *BAD,
            f"The run {run} must be in the 'active' state. Current state is deleted.",
            run_id=run,
            **fields,
        )
    api.post("/runs/restore", run_id=run)
    assert api.data(run)[0] == {}


def test_delete_refusals(api):
    for path in ("/runs/delete", "/runs/restore"):
        api.fail("POST", path, *GONE, f"Run with id={NO_RUN} not found", run_id=NO_RUN)
        api.fail("POST", path, *BAD, missing("run_id"))


@pytest.mark.parametrize("query", [{}, {"run_id": ""}])
def test_get_needs_an_id(api, query):
    api.fail("GET", "/runs/get", *BAD, missing("run_id"), **query)


def test_long_run_name_is_kept(api, experiment):
    name = unique("n") * 10
    run = api.new_run(experiment, run_name=name)
    assert api.run(run)["info"]["run_name"] == name
