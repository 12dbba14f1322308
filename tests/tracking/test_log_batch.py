"""log-batch: many items in one request, all checked before any is stored."""

import re
import statistics
import time

import pytest

from .api import NO_RUN, metric, missing, pair, pairs, wrong_type

BAD = (400, "INVALID_PARAMETER_VALUE")
BATCH = "/runs/log-batch"


def stored(api, run):
    """Everything a run holds, without the name it was born with."""
    params, tags, metrics = api.data(run)
    tags.pop("mlflow.runName", None)
    return params, tags, metrics


def test_all_three_kinds(api, run):
    answer = api.post(
        BATCH,
        run_id=run,
        params=pairs(p="1", q="2"),
        tags=pairs(t="x"),
        metrics=[metric("m", 0.5, 10, 1), metric("m", 0.75, 11, 2), metric("n", 1, 10)],
    )
    assert answer == {}
    assert stored(api, run) == ({"p": "1", "q": "2"}, {"t": "x"}, {"m": 0.75, "n": 1.0})
    assert api.history(run, "m") == [(1, 10, 0.5), (2, 11, 0.75)]


def test_an_empty_batch_is_fine(api, run):
    assert api.post(BATCH, run_id=run) == {}
    assert api.post(BATCH, run_id=run, metrics=[], params=[], tags=[]) == {}


def test_values_may_be_left_out(api, run):
    api.post(BATCH, run_id=run, params=[{"key": "p"}], tags=[{"key": "t"}])
    assert stored(api, run) == ({"p": ""}, {"t": ""}, {})


def test_step_defaults_to_zero(api, run):
    api.post(BATCH, run_id=run, metrics=[{"key": "m", "value": 1, "timestamp": 5}])
    assert api.history(run, "m") == [(0, 5, 1.0)]


def test_special_values(api, run):
    largest = 1.7976931348623157e308
    api.post(BATCH, run_id=run, metrics=[metric("a", "NaN"), metric("b", "Infinity"), metric("c", "-Infinity")])
    assert stored(api, run)[2] == {"a": "NaN", "b": largest, "c": -largest}


def test_the_last_of_equal_tags_wins(api, run):
    api.post(BATCH, run_id=run, tags=[pair("t", "1"), pair("t", "2")])
    assert stored(api, run)[1] == {"t": "2"}


def test_the_name_tag_renames_the_run(api, run):
    api.post(BATCH, run_id=run, tags=[pair("mlflow.runName", "batch name")])
    assert api.run(run)["info"]["run_name"] == "batch name"


# Params logged twice: public case 2.


def test_same_params_again(api, run):
    for _ in range(2):
        api.post(BATCH, run_id=run, params=pairs(p="1", q="2"))
    assert stored(api, run)[0] == {"p": "1", "q": "2"}


def test_a_conflicting_param_stores_nothing_of_the_batch(api, run):
    api.post(BATCH, run_id=run, params=pairs(p="1"))
    api.fail(
        "POST",
        BATCH,
        *BAD,
        "Changing param values is not allowed. Params were already logged="
        f"'[{{'key': 'p', 'old_value': '1', 'new_value': '9'}}]' for run ID='{run}'.",
        run_id=run,
        params=pairs(new="1", p="9"),
        metrics=[metric("m")],
        tags=pairs(t="x"),
    )
    assert stored(api, run) == ({"p": "1"}, {}, {})


def test_every_conflict_is_named(api, run):
    api.post(BATCH, run_id=run, params=pairs(p="1", q="2"))
    text = api.fail("POST", BATCH, *BAD, run_id=run, params=pairs(p="8", q="9"))
    assert "{'key': 'p', 'old_value': '1', 'new_value': '8'}" in text
    assert "{'key': 'q', 'old_value': '2', 'new_value': '9'}" in text


@pytest.mark.parametrize("values", [("1", "1"), ("1", "2")])
def test_one_param_twice_in_a_batch_is_refused_even_with_equal_values(api, run, values):
    api.fail(
        "POST",
        BATCH,
        *BAD,
        "Duplicate parameter keys have been submitted: ['d']. "
        "Please ensure the request contains only one param value per param key.",
        run_id=run,
        params=[pair("d", v) for v in values],
        tags=pairs(t="x"),
    )
    assert stored(api, run) == ({}, {}, {})


# Checks name the item and store nothing.


