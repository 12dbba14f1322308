"""Each page of the dashboard by its address: it shows what the APIs say."""

import concurrent.futures
import json

from .conftest import ask
from .content import HOSTILE


def test_home(site):
    c = site.content
    overview = site.api("/dashboard/api/v1/overview")
    counts = overview["counts"]
    base = site.platform.tracking_url + "/api/2.0/mlflow/"
    assert counts["experiments"] == len(ask(base + "experiments/search?max_results=1000")["experiments"])
    assert counts["models"] == len(ask(base + "registered-models/search")["registered_models"])
    assert counts["pipeline_runs"] == site.api("/apis/v2beta1/runs")["total_size"]
    assert counts["runs_failed_today"] >= 1
    assert overview["errors"] == {}
    shown = site.open("/", f"nightly-{c.suffix}", f"breaks-{c.suffix}", "trial-7", c.model, "failed in 24 h")
    # Markup in a name is text.
    assert HOSTILE[:40] in shown
    assert "Namespace" in shown
    site.check("home")


def test_search_is_one_keystroke_away(site):
    c = site.content
    site.open("/", "trial-7")
    site.browser.evaluate("dispatchEvent(new KeyboardEvent('keydown', {key: 'k', ctrlKey: true}))")
    site.type("dialog.search input", f"nightly-{c.suffix}")
    site.until(
        "[...document.querySelectorAll('#found .found-kind')].some(e => e.innerText === 'Pipeline run')", "found"
    )
    site.browser.evaluate(
        "document.querySelector('dialog.search input').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))"
    )
    site.browser.wait_for("Timeline", deadline=60)
    assert site.browser.evaluate("location.pathname") == f"/pipelines/runs/{c.pipeline_run}"
    for kind in ("Run", "Model", "Experiment", "Pipeline"):
        words = {"Run": "trial-3", "Model": c.model, "Experiment": c.experiment, "Pipeline": "churn-training"}[kind]
        found = site.api(f"/dashboard/api/v1/search?q={words}")
        assert kind in {i["kind"] for i in found["items"]}, (words, found)
        assert found["errors"] == {}


