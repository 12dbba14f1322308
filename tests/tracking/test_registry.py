"""Model registry: models, versions and their tags."""

import re
import time

import pytest

from .api import as_dict, missing, pair, pairs, unique, wrong_type
from .registry import BAD, GONE, MV, RM, get_model, get_version

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
