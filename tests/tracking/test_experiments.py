"""Experiments: create, read, rename, tags, delete and restore, search."""

import base64
import re
import time

import pytest

from .api import NO_RUN, as_dict, missing, pair, pairs, unique, wrong_type


def names(answer):
    return [e["name"] for e in answer.get("experiments", [])]


def test_default_experiment_exists(api):
    experiment = api.get("/experiments/get", experiment_id="0")["experiment"]
    assert experiment["name"] == "Default"
    assert experiment["artifact_location"].endswith("/0")


def test_create_and_get(api):
    name = unique()
    before = int(time.time() * 1000)
    answer = api.post("/experiments/create", name=name, tags=[pair("a", "1"), pair("b", "")])
    assert list(answer) == ["experiment_id"]
    assert answer["experiment_id"].isdigit()
    experiment = api.get("/experiments/get", experiment_id=answer["experiment_id"])["experiment"]
    assert experiment["experiment_id"] == answer["experiment_id"]
    assert experiment["name"] == name
    assert experiment["lifecycle_stage"] == "active"
    assert experiment["workspace"] == "default"
    assert as_dict(experiment["tags"]) == {"a": "1", "b": ""}
    # Times are numbers, not strings, although the fields are int64.
    assert isinstance(experiment["creation_time"], int)
    assert experiment["creation_time"] == experiment["last_update_time"]
    assert before <= experiment["creation_time"] <= time.time() * 1000 + 1
    assert api.get("/experiments/get-by-name", experiment_name=name)["experiment"] == experiment


def test_an_experiment_without_tags_has_no_tags_field(api, experiment):
    assert "tags" not in api.get("/experiments/get", experiment_id=experiment)["experiment"]


def test_ids_count_up(api):
    first, second = int(api.new_experiment()), int(api.new_experiment())
    assert second > first


def test_artifact_location_under_the_root(api, experiment):
    location = api.get("/experiments/get", experiment_id=experiment)["experiment"]["artifact_location"]
    assert location == f"mlflow-artifacts:/{experiment}"


@pytest.mark.parametrize("location", ["s3://bucket/some/place", "s3://bucket/x/", "s3://bucket/x?q=1"])
def test_given_artifact_location_is_kept(api, location):
    experiment = api.new_experiment(artifact_location=location)
    assert api.get("/experiments/get", experiment_id=experiment)["experiment"]["artifact_location"] == location
    run = api.post("/runs/create", experiment_id=experiment)["run"]["info"]
    # A query stays behind the path that is built.
    path, _, query = location.partition("?")
    expected = f"{path.rstrip('/')}/{run['run_id']}/artifacts" + (f"?{query}" if query else "")
    assert run["artifact_uri"] == expected


def test_relative_artifact_location_becomes_absolute(api):
    experiment = api.new_experiment(artifact_location="some/dir")
    location = api.get("/experiments/get", experiment_id=experiment)["experiment"]["artifact_location"]
    assert location.removeprefix("file://").startswith("/")
    assert location.endswith("/some/dir")


def test_artifact_location_refusals(api):
    api.fail(
        "POST",
        "/experiments/create",
        400,
        "INVALID_PARAMETER_VALUE",
        "'artifact_location' URL can't include fragments or params.",
        name=unique(),
        artifact_location="s3://bucket/x#fragment",
    )
    api.fail(
        "POST",
        "/experiments/create",
        400,
        "INVALID_PARAMETER_VALUE",
        re.compile("^Invalid artifact path length.*2048 characters"),
        name=unique(),
        artifact_location="s3://bucket/" + "y" * 2048,
    )


@pytest.mark.parametrize("name", ["", None])
def test_name_is_required(api, name):
    api.fail("POST", "/experiments/create", 400, "INVALID_PARAMETER_VALUE", missing("name"), name=name)


def test_names_are_unique_deleted_ones_included(api):
    name = unique()
    experiment = api.new_experiment(name=name)
    taken = re.compile(rf"^Experiment\(name={name}\) already exists\.")
    api.fail("POST", "/experiments/create", 400, "RESOURCE_ALREADY_EXISTS", taken, name=name)
    api.post("/experiments/delete", experiment_id=experiment)
    api.fail("POST", "/experiments/create", 400, "RESOURCE_ALREADY_EXISTS", taken, name=name)


def test_names_differ_by_letter_case(api):
    name = unique("Case")
    first = api.new_experiment(name=name)
    assert api.new_experiment(name=name.upper()) != first


