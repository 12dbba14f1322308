"""Model registry: models, versions, sources, tags, stages, aliases, search."""

import re
import time

import pytest

from .api import NO_RUN, as_dict, missing, pair, pairs, unique, wrong_type

BAD = (400, "INVALID_PARAMETER_VALUE")
GONE = (404, "RESOURCE_DOES_NOT_EXIST")
RM = "/registered-models/"
MV = "/model-versions/"


@pytest.fixture
def model(api):
    return api.new_model()


def get_model(api, name):
    return api.get(RM + "get", name=name)["registered_model"]


def get_version(api, name, version):
    return api.get(MV + "get", name=name, version=version)["model_version"]


# Models.


def test_create_and_get_a_model(api):
    name = unique()
    model = api.post(RM + "create", name=name, description="d", tags=pairs(a="1", b=""))["registered_model"]
    assert model["creation_timestamp"] == model["last_updated_timestamp"]
    assert isinstance(model["creation_timestamp"], int)
    assert {k: v for k, v in model.items() if not k.endswith("timestamp")} == {
        "name": name,
        "description": "d",
        "tags": [pair("a", "1"), pair("b", "")],
    }
    assert get_model(api, name) == model


@pytest.mark.parametrize("fields", [{}, {"description": ""}])
def test_a_plain_model_has_few_fields(api, fields):
    name = unique()
    answer = api.post(RM + "create", name=name, **fields)["registered_model"]
    assert set(answer) == {"name", "creation_timestamp", "last_updated_timestamp"}


def test_model_refusals(api, model):
    api.fail("POST", RM + "create", *BAD, missing("name"), name="")
    api.fail("POST", RM + "create", *BAD, missing("name"))
    api.fail("POST", RM + "create", *BAD, wrong_type("5", "name", "int"), name=5)
    api.fail(
        "POST",
        RM + "create",
        400,
        "RESOURCE_ALREADY_EXISTS",
        f"Registered Model (name={model}) already exists.",
        name=model,
    )
    nobody = unique()
    unknown = f"Registered Model with name={nobody} not found"
    api.fail("GET", RM + "get", *GONE, unknown, name=nobody)
    api.fail("GET", RM + "get", *BAD, missing("name"))
    api.fail("PATCH", RM + "update", *GONE, unknown, name=nobody, description="x")
    api.fail("POST", RM + "rename", *GONE, unknown, name=nobody, new_name=unique())
    api.fail("POST", RM + "set-tag", *GONE, unknown, name=nobody, key="a", value="1")
    api.fail("DELETE", RM + "delete-tag", *GONE, unknown, name=nobody, key="a")
    api.fail("DELETE", RM + "delete", *GONE, unknown, name=nobody)
    api.fail("POST", RM + "get-latest-versions", *GONE, unknown, name=nobody)
    api.fail("DELETE", RM + "alias", *GONE, unknown, name=nobody, alias="a")


# Names: public case 20.


@pytest.mark.parametrize("name", ["a/b", "a:b", "/", ":"])
@pytest.mark.parametrize(
    "method, call",
    [
        ("POST", "create"),
        ("GET", "get"),
        ("DELETE", "delete"),
        ("PATCH", "update"),
    ],
)
def test_names_that_would_break_model_uris_are_refused(api, name, method, call):
    text = f"Invalid model name '{name}'. Names cannot contain '/' or ':'."
    api.fail(method, RM + call, *BAD, text, name=name)


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_are_paths_are_refused(api, name):
    api.fail("POST", RM + "create", *BAD, re.compile(f"This name would resolve to '{re.escape(name)}'$"), name=name)


@pytest.mark.parametrize("stem", ["a%b", "a'b\"c", " sp ", "ünï 日本 🙂", "x" * 230, ".hid", "a#?&=+", "tab\there"])
def test_odd_names_work_everywhere(api, stem):
    name = unique(stem)
    api.new_model(name=name)
    assert api.new_version(name) == "1"
    assert get_model(api, name)["latest_versions"][0]["name"] == name
    api.post(RM + "alias", name=name, alias="al", version="1")
    assert api.get(RM + "alias", name=name, alias="al")["model_version"]["name"] == name
    assert api.get(MV + "get-download-uri", name=name, version="1") == {"artifact_uri": "s3://bucket/path"}
    if not ("'" in name and '"' in name):
        quote = '"' if "'" in name else "'"
        text = f"name = {quote}{name}{quote}"
        assert [m["name"] for m in api.get(RM + "search", filter=text)["registered_models"]] == [name]
        assert [m["name"] for m in api.get(MV + "search", filter=text)["model_versions"]] == [name]
    assert api.delete(RM + "delete", name=name) == {}


