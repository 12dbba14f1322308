"""Reading metric histories: one run in pages, many runs at once, sampled."""

import base64
import json
import re

import pytest

from .api import AJAX, NO_RUN, Api, metric, missing

HISTORY = "/metrics/get-history"
BAD = (400, "INVALID_PARAMETER_VALUE")


@pytest.fixture(scope="module")
def ajax(api):
    return Api(api.url, AJAX)


@pytest.fixture(scope="module")
def two_runs(api):
    """Two runs with metric h; ids in the order in which bulk answers list them."""
    experiment = api.new_experiment()
    first, second = sorted(api.new_run(experiment) for _ in range(2))
    api.post(
        "/runs/log-batch",
        run_id=first,
        metrics=[
            metric("h", 1.0, 5, 1),
            metric("h", 3.0, 9, 0),
            metric("h", 2.0, 5, 1),
            metric("h", 7.0, 4, 1),
            metric("h", "NaN", 1, 2),
            metric("h", 0.0, 5, 0),
        ],
    )
    api.post("/runs/log-batch", run_id=second, metrics=[metric("h", 1.0, 1, 0), metric("other", 5.0, 1, 0)])
    return first, second


ORDERED = [(2, 1, "NaN"), (1, 4, 7.0), (0, 5, 0.0), (1, 5, 1.0), (1, 5, 2.0), (0, 9, 3.0)]


def test_order_is_by_time_step_value(api, two_runs):
    assert api.history(two_runs[0], "h") == ORDERED


def test_fields_of_a_point(api, two_runs):
    answer = api.get(HISTORY, run_id=two_runs[1], metric_key="h")
    assert answer == {"metrics": [{"key": "h", "value": 1.0, "timestamp": 1, "step": 0}]}


def test_pages(api, two_runs):
    found, token = [], None
    for _ in range(3):
        query = {"page_token": token} if token else {}
        answer = api.get(HISTORY, run_id=two_runs[0], metric_key="h", max_results=2, **query)
        found += [(m["step"], m["timestamp"], m["value"]) for m in answer["metrics"]]
        token = answer.get("next_page_token")
    assert found == ORDERED
    assert token is None


def test_page_token_is_an_offset(api, two_runs):
    answer = api.get(HISTORY, run_id=two_runs[0], metric_key="h", max_results=4)
    assert json.loads(base64.b64decode(answer["next_page_token"])) == {"offset": 4}


def test_a_page_of_the_exact_size_is_the_last(api, two_runs):
    assert "next_page_token" not in api.get(HISTORY, run_id=two_runs[0], metric_key="h", max_results=6)


def test_nothing_to_tell(api, two_runs):
    assert api.get(HISTORY, run_id=two_runs[0], metric_key="nokey") == {}
    # An unknown run has no metrics either; clients rely on the empty answer.
    assert api.get(HISTORY, run_id=NO_RUN, metric_key="h") == {}
    past = base64.b64encode(b'{"offset": 6}').decode()
    assert api.get(HISTORY, run_id=two_runs[0], metric_key="h", max_results=2, page_token=past) == {}


def test_old_name_of_the_run_id(api, two_runs):
    assert api.get(HISTORY, run_uuid=two_runs[0], metric_key="h") == api.get(
        HISTORY, run_id=two_runs[0], metric_key="h"
    )


def test_history_of_a_deleted_run_is_readable(api, run):
    api.post("/runs/log-metric", run_id=run, **metric("m"))
    api.post("/runs/delete", run_id=run)
    assert api.history(run, "m") == [(0, 1, 1.0)]


