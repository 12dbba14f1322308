"""The table of runs: groups, runs below runs, views; and parts of axes that are marked."""

import contextlib
import sqlite3

import harness
import pytest

from .conftest import ask
from .content import HOSTILE


@pytest.fixture(scope="module")
def sweep(filled):
    """Two runs with three runs each below them, and one with none."""
    platform, c = filled
    base = platform.tracking_url + "/api/2.0/mlflow/"
    experiment = ask(base + "experiments/create", "POST", {"name": f"sweep-{c.suffix}"})["experiment_id"]

    def make(name, start, optimizer=None, loss=None, parent=None):
        tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
        body = {"experiment_id": experiment, "run_name": name, "start_time": start, "tags": tags}
        run = ask(base + "runs/create", "POST", body)["run"]["info"]["run_id"]
        batch = {"run_id": run}
        if optimizer:
            batch["params"] = [{"key": "optimizer", "value": optimizer}]
        if loss is not None:
            batch["metrics"] = [{"key": "loss", "value": loss, "timestamp": 1, "step": 0}]
        ask(base + "runs/log-batch", "POST", batch)
        return run

    for p, optimizer in enumerate(("adam", HOSTILE)):
        parent = make(f"search-{p}", 1000 + 100 * p)
        for i, loss in enumerate((0.5, 1.5, "NaN")):
            make(f"step-{p}-{i}", 1001 + 100 * p + i, optimizer, loss, parent)
    make("alone", 5000, "sgd", "Infinity")
    yield experiment
    ask(base + "experiments/delete", "POST", {"experiment_id": experiment})


def group_rows(site):
    return site.browser.evaluate(
        "[...document.querySelectorAll('.groups tbody tr:not(.inside)')].map(r => [...r.cells].map(c => c.innerText.trim()))"
    )


def test_runs_in_groups(site, sweep):
    site.open(f"/experiments/{sweep}", "alone", "9 runs")
    site.browser.evaluate(
        "(e => { e.value = 'params.optimizer'; e.dispatchEvent(new Event('change', {bubbles: true})); })"
        "(document.querySelector('[aria-label=\"Group by\"]'))"
    )
    site.browser.wait_for("4 groups", "loss, mean", deadline=60)
    assert site.browser.evaluate("location.search") == "?group=params.optimizer"
    rows = {r[0]: r for r in group_rows(site)}
    assert {name: r[1] for name, r in rows.items()} == {"adam": "3", HOSTILE[:120]: "3", "sgd": "1", "Not set": "2"}
    answer = site.api(
        "/dashboard/mlflow/api/2.0/millrace/runs/group",
        method="POST",
        body={"experiment_ids": [sweep], "group_by": "params.optimizer", "metrics": ["loss"]},
    )
    told = {g.get("value"): g for g in answer["groups"]}
    assert (told["adam"]["count"], told["adam"]["metrics"][0]["mean"]) == (3, 1.0)
    assert "0.5 … 1.5" in rows["adam"][3]
    assert (rows["Not set"][3], rows["sgd"][3]) == ("–", "∞")
    site.click("adam")
    site.browser.wait_for("step-0-0", "step-0-2", "As a table of their own", deadline=60)
    site.check("groups")
    site.click("As a table of their own")
    site.browser.wait_for("3 runs", "step-0-1", deadline=60)
    assert "alone" not in site.browser.text()
    assert site.browser.evaluate("document.querySelector('.filter input').value") == "params.optimizer = 'adam'"


def test_groups_in_order(site, sweep):
    site.open(f"/experiments/{sweep}?group=params.optimizer&gorder=value%20ASC", "4 groups")
    assert [r[0] for r in group_rows(site)] == [HOSTILE[:120], "adam", "sgd", "Not set"]
    site.click("loss, mean")
    site.until("location.search.includes('loss')", "sorted by the mean")
    site.browser.wait_for("4 groups", deadline=60)
    site.open(f"/experiments/{sweep}?group=params.optimizer&filter=params.optimizer%20%3D%20'sgd'", "1 group")


def test_runs_below_runs(site, sweep):
    site.open(f"/experiments/{sweep}?nested=1", "search-0", "search-1", "alone", "3 runs")
    assert "step-0-0" not in site.browser.text()
    site.press("[aria-label='The 3 runs below search-0']")
    site.browser.wait_for("step-0-0", "step-0-1", "step-0-2", deadline=60)
    names = site.browser.evaluate("[...document.querySelectorAll('.runs .row-link')].map(e => e.innerText)")
    assert names == ["alone", "search-1", "search-0", "step-0-2", "step-0-1", "step-0-0"]
    site.check("nested")
    site.open(
        f"/experiments/{sweep}?group=tags.%60mlflow.parentRunId%60", "3 groups", "search-0", "search-1", "No parent"
    )
    site.click("search-0")
    site.browser.wait_for("step-0-1", deadline=60)
    site.click("step-0-1")
    site.browser.wait_for("It belongs to search-0.", deadline=60)
    site.click("search-0")
    site.browser.wait_for("Runs below this one", "step-0-0", deadline=60)
    site.check("tracked-parent")