@pytest.mark.parametrize("name", ["ünï 日本 🙂", "a/b:c", "with  spaces", 'it\'s "quoted"', "tab\tnew\nline", "50%"])
def test_any_text_is_a_name(api, name):
    name = unique(name)
    experiment = api.new_experiment(name=name)
    found = api.get("/experiments/get-by-name", experiment_name=name)["experiment"]
    assert (found["experiment_id"], found["name"]) == (experiment, name)


def test_get_refusals(api):
    gone = (404, "RESOURCE_DOES_NOT_EXIST")
    bad = (400, "INVALID_PARAMETER_VALUE")
    api.fail("GET", "/experiments/get", *gone, "No Experiment with id=99999999 exists", experiment_id="99999999")
    api.fail(
        "GET",
        "/experiments/get",
        *bad,
        "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.",
        experiment_id="abc",
    )
    api.fail("GET", "/experiments/get", *bad, missing("experiment_id"))
    name = unique()
    api.fail(
        "GET", "/experiments/get-by-name", *gone, f"Could not find experiment with name '{name}'", experiment_name=name
    )
    api.fail("GET", "/experiments/get-by-name", *bad, missing("experiment_name"))


def test_rename(api, experiment):
    name = unique("renamed")
    old = api.get("/experiments/get", experiment_id=experiment)["experiment"]
    time.sleep(0.002)
    assert api.post("/experiments/update", experiment_id=experiment, new_name=name) == {}
    new = api.get("/experiments/get-by-name", experiment_name=name)["experiment"]
    assert new["experiment_id"] == experiment
    assert new["last_update_time"] > old["last_update_time"]
    assert new["creation_time"] == old["creation_time"]
    assert new["artifact_location"] == old["artifact_location"]


def test_rename_refusals(api, experiment):
    update = "/experiments/update"
    api.fail("POST", update, 400, "BAD_REQUEST", experiment_id=experiment, new_name="Default")
    for name in ({}, {"new_name": ""}):
        api.fail("POST", update, 400, "INVALID_PARAMETER_VALUE", missing("new_name"), experiment_id=experiment, **name)
    api.fail(
        "POST",
        update,
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "No Experiment with id=99999999 exists",
        experiment_id="99999999",
        new_name=unique(),
    )
    api.post("/experiments/delete", experiment_id=experiment)
    api.fail(
        "POST",
        update,
        500,
        "INVALID_STATE",
        "Cannot rename a non-active experiment.",
        experiment_id=experiment,
        new_name=unique(),
    )


def test_tags_are_set_changed_and_removed(api, experiment):
    def tags():
        return as_dict(api.get("/experiments/get", experiment_id=experiment)["experiment"].get("tags", []))

    for key, value in (("a", "1"), ("a", "2"), ("b", "ü")):
        assert api.post("/experiments/set-experiment-tag", experiment_id=experiment, key=key, value=value) == {}
    assert tags() == {"a": "2", "b": "ü"}
    api.post("/experiments/set-experiment-tag", experiment_id=experiment, key="a")
    assert tags() == {"a": "", "b": "ü"}
    assert api.post("/experiments/delete-experiment-tag", experiment_id=experiment, key="a") == {}
    assert tags() == {"b": "ü"}


def test_tag_refusals(api, experiment):
    api.fail(
        "POST",
        "/experiments/set-experiment-tag",
        400,
        "INVALID_PARAMETER_VALUE",
        missing("key"),
        experiment_id=experiment,
        value="x",
    )
    api.fail(
        "POST",
        "/experiments/set-experiment-tag",
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "No Experiment with id=99999999 exists",
        experiment_id="99999999",
        key="a",
        value="b",
    )
    api.fail(
        "POST",
        "/experiments/delete-experiment-tag",
        404,
        "RESOURCE_DOES_NOT_EXIST",
        f"No tag with name: nope in experiment with id {experiment}",
        experiment_id=experiment,
        key="nope",
    )
    api.post("/experiments/delete", experiment_id=experiment)
    api.fail(
        "POST",
        "/experiments/set-experiment-tag",
        400,
        "INVALID_PARAMETER_VALUE",
        f"The experiment {experiment} must be in the 'active' state. Current state is deleted.",
        experiment_id=experiment,
        key="a",
        value="b",
    )


def test_delete_takes_the_runs_along_and_restore_brings_them_back(api, experiment):
    run = api.new_run(experiment)
    assert api.post("/experiments/delete", experiment_id=experiment) == {}
    stored = api.get("/experiments/get", experiment_id=experiment)["experiment"]
    assert stored["lifecycle_stage"] == "deleted"
    assert api.get("/experiments/get-by-name", experiment_name=stored["name"])["experiment"] == stored
    assert api.run(run)["info"]["lifecycle_stage"] == "deleted"
    assert api.post("/experiments/restore", experiment_id=experiment) == {}
    assert api.get("/experiments/get", experiment_id=experiment)["experiment"]["lifecycle_stage"] == "active"
    assert api.run(run)["info"]["lifecycle_stage"] == "active"


