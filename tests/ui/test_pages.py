"""Every page of MLflow's web UI that shows tracked work, in a browser, on a server that was filled by the real client."""

import json

import pytest

from .content import NOTE_LINES, Content


def pages(c: Content):
    """name -> (address behind the #, what it must show)."""
    experiment = f"#/experiments/{c.experiment_id}"
    run = f"{experiment}/runs/{c.parent}"
    model = f"#/models/{c.model}"
    logged = f"{experiment}/models/{c.model_id}"
    both = f"runs={json.dumps([c.parent, c.second])}&experiments={json.dumps([c.experiment_id])}"
    return {
        "home": ("#/", ["Recent Experiments", c.experiment, c.other_experiment]),
        "experiments": ("#/experiments", [c.experiment, c.other_experiment, "place", "downstream"]),
        "experiment-overview": (f"{experiment}/overview", [c.experiment, "Send your first trace"]),
        "experiment-traces": (f"{experiment}/traces", [c.experiment, "Start tracing"]),
        "experiment-datasets": (f"{experiment}/datasets", [c.experiment, "Create an evaluation dataset"]),
        "runs-table": (
            f"{experiment}/runs",
            ["overshot", "breastshot", "gauge-readings", c.model, "3 matching runs"],
        ),
        "runs-chart": (
            f"{experiment}/runs?compareRunsMode=CHART",
            ["Model metrics", "efficiency", "0.81", "0.91", "r2", "overshot (rmse)", "breastshot (rmse)"],
        ),
        "runs-filtered": (
            f"{experiment}/runs?searchFilter=params.timber+%3D+%22oak%22",
            ["overshot", "1 matching run"],
        ),
        "run": (
            run,
            ["breastshot", "A wheel fed at half height.", "Metrics (3)", "0.8125", "0.9990234375", "Parameters (2)"]
            + ["paddles", "36", "timber", "elm", "Logged models (1)", "regressor", "breastshot-fold", "gauge-readings"]
            + ["miller", "agnes", c.parent, "Finished", c.model],
        ),
        "run-child": (f"{experiment}/runs/{c.child}", ["breastshot-fold", "0.375", "Parent run", "breastshot"]),
        "run-metrics": (f"{run}/model-metrics", ["efficiency", "0.81", "r2", "breastshot (rmse)", "40"]),
        "run-artifact-text": (f"{run}/artifacts/notes/field.txt", ["notes/field.txt", "51B", *NOTE_LINES]),
        "run-artifact-json": (f"{run}/artifacts/settings/sluice.json", ["settings/sluice.json", '"height_mm": 417']),
        "compare": (
            f"#/compare-runs?{both}",
            ["Comparing 2 Runs", "breastshot", "overshot", "36", "48", "elm", "oak", "0.813", "0.906", "0.25", "ulric"],
        ),
        "models": ("#/models", [c.model, "Version 2", "champion"]),
        "model": (
            model,
            ["Predicts the power of a wheel.", "Version 1", "Version 2", "champion", "by-ulric", "Balanced again."],
        ),
        "model-version": (
            f"{model}/versions/2",
            ["Version 2", "Balanced again.", "champion", "reviewed", "by-ulric", "breastshot", "regressor"]
            # Read out of the MLmodel file.
            + ["Inputs (2)", "Outputs (1)"],
        ),
        "logged-models": (f"{experiment}/models", ["regressor", "Ready", "breastshot", c.model]),
        "logged-model": (
            logged,
            ["regressor", c.model_id, "Ready", "0.9990234375", "paddles", "36", "breastshot", c.model],
        ),
        "logged-model-artifacts": (f"{logged}/artifacts", ["MLmodel", "model.skops", "requirements.txt"]),
    }


PAGES = list(pages(Content("")))
# Their requests differ from those of other pages by nothing that a prefix could spoil.
PREFIX_TELLS_NOTHING = {"experiment-traces", "experiment-datasets", "runs-filtered", "run-child", "run-artifact-json"}

BOTH_SITES = ["up_site", pytest.param("prefixed_site", marks=pytest.mark.binary)]


@pytest.fixture
def site(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", PAGES)
def test_page(up_site, name):
    fragment, texts = pages(up_site.content)[name]
    up_site.go(fragment)
    up_site.check(*texts, shot=name)


@pytest.mark.binary
@pytest.mark.parametrize("name", [n for n in PAGES if n not in PREFIX_TELLS_NOTHING])
def test_page_below_a_prefix(prefixed_site, name):
    fragment, texts = pages(prefixed_site.content)[name]
    prefixed_site.go(fragment)
    prefixed_site.check(*texts, shot=name)


@pytest.mark.parametrize("name", ["experiments", "runs-table", "run", "compare", "model-version", "logged-model"])
def test_page_from_outside(up_site, name):
    """By its address alone, with nothing loaded before, as from a link in a mail."""
    fragment, texts = pages(up_site.content)[name]
    up_site.open(fragment)
    up_site.check(*texts, shot=f"{name}-from-outside")


@pytest.mark.parametrize("site", BOTH_SITES, indirect=True)
def test_a_picture_is_drawn(site):
    c = site.content
    site.open(f"#/experiments/{c.experiment_id}/runs/{c.parent}/artifacts/pictures/wheel.png", "pictures/wheel.png")
    drawn = "[...document.images].some(i => i.complete && i.naturalWidth === 60 && i.naturalHeight === 40)"
    site.browser.wait_until(drawn, "a picture of 60 x 40 points is drawn")
    site.check("pictures/wheel.png", shot="run-artifact-picture")


def test_the_signature_unfolds(up_site):
    c = up_site.content
    up_site.open(f"#/models/{c.model}/versions/2")
    up_site.browser.click("Inputs (2)")
    up_site.check("flow", "head", "double", shot="signature")


@pytest.mark.parametrize("site", BOTH_SITES, indirect=True)
def test_a_file_of_a_logged_model_is_previewed(site):
    c = site.content
    site.open(f"#/experiments/{c.experiment_id}/models/{c.model_id}/artifacts", "MLmodel")
    site.browser.click("MLmodel")
    site.check("loader_module: mlflow.sklearn", c.model_id, shot="logged-model-file")


def test_an_unknown_experiment_is_said_to_be_unknown(up_site):
    """What the server says about the fault reaches the reader."""
    up_site.open("#/experiments/987654321/runs", "No Experiment with id=987654321 exists")
    up_site.browser.wait_quiet()
    assert [e for e in up_site.failed_requests() if e.status >= 500] == []