def test_graph_of_a_run(site):
    c = site.content
    tasks = site.api(f"/apis/v2beta1/runs/{c.pipeline_run}/tasks")["tasks"]
    states = {t["more"]["path"]: t["state"] for t in tasks if t["more"].get("path")}
    site.open(f"/pipelines/runs/{c.pipeline_run}", f"nightly-{c.suffix}", "split", "each depth", "good enough", "inner")
    site.until("document.querySelectorAll('[data-path]').length >= 8", "the graph is drawn")
    drawn = dict(
        site.browser.evaluate(
            "[...document.querySelectorAll('[data-path]')].map(e => [e.dataset.path, e.dataset.state])"
        )
    )
    # What was skipped has no tasks of its own below it, and is drawn as skipped.
    for path, state in drawn.items():
        assert state == states.get(path, "SKIPPED"), path
    loop = next(p for p in drawn if p.startswith("for-loop") and "/" not in p)
    assert f"{loop}/0/train" in drawn
    assert "SKIPPED" in drawn.values()
    # The next iteration of the loop.
    site.browser.evaluate(
        "document.querySelectorAll('.turns [role=button]')[1].dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    site.until(f"document.querySelector('[data-path=\"{loop}/1/train\"]')", "the second iteration is drawn")
    site.check("run-graph")


def test_a_step_has_its_log_and_what_went_in_and_out(site):
    c = site.content
    site.open(f"/pipelines/runs/{c.pipeline_run}?task=split", "splitting 250 rows")
    site.check("run-step-log")
    tasks = site.api(f"/apis/v2beta1/runs/{c.pipeline_run}/tasks")["tasks"]
    path = next(t["more"]["path"] for t in tasks if t["more"].get("path", "").endswith("0/train"))
    site.open(
        f"/pipelines/runs/{c.pipeline_run}?task={path}&step=io", "depth", "2", "score", "Metrics", "accuracy", "0.82"
    )
    site.check("run-step-io")


def test_timeline_artifacts_and_details(site):
    c = site.content
    site.open(f"/pipelines/runs/{c.pipeline_run}?tab=timeline", "split", "inner/pick")
    site.check("run-timeline")
    site.open(f"/pipelines/runs/{c.pipeline_run}?tab=outputs", "score", "accuracy")
    site.check("run-artifacts")
    site.open(f"/pipelines/runs/{c.pipeline_run}?tab=details", c.pipeline_run, "rows", "250")
    site.check("run-details")


def test_a_failure_says_why(site):
    site.open(f"/pipelines/runs/{site.content.failed_run}", "The run failed", "the oven is cold", "Retry")
    site.check("run-failed")


def test_lists_of_pipelines(site):
    c = site.content
    site.open("/pipelines", f"nightly-{c.suffix}", f"breaks-{c.suffix}", "in all")
    site.open(f"/pipelines?q=-{c.suffix}&state=FAILED", f"breaks-{c.suffix}", "1 in all")
    assert f"nightly-{c.suffix}" not in site.browser.text()
    site.check("runs")
    site.open("/pipelines?tab=definitions", f"churn-training-{c.suffix}")
    site.check("definitions")
    site.open(f"/pipelines/definitions/{c.pipeline_id}", "each depth", "Trains, compares and publishes")
    site.check("definition")
    site.open("/pipelines?tab=recurring", f"yearly-{c.suffix}", "0 0 0 1 1 *", "Enabled")


def test_run_table(site):
    c = site.content
    site.open(f"/experiments/{c.experiment_id}", c.experiment, "trial-0", "trial-7", "9 runs", "NaN", "∞")
    site.check("runs-table")
    site.open(f"/experiments/{c.experiment_id}?filter=metrics.accuracy%20%3E%200.85", "trial-7", "2 runs")
    assert "trial-3" not in site.browser.text()
    # By a click on a column's head: the smallest accuracy, then the largest first.
    site.open(f"/experiments/{c.experiment_id}?order=metrics.%60accuracy%60%20ASC", "trial-0")
    names = "[...document.querySelectorAll('.runs tbody .row-link')].map(e => e.innerText)"
    site.until(f"{names}[0] === 'trial-0'", "sorted upwards")
    site.click("depth")
    site.until("location.search.includes('params.%60depth%60') || location.search.includes('depth')", "sorted by depth")


def test_a_long_table_is_asked_for_as_it_is_scrolled(site):
    """More runs than a page of the server's answers, of which the browser holds a screenful."""
    base = site.platform.tracking_url + "/api/2.0/mlflow/"
    long = ask(base + "experiments/create", "POST", {"name": f"long-{site.content.suffix}"})["experiment_id"]

    def make(i):
        ask(base + "runs/create", "POST", {"experiment_id": long, "run_name": f"run-{i:03}", "start_time": 1000 + i})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(450)))
    site.open(f"/experiments/{long}", "run-449", "200 runs so far")
    for expected in ("400 runs so far", "450 runs"):
        # Further down, until what comes next is there.
        site.until(
            "(b => { b.scrollTop = b.scrollHeight; return document.querySelector('.pager').innerText.includes("
            f"{json.dumps(expected)}); }})(document.querySelector('.runs'))",
            expected,
        )
    site.until("document.querySelector('.runs').innerText.includes('run-000')", "the last run is there")
    assert site.browser.evaluate("document.querySelectorAll('.runs tbody tr').length") < 100
    ask(base + "experiments/delete", "POST", {"experiment_id": long})


def test_the_filter_completes_itself(site):
    c = site.content
    site.open(f"/experiments/{c.experiment_id}", "trial-7")
    site.type(".filter input", "opt")
    site.browser.wait_for("params.optimizer", deadline=60)
    site.press("#filter-items [role=option]")
    # The option is taken by the mouse going down, as in a menu.
    site.browser.evaluate(
        "document.querySelector('#filter-items [role=option]')"
        "?.dispatchEvent(new MouseEvent('mousedown', {bubbles: true, cancelable: true}))"
    )
    site.until("document.querySelector('.filter input').value.startsWith('params.optimizer ')", "completed")
    site.type(".filter input", "params.optimizer = 'sgd'")
    site.browser.evaluate(
        "document.querySelector('.filter input').dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))"
    )
    site.browser.evaluate(
        "document.querySelector('.filter input').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))"
    )
    site.browser.wait_for("4 runs", deadline=60)
    site.check("runs-filtered")


def test_a_filter_that_is_wrong_says_so(site):
    site.open(f"/experiments/{site.content.experiment_id}?filter=metrics.loss%20is%20small", "That did not work")
    assert "Invalid" in site.browser.text()


def test_comparing_runs(site):
    c = site.content
    base = f"/experiments/{c.experiment_id}/compare?runs={','.join([*c.runs, c.odd])}"
    site.open(base, "Comparing 9 runs", "learning_rate", "trial-3", "NaN")
    site.check("compare-table")
    site.open(base + "&tab=parallel", "depth")
    site.until("document.querySelectorAll('.plot-line').length === 9", "nine lines are drawn")
    site.check("compare-parallel")
    site.open(base + "&tab=scatter&x=params.depth&y=metrics.accuracy", "1 runs have no number there.")
    site.until("document.querySelectorAll('.plot-dot').length === 8", "eight dots are drawn")
    site.check("compare-scatter")
    site.open(base + "&tab=curves&metric=loss", "trial-3")
    site.until("document.querySelector('.uplot canvas')", "curves are drawn")
    site.check("compare-curves")