def test_delete_and_restore_refusals(api, experiment):
    gone = f"No Experiment with id={experiment} exists"
    api.fail(
        "POST",
        "/experiments/restore",
        404,
        "RESOURCE_DOES_NOT_EXIST",
        re.compile(f"id={experiment}"),
        experiment_id=experiment,
    )
    api.post("/experiments/delete", experiment_id=experiment)
    api.fail("POST", "/experiments/delete", 404, "RESOURCE_DOES_NOT_EXIST", gone, experiment_id=experiment)
    for path in ("/experiments/delete", "/experiments/restore"):
        api.fail("POST", path, 404, "RESOURCE_DOES_NOT_EXIST", re.compile("id=99999999"), experiment_id="99999999")
        api.fail("POST", path, 400, "INVALID_PARAMETER_VALUE", missing("experiment_id"))


def test_no_new_run_in_a_deleted_experiment(api, experiment):
    api.post("/experiments/delete", experiment_id=experiment)
    api.fail(
        "POST",
        "/runs/create",
        400,
        "INVALID_PARAMETER_VALUE",
        f"The experiment {experiment} must be in the 'active' state. Current state is deleted.",
        experiment_id=experiment,
    )


def test_runs_of_a_deleted_experiment_are_found_as_deleted(api, experiment):
    run = api.new_run(experiment)
    api.post("/experiments/delete", experiment_id=experiment)
    for view, count in (("ACTIVE_ONLY", 0), ("DELETED_ONLY", 1), ("ALL", 1)):
        found = api.post("/runs/search", experiment_ids=[experiment], run_view_type=view).get("runs", [])
        assert [r["info"]["run_id"] for r in found] == [run] * count


# Search. Every test narrows the search to names of its own, as the server is shared.


@pytest.fixture(scope="module")
def family(api):
    """Three experiments a, b, c (c deleted) under a common prefix."""
    prefix = unique("Fam")
    ids = {}
    for letter in "abc":
        ids[letter] = api.new_experiment(name=prefix + letter, tags=pairs(k=letter, same="x"))
        time.sleep(0.002)
    api.post("/experiments/delete", experiment_id=ids["c"])
    return prefix, ids


def find(api, family, condition=None, **more):
    prefix, _ = family
    clauses = [f"name LIKE '{prefix}%'"] + ([condition] if condition else [])
    more.setdefault("max_results", 100)
    answer = api.post("/experiments/search", filter=" AND ".join(clauses), **more)
    return "".join(n.removeprefix(prefix) for n in names(answer))


@pytest.mark.parametrize("view, found", [(None, "ba"), ("ACTIVE_ONLY", "ba"), ("DELETED_ONLY", "c"), ("ALL", "cba")])
def test_search_view_type_and_natural_order(api, family, view, found):
    assert find(api, family, **({"view_type": view} if view else {})) == found


@pytest.mark.parametrize(
    "condition, found",
    [
        ("tags.k = 'a'", "a"),
        ("tag.`k` = 'a'", "a"),
        ('tags."k" = "b"', "b"),
        ("tags.k != 'a'", "b"),
        ("tags.k LIKE '_'", "ba"),
        ("tags.k LIKE 'A'", ""),
        ("tags.k ILIKE 'A'", "a"),
        ("tags.nope IS NULL", "ba"),
        ("tags.k IS NOT NULL", "ba"),
        ("tags.k IS NULL", ""),
        ("tags.nope != 'x'", ""),
        ("tags.same = 'x' AND tags.k = 'b'", "b"),
        ("creation_time > 0", "ba"),
        ("creation_time < 0", ""),
        ("last_update_time >= 1", "ba"),
        ("attribute.name ILIKE '%A'", "a"),
        ("attributes.creation_time != 5", "ba"),
    ],
)
def test_search_filters(api, family, condition, found):
    assert find(api, family, condition) == found


def test_search_by_name_and_id(api, family):
    prefix, ids = family

    def found(text):
        return names(api.post("/experiments/search", max_results=10, filter=text))

    assert found(f"name = '{prefix}a'") == [prefix + "a"]
    assert found(f"name = '{prefix.lower()}a'") == []
    assert found(f"name ILIKE '{prefix.upper()}A'") == [prefix + "a"]
    assert found(f"name LIKE '{prefix.upper()}A'") == []
    assert found(f"experiment_id = '{ids['a']}'") == [prefix + "a"]
    assert found(f"experiment_id IN ('{ids['a']}', '{ids['b']}')") == [prefix + "b", prefix + "a"]