def test_a_name_of_256_characters(api):
    name = unique("x" * 243)
    assert len(name) == 256
    api.new_model(name=name)
    assert get_model(api, name)["name"] == name


# Changing and deleting models.


def test_update_description(api, model):
    old = get_model(api, model)
    time.sleep(0.002)
    new = api.patch(RM + "update", name=model, description="new")["registered_model"]
    assert new["description"] == "new"
    assert new["last_updated_timestamp"] > old["last_updated_timestamp"]
    # An update without a description clears it.
    assert "description" not in api.patch(RM + "update", name=model)["registered_model"]


def test_rename_takes_versions_tags_and_aliases_along(api):
    name = api.new_model(tags=pairs(t="1"))
    api.new_version(name, tags=pairs(v="2"))
    api.post(RM + "alias", name=name, alias="al", version="1")
    new = unique()
    renamed = api.post(RM + "rename", name=name, new_name=new)["registered_model"]
    assert renamed["name"] == new
    assert renamed["latest_versions"][0]["name"] == new
    api.fail("GET", RM + "get", *GONE, name=name)
    api.fail("GET", MV + "get", *GONE, name=name, version="1")
    model = get_model(api, new)
    assert model["tags"] == pairs(t="1")
    assert model["aliases"] == [{"alias": "al", "version": "1"}]
    version = get_version(api, new, "1")
    assert (version["tags"], version["aliases"]) == (pairs(v="2"), ["al"])


def test_rename_refusals(api, model):
    api.fail("POST", RM + "rename", *BAD, missing("new_name"), name=model)
    api.fail(
        "POST",
        RM + "rename",
        *BAD,
        "Invalid model name 'a/b'. Names cannot contain '/' or ':'.",
        name=model,
        new_name="a/b",
    )
    other = api.new_model()
    api.fail(
        "POST",
        RM + "rename",
        400,
        "RESOURCE_ALREADY_EXISTS",
        re.compile(rf"^Registered Model \(name={other}\) already exists\."),
        name=model,
        new_name=other,
    )


def test_delete_a_model_with_everything(api):
    name = api.new_model(tags=pairs(t="1"))
    api.new_version(name, tags=pairs(v="2"))
    api.post(RM + "alias", name=name, alias="al", version="1")
    assert api.delete(RM + "delete", name=name) == {}
    api.fail("GET", MV + "get", *GONE, f"Model Version (name={name}, version=1) not found", name=name, version="1")
    assert api.get(MV + "search", filter=f"name='{name}'") == {}
    # The name is free again and nothing of the old model shows.
    api.new_model(name=name)
    assert set(get_model(api, name)) == {"name", "creation_timestamp", "last_updated_timestamp"}
    assert api.new_version(name) == "1"


def test_model_tags(api):
    name = api.new_model(tags=[pair("a", "1"), pair("a", "2")])
    assert as_dict(get_model(api, name)["tags"]) == {"a": "2"}
    for key, value in (("a", "9"), ("b", "ü")):
        assert api.post(RM + "set-tag", name=name, key=key, value=value) == {}
    api.post(RM + "set-tag", name=name, key="empty")
    assert as_dict(get_model(api, name)["tags"]) == {"a": "9", "b": "ü", "empty": ""}
    for key in ("a", "b", "empty", "never there"):
        assert api.delete(RM + "delete-tag", name=name, key=key) == {}
    assert "tags" not in get_model(api, name)
    api.fail("POST", RM + "set-tag", *BAD, missing("key"), name=name, value="a")
    api.fail("DELETE", RM + "delete-tag", *BAD, missing("key"), name=name)


# Versions.