def test_run_of_an_experiment(site):
    c = site.content
    base = f"/experiments/{c.experiment_id}/runs/{c.best}"
    site.open(base, "trial-7", "0.91", "2.187", "sgd", c.best, "age double")
    site.check("tracked-run")
    site.open(base + "?tab=metrics", "accuracy", "loss")
    site.until("document.querySelectorAll('.uplot canvas').length === 2", "both metrics are drawn")
    site.check("tracked-metrics")
    odd = site.open(f"/experiments/{c.experiment_id}/runs/{c.odd}", "NaN", "∞", "all 5,000 characters")
    assert HOSTILE in odd
    site.check("tracked-odd")


def test_artifacts_are_previewed(site):
    c = site.content
    base = f"/experiments/{c.experiment_id}/runs/{c.best}?tab=artifacts&file="
    site.open(base + "notes.md", "The best trial so far.", "item one")
    site.until("document.querySelector('.markdown strong')?.innerText === 'best'", "notes are set")
    site.open(base + "report.json", '"threshold": 0.5')
    site.open(base + "weights.csv", "feature", "balance", "-0.12")
    site.check("artifact-table")
    site.open(base + "picture.png", "picture.png")
    site.until("[...document.images].some(i => i.complete && i.naturalWidth === 60)", "the picture is drawn")
    site.open(base + "missing.txt", "missing.txt")
    site.until("document.querySelector('.browse [role=status]')?.innerText.length > 5", "a missing file is said to be")


def test_stored_pages_run_in_a_box(site):
    c = site.content
    site.open(f"/experiments/{c.experiment_id}/runs/{c.best}?tab=artifacts&file=report.html", "report.html")
    site.until("document.querySelector('iframe[sandbox]')", "the page is shown")
    # Its script runs, and has no way to this page: see Site.check.
    assert site.browser.evaluate("document.querySelector('iframe').getAttribute('sandbox')") == "allow-scripts"
    site.until("document.querySelector('iframe').contentDocument === null", "the frame is of another origin")
    site.check("artifact-page")


def test_models(site):
    c = site.content
    site.open("/models", c.model, "v1", "@champion")
    site.check("models")
    site.open(f"/models/{c.model}", "v1", "@champion", "trial-7")
    site.check("model")
    site.open(f"/models/{c.model}?tab=side", "accuracy", "0.91", "learning_rate")
    site.open(f"/models/{c.model}?tab=lineage", "trial-7", "Endpoints")
    site.check("lineage")


def test_objects(site):
    buckets = "mlflow-artifacts"
    site.open("/objects", buckets, "mlpipeline")
    site.check("buckets")
    c = site.content
    site.open(f"/objects/{buckets}/{c.experiment_id}/{c.best}/artifacts", "notes.md", "59 B")
    site.click("report.json")
    site.browser.wait_for('"threshold": 0.5', deadline=60)
    site.check("objects")


def test_resources(site):
    site.open("/resources", "ConfigMap", "InferenceService", "VirtualService")
    site.check("kinds")
    site.open("/resources/core/v1/services?q=minio", "minio", "kubeflow")
    site.check("services")
    site.open("/resources/core/v1/secrets", "values are for kubectl")
    site.open("/resources/core/v1/services/kubeflow/mlflow?tab=yaml", "YAML")
    site.until("document.querySelector('.yaml')?.value?.includes('kind: Service')", "the object is shown as YAML")
    assert "managedFields" not in site.yaml()
    site.check("yaml")


def test_an_address_without_a_page_says_so(site):
    site.open("/models/a/b/c", "There is no page at this address")
    site.open("/pipelines/runs/no-such-run", "It is not there")
    site.open("/endpoints/default/none", "It is not there", "not found")


def test_phone_and_dark(site):
    c = site.content
    try:
        site.width(390, 844)
        for name, path in (("home", "/"), ("run", f"/pipelines/runs/{c.pipeline_run}"), ("runs", "/pipelines")):
            site.open(path, "nightly-" + c.suffix)
            site.check(f"phone-{name}")
        site.press("[aria-label=Menu]")
        site.until("getComputedStyle(document.querySelector('.side')).visibility === 'visible'", "the menu opens")
    finally:
        site.width(1400)
    try:
        site.dark(True)
        site.open("/", "trial-7")
        site.check("dark-home")
        ground = site.browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert json.loads(ground.replace("rgb(", "[").replace(")", "]"))[0] < 60
    finally:
        site.dark(False)