@pytest.mark.parametrize(
    "order, found",
    [
        (["name ASC"], "ab"),
        (["name"], "ab"),
        (["name DESC"], "ba"),
        (["name desc"], "ba"),
        (["creation_time ASC"], "ab"),
        (["last_update_time DESC"], "ba"),
        (["experiment_id ASC"], "ab"),
    ],
)
def test_search_order(api, family, order, found):
    assert find(api, family, order_by=order) == found


def test_search_pages(api, family):
    prefix, _ = family
    query = {"filter": f"name LIKE '{prefix}%'", "max_results": 1, "order_by": ["name ASC"]}
    first = api.post("/experiments/search", **query)
    assert names(first) == [prefix + "a"]
    assert base64.b64decode(first["next_page_token"]) == b'{"offset": 1}'
    second = api.post("/experiments/search", page_token=first["next_page_token"], **query)
    assert names(second) == [prefix + "b"]
    assert "next_page_token" not in second


def test_search_by_get_equals_search_by_post(api, family):
    prefix, _ = family
    query = {"filter": f"name LIKE '{prefix}%'", "max_results": 5, "order_by": ["name ASC"], "view_type": "ALL"}
    answer = api.get("/experiments/search", **query)
    assert answer == api.post("/experiments/search", **query)
    assert len(answer["experiments"]) == 3


@pytest.mark.parametrize(
    "body, message",
    [
        ({}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ({"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ({"max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000"),
        ({"max_results": "x"}, wrong_type('"x"', "max_results", "str")),
        ({"max_results": 1, "page_token": "Zm9v"}, "Invalid page token, decoded value=b'foo'"),
        ({"max_results": 1, "page_token": "x"}, "Invalid page token, could not base64-decode"),
        (
            {"max_results": 1, "filter": "bogus = 'x'"},
            re.compile("^Invalid attribute key 'bogus' specified. Valid keys"),
        ),
        (
            {"max_results": 1, "filter": "lifecycle_stage = 'active'"},
            re.compile("^Invalid attribute key 'lifecycle_st"),
        ),
        ({"max_results": 1, "filter": "name > 'x'"}, re.compile("^Invalid comparator '>' not one of ")),
        (
            {"max_results": 1, "filter": "params.x = '1'"},
            re.compile("^Invalid entity type 'params'. Valid entity types"),
        ),
        (
            {"max_results": 1, "filter": "experiment_id = 0"},
            "Expected a quoted string value for attributes. Got value 0",
        ),
        (
            {"max_results": 1, "filter": "creation_time > '0'"},
            "Expected numeric value type for numeric attribute: creation_time. Found '0'",
        ),
        (
            {"max_results": 1, "filter": "name = 'a' OR name = 'b'"},
            re.compile(r"^Invalid clause\(s\) in filter string"),
        ),
        ({"max_results": 1, "filter": "name = Default"}, re.compile(r"^Invalid clause\(s\) in filter string")),
        ({"max_results": 1, "filter": " "}, "Invalid filter ' '. Could not be parsed."),
        (
            {"max_results": 1, "filter": "name IN ('Default')"},
            "Only ['experiment_id'] attributes support comparison with a list of quoted string values.",
        ),
        ({"max_results": 1, "order_by": ["bogus"]}, re.compile("^Invalid attribute key 'bogus' specified. Valid keys")),
        ({"max_results": 1, "order_by": ["name foo"]}, "Invalid ordering key in order_by clause 'name foo'."),
        ({"max_results": 1, "order_by": ["tags.a"]}, "Invalid order_by entity: tag"),
        (
            {"max_results": 1, "order_by": ["name DESC, experiment_id"]},
            "Invalid order_by clause 'name DESC, experiment_id'. Could not be parsed.",
        ),
    ],
)
def test_search_refusals(api, body, message):
    api.fail("POST", "/experiments/search", 400, "INVALID_PARAMETER_VALUE", message, **body)


def test_unknown_run_of_any_kind_is_not_an_experiment(api):
    api.fail(
        "GET",
        "/experiments/get",
        400,
        "INVALID_PARAMETER_VALUE",
        "Invalid experiment ID '" + "a" * 32 + "'. Experiment ID must be a valid integer.",
        experiment_id="a" * 32,
    )
    api.fail("GET", "/runs/get", 404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={NO_RUN} not found", run_id=NO_RUN)
