"""Model registry: search of models and versions, prompts."""

import re
import time

import pytest

from .api import pair, pairs, unique, wrong_type
from .registry import BAD, MV, RM, get_version


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