@pytest.mark.parametrize(
    "query, message",
    [
        ({"metric_key": "h"}, missing("run_id")),
        ({"run_id": NO_RUN}, missing("metric_key")),
        (
            {"run_id": NO_RUN, "metric_key": "h", "max_results": 0},
            "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer.",
        ),
        (
            {"run_id": NO_RUN, "metric_key": "h", "max_results": -1},
            "Invalid value -1 for parameter 'max_results' supplied. It must be a positive integer.",
        ),
        (
            {"run_id": NO_RUN, "metric_key": "h", "max_results": 1, "page_token": "x"},
            "Invalid page token, could not base64-decode",
        ),
    ],
)
def test_refusals(api, query, message):
    api.fail("GET", HISTORY, *BAD, message, **query)


# Many runs at once: what the compare page reads. The plain bulk call exists for the UI alone.


def test_bulk(ajax, two_runs):
    first, second = two_runs
    answer = ajax.get("/metrics/get-history-bulk", run_id=[second, first], metric_key="h")
    assert [(m["run_id"], m["step"], m["timestamp"]) for m in answer["metrics"]] == [
        *((first, step, time) for step, time, _ in ORDERED),
        (second, 0, 1),
    ]
    assert answer["metrics"][-1] == {"key": "h", "run_id": second, "step": 0, "timestamp": 1, "value": 1.0}


def test_bulk_has_a_row_limit(ajax, two_runs):
    answer = ajax.get("/metrics/get-history-bulk", run_id=list(two_runs), metric_key="h", max_results=2)
    assert len(answer["metrics"]) == 2


def test_bulk_refusals(ajax, two_runs):
    path = "/metrics/get-history-bulk"
    ajax.fail("GET", path, *BAD, "GetMetricHistoryBulk request must specify a metric_key.", run_id=two_runs[0])
    ajax.fail("GET", path, *BAD, "GetMetricHistoryBulk request must specify at least one run_id.", metric_key="h")
    ajax.fail(
        "GET",
        path,
        *BAD,
        "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received 101 run_ids.",
        metric_key="h",
        run_id=[f"{i:032x}" for i in range(101)],
    )


def interval(ajax, runs, **query):
    answer = ajax.get("/metrics/get-history-bulk-interval", run_ids=list(runs), metric_key="h", **query)
    return [(m["run_id"], m["step"], m["timestamp"], m["value"]) for m in answer.get("metrics", [])]


def test_interval_within_steps(ajax, two_runs):
    run = two_runs[0]
    assert interval(ajax, [run], start_step=0, end_step=1, max_results=10) == [
        (run, 0, 5, 0.0),
        (run, 0, 9, 3.0),
        (run, 1, 4, 7.0),
        (run, 1, 5, 1.0),
        (run, 1, 5, 2.0),
    ]


def test_interval_without_bounds(ajax, two_runs):
    run = two_runs[0]
    assert interval(ajax, [run]) == [
        (run, 0, 5, 0.0),
        (run, 0, 9, 3.0),
        (run, 1, 4, 7.0),
        (run, 1, 5, 1.0),
        (run, 1, 5, 2.0),
        (run, 2, 1, "NaN"),
    ]


def test_interval_samples_and_keeps_both_ends(api, ajax, run):
    api.post("/runs/log-batch", run_id=run, metrics=[metric("h", i, i, i) for i in range(1000)])
    steps = [step for _, step, _, _ in interval(ajax, [run], max_results=10)]
    assert steps == sorted(set(steps))
    assert steps[0] == 0 and steps[-1] == 999
    assert 10 <= len(steps) <= 12


def test_interval_refusals(ajax, two_runs):
    path = "/metrics/get-history-bulk-interval"
    query = {"run_ids": two_runs[0], "metric_key": "h"}
    ajax.fail("GET", path, *BAD, re.compile("^max_results must be between 1 and 2500"), **query, max_results=2501)
    ajax.fail(
        "GET",
        path,
        *BAD,
        "end_step must be greater than start_step. Found start_step=5 and end_step=1.",
        **query,
        start_step=5,
        end_step=1,
        max_results=5,
    )


def test_interval_is_a_plain_api_call_too(api, ajax, two_runs):
    assert interval(api, two_runs, max_results=5) == interval(ajax, two_runs, max_results=5)
