"""axe-core on every page: no serious finding."""

import harness
import pytest

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
        "definition": (f"/pipelines/definitions/{c.pipeline_id}", "each depth"),
        "experiments": ("/experiments", c.experiment),
        "experiment": (f"/experiments/{c.experiment_id}", "trial-7"),
        "compare": (compare, "Comparing 4 runs"),
        "parallel": (compare + "&tab=parallel", "optimizer"),
        "tracked": (run, "trial-7"),
        "metrics": (run + "?tab=metrics", "loss"),
        "artifacts": (run + "?tab=artifacts&file=notes.md", "item one"),
        "models": ("/models", c.model),
        "model": (f"/models/{c.model}", "@champion"),
        "endpoints": ("/endpoints", "Endpoints"),
        "objects": ("/objects", "mlpipeline"),
        "bucket": ("/objects/mlflow-artifacts", "mlflow-artifacts"),
        "resources": ("/resources", "ConfigMap"),
        "kind": ("/resources/core/v1/services", "minio"),
        "object": ("/resources/core/v1/services/kubeflow/mlflow", "Uid"),
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding(site, theme):
    if not AXE.exists():
        pytest.skip("axe-core is not installed beside the build")
    script = AXE.read_text()
    found = {}
    try:
        site.dark(theme == "dark")
        every = pages(site.content)
        # Of the dark theme the colours are new, and a few pages have all of them.
        for name in every if theme == "light" else ("home", "run", "experiment"):
            path, text = every[name]
            site.open(path, text)
            site.until("!document.querySelector('.skeleton')", "everything is loaded")
            site.browser.evaluate(script + "; void 0")
            serious = site.browser.evaluate(
                "axe.run(document, {resultTypes: ['violations'], preload: false}).then(r => r.violations"
                ".filter(v => v.impact === 'serious' || v.impact === 'critical')"
                ".map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(' | ')}`))"
            )
            if serious:
                found[name] = serious
    finally:
        site.dark(False)
    assert found == {}