@pytest.mark.parametrize(
    "part, items, message",
    [
        ("params", [{"value": "v"}], missing("params[0].key")),
        (
            "params",
            [pair("ok", "1"), pair("a/../b", "1")],
            re.compile(
                "^Invalid value \"a/../b\" for parameter 'params\\[1\\].key' supplied: .* would resolve to 'b'$"
            ),
        ),
        ("params", [pair("k" * 251, "1")], "'Param key' exceeds the maximum length of 250 characters"),
        ("metrics", [{"value": 1, "timestamp": 1}], missing("metrics[0].key")),
        ("metrics", [metric("m"), {"key": "m", "timestamp": 1}], missing("metrics[1].value")),
        ("metrics", [{"key": "m", "value": 1}], missing("metrics[0].timestamp")),
        (
            "metrics",
            [metric("m"), metric("n", timestamp=-1)],
            "Invalid value -1 for parameter 'metrics[1].timestamp' supplied: metric 'n' (value=1.0). "
            "Timestamp must be a nonnegative long (64-bit integer) ",
        ),
        (
            "metrics",
            [metric("m$")],
            re.compile("^Invalid value \"m\\$\" for parameter 'metrics\\[0\\].name' supplied: "),
        ),
        ("metrics", [metric("k" * 251)], "'Metric name' exceeds the maximum length of 250 characters"),
        ("tags", [{"value": "v"}], missing("tags[0].key")),
        ("tags", [pair("ok", "1"), pair("k" * 251, "1")], "'tags[1].key' exceeds the maximum length of 250 characters"),
        ("metrics", "x", wrong_type('"x"', "metrics", "str")),
        ("metrics", {"key": "x"}, wrong_type('{"key":"x"}', "metrics", "dict")),
        ("params", 5, wrong_type("5", "params", "int")),
        ("tags", "x", wrong_type('"x"', "tags", "str")),
    ],
)
def test_refusals(api, run, part, items, message):
    good = {"params": pairs(good="1"), "tags": pairs(good="1"), "metrics": [metric("good")]}
    api.fail("POST", BATCH, *BAD, message, run_id=run, **{**good, part: items})
    assert stored(api, run) == ({}, {}, {})


def test_run_refusals(api):
    api.fail("POST", BATCH, *BAD, missing("run_id"))
    api.fail(
        "POST",
        BATCH,
        404,
        "RESOURCE_DOES_NOT_EXIST",
        f"Run with id={NO_RUN} not found",
        run_id=NO_RUN,
        metrics=[metric("m")],
    )


@pytest.mark.fix
@pytest.mark.parametrize(
    "items",
    [
        [metric("good"), metric("m", "x")],
        [metric("m", [1])],
        [metric("m", timestamp="x")],
        [5],
        [None],
    ],
)
def test_an_unreadable_metric_is_refused_not_dropped(api, run, items):
    # The stock server answers 200 and loses the metric, or 500.
    api.fail("POST", BATCH, *BAD, run_id=run, metrics=items)
    assert stored(api, run) == ({}, {}, {})


@pytest.mark.fix
def test_null_lists_count_as_absent(api, run):
    assert api.post(BATCH, run_id=run, metrics=None, params=None, tags=pairs(t="1")) == {}
    assert stored(api, run) == ({}, {"t": "1"}, {})


# A client that lost the answer sends the batch again: public case 12.


def test_a_repeated_batch_changes_nothing(api, run):
    batch = [metric("rt", i / 7, 1000 + i, i) for i in range(50)]
    for _ in range(2):
        api.post(BATCH, run_id=run, metrics=batch)
    assert api.history(run, "rt") == [(i, 1000 + i, i / 7) for i in range(50)]
    assert stored(api, run)[2] == {"rt": 49 / 7}


def test_repeats_within_one_batch(api, run):
    api.post(BATCH, run_id=run, metrics=[metric("m", 1, 1, 1)] * 3 + [metric("m", "NaN", 1, 1)] * 2)
    assert sorted(map(str, api.history(run, "m"))) == ["(1, 1, 'NaN')", "(1, 1, 1.0)"]


def test_a_batch_that_is_new_only_in_part(api, run):
    batch = [metric("m", i, i, i) for i in range(10)]
    api.post(BATCH, run_id=run, metrics=batch)
    api.post(BATCH, run_id=run, metrics=[*batch, metric("m", 0.5, 3, 10)])
    assert len(api.history(run, "m")) == 11
    assert stored(api, run)[2] == {"m": 0.5}


@pytest.mark.parametrize(
    "points, latest",
    [
        ([metric("m", 1, 5, 2), metric("m", 9, 99, 1)], 1.0),
        ([metric("m", 9, 4, 1), metric("m", 1, 5, 1)], 1.0),
        ([metric("m", 1, 5, 1), metric("m", 9, 5, 1), metric("m", 3, 5, 1)], 9.0),
        ([metric("m", 1, 5, -1), metric("m", 2, 4, -2)], 1.0),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_latest_is_by_step_then_time_then_value(api, run, points, latest, at_once):
    for batch in [points] if at_once else [[p] for p in points]:
        api.post(BATCH, run_id=run, metrics=batch)
    assert stored(api, run)[2] == {"m": latest}


@pytest.mark.slow
@pytest.mark.fix
def test_time_does_not_grow_with_the_history(api, experiment):
    points = 200_000
    long, short = api.new_run(experiment), api.new_run(experiment)
    for start in range(0, points, 1000):
        api.post(BATCH, run_id=long, metrics=[metric("m", i, i, i) for i in range(start, start + 1000)])

    def seconds(run, start):
        """Median time of batches of 10 repeats and one new point."""
        times = []
        for new in range(start, start + 9):
            batch = [metric("m", i, i, i) for i in range(new - 10, new + 1)]
            began = time.perf_counter()
            api.post(BATCH, run_id=run, metrics=batch)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    api.post(BATCH, run_id=short, metrics=[metric("m", i, i, i) for i in range(10)])
    after_ten = seconds(short, 10)
    after_many = seconds(long, points)
    assert after_many < 5 * after_ten + 0.02
    assert stored(api, long)[2] == {"m": float(points + 8)}
    last = api.get("/metrics/get-history", run_id=long, metric_key="m", max_results=25000)
    assert len(last["metrics"]) == 25000 and "next_page_token" in last
