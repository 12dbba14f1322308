"""Model registry: stages and aliases."""

import pytest

from .api import missing, unique, wrong_type
from .registry import BAD, GONE, MV, RM, get_model, get_version

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