def test_create_and_get_a_version(api, model, run):
    version = api.post(
        MV + "create",
        name=model,
        source="s3://bucket/m",
        run_id=run,
        description="d",
        run_link="http://link",
        tags=pairs(t="1"),
    )["model_version"]
    assert isinstance(version["creation_timestamp"], int)
    assert {k: v for k, v in version.items() if not k.endswith("timestamp")} == {
        "name": model,
        "version": "1",
        "current_stage": "None",
        "description": "d",
        "source": "s3://bucket/m",
        "run_id": run,
        "status": "READY",
        "run_link": "http://link",
        "tags": pairs(t="1"),
    }
    assert get_version(api, model, "1") == version


def test_fields_of_a_plain_version(api, model):
    version = api.post(MV + "create", name=model, source="s3://bucket/m")["model_version"]
    # Empty texts are stored as such and therefore printed.
    assert (version["description"], version["run_id"], version["run_link"]) == ("", "", "")
    assert "tags" not in version and "aliases" not in version


def test_versions_count_up_and_numbers_are_not_reused(api, model):
    assert [api.new_version(model) for _ in range(3)] == ["1", "2", "3"]
    api.delete(MV + "delete", name=model, version="3")
    assert api.new_version(model) == "4"


def test_a_new_version_touches_the_model(api, model):
    old = get_model(api, model)["last_updated_timestamp"]
    time.sleep(0.002)
    api.new_version(model)
    assert get_model(api, model)["last_updated_timestamp"] > old


def test_update_of_a_version(api, model):
    api.new_version(model)
    assert api.patch(MV + "update", name=model, version="1", description="n")["model_version"]["description"] == "n"
    assert "description" not in api.patch(MV + "update", name=model, version="1")["model_version"]


def test_delete_a_version(api, model):
    for _ in range(2):
        api.new_version(model)
    assert api.delete(MV + "delete", name=model, version="2") == {}
    lost = f"Model Version (name={model}, version=2) not found"
    api.fail("GET", MV + "get", *GONE, lost, name=model, version="2")
    api.fail("DELETE", MV + "delete", *GONE, lost, name=model, version="2")
    api.fail("GET", MV + "get-download-uri", *GONE, lost, name=model, version="2")
    assert [v["version"] for v in get_model(api, model)["latest_versions"]] == ["1"]
    assert [v["version"] for v in api.get(MV + "search", filter=f"name='{model}'")["model_versions"]] == ["1"]


def test_version_tags(api, model):
    api.new_version(model)
    at = {"name": model, "version": "1"}
    api.post(MV + "set-tag", **at, key="a", value="1")
    assert api.post(MV + "set-tag", **at, key="a", value="2") == {}
    api.post(MV + "set-tag", **at, key="b")
    assert as_dict(get_version(api, **at)["tags"]) == {"a": "2", "b": ""}
    for key in ("a", "b", "never there"):
        assert api.delete(MV + "delete-tag", **at, key=key) == {}
    assert "tags" not in get_version(api, **at)


@pytest.mark.parametrize(
    "method, call, more",
    [
        ("GET", "get", {}),
        ("PATCH", "update", {"description": "x"}),
        ("DELETE", "delete", {}),
        ("POST", "set-tag", {"key": "a", "value": "b"}),
        ("DELETE", "delete-tag", {"key": "a"}),
        ("POST", "transition-stage", {"stage": "Staging", "archive_existing_versions": False}),
        ("GET", "get-download-uri", {}),
    ],
)
def test_version_refusals(api, model, method, call, more):
    api.fail(
        method,
        MV + call,
        *GONE,
        f"Model Version (name={model}, version=99) not found",
        name=model,
        version="99",
        **more,
    )
    api.fail(
        method, MV + call, *BAD, "Parameter 'version' must be an integer, got 'x'.", name=model, version="x", **more
    )
    if method != "GET":
        api.fail(method, MV + call, *BAD, wrong_type("1", "version", "int"), name=model, version=1, **more)
        api.fail(method, MV + call, *BAD, missing("version"), name=model, **more)


def test_create_version_refusals(api, model):
    nobody = unique()
    api.fail("POST", MV + "create", *BAD, missing("name"), source="s3://b/x")
    api.fail("POST", MV + "create", *BAD, missing("source"), name=model)
    api.fail("POST", MV + "create", *BAD, missing("source"), name=model, source="")
    api.fail(
        "POST", MV + "create", *GONE, f"Registered Model with name={nobody} not found", name=nobody, source="s3://b/x"
    )
    api.fail(
        "POST",
        MV + "create",
        *GONE,
        "Logged model with ID 'm-zzz' not found.",
        name=model,
        source="s3://b/x",
        model_id="m-zzz",
    )


