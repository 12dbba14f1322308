"""runs/search: the filter grammar, order, pages, view types. Public case 4 and its neighbours."""

import base64
import re

import pytest

from .api import metric, pair, pairs, wrong_type

SEARCH = "/runs/search"
BAD = (400, "INVALID_PARAMETER_VALUE")


@pytest.fixture(scope="module")
def one(api):
    """An experiment with a single run that every accepting filter must find."""
    experiment = api.new_experiment()
    run = api.new_run(
        experiment, run_name="r1", user_id="ann", start_time=1000, tags=[pair("my.tag", "v"), pair("and", "or")]
    )
    api.post(
        "/runs/log-batch",
        run_id=run,
        metrics=[
            metric("avg model score", 0.7),
            metric("a.b-c/d", 1),
            metric("x", 0.5),
            metric("nan", "NaN"),
            metric("neg", -2.5),
        ],
        params=[
            pair("model", "LR"),
            pair("1st", "x"),
            pair("emp", ""),
            pair("quote", "it's"),
            pair("pct", "50%"),
            pair("name with space", "y"),
            pair("uni", "ünï"),
        ],
    )
    api.post(
        "/runs/log-inputs",
        run_id=run,
        datasets=[
            {
                "tags": pairs(**{"mlflow.data.context": "train"}),
                "dataset": {"name": "ds", "digest": "d1", "source_type": "local", "source": "{}"},
            }
        ],
    )
    return experiment, run


def count(api, one, text):
    experiment, run = one
    text = text.replace("<id>", run)
    found = api.post(SEARCH, experiment_ids=[experiment], filter=text).get("runs", [])
    assert [r["info"]["run_id"] for r in found] == [run] * len(found)
    return len(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        # Metrics: keys in quotes of two kinds, numbers in every form.
        "metrics.`avg model score` > 0.5",
        'metrics."avg model score" >= 7e-1',
        "metric.`a.b-c/d` = 1",
        "metrics.x > .1",
        "metrics.x > -1",
        "metrics.x < 1e3",
        "metrics.x = 0.5 AND metrics.x < 0.6",
        "metrics.x != 0.7",
        "metrics.neg <= -2.5",
        "metrics.nan != 5",
        # Params.
        "params.model='LR'",
        'parameter.model="LR"',
        "parameters.model = 'LR'",
        "param.model = 'LR'",
        "params.model != 'SVM'",
        "params.model LIKE 'L_'",
        "params.model ILIKE 'l%'",
        "params.model like '%R'",
        "params.1st = 'x'",
        "params.emp = ''",
        "params.nokey IS NULL",
        "params.nokey is null",
        "params.model IS NOT NULL",
        "params.`name with space` = 'y'",
        'params.quote = "it\'s"',
        "params.pct LIKE '50%'",
        "params.uni = 'ünï'",
        "params.model  =   'LR'",
        # Tags: dots, keywords as keys.
        "tags.and = 'or'",
        "tags.mlflow.runName = 'r1'",
        "tags.`my.tag` = 'v'",
        "tags.\"my.tag\" = 'v'",
        "tag.my.tag = 'v'",
        "tags.my.tag ILIKE 'V'",
        "tags.nope IS NULL",
        "tags.my.tag IS NOT NULL",
        # Attributes under all their names.
        "attributes.`Run name` = 'r1'",
        "attribute.`Run Name` = 'r1'",
        "`run name` = 'r1'",
        "attributes.run_name = 'r1'",
        "run_name LIKE 'r%'",
        "attr.status = 'RUNNING'",
        "run.status = 'RUNNING'",
        "status != 'FAILED'",
        "run_id = '<id>'",
        "run_id IN ('<id>')",
        "run_id IN ('a','<id>')",
        "run_id NOT IN ('a', 'b')",
        "attributes.run_id LIKE '%'",
        "user_id = 'ann'",
        "artifact_uri LIKE '%/artifacts'",
        "start_time = 1000",
        "start_time > 999.5",
        "attribute.start_time != 1001",
        "created = 1000",
        "Created >= 1000",
        # Datasets.
        "dataset.name = 'ds'",
        "datasets.name LIKE 'd%'",
        "dataset.digest = 'd1'",
        "dataset.context = 'train'",
        "dataset.context IN ('train', 'test')",
        "dataset.name = 'ds' AND dataset.context = 'train'",
        # AND in any letter case.
        "metrics.x > 0.1 and params.model = 'LR' And tags.and = 'or'",
    ],
)
def test_filters_that_match(api, one, text):
    assert count(api, one, text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "params.model LIKE 'l%'",
        "params.Model = 'LR'",
        "params.model = 'lr'",
        "params.model = ''",
        "params.model != 'LR'",
        # Absent keys never match a comparison.
        "params.nokey != 'x'",
        "params.nokey = ''",
        "metrics.nokey != 1",
        "metrics.nokey > 0",
        "tags.nope != 'x'",
        "params.model IS NULL",
        "tags.my.tag IS NULL",
        "tags.my.tag LIKE 'V'",
        # NaN is stored beside a zero that must not be compared.
        "metrics.nan = 0",
        "metrics.nan < 1",
        "metrics.nan > -1",
        "metrics.nan >= 0",
        "metrics.nan <= 0",
        "metrics.x > 1e999",
        "status = 'running'",
        "run_id != '<id>'",
        "run_id NOT IN ('<id>')",
        "start_time != 1000",
        "created > 1000",
        "end_time > 0",
        "dataset.name = 'other'",
        "dataset.name = 'ds' AND dataset.context = 'test'",
        "metrics.x > 0.1 AND params.model = 'SVM'",
    ],
)
def test_filters_that_match_nothing(api, one, text):
    assert count(api, one, text) == 0


