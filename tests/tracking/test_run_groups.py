"""runs/group, an addition to MLflow's API: runs by a value that they share, and what metrics came to among them."""

import pytest

from .api import assert_error, metric, pair, unique

GROUP = "/api/2.0/millrace/runs/group"


@pytest.fixture(scope="module")
def grouped(api):
    """Nine runs: depth 2, 10 and none, three each; of the last of each, loss is no number."""
    experiment = api.new_experiment()
    for depth in ("2", "10", None):
        for i in range(3):
            run = api.new_run(experiment, start_time=1000 + i, tags=[pair("odd key", f"v'{i}")])
            values = [metric("loss", "NaN" if i == 2 else i + 1.0), metric("big", "Infinity" if i == 0 else 5.0)]
            api.post(
                "/runs/log-batch", run_id=run, metrics=values, params=[] if depth is None else [pair("depth", depth)]
            )
    return experiment


def ask(api, experiment, **more):
    answer = api.http.post(api.url + GROUP, json={"experiment_ids": [experiment], **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_groups_have_counts_and_what_metrics_came_to(api, grouped):
    groups = ask(api, grouped, group_by="params.depth", metrics=["loss", "none"], order_by="value ASC")["groups"]
    assert [g.get("value") for g in groups] == ["2", "10", None]
    assert {g["count"] for g in groups} == {3}
    assert {g["last_start_time"] for g in groups} == {1002}
    for g in groups:
        assert g["metrics"] == [
            {"key": "loss", "count": 2, "mean": 1.5, "min": 1.0, "max": 2.0},
            {"key": "none", "count": 0},
        ]


def test_infinities_are_in_no_mean(api, grouped):
    found = ask(api, grouped, group_by="attributes.status", metrics=["big"])["groups"]
    assert [(g["value"], g["count"]) for g in found] == [("RUNNING", 9)]
    big = found[0]["metrics"][0]
    assert (big["count"], big["mean"], big["min"]) == (9, 5.0, 5.0)
    assert big["max"] > 1e308


def test_filters_orders_and_pages(api, grouped):
    found = ask(api, grouped, group_by="tags.`odd key`", filter="params.depth = '2' AND metrics.loss < 9")["groups"]
    assert {(g["value"], g["count"]) for g in found} == {("v'0", 1), ("v'1", 1)}
    loss = {"group_by": "tags.`odd key`", "metrics": ["loss"], "max_results": 2}
    first = ask(api, grouped, order_by="metrics.loss DESC", **loss)
    assert [g["value"] for g in first["groups"]] == ["v'1", "v'0"]
    last = ask(api, grouped, order_by="metrics.loss DESC", page_token=first["next_page_token"], **loss)
    assert [g["value"] for g in last["groups"]] == ["v'2"]
    assert "next_page_token" not in last
    assert "mean" not in last["groups"][0]["metrics"][0]


def test_deleted_runs_are_left_out(api):
    experiment = api.new_experiment()
    run = api.new_run(experiment)
    assert ask(api, experiment, group_by="attributes.status")["groups"][0]["count"] == 1
    api.post("/runs/delete", run_id=run)
    assert ask(api, experiment, group_by="attributes.status")["groups"] == []
    assert ask(api, experiment, group_by="attributes.status", run_view_type="ALL")["groups"][0]["count"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"group_by": "metrics.loss"},
        {"group_by": "attributes.run_id"},
        {"group_by": "params."},
        {"group_by": "params.a", "metrics": [str(i) for i in range(13)]},
        {"group_by": "params.a", "order_by": "metrics.loss"},
        {"group_by": "params.a", "order_by": "colour"},
        {"group_by": "params.a", "filter": "loss is small"},
        {"group_by": "params.a", "max_results": 1001},
        {"group_by": "params.a'; DROP TABLE runs; --"},
    ],
)
def test_what_makes_no_sense_is_refused(api, body):
    answer = api.http.post(api.url + GROUP, json={"experiment_ids": ["0"], **body})
    assert_error(answer, 400, "INVALID_PARAMETER_VALUE")


def test_keys_and_values_are_never_sql(api):
    experiment = api.new_experiment()
    key = unique("k") + "' OR 1=1 --"
    api.new_run(experiment, tags=[pair(key, "'); DROP TABLE runs; --")])
    found = ask(api, experiment, group_by=f"tags.`{key}`", metrics=["x') --"])["groups"]
    assert [(g["value"], g["count"]) for g in found] == [("'); DROP TABLE runs; --", 1)]