# Sources of versions.


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


# Stages.


@pytest.mark.parametrize(
    "given, stage", [("Staging", "Staging"), ("production", "Production"), ("ARCHIVED", "Archived"), ("none", "None")]
)
def test_stages(api, model, given, stage):
    api.new_version(model)
    version = api.post(MV + "transition-stage", name=model, version="1", stage=given, archive_existing_versions=False)[
        "model_version"
    ]
    assert version["current_stage"] == stage
    assert get_version(api, model, "1")["current_stage"] == stage


def test_stage_refusals(api, model):
    api.new_version(model)
    at = {"name": model, "version": "1"}
    api.fail(
        "POST",
        MV + "transition-stage",
        *BAD,
        "Invalid Model Version stage: bogus. Value must be one of None, Staging, Production, Archived.",
        **at,
        stage="bogus",
        archive_existing_versions=False,
    )
    api.fail("POST", MV + "transition-stage", *BAD, missing("stage"), **at, archive_existing_versions=False)
    api.fail(
        "POST",
        MV + "transition-stage",
        *BAD,
        wrong_type('"x"', "archive_existing_versions", "str"),
        **at,
        stage="Staging",
        archive_existing_versions="x",
    )
    api.fail(
        "POST",
        MV + "transition-stage",
        500,
        "INTERNAL_ERROR",
        "Model version transition cannot archive existing model versions because 'Archived' is not an Active "
        "stage. Valid stages are ['Staging', 'Production']",
        **at,
        stage="Archived",
        archive_existing_versions=True,
    )


def test_archiving_the_others(api, model):
    for _ in range(2):
        api.new_version(model)
    api.post(MV + "transition-stage", name=model, version="1", stage="Production", archive_existing_versions=False)
    api.post(MV + "transition-stage", name=model, version="2", stage="Production", archive_existing_versions=True)
    assert [get_version(api, model, v)["current_stage"] for v in "12"] == ["Archived", "Production"]


def test_latest_versions(api, model):
    for _ in range(4):
        api.new_version(model)
    for version, stage in (("1", "Production"), ("2", "Archived"), ("3", "Archived")):
        api.post(MV + "transition-stage", name=model, version=version, stage=stage, archive_existing_versions=False)

    def latest(method, **more):
        call = api.post if method == "POST" else api.get
        answer = call(RM + "get-latest-versions", name=model, **more)
        return {v["current_stage"]: v["version"] for v in answer.get("model_versions", [])}

    for method in ("POST", "GET"):
        assert latest(method) == {"Production": "1", "Archived": "3", "None": "4"}
        assert latest(method, stages=["Production"]) == {"Production": "1"}
        assert latest(method, stages=["archived", "Staging"]) == {"Archived": "3"}
    assert {v["version"] for v in get_model(api, model)["latest_versions"]} == {"1", "3", "4"}
    api.fail(
        "POST",
        RM + "get-latest-versions",
        *BAD,
        "Invalid Model Version stage: bogus. Value must be one of None, Staging, Production, Archived.",
        name=model,
        stages=["bogus"],
    )


# Aliases: public case 6.


@pytest.fixture
def aliased(api, model):
    """Versions 1 to 3; alias champion on 2 and Champion on 1."""
    for _ in range(3):
        api.new_version(model)
    assert api.post(RM + "alias", name=model, alias="champion", version="2") == {}
    api.post(RM + "alias", name=model, alias="Champion", version="1")
    return model


def test_aliases_differ_by_letter_case(api, aliased):
    def target(alias):
        return api.get(RM + "alias", name=aliased, alias=alias)["model_version"]["version"]

    assert (target("champion"), target("Champion")) == ("2", "1")
    api.fail("GET", RM + "alias", *BAD, "Registered model alias CHAMPION not found.", name=aliased, alias="CHAMPION")


def test_aliases_on_versions_and_models(api, aliased):
    assert get_version(api, aliased, "2")["aliases"] == ["champion"]
    assert api.get(RM + "alias", name=aliased, alias="champion")["model_version"]["aliases"] == ["champion"]
    expected = [{"alias": "Champion", "version": "1"}, {"alias": "champion", "version": "2"}]
    assert get_model(api, aliased)["aliases"] == expected
    found = api.get(RM + "search", filter=f"name='{aliased}'")["registered_models"]
    assert found[0]["aliases"] == expected


