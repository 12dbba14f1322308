"""Work done in the dashboard arrives at the APIs, and what happens elsewhere shows by itself."""

import json
import urllib.error

import harness
import pytest

from .conftest import NAMESPACE, ask
from .content import SERVICES, service, wait_for_run

MENU = {"type": "item", "link": "/mlflow/#", "text": "MLflow", "icon": "icons:cached"}


def test_a_run_is_started_and_cloned(site):
    c = site.content
    site.open(f"/pipelines?new=run&pipeline={c.pipeline_id}", "Start a run", "rows", "least")
    site.until("document.querySelectorAll('dialog .field input').length >= 3", "the form has the parameters")
    site.type("dialog .field:nth-of-type(3) input", f"by hand {c.suffix}")
    # Parameters stand in the order of their names: least, rows.
    site.type("dialog .field:nth-of-type(5) input", "77")
    site.click("Start")
    site.until("location.pathname.startsWith('/pipelines/runs/')", "the new run is opened")
    run_id = site.browser.evaluate("location.pathname").rsplit("/", 1)[1]
    run = wait_for_run(site.platform, run_id)
    assert (run["state"], run["display_name"]) == ("SUCCEEDED", f"by hand {c.suffix}")
    assert run["runtime_config"]["parameters"] == {"least": 0.7, "rows": 77}
    # The end of the run shows without loading the page again.
    site.until("document.querySelector('.head .status')?.innerText.trim() === 'Succeeded'", "the run's end shows")
    site.browser.wait_for("cached", deadline=60)
    site.click("Clone")
    site.browser.wait_for("Run it again", deadline=60)
    site.until(
        "document.querySelectorAll('dialog .field input')[2]?.value === '77'", "the parameters are those of the run"
    )


def test_what_is_logged_elsewhere_shows_by_itself(site):
    c = site.content
    site.open(f"/experiments/{c.experiment_id}", "9 runs")
    base = site.platform.tracking_url + "/api/2.0/mlflow/runs/"
    made = ask(base + "create", "POST", {"experiment_id": c.experiment_id, "run_name": "late", "start_time": 1})
    site.browser.wait_for("10 runs", deadline=60)
    ask(base + "delete", "POST", {"run_id": made["run"]["info"]["run_id"]})
    site.browser.wait_for("9 runs", deadline=60)


def test_a_model_is_deployed_and_tried(site):
    c = site.content
    site.open(f"/models/{c.model}", "@champion")
    site.click("Deploy")
    site.browser.wait_for("Name of the endpoint", deadline=60)
    site.type("dialog input[pattern]", "tried")
    site.press("dialog button[type=submit]")
    site.until(f"location.pathname === '/endpoints/{NAMESPACE}/tried'", "the endpoint is opened")
    site.until("document.querySelector('.head .status')?.innerText.trim() === 'Ready'", "the endpoint is ready")
    where = f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices/tried"
    made = site.api("/dashboard/kube" + where)
    assert made["spec"]["predictor"]["model"]["storageUri"] == f"models:/{c.model}/1"
    site.browser.wait_for("tried-predictor-00001", "100 %", deadline=60)
    site.check("endpoint")
    site.click("Try it")
    site.until("document.querySelectorAll('.try input').length === 2", "the form is made of the signature")
    # What was logged with the model as an example stands there at first.
    site.browser.wait_for("from the model's input example", deadline=60)
    filled = site.browser.evaluate("[...document.querySelectorAll('.try input')].map(e => e.value)")
    assert filled == ["20, 30", "1, 0.5"]
    site.type(".try .field:nth-child(1) input", "20, 50")
    site.type(".try .field:nth-child(2) input", "1, 3")
    site.click("Send")
    site.browser.wait_for('"output-', deadline=60)
    body = {
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [2, 1], "data": [20, 50]},
            {"name": "balance", "datatype": "FP64", "shape": [2, 1], "data": [1, 3]},
        ]
    }
    told = site.api(f"/serving/{NAMESPACE}/tried/v2/models/tried/infer", method="POST", body=body)
    shown = json.loads(site.browser.evaluate("document.querySelector('pre[aria-label=Answer]').innerText"))
    assert shown["outputs"] == told["outputs"]
    site.check("endpoint-try")
    for tab, text in (("Details", "PredictorReady"), ("Logs", "INFO"), ("Events", "tried")):
        site.click(tab)
        site.browser.wait_for(text, deadline=60)
    site.check("endpoint-events")
    site.click("YAML")
    site.until("document.querySelector('.yaml')?.value?.includes('storageUri')", "the object is shown as YAML")
    site.open("/endpoints", "tried", "Ready")
    site.check("endpoints")
    site.open(f"/models/{c.model}?tab=lineage", "tried")


