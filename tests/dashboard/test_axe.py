"""axe-core on every page: no serious finding."""

import harness
import pytest

from .conftest import NAMESPACE

AXE = harness.REPO_ROOT / "build" / "release" / "web" / "node_modules" / "axe-core" / "axe.min.js"


def pages(c):
    run = f"/experiments/{c.experiment_id}/runs/{c.best}"
    compare = f"/experiments/{c.experiment_id}/compare?runs={','.join(c.runs[:4])}"
    return {
        "home": ("/", "trial-7"),
        "runs": ("/pipelines", f"nightly-{c.suffix}"),
        "start": ("/pipelines?new=run", "When"),
        "run": (f"/pipelines/runs/{c.pipeline_run}?task=split", "splitting 250 rows"),
        "timeline": (f"/pipelines/runs/{c.pipeline_run}?tab=timeline", "inner/pick"),
        "recurring": (f"/pipelines/recurring/{c.recurring}", "Next runs"),
        "schedules": ("/pipelines?tab=recurring", f"yearly-{c.suffix}"),
        "definition": (f"/pipelines/definitions/{c.pipeline_id}", "each depth"),
        "experiments": ("/experiments", c.experiment),
        "experiment": (f"/experiments/{c.experiment_id}", "trial-7"),
        "groups": (f"/experiments/{c.experiment_id}?group=params.optimizer", "3 groups"),
        "compare": (compare, "Comparing 4 runs"),
        "parallel": (compare + "&tab=parallel&brush=0.500%201.000%20params.depth", "pass through what is marked"),
        "tracked": (run, "trial-7"),
        "metrics": (run + "?tab=metrics", "loss"),
        "artifacts": (run + "?tab=artifacts&file=notes.md", "item one"),
        "models": ("/models", c.model),
        "model": (f"/models/{c.model}", "@champion"),
        "deploy": (f"/models/{c.model}?deploy=1", "Name of the endpoint"),
        "endpoint": (f"/endpoints/{NAMESPACE}/{c.endpoint}", "Ask it from a shell"),
        "try": (f"/endpoints/{NAMESPACE}/{c.endpoint}?tab=try", "from the model's input example"),
        "endpoints": ("/endpoints", "Endpoints"),
        "objects": ("/objects", "mlpipeline"),
        "bucket": ("/objects/mlflow-artifacts", "mlflow-artifacts"),
        "resources": ("/resources", "ConfigMap"),
        "kind": ("/resources/core/v1/services", "minio"),
        "yaml": ("/resources/core/v1/services/kubeflow/mlflow?tab=yaml", "Check with the server"),
        "apply": ("/resources?apply=1", "Apply YAML"),
        "object": ("/resources/core/v1/services/kubeflow/mlflow", "Uid"),
    }


def test_no_serious_finding(site):
    """In the light on a wide screen, then in the dark on a phone."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed beside the build")
    script = AXE.read_text()
    found = {}
    try:
        for name, (path, text) in pages(site.content).items():
            site.open(path, text)
            site.until("!document.querySelector('.skeleton')", "everything is loaded")
            site.browser.evaluate(script + "; void 0")
            for dark in (False, True):
                site.dark(dark)
                site.width(390 if dark else 1400)
                serious = site.browser.evaluate(
                    "axe.run(document, {resultTypes: ['violations'], preload: false}).then(r => r.violations"
                    ".filter(v => v.impact === 'serious' || v.impact === 'critical')"
                    ".map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(' | ')}`))"
                )
                if serious:
                    found[f"{name}, {'dark' if dark else 'light'}"] = serious
                if site.browser.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    found[f"{name}, {'phone' if dark else 'wide'}"] = "the page scrolls sideways"
            site.dark(False)
            site.width(1400)
    finally:
        site.dark(False)
        site.width(1400)
    assert found == {}