@pytest.mark.fix
def test_aliases_in_version_search(api, aliased):
    found = api.get(MV + "search", filter=f"name='{aliased}'")["model_versions"]
    assert {v["version"]: v.get("aliases", []) for v in found} == {"1": ["Champion"], "2": ["champion"], "3": []}


def test_setting_again_moves_the_alias(api, aliased):
    api.post(RM + "alias", name=aliased, alias="champion", version="3")
    assert "aliases" not in get_version(api, aliased, "2")
    assert get_version(api, aliased, "3")["aliases"] == ["champion"]


def test_several_aliases_of_one_version_are_sorted(api, aliased):
    for alias in ("b", "a"):
        api.post(RM + "alias", name=aliased, alias=alias, version="3")
    assert get_version(api, aliased, "3")["aliases"] == ["a", "b"]


def test_deleting_a_version_drops_its_alias(api, aliased):
    api.delete(MV + "delete", name=aliased, version="2")
    api.fail("GET", RM + "alias", *BAD, "Registered model alias champion not found.", name=aliased, alias="champion")
    assert get_model(api, aliased)["aliases"] == [{"alias": "Champion", "version": "1"}]


def test_deleting_aliases(api, aliased):
    for alias in ("champion", "never-there"):
        assert api.delete(RM + "alias", name=aliased, alias=alias) == {}
    assert get_model(api, aliased)["aliases"] == [{"alias": "Champion", "version": "1"}]


@pytest.mark.parametrize("alias", ["v1x", "1", "a-b_C", "ünï", "a" * 255, "latest2"])
def test_alias_names_that_pass(api, model, alias):
    api.new_version(model)
    api.post(RM + "alias", name=model, alias=alias, version="1")
    assert get_version(api, model, "1")["aliases"] == [alias]


@pytest.mark.parametrize(
    "alias, text",
    [
        ("latest", "'latest' alias name (case insensitive) is reserved."),
        ("LaTest", "'latest' alias name (case insensitive) is reserved."),
        ("v1", "Version alias name 'v1' is reserved."),
        ("V12", "Version alias name 'V12' is reserved."),
        ("a.b", "Invalid alias name: 'a.b'. Names may only contain alphanumerics, underscores (_), and dashes (-)."),
        ("a b", "Invalid alias name: 'a b'. Names may only contain alphanumerics, underscores (_), and dashes (-)."),
        ("a" * 256, "'Registered model alias name' exceeds the maximum length of 255 characters"),
        ("", missing("alias")),
    ],
)
def test_alias_names_that_are_refused(api, model, alias, text):
    api.new_version(model)
    api.fail("POST", RM + "alias", *BAD, text, name=model, alias=alias, version="1")


def test_alias_refusals(api, model):
    nobody = unique()
    api.fail(
        "POST",
        RM + "alias",
        *GONE,
        f"Model Version (name={model}, version=99) not found",
        name=model,
        alias="x",
        version="99",
    )
    api.fail(
        "POST",
        RM + "alias",
        *BAD,
        "Parameter 'version' must be an integer, got 'y'.",
        name=model,
        alias="x",
        version="y",
    )
    api.fail("POST", RM + "alias", *BAD, wrong_type("1", "version", "int"), name=model, alias="x", version=1)
    api.fail("GET", RM + "alias", *GONE, f"Registered Model with name={nobody} not found", name=nobody, alias="a")
    api.fail("GET", RM + "alias", *BAD, missing("alias"), name=model)
    api.fail("GET", RM + "alias", *BAD, "Registered model alias v1 not found.", name=model, alias="v1")


def test_the_alias_latest_is_the_newest_version(api, aliased):
    assert api.get(RM + "alias", name=aliased, alias="latest")["model_version"]["version"] == "3"


# Search.


@pytest.fixture(scope="module")
def family(api):
    """Models a, b, c with tag k; a has three versions with tag i, made last."""
    prefix = unique("Fam")
    for letter in "abc":
        api.new_model(name=prefix + letter, tags=pairs(k=letter))
        time.sleep(0.002)
    run = api.new_run(api.new_experiment())
    for number in range(3):
        api.new_version(prefix + "a", source=f"s3://b/{number}", run_id=run, tags=pairs(i=str(number)))
        time.sleep(0.002)
    return prefix, run