def test_an_object_is_edited_after_a_dry_run(site):
    where = "/dashboard/kube/api/v1/namespaces/default/configmaps"
    site.api(where, method="POST", body={"metadata": {"name": "edited"}, "data": {"key": "before"}})
    site.open("/resources/core/v1/configmaps/default/edited?tab=yaml", "YAML")
    site.until("document.querySelector('.yaml')?.value?.includes('key: before')", "the object is shown")
    text = site.yaml()
    # What the server refuses stands at its line: beside the text, and in it.
    site.write_yaml(text.replace("key: before", "key: after\nunknown: 1"))
    site.click("Check with the server")
    line = text[: text.index("key: before")].count("\n") + 2
    site.browser.wait_for("The server would not take this", f"Line {line}: unknown field unknown", deadline=60)
    marked = "document.querySelector('.yaml').shadowRoot.querySelector('.cm-lintRange-error')"
    site.until(f"{marked}?.innerText === 'unknown: 1'", "the line is marked")
    site.write_yaml("kind: ConfigMap\nmetadata:\n  name: edited\n torn\n")
    site.click("Check with the server")
    site.browser.wait_for("The server would not take this", "Line ", deadline=60)
    site.until("!document.querySelector('.trouble').innerText.includes('unknown')", "it is the new refusal")
    site.write_yaml(text.replace("key: before", "key: after"))
    site.click("Check with the server")
    site.browser.wait_for("The server would take this.", deadline=60)
    assert site.api(where + "/edited")["data"] == {"key": "before"}
    site.click("Save")
    site.browser.wait_for("Saved.", deadline=60)
    assert site.api(where + "/edited")["data"] == {"key": "after"}
    # The editor has what the server has now, and nothing to save.
    site.until("document.querySelector('.yaml').value.includes('key: after')", "the new text is shown")
    save = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'Save')"
    site.until(f"{save}.disabled", "there is nothing to save")
    assert "key: after" in site.yaml()


def test_yaml_completes_itself_by_the_servers_schema(site):
    site.open("/resources?apply=1", "Apply YAML")
    site.write_yaml("apiVersion: v1\nkind: Service\nspec:\n  externalTr")
    site.until("document.querySelector('.yaml').shadowRoot.activeElement", "the editor has the focus")
    shown = "document.querySelector('.yaml').shadowRoot.querySelector('.cm-tooltip-autocomplete')?.innerText ?? ''"
    for kind in ("keyDown", "keyUp"):
        site.browser._call(
            "Input.dispatchKeyEvent", type=kind, key=" ", code="Space", windowsVirtualKeyCode=32, modifiers=2
        )
    site.until(f"({shown}).includes('externalTrafficPolicy')", "the field is offered")
    assert "externalIPs" not in site.browser.evaluate(shown)
    # A key that opens the search elsewhere is a letter here.
    site.write_yaml("apiVersion: apps")
    site.browser._call("Input.dispatchKeyEvent", type="keyDown", key="/", code="Slash", text="/")
    site.browser._call("Input.dispatchKeyEvent", type="keyUp", key="/", code="Slash")
    site.until("document.querySelector('.yaml').value === 'apiVersion: apps/'", "a slash is written")


