"""Model registry: what a version may name as its source."""

import re

import pytest

from .api import NO_RUN, as_dict, unique
from .registry import BAD, GONE, MV


@pytest.mark.parametrize("source", ["s3://b/x", "dbfs:/x", "gs://b/a/b c", "s3://b/" + "x" * 490])
def test_sources_that_pass(api, model, source):
    assert api.post(MV + "create", name=model, source=source)["model_version"]["source"] == source
    assert api.get(MV + "get-download-uri", name=model, version="1") == {"artifact_uri": source}


LOCAL = (
    "Invalid model version source: '{}'. To use a local path as a model version source, the run_id request "
    "parameter has to be specified and the local path has to be contained within the artifact directory of the "
    "run specified by the run_id."
)
RELATIVE = (
    "Invalid model version source: '{}'. If supplying a source as an http, https, local file path, ftp, "
    "objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references "
    "present. Please provide an absolute path."
)


@pytest.mark.parametrize(
    "source, text",
    [
        *((s, LOCAL) for s in ("/tmp/x", "file:///tmp/x", "rel/x")),
        *(
            (s, RELATIVE)
            for s in (
                "s3://a",
                "s3://a/",
                "s3://a/b/../c",
                "s3://a/b/%2e%2e/c",
                "s3://a/%252e%252e/c",
                "mlflow-artifacts:/1/../2",
            )
        ),
    ],
)
def test_sources_that_are_refused(api, model, source, text):
    api.fail("POST", MV + "create", *BAD, text.format(source), name=model, source=source)


def test_a_local_path_outside_of_the_run_is_refused(api, model, run):
    api.fail("POST", MV + "create", *BAD, LOCAL.format("/tmp/x"), name=model, source="/tmp/x", run_id=run)


@pytest.mark.parametrize("form", ["runs:/{run}/model", "mlflow-artifacts:/{experiment}/{run}/artifacts/model"])
def test_a_source_in_a_run_must_name_the_run(api, model, experiment, run, form):
    source = form.format(experiment=experiment, run=run)
    text = (
        f"Invalid model version source: '{source}'. The run_id request parameter must identify the resource that "
        "contains the source."
    )
    for more in ({}, {"run_id": NO_RUN}):
        api.fail("POST", MV + "create", *BAD, text, name=model, source=source, **more)
    version = api.post(MV + "create", name=model, source=source, run_id=run)["model_version"]
    assert (version["source"], version["run_id"]) == (source, run)


def test_a_source_in_a_logged_model_must_name_it(api, model, experiment):
    api.fail(
        "POST",
        MV + "create",
        *BAD,
        "Invalid model version source: 'models:/m-0'. The model_id request parameter must identify the resource "
        "that contains the source.",
        name=model,
        source="models:/m-0",
    )
    logged = api.new_logged_model(experiment)
    source = f"mlflow-artifacts:/{experiment}/models/{logged}/artifacts"
    api.fail("POST", MV + "create", *BAD, name=model, source=source)
    assert api.new_version(model, source=source, model_id=logged) == "1"


@pytest.mark.parametrize(
    "source", ["http://host/x", "https://host/x", "ftp://host/x", "mlflow-artifacts://host/1/abc/artifacts/model"]
)
def test_a_source_must_not_make_the_server_call_another_host(api, model, source):
    scheme = source.split(":")[0]
    api.fail(
        "POST",
        MV + "create",
        *BAD,
        re.compile(f"^'source' cannot use the '{scheme}' scheme: "),
        name=model,
        source=source,
        run_id=NO_RUN,
    )


def test_a_version_as_source(api, model, run):
    api.new_version(model, source="s3://b/first", run_id=run)
    version = api.post(MV + "create", name=model, source=f"models:/{model}/1")["model_version"]
    assert (version["version"], version["run_id"]) == ("2", run)
    # The copy resolves to where the bytes are, also over several steps.
    api.new_version(model, source=f"models:/{model}/2")
    for number in ("2", "3"):
        assert api.get(MV + "get-download-uri", name=model, version=number) == {"artifact_uri": "s3://b/first"}
    api.fail(
        "POST",
        MV + "create",
        *GONE,
        f"Model Version (name={model}, version=99) not found",
        name=model,
        source=f"models:/{model}/99",
    )
    api.fail("POST", MV + "create", *GONE, name=model, source=f"models:/{unique()}/1")


def test_a_version_of_a_logged_model(api, model, experiment, run):
    logged = api.new_logged_model(experiment, name="lm", source_run_id=run)
    version = api.post(MV + "create", name=model, source=f"models:/{logged}", model_id=logged)["model_version"]
    assert version["run_id"] == run
    assert api.get(MV + "get-download-uri", name=model, version="1") == {
        "artifact_uri": f"mlflow-artifacts:/{experiment}/models/{logged}/artifacts"
    }
    tags = as_dict(api.get(f"/logged-models/{logged}")["model"]["info"]["tags"])
    assert tags == {"mlflow.modelVersions": f'[{{"name": "{model}", "version": 1}}]'}
    api.post(MV + "create", name=model, source=f"models:/{logged}", model_id=logged)
    tags = as_dict(api.get(f"/logged-models/{logged}")["model"]["info"]["tags"])
    assert tags["mlflow.modelVersions"] == (
        f'[{{"name": "{model}", "version": 1}}, {{"name": "{model}", "version": 2}}]'
    )