def models(api, family, condition=None, **query):
    prefix, _ = family
    clauses = [f"name LIKE '{prefix}%'"] + ([condition] if condition else [])
    answer = api.get(RM + "search", filter=" AND ".join(clauses), **query)
    return "".join(m["name"].removeprefix(prefix) for m in answer.get("registered_models", []))


@pytest.mark.parametrize(
    "condition, found",
    [
        (None, "abc"),
        ("tags.k = 'a'", "a"),
        ("tag.k != 'a'", "bc"),
        ("tags.`k` = 'b'", "b"),
        ("tags.k LIKE '_'", "abc"),
        ("tags.k ILIKE 'C'", "c"),
        ("tags.k = 'a' AND tags.k = 'b'", ""),
        ("attribute.name ILIKE '%A'", "a"),
        ("tags.nope != 'x'", ""),
    ],
)
def test_model_filters(api, family, condition, found):
    assert models(api, family, condition) == found


def test_model_filter_by_name(api, family):
    prefix, _ = family

    def found(text):
        return [m["name"] for m in api.get(RM + "search", filter=text).get("registered_models", [])]

    assert found(f"name = '{prefix}a'") == [prefix + "a"]
    assert found(f"name = '{prefix.lower()}a'") == []
    assert found(f"name ILIKE '{prefix.upper()}A'") == [prefix + "a"]
    assert found(f"name LIKE '{prefix.upper()}%'") == []
    assert found(f"name LIKE '{prefix}%' AND name != '{prefix}a'") == [prefix + "b", prefix + "c"]
    assert found(f"name IN ('{prefix}a')") == [prefix + "a"]


@pytest.mark.parametrize(
    "order, found",
    [
        (["name"], "abc"),
        (["name DESC"], "cba"),
        (["timestamp"], "bca"),
        (["timestamp DESC"], "acb"),
        (["last_updated_timestamp DESC"], "acb"),
        (["last_updated_timestamp ASC", "name DESC"], "bca"),
    ],
)
def test_model_order(api, family, order, found):
    assert models(api, family, order_by=order) == found


def test_model_pages(api, family):
    prefix, _ = family
    first = api.get(RM + "search", filter=f"name LIKE '{prefix}%'", max_results=2)
    assert [m["name"] for m in first["registered_models"]] == [prefix + "a", prefix + "b"]
    second = api.get(RM + "search", filter=f"name LIKE '{prefix}%'", max_results=2, page_token=first["next_page_token"])
    assert [m["name"] for m in second["registered_models"]] == [prefix + "c"]
    assert "next_page_token" not in second


@pytest.mark.parametrize(
    "query, message",
    [
        ({"filter": "name > 'a'"}, "Invalid comparator for attribute: >"),
        ({"filter": "bogus = 'x'"}, re.compile("^Invalid attribute key 'bogus' specified. Valid keys are '{'name'}'$")),
        ({"filter": "name = 'x' OR name = 'y'"}, re.compile(r"^Invalid clause\(s\) in filter string: ")),
        ({"filter": " "}, "Invalid filter ' '. Could not be parsed."),
        ({"filter": "name = x"}, re.compile("^Parameter value is either not quoted")),
        ({"filter": "tags.k IS NULL"}, "IS NULL / IS NOT NULL is not supported for registered model search."),
        ({"order_by": ["bogus"]}, re.compile("^Invalid order by key 'bogus' specified. Valid keys are ")),
        ({"order_by": ["name foo"]}, "Invalid ordering key in order_by clause 'name foo'."),
        ({"max_results": 1001}, wrong_type('"1001"', "max_results", "str")),
        ({"page_token": "x"}, "Invalid page token, could not base64-decode"),
    ],
)
def test_model_search_refusals(api, query, message):
    api.fail("GET", RM + "search", *BAD, message, **query)


def versions(api, family, condition=None, **query):
    prefix, run = family
    clauses = [f"name = '{prefix}a'"] + ([condition.replace("<run>", run)] if condition else [])
    answer = api.get(MV + "search", filter=" AND ".join(clauses), **query)
    return "".join(v["version"] for v in answer.get("model_versions", []))