CLAUSE = re.compile(r"^Invalid clause\(s\) in filter string: ")
COMPARATOR = re.compile("^Invalid comparator '.*' not one of '{")
ATTRIBUTE = re.compile("^Invalid attribute key '.*' specified. Valid keys are '{")
UNQUOTED = re.compile("^Parameter value is either not quoted or unidentified quote types used for string value ")


@pytest.mark.parametrize(
    "text, message",
    [
        (" ", "Invalid filter ' '. Could not be parsed."),
        ("metrics.avg model score > 0.5", CLAUSE),
        ("a > 1 or a < 1", "Invalid clause(s) in filter string: 'or'"),
        ("metrics.x > 0.1 OR params.model = 'LR'", "Invalid clause(s) in filter string: 'OR'"),
        ("(metrics.x > 0.1)", CLAUSE),
        ("NOT metrics.x > 0.1", "Invalid clause(s) in filter string: 'NOT'"),
        ("metrics.x BETWEEN 0 AND 1", CLAUSE),
        ("params.model =", CLAUSE),
        ("= 'x'", CLAUSE),
        ("params.model 'LR'", CLAUSE),
        ("params.model = 'LR", CLAUSE),
        ("params.model = 'LR';", "Invalid clause(s) in filter string: ';'"),
        ("params.model = 'LR', params.model = 'LR'", CLAUSE),
        ("params.model = 'LR' -- comment", CLAUSE),
        (
            "params.model = 'LR'; drop table runs",
            "Search filter contained multiple expression \"params.model = 'LR'; drop table runs\". "
            "Provide AND-ed expression list.",
        ),
        ("'LR' = params.model", "Invalid comparison clause. Expected 'Identifier' found ''LR''"),
        ("params.model = LR", UNQUOTED),
        ("params.model = `LR`", UNQUOTED),
        ("status = RUNNING", UNQUOTED),
        ("params.model = 5", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 5"),
        ("params.model IN ('LR')", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value ('LR')"),
        ("tags.my.tag = 1", "Expected a quoted string value for tag (e.g. 'my-value'). Got value 1"),
        ("params.model RLIKE 'L'", COMPARATOR),
        ("params.model == 'LR'", COMPARATOR),
        ("params.model > 'A'", COMPARATOR),
        ("metrics.x <> 0", COMPARATOR),
        ("run_id > 'a'", COMPARATOR),
        ("dataset.name > 'x'", COMPARATOR),
        ("metrics.x = '0.7'", "Expected numeric value type for metric. Found '0.7'"),
        ("metrics.x = NaN", "Expected numeric value type for metric. Found NaN"),
        ("metrics.x > metrics.nan", "Expected numeric value type for metric. Found metrics.nan"),
        ("start_time > '0'", "Expected numeric value type for numeric attribute: start_time. Found '0'"),
        (
            "Params.model = 'LR'",
            "Invalid entity type 'Params'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
        ),
        (
            "bogus.x = 'a'",
            "Invalid entity type 'bogus'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
        ),
        ("attributes.lifecycle_stage = 'active'", ATTRIBUTE),
        ("experiment_id = '1'", ATTRIBUTE),
        ("bogus = 'a'", ATTRIBUTE),
        ("dataset.bogus = 'x'", re.compile("^Invalid dataset key 'bogus' specified. Valid keys are '{")),
        ("status IN ('RUNNING')", "Only ['run_id'] attributes support comparison with a list of quoted string values."),
        (
            "run_id IN ()",
            "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
        ),
        (
            "run_id IN (1)",
            "While parsing a list in the query, expected string value, punctuation, or whitespace, "
            "but got different type in list: (1,)",
        ),
        ("metrics.x IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'x'"),
        (
            "end_time IS NULL",
            "IS NULL / IS NOT NULL is only supported for tags and params, not for 'attribute' 'end_time'",
        ),
    ],
)
def test_filters_that_are_refused(api, one, text, message):
    api.fail("POST", SEARCH, *BAD, message, experiment_ids=[one[0]], filter=text)


def test_hostile_values_are_only_values(api, one):
    for value in ("x' OR '1'='1", "%", "'; DROP TABLE runs; --", "\\", "a\x00b"):
        quote = '"' if "'" in value else "'"
        assert count(api, one, f"params.model = {quote}{value}{quote}") == 0
    assert count(api, one, "params.model = 'LR'") == 1


def test_a_run_in_the_answer_is_the_run(api, one):
    found = api.post(SEARCH, experiment_ids=[one[0]])["runs"]
    assert found == [api.run(one[1])]


# Order. Runs: a metric 1, b NaN, c without, d metric -1; times 3, 2, 1, 3.


@pytest.fixture(scope="module")
def four(api):
    experiment = api.new_experiment()
    for name, start, value, param in (
        ("a", 3, 1.0, "b"),
        ("b", 2, "NaN", "a"),
        ("c", 1, None, None),
        ("d", 4, -1.0, "c"),
    ):
        run = api.new_run(experiment, run_name=name, start_time=start)
        if value is not None:
            api.post("/runs/log-batch", run_id=run, metrics=[metric("om", value)], params=pairs(op=param))
    return experiment


def ordered(api, four, *order, **more):
    answer = api.post(SEARCH, experiment_ids=[four], order_by=list(order), **more)
    return "".join(r["info"]["run_name"] for r in answer.get("runs", []))


@pytest.mark.parametrize(
    "order, found",
    [
        ([], "dabc"),
        (["metrics.om"], "dabc"),
        (["metrics.om ASC"], "dabc"),
        (["metrics.om DESC"], "adbc"),
        (["metric.`om` desc"], "adbc"),
        (['metrics."om" DESC'], "adbc"),
        (["params.op"], "badc"),
        (["params.op DESC"], "dabc"),
        (["start_time"], "cbad"),
        (["attributes.start_time ASC"], "cbad"),
        (["attr.start_time DESC"], "dabc"),
        (["created"], "cbad"),
        (["run_name"], "abcd"),
        (["attribute.run_name DESC"], "dcba"),
        (["tags.mlflow.runName DESC"], "dcba"),
        (["tag.`mlflow.runName`"], "abcd"),
        (["status"], "dabc"),
        (["end_time"], "dabc"),
        (["metrics.missing"], "dabc"),
        (["status", "run_name DESC"], "dcba"),
        (["user_id ASC", "metrics.om DESC"], "adbc"),
    ],
)
def test_order(api, four, order, found):
    assert ordered(api, four, *order) == found


def test_equal_start_times_go_by_run_id(api, experiment):
    runs = [api.new_run(experiment, start_time=7) for _ in range(5)]
    found = api.post(SEARCH, experiment_ids=[experiment])["runs"]
    assert [r["info"]["run_id"] for r in found] == sorted(runs)


@pytest.mark.parametrize(
    "order, message",
    [
        ("bogus", ATTRIBUTE),
        ("lifecycle_stage", ATTRIBUTE),
        ("`run name`", ATTRIBUTE),
        ("bogus.x", re.compile("^Invalid entity type 'bogus'. Valid values are")),
        ("metrics.om foo", "Invalid ordering key in order_by clause 'metrics.om foo'."),
        ("metrics.om ASC DESC", "Invalid order_by clause 'metrics.om ASC DESC'. Could not be parsed."),
        ("metrics.om ASC, params.op", "Invalid order_by clause 'metrics.om ASC, params.op'. Could not be parsed."),
        ("metric.om = 1", "Invalid order_by clause 'metric.om = 1'. Could not be parsed."),
        ("", "Invalid order_by clause ''. Could not be parsed."),
        ("dataset.name", "Invalid identifier type 'dataset'"),
    ],
)
def test_order_refusals(api, four, order, message):
    api.fail("POST", SEARCH, *BAD, message, experiment_ids=[four], order_by=[order])


@pytest.mark.fix
def test_one_key_twice_in_order_by_is_the_fault_of_the_request(api, four):
    # The stock server calls it an internal error, which makes clients repeat it.
    api.fail(
        "POST",
        SEARCH,
        *BAD,
        "`order_by` contains duplicate fields: ['metrics.om', 'metrics.om DESC']",
        experiment_ids=[four],
        order_by=["metrics.om", "metrics.om DESC"],
    )


# Pages and view types.


def test_pages(api, four):
    found, token = "", None
    for expected in ("da", "bc"):
        answer = api.post(SEARCH, experiment_ids=[four], max_results=2, **({"page_token": token} if token else {}))
        assert "".join(r["info"]["run_name"] for r in answer["runs"]) == expected
        found, token = found + expected, answer.get("next_page_token")
        if expected == "da":
            assert base64.b64decode(token) == b'{"offset": 2}'
    assert token is None
    assert ordered(api, four, max_results=4) == "dabc"
    assert ordered(api, four, max_results="2") == "da"
    assert ordered(api, four, page_token="") == "dabc"


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ({"max_results": -1}, "Invalid value -1 for parameter 'max_results' supplied. It must be a positive integer"),
        ({"max_results": 50001}, wrong_type("50001", "max_results", "int")),
        ({"max_results": "x"}, wrong_type('"x"', "max_results", "str")),
        ({"page_token": "bad!"}, "Invalid page token, could not base64-decode"),
        ({"experiment_ids": ["abc"]}, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer."),
        ({"experiment_ids": "0"}, wrong_type('"0"', "experiment_ids", "str")),
        ({"filter": 5}, wrong_type("5", "filter", "int")),
    ],
)
def test_refusals(api, four, fields, message):
    api.fail("POST", SEARCH, *BAD, message, **{"experiment_ids": [four], **fields})


@pytest.mark.parametrize("ids", [[], ["99999999"]])
def test_no_experiments_no_runs(api, ids):
    assert api.post(SEARCH, experiment_ids=ids) == {}
    assert api.post(SEARCH) == {}


def test_view_types(api, experiment):
    kept, dropped = api.new_run(experiment), api.new_run(experiment)
    api.post("/runs/delete", run_id=dropped)

    def found(**view):
        return {r["info"]["run_id"] for r in api.post(SEARCH, experiment_ids=[experiment], **view).get("runs", [])}

    assert found() == {kept}
    assert found(run_view_type="ACTIVE_ONLY") == {kept}
    assert found(run_view_type="DELETED_ONLY") == {dropped}
    assert found(run_view_type="ALL") == {kept, dropped}
    assert found(run_view_type="BOGUS") == {kept}


def test_many_experiments_at_once(api, one, four):
    found = api.post(SEARCH, experiment_ids=[one[0], four], filter="attributes.run_name LIKE '%'")["runs"]
    assert {r["info"]["experiment_id"] for r in found} == {one[0], four}
    assert len(found) == 5


def test_a_filter_sees_the_latest_metric_only(api, experiment, run):
    api.post("/runs/log-batch", run_id=run, metrics=[metric("m", 9, 1, 1), metric("m", 1, 2, 2)])
    assert api.post(SEARCH, experiment_ids=[experiment], filter="metrics.m > 5") == {}
    assert len(api.post(SEARCH, experiment_ids=[experiment], filter="metrics.m < 5")["runs"]) == 1
