"""Work done in the browser arrives: the requests carry the browser's own headers (Origin, cookies, sec-fetch)."""

import mlflow
import pytest


@pytest.fixture
def client(up_site):
    return mlflow.MlflowClient(up_site.url, up_site.url)


def test_from_home_to_a_run_by_clicks(up_site):
    c = up_site.content
    up_site.open("#/", c.experiment)
    up_site.browser.click(c.experiment)
    up_site.check(c.experiment, "Send your first trace", shot="click-experiment")
    up_site.browser.click("Training runs")
    up_site.browser.click("breastshot")
    up_site.check("A wheel fed at half height.", "0.9990234375", shot="click-run")
    up_site.browser.click("Artifacts")
    up_site.browser.click("notes")
    up_site.browser.click("field.txt")
    up_site.check("the second bearing ran hot on Tuesday", shot="click-artifact")


def test_an_experiment_is_created(up_site, client):
    name = f"pond-{up_site.content.suffix}"
    up_site.open("#/experiments", up_site.content.experiment)
    up_site.browser.click("Create")
    up_site.browser.wait_for("Create Experiment")
    up_site.browser.type_into("[role=dialog] input", name)
    # The name is checked while one types.
    up_site.browser.wait_quiet()
    up_site.browser.click("Create")
    up_site.browser.wait_until("location.hash.includes('/overview')", "the new experiment does not open")
    up_site.check(name, shot="create-experiment")
    made = client.get_experiment_by_name(name)
    assert made.lifecycle_stage == "active"
    assert up_site.browser.evaluate("location.hash").startswith(f"#/experiments/{made.experiment_id}/")


def test_a_description_is_changed(up_site, client):
    c = up_site.content
    text = "Runs a little slow in frost."
    up_site.open(f"#/models/{c.model}/versions/1", "Version 1")
    up_site.browser.click("Edit")
    up_site.browser.type_into("textarea", text)
    up_site.browser.click("Save")
    up_site.check(text, shot="edit-description")
    assert client.get_model_version(c.model, "1").description == text