@pytest.mark.parametrize(
    "condition, found",
    [
        (None, "321"),
        ("run_id = '<run>'", "321"),
        ("run_id IN ('<run>', 'x')", "321"),
        ("run_id = 'x'", ""),
        ("source_path = 's3://b/1'", "2"),
        ("source_path LIKE 's3://b/%'", "321"),
        ("source_path ILIKE 'S3://B/2'", "3"),
        ("version_number > 1", "32"),
        ("version_number = 2", "2"),
        ("version_number != 2", "31"),
        ("version_number <= 1", "1"),
        ("tags.i = '1'", "2"),
        ("tag.`i` != '1'", "31"),
        ("tags.i LIKE '_'", "321"),
    ],
)
def test_version_filters(api, family, condition, found):
    assert versions(api, family, condition) == found


@pytest.mark.parametrize(
    "order, found",
    [
        (["version_number ASC"], "123"),
        (["version_number DESC"], "321"),
        (["creation_timestamp ASC"], "123"),
        (["last_updated_timestamp ASC"], "123"),
        (["name ASC"], "321"),
    ],
)
def test_version_order(api, family, order, found):
    assert versions(api, family, order_by=order) == found


def test_a_changed_version_comes_first(api, model):
    for _ in range(3):
        api.new_version(model)
    time.sleep(0.002)
    api.patch(MV + "update", name=model, version="2", description="touched")
    found = api.get(MV + "search", filter=f"name='{model}'")["model_versions"]
    assert [v["version"] for v in found] == ["2", "3", "1"]


def test_version_pages(api, family):
    prefix, _ = family
    first = api.get(MV + "search", filter=f"name='{prefix}a'", max_results=2)
    assert [v["version"] for v in first["model_versions"]] == ["3", "2"]
    second = api.get(MV + "search", filter=f"name='{prefix}a'", max_results=2, page_token=first["next_page_token"])
    assert [v["version"] for v in second["model_versions"]] == ["1"]
    assert "next_page_token" not in second


def test_a_version_in_the_search_is_the_version(api, family):
    prefix, _ = family
    found = api.get(MV + "search", filter=f"name='{prefix}a' AND version_number = 2")["model_versions"]
    assert found == [get_version(api, prefix + "a", "2")]


@pytest.mark.parametrize(
    "query, message",
    [
        ({"filter": "bogus = 'x'"}, re.compile("^Invalid attribute key 'bogus' specified. Valid keys are ")),
        ({"filter": "current_stage = 'None'"}, re.compile("^Invalid attribute key 'current_stage' specified.")),
        ({"filter": "run_id > 'x'"}, "Invalid comparator for attribute: >"),
        ({"filter": "name = 'x' OR name = 'y'"}, re.compile(r"^Invalid clause\(s\) in filter string: ")),
        ({"filter": " "}, "Invalid filter ' '. Could not be parsed."),
        ({"filter": "run_id IN ()"}, re.compile("expected a non-empty list of string values, but got empty list$")),
        ({"order_by": ["bogus"]}, re.compile("^Invalid attribute key 'bogus' specified. Valid keys are ")),
        ({"max_results": 0}, "Invalid value for max_results. It must be a positive integer, but got 0"),
        ({"max_results": 200001}, wrong_type('"200001"', "max_results", "str")),
        ({"page_token": "x"}, "Invalid page token, could not base64-decode"),
    ],
)
def test_version_search_refusals(api, query, message):
    api.fail("GET", MV + "search", *BAD, message, **query)


# Prompts share the tables of models and are hidden from searches for models.


def test_prompts_are_hidden_unless_asked_for(api):
    name = api.new_model(tags=[pair("mlflow.prompt.is_prompt", "true")])
    api.new_version(name, source="dummy-source", tags=[pair("mlflow.prompt.is_prompt", "true")])
    asked = f"name = '{name}' AND tags.`mlflow.prompt.is_prompt` = 'true'"
    for path, key in ((RM, "registered_models"), (MV, "model_versions")):
        assert api.get(path + "search", filter=f"name = '{name}'") == {}
        assert [m["name"] for m in api.get(path + "search", filter=asked)[key]] == [name]
    api.fail("POST", RM + "create", 400, "RESOURCE_ALREADY_EXISTS", re.compile("already taken by a prompt"), name=name)
