"""Work done in the dashboard arrives at the APIs, and what happens elsewhere shows by itself."""

import json

import harness

from .conftest import NAMESPACE, ask
from .content import wait_for_run

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
    site.until("document.querySelector('.yaml')?.value.includes('storageUri')", "the object is shown as YAML")
    site.open("/endpoints", "tried", "Ready")
    site.check("endpoints")
    site.open(f"/models/{c.model}?tab=lineage", "tried")


def test_an_object_is_edited_after_a_dry_run(site):
    where = "/dashboard/kube/api/v1/namespaces/default/configmaps"
    site.api(where, method="POST", body={"metadata": {"name": "edited"}, "data": {"key": "before"}})
    site.open("/resources/core/v1/configmaps/default/edited?tab=yaml", "YAML")
    site.until("document.querySelector('.yaml')?.value.includes('key: before')", "the object is shown")
    text = site.browser.evaluate("document.querySelector('.yaml').value")
    site.type(".yaml", text.replace("key: before", "key: after\n  nested: [1]"))
    site.click("Check with the server")
    site.browser.wait_for("That did not work", deadline=60)
    site.type(".yaml", text.replace("key: before", "key: after"))
    site.click("Check with the server")
    site.browser.wait_for("The server would take this.", deadline=60)
    assert site.api(where + "/edited")["data"] == {"key": "before"}
    site.click("Save")
    site.browser.wait_for("Saved.", deadline=60)
    assert site.api(where + "/edited")["data"] == {"key": "after"}


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