def test_views_are_kept(site, sweep):
    site.open(f"/experiments/{sweep}?group=params.optimizer&filter=metrics.loss%20%3E%201", "adam")
    site.click("Columns")
    site.type("[aria-label='Name of the view']", "losing")
    site.click("Keep the view")
    site.until("document.querySelector('[aria-label=\"Saved views\"]')", "the view is kept")
    site.browser.evaluate(
        "(history.pushState(null, '', location.pathname), dispatchEvent(new PopStateEvent('popstate')))"
    )
    site.browser.wait_for("9 runs", deadline=60)
    site.browser.evaluate(
        "(e => { e.value = e.options[1].value; e.dispatchEvent(new Event('change', {bubbles: true})); })"
        "(document.querySelector('[aria-label=\"Saved views\"]'))"
    )
    # An infinity is more than one.
    site.browser.wait_for("3 groups", deadline=60)
    assert site.browser.evaluate("new URLSearchParams(location.search).get('filter')") == "metrics.loss > 1"
    site.click("Columns")
    site.click("losing ×")
    site.until("!document.querySelector('[aria-label=\"Saved views\"]')", "the view is forgotten")


def test_parts_of_axes_are_marked(site):
    c = site.content
    site.open(f"/experiments/{c.experiment_id}/compare?runs={','.join(c.runs)}&tab=parallel", "Drag along an axis")
    site.until("document.querySelectorAll('.plot-line').length === 8", "eight lines are drawn")
    # The upper half of accuracy: 0.70 to 0.91 in steps of 0.03.
    site.drag("[data-axis='metrics.accuracy']", 0.01, 0.5)
    site.browser.wait_for("4 of 8 runs pass through what is marked", "trial-7", "trial-4", deadline=60)
    assert site.browser.evaluate("document.querySelectorAll('.plot-line.out').length") == 4
    assert "brush=" in site.browser.evaluate("location.search")
    site.check("compare-brushed")
    site.click("Compare only these")
    site.browser.wait_for("Comparing 4 runs", "Drag along an axis", deadline=60)
    # By keys: each step moves the lower end.
    site.browser.evaluate(
        "(e => { e.focus(); for (let i = 0; i < 2; i++) e.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp', bubbles: true})); })"
        "(document.querySelector('[data-axis=\"metrics.accuracy\"]'))"
    )
    site.browser.wait_for("3 of 4 runs pass", deadline=60)
    site.click("Clear the marks")
    site.browser.wait_for("Drag along an axis", deadline=60)


BIG = 100_000


@pytest.fixture(scope="module")
def big(site, tmp_path_factory):
    """A platform of its own with an experiment of 100,000 runs, written into its database from outside."""
    folder = tmp_path_factory.mktemp("dashboard-big")
    with harness.launch_platform(folder) as platform:
        base = platform.tracking_url + "/api/2.0/mlflow/"
        experiment = ask(base + "experiments/create", "POST", {"name": "big"})["experiment_id"]
        ids = [f"{i:032x}" for i in range(BIG)]
        with contextlib.closing(sqlite3.connect(folder / "millrace.db", timeout=60)) as db, db:
            db.executemany(
                "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
                " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
                " VALUES (?, ?, 'LOCAL', '', '', 'ann', 'FINISHED', ?, ?, '', 'active', '', ?)",
                ((r, f"run-{i}", 10**12 + i, 10**12 + i + 500, int(experiment)) for i, r in enumerate(ids)),
            )
            db.executemany(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('loss', ?, 1, 0, 0, ?)",
                ((i * 7919 % BIG, r) for i, r in enumerate(ids)),
            )
            db.executemany(
                "INSERT INTO params (key, value, run_uuid) VALUES ('depth', ?, ?)",
                ((str(i % 9), r) for i, r in enumerate(ids)),
            )
        yield platform, experiment


def test_a_hundred_thousand_runs(site, big):
    platform, experiment = big
    browser = site.browser
    names = "[...document.querySelectorAll('.runs .row-link')].map(e => e.innerText)"
    browser.open(f"{platform.gateway_url}/experiments/{experiment}")
    browser.wait_for(f"run-{BIG - 1}", "200 runs so far", deadline=60)
    assert browser.evaluate("document.querySelectorAll('.runs tbody tr').length") < 100
    # The largest loss first: 7919 and 100,000 have no common factor, so that each value is there once.
    site.click("loss")
    largest = next(i for i in range(BIG) if i * 7919 % BIG == BIG - 1)
    site.until(f"{names}[0] === 'run-{largest}'", "sorted by loss")
    browser.evaluate("void (b => { b.scrollTop = b.scrollHeight; })(document.querySelector('.runs'))")
    browser.wait_for("400 runs so far", deadline=60)
    browser.open(f"{platform.gateway_url}/experiments/{experiment}?filter=metrics.loss%20%3C%203")
    browser.wait_for("3 runs", deadline=60)
    browser.open(f"{platform.gateway_url}/experiments/{experiment}?group=params.depth&gorder=value%20ASC")
    browser.wait_for("9 groups", "loss, mean", deadline=60)
    rows = group_rows(site)
    assert [r[0] for r in rows] == [str(d) for d in range(9)]
    assert [int(r[1].replace(",", "")) for r in rows] == [len(range(d, BIG, 9)) for d in range(9)]
    for d, row in enumerate(rows):
        values = [i * 7919 % BIG for i in range(d, BIG, 9)]
        shown = float(row[3].split("\n")[0].replace(",", ""))
        assert shown == pytest.approx(sum(values) / len(values), rel=1e-4)
    site.check("hundred-thousand-groups")
