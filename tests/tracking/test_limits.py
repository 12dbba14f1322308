"""Lengths and counts: public case 10. Characters are counted, not bytes, and none is cut in half."""

import pytest

from .api import as_dict, metric, pair, unique, wrong_type

BAD = (400, "INVALID_PARAMETER_VALUE")
LETTERS = ["x", "ü", "日", "🙂"]


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("length, stored", [(6000, 6000), (6001, 6000), (8001, 6000)])
def test_param_values_are_cut(api, run, letter, length, stored):
    api.post("/runs/log-parameter", run_id=run, key="single", value=letter * length)
    api.post("/runs/log-batch", run_id=run, params=[pair("batch", letter * length)])
    params, _, _ = api.data(run)
    assert params == {"single": letter * stored, "batch": letter * stored}


def test_a_cut_param_may_be_logged_again(api, run):
    for tail in ("a", "bb"):
        api.post("/runs/log-parameter", run_id=run, key="p", value="ü" * 6000 + tail)
    assert api.data(run)[0] == {"p": "ü" * 6000}


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("length, stored", [(8000, 8000), (8001, 8000)])
def test_tag_values_are_cut(api, run, letter, length, stored):
    value = letter * length
    api.post("/runs/set-tag", run_id=run, key="single", value=value)
    api.post("/runs/log-batch", run_id=run, tags=[pair("batch", value)])
    _, tags, _ = api.data(run)
    assert (tags["single"], tags["batch"]) == (letter * stored, letter * stored)


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_key_lengths(api, run, letter):
    longest, longer = letter * 250, letter * 251
    for path, fields in (
        ("/runs/log-parameter", pair(longest, "v")),
        ("/runs/set-tag", pair(longest, "v")),
        ("/runs/log-metric", metric(longest)),
    ):
        api.post(path, run_id=run, **fields)
        api.fail("POST", path, *BAD, run_id=run, **{**fields, "key": longer})
    params, tags, metrics = api.data(run)
    assert longest in params and longest in tags and longest in metrics


@pytest.mark.parametrize(
    "path, fields, what",
    [
        ("/runs/log-parameter", pair("k" * 251, "v"), "Param key"),
        ("/runs/set-tag", pair("k" * 251, "v"), "key"),
        ("/runs/log-metric", metric("k" * 251), "Metric name"),
    ],
)
def test_key_length_texts(api, run, path, fields, what):
    api.fail("POST", path, *BAD, f"'{what}' exceeds the maximum length of 250 characters", run_id=run, **fields)


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_experiment_names(api, letter):
    name = unique() + letter * 500
    assert api.new_experiment(name=name[:500])
    api.fail(
        "POST", "/experiments/create", *BAD, "'name' exceeds the maximum length of 500 characters", name=name[:501]
    )


def test_experiment_tags(api, experiment):
    path, at = "/experiments/set-experiment-tag", {"experiment_id": experiment}
    api.post(path, **at, key="k" * 250, value="ü" * 20000)
    stored = as_dict(api.get("/experiments/get", experiment_id=experiment)["experiment"]["tags"])
    assert stored == {"k" * 250: "ü" * 20000}
    api.fail("POST", path, *BAD, "'key' exceeds the maximum length of 250 characters", **at, key="k" * 251, value="v")
    api.fail(
        "POST", path, *BAD, "'value' exceeds the maximum length of 20000 characters", **at, key="k", value="v" * 20001
    )


@pytest.mark.parametrize("kind, count, limit", [("metrics", 1001, 1000), ("params", 101, 100), ("tags", 101, 100)])
def test_items_in_a_batch(api, run, kind, count, limit):
    def make(number):
        return [metric(f"k{i}") if kind == "metrics" else pair(f"k{i}", "v") for i in range(number)]

    api.fail(
        "POST",
        "/runs/log-batch",
        *BAD,
        f"A batch logging request can contain at most {limit} {kind}. Got {count} {kind}. "
        f"Please split up {kind} across multiple requests and try again.",
        run_id=run,
        **{kind: make(count)},
    )
    assert api.data(run)[2] == {}
    api.post("/runs/log-batch", run_id=run, **{kind: make(limit)})
    index = {"params": 0, "tags": 1, "metrics": 2}[kind]
    stored = api.data(run)[index]
    stored.pop("mlflow.runName", None)
    assert len(stored) == limit


def test_items_in_a_batch_all_together(api, run):
    what = "metrics, params, and tags"
    api.fail(
        "POST",
        "/runs/log-batch",
        *BAD,
        f"A batch logging request can contain at most 1000 {what}. Got 1001 {what}. "
        f"Please split up {what} across multiple requests and try again.",
        run_id=run,
        metrics=[metric(f"m{i}") for i in range(950)],
        params=[pair(f"p{i}", "v") for i in range(51)],
    )
    assert api.data(run)[0] == {} and api.data(run)[2] == {}


def test_registry_tags_are_refused_not_cut(api):
    name = api.new_model()
    api.new_version(name)
    for path, at in (("/registered-models/", {"name": name}), ("/model-versions/", {"name": name, "version": "1"})):
        api.post(path + "set-tag", **at, key="k" * 250, value="ü" * 100000)
        api.fail(
            "POST",
            path + "set-tag",
            *BAD,
            "'key' exceeds the maximum length of 250 characters",
            **at,
            key="k" * 251,
            value="v",
        )
        api.fail(
            "POST",
            path + "set-tag",
            *BAD,
            "'value' exceeds the maximum length of 100000 characters",
            **at,
            key="k",
            value="v" * 100001,
        )
    stored = api.get("/registered-models/get", name=name)["registered_model"]
    assert as_dict(stored["tags"]) == {"k" * 250: "ü" * 100000}


@pytest.mark.parametrize("limit", [1, 50000])
def test_runs_a_page(api, experiment, limit):
    run = api.new_run(experiment)
    found = api.post("/runs/search", experiment_ids=[experiment], max_results=limit)["runs"]
    assert [r["info"]["run_id"] for r in found] == [run]
    api.fail(
        "POST",
        "/runs/search",
        *BAD,
        wrong_type("50001", "max_results", "int"),
        experiment_ids=[experiment],
        max_results=50001,
    )