def test_a_file_is_stored(site):
    site.open("/objects/mlpipeline", "mlpipeline")
    site.browser.evaluate(
        "(() => { const t = new DataTransfer(); t.items.add(new File(['stored by hand'], 'hand.txt', {type: 'text/plain'}));"
        " const i = document.querySelector('input[type=file]'); i.files = t.files;"
        " i.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    site.browser.wait_for("hand.txt", deadline=60)
    site.click("hand.txt")
    site.browser.wait_for("stored by hand", deadline=60)
    site.check("object-stored")


def test_the_menu_of_the_real_dashboard_is_read(site):
    """The seed's entry, put where Kubeflow's own dashboard reads it."""
    shared = harness.shared_dir() / "data" / "seed-manifests" / "05-dashboard-menu-item.json"
    entry = json.loads(shared.read_text()) if shared.exists() else MENU
    where = "/dashboard/kube/api/v1/namespaces/kubeflow/configmaps/centraldashboard-config"
    links = json.loads(site.api(where)["data"]["links"])
    links["menuLinks"] = [*links.get("menuLinks", []), entry]
    patch = json.dumps({"data": {"links": json.dumps(links)}}).encode()
    site.open("/", "Namespace")
    site.api(where, method="PATCH", body=patch, kind="application/merge-patch+json")
    site.until(
        "[...document.querySelectorAll('.side a')].some(a => a.innerText.trim() === 'MLflow')", "the entry shows"
    )
    link = "[...document.querySelectorAll('.side a')].find(a => a.innerText.trim() === 'MLflow')"
    assert site.browser.evaluate(f"{link}.getAttribute('href')") == "/mlflow/#"


def test_a_server_that_stops_is_missed(site, tmp_path):
    """Another platform, which is stopped and continued: the page says so, and goes on by itself."""
    with harness.launch_platform(tmp_path) as platform:
        site.browser.open(platform.gateway_url + "/")
        site.browser.wait_for("No pipeline has run yet", "No model is served yet", deadline=60)
        platform.proc.kill()
        site.browser.wait_for("The server does not answer", deadline=60)
        args = platform.proc.args
        with harness.launch(args[1:], platform.gateway_url + "/readyz"):
            site.until("!document.querySelector('.gone')", "the page goes on")


def test_a_pipeline_runs_by_the_clock(site):
    c = site.content
    site.open(f"/pipelines?new=run&pipeline={c.pipeline_id}", "Start a run", "rows")
    site.until("document.querySelectorAll('dialog .field input').length >= 3", "the form has the parameters")
    site.type("dialog .field:nth-of-type(3) input", f"by clock {c.suffix}")
    site.browser.evaluate(
        "(e => { e.value = 'cron'; e.dispatchEvent(new Event('change', {bubbles: true})); })"
        "([...document.querySelectorAll('dialog select')].at(-1))"
    )
    site.type("dialog input.mono", "0 0 0 32 * *")
    site.until("document.querySelector('dialog [role=status]')?.innerText.includes('32')", "what is wrong is said")
    # Once a year: it does not come while the test runs, unless it runs at the turn of a year.
    site.type("dialog input.mono", "0 0 0 1 1 *")
    site.until("document.querySelector('dialog [role=status]')?.innerText.startsWith('Next: ')", "the times show")
    site.click("Schedule")
    site.until("location.pathname.startsWith('/pipelines/recurring/')", "the recurring run is opened")
    recurring = site.browser.evaluate("location.pathname").rsplit("/", 1)[1]
    site.browser.wait_for(f"by clock {c.suffix}", "0 0 0 1 1 *", "Next runs", "Runs that it made", deadline=60)
    times = site.api(f"/dashboard/api/v1/schedule?id={recurring}")["times"]
    assert len(times) == 5
    years = site.browser.evaluate(f"{json.dumps(times)}.map(t => new Date(t).toISOString().slice(4, 19))")
    assert years == ["-01-01T00:00:00"] * 5
    # Loaded anew: what was refused while the form was filled in is no fault of this page.
    site.open(f"/pipelines/recurring/{recurring}", f"by clock {c.suffix}")
    site.until("document.querySelectorAll('.list li').length === 5", "the next runs show")
    site.check("recurring")
    where = f"/apis/v2beta1/recurringruns/{recurring}"
    site.click("Pause")
    site.browser.wait_for("None while it is paused.", deadline=60)
    assert site.api(where)["status"] == "DISABLED"
    site.click("Go on")
    site.until("document.querySelectorAll('.list li').length === 5", "the next runs show again")
    assert site.api(where)["status"] == "ENABLED"
    site.open("/pipelines?tab=recurring", f"by clock {c.suffix}", "Pause")
    site.check("recurring-list")
    site.open(f"/pipelines/recurring/{recurring}", "Delete")
    site.click("Delete")
    site.press("dialog .button.danger")
    site.until("location.search === '?tab=recurring'", "the list is opened")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        site.api(where)


def test_a_schedule_that_makes_no_sense_has_no_times(site):
    for query, status in (("cron=nonsense", 400), ("id=none", 404)):
        with pytest.raises(urllib.error.HTTPError, match=str(status)):
            site.api(f"/dashboard/api/v1/schedule?{query}")
    assert len(site.api("/dashboard/api/v1/schedule?cron=0%20*%20*%20*%20*%20*")["times"]) == 5


def test_a_canary_is_raised_and_rolled_back(site):
    c = site.content
    base = site.platform.tracking_url + "/api/2.0/mlflow/"
    model = f"canary-{c.suffix}"
    source = ask(base + f"model-versions/get?name={c.model}&version=1")["model_version"]["source"]
    ask(base + "registered-models/create", "POST", {"name": model})
    for _ in range(2):
        ask(
            base + "model-versions/create",
            "POST",
            {"name": model, "source": source, "model_id": source.removeprefix("models:/")},
        )
    where = SERVICES
    site.api(where, method="POST", body=service(model, f"models:/{model}/1"))
    site.open(f"/endpoints/{NAMESPACE}/{model}", f"{model}-predictor-00001", "100 %")
    assert "Roll back" not in site.browser.text()
    # The next version, as a canary.
    site.open(f"/models/{model}?deploy=2", "Name of the endpoint")
    site.type("dialog input[pattern]", model)
    site.browser.evaluate(
        "(e => { e.value = '10'; e.dispatchEvent(new Event('change', {bubbles: true})); })"
        "([...document.querySelectorAll('dialog select')].at(-1))"
    )
    site.press("dialog button[type=submit]")
    site.until(f"location.pathname === '/endpoints/{NAMESPACE}/{model}'", "the endpoint is opened")
    shares = "[...document.querySelectorAll('.list li')].map(e => e.innerText.replace(/\\s+/g, ' ')).join('; ')"

    def split(percent, *texts):
        site.until(f"{json.dumps(texts)}.every(t => ({shares}).includes(t))", f"{texts} shows")
        told = site.api(f"{where}/{model}")
        assert told["spec"]["predictor"].get("canaryTrafficPercent") == percent
        return {t["revisionName"][-1]: t["percent"] for t in told["status"]["components"]["predictor"]["traffic"]}

    first, second = f"{model}-predictor-00001", f"{model}-predictor-00002"
    assert split(10, f"10 % {second}", f"90 % {first}") == {"2": 10, "1": 90}
    site.check("canary")
    site.click("50 % to the latest")
    assert split(50, f"50 % {second}", f"50 % {first}") == {"2": 50, "1": 50}
    site.click("Roll back")
    assert split(0, f"100 % {first}").get("1") == 100
    site.click("All to the latest")
    assert split(None, f"100 % {second}").get("2") == 100
    site.click("Delete")
    site.press("dialog .button.danger")
    site.until("location.pathname === '/endpoints'", "the list is opened")
