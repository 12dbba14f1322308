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
        "runs-filtered": (f"{experiment}/runs?searchFilter=params.timber+%3D+%22oak%22", ["overshot", "1 matching run"]),
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
        "run-artifact-picture": (f"{run}/artifacts/pictures/wheel.png", ["pictures/wheel.png", "wheel.png"]),
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


@pytest.mark.parametrize("name", PAGES)
def test_page(up_site, name):
    fragment, texts = pages(up_site.content)[name]
    up_site.open(fragment)
    up_site.check(*texts, shot=name)


@pytest.mark.binary
@pytest.mark.parametrize("name", PAGES)
def test_page_below_a_prefix(prefixed_site, name):
    """Followed from page to page in the running application, as a reader does who clicks on."""
    browser = prefixed_site.browser
    if not browser.shows(prefixed_site.url):
        prefixed_site.open("#/settings", "Settings")
        browser.wait_quiet()
    fragment, texts = pages(prefixed_site.content)[name]
    if name.startswith("run-artifact"):
        # The open tree of artifacts does not look at the address any more.
        browser.open(f"{prefixed_site.url}/{fragment}")
    else:
        browser.follow(fragment)
    prefixed_site.check(*texts, shot=name)


def test_a_picture_is_drawn(up_site):
    c = up_site.content
    up_site.open(f"#/experiments/{c.experiment_id}/runs/{c.parent}/artifacts/pictures/wheel.png", "pictures/wheel.png")
    drawn = "[...document.images].some(i => i.complete && i.naturalWidth === 60 && i.naturalHeight === 40)"
    up_site.browser.wait_until(drawn, "no picture of 60 x 40 points")
    up_site.check(shot="picture")


def test_the_signature_unfolds(up_site):
    c = up_site.content
    up_site.open(f"#/models/{c.model}/versions/2")
    up_site.browser.click("Inputs (2)")
    up_site.check("flow", "head", "double", shot="signature")


def test_a_file_of_a_logged_model_is_previewed(up_site):
    c = up_site.content
    up_site.open(f"#/experiments/{c.experiment_id}/models/{c.model_id}/artifacts", "MLmodel")
    up_site.browser.click("MLmodel")
    up_site.check("loader_module: mlflow.sklearn", c.model_id, shot="logged-model-file")


def test_an_unknown_experiment_is_said_to_be_unknown(up_site):
    """What the server says about the fault reaches the reader."""
    up_site.open("#/experiments/987654321/runs", "No Experiment with id=987654321 exists")
    up_site.browser.wait_quiet()
    assert [e for e in up_site.failed_requests() if e.status >= 500] == []
