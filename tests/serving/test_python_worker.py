"""Models that no native engine reads, served by their own library in a sandboxed worker."""

import concurrent.futures
import json
import re

import harness
import pytest

from . import python_models, support
from .python_models import ask, text_input

START = 120  # several workers load their libraries, one after the other


@pytest.fixture(scope="module")
def made(python_worker):
    return python_worker


@pytest.fixture(scope="module")
def server(made, tmp_path_factory):
    data, models, _ = made
    models = {**models, **python_models.recorded(tmp_path_factory.mktemp("recorded"))}
    with support.serve(models, "--data", data, timeout=START) as running:
        yield running


def test_predict_from_the_command_line(made):
    assert made[2] == {"predictions": [5.0, 9.0]}


def test_the_environment_is_kept(made):
    data, models, _ = made
    explained = harness.run_once(["model", "explain", models["double"], "--data", data, "--json"])
    assert explained.returncode == 0, explained.stderr
    body = json.loads(explained.stdout)
    assert body["engine"] == "python"
    assert "mlflow.pyfunc.model" in body["reason"]
    assert body["environment"]["cached"] is True
    assert body["environment"]["packages"] == len(python_models.requirements())
    text = harness.run_once(["model", "explain", models["double"], "--data", data]).stdout
    assert re.search(r"engine\s+python\n", text) and "made before" in text


def test_what_is_native_is_said():
    done = harness.run_once(["model", "explain", support.churn_model(), "--json"])
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["engine"] == "native" and "LogisticRegression" in body["description"]


def test_engine_native_refuses(made):
    data, models, _ = made
    done = harness.run_once(["model", "explain", models["double"], "--data", data, "--engine", "native"])
    assert done.returncode == 1
    assert "none" in done.stdout and "mlflow.pyfunc.model" in done.stdout


def test_numbers_and_parameters(server):
    inputs = [
        {"name": "b", "datatype": "FP64", "shape": [2], "data": [3, 4]},
        {"name": "a", "datatype": "FP64", "shape": [2], "data": [1, 2.5]},
    ]
    status, _, body = server.infer("double", inputs)
    assert status == 200, body
    assert support.only_output(body)["data"] == [5.0, 9.0]
    assert server.infer("double", inputs, parameters={"factor": 10.0})[2]["outputs"][0]["data"] == [13.0, 29.0]
    status, _, body = server.post("/invocations", {"dataframe_records": [{"a": 1, "b": 2}]})
    assert status in (200, 400)  # the model that was loaded last answers it
    status, _, body = server.infer("double", inputs[:1])
    assert status == 400 and "'a'" in support.only_error(body)


def test_v1(server):
    status, _, body = server.post("/v1/models/double:predict", {"instances": [{"a": 1, "b": 2}, {"a": 2, "b": 2}]})
    assert (status, body) == (200, {"predictions": [4.0, 6.0]})
    status, _, body = server.post("/v1/models/answers:predict", {"instances": [{"what": "table"}]})
    assert (status, body) == (
        200,
        {"predictions": [{"n": 0, "x": 0.5, "t": "q", "b": True}]},
    )
    status, _, body = server.post("/v1/models/answers:predict", {"instances": [{"what": "dict"}]})
    assert (status, body) == (
        200,
        {"predictions": {"a": [[0, 1], [2, 3]], "b": [1.5, 2.5]}},
    )


@pytest.mark.parametrize(
    "what, rows, outputs",
    [
        ("texts", 2, [("BYTES", [2, 1], ["", "ä"])]),
        ("table", 2, [("INT64", [2, 1], [0, 1]), ("FP64", [2, 1], [0.5, 0.5]), ("BYTES", [2, 1], ["q", "q"]), ("BOOL", [2, 1], [True, True])]),
        ("dict", 1, [("INT64", [2, 2], [0, 1, 2, 3]), ("FP64", [2, 1], [1.5, 2.5])]),
        ("objects", 1, [("BYTES", [1, 1], ['{"k": [1, null], "\\u00e9": "x"}'])]),
        ("value", 1, [("BYTES", [1, 1], ['{"n": 1, "list": ["a", 2]}'])]),
        ("big", 1, [("INT64", [1, 1], [2**60 + 1])]),
        ("nan", 2, [("FP64", [2, 1], [None, 1.0])]),
        ("cube", 2, [("FP64", [2, 2, 2], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])]),
        ("scalar", 1, [("INT64", [1, 1], [3])]),
    ],
)  # fmt: skip
def test_answers_of_every_kind(server, what, rows, outputs):
    status, body = ask(server, what, rows)
    assert status == 200, body
    assert [(o["datatype"], o["shape"], o["data"]) for o in body["outputs"]] == outputs


def test_model_from_code_gets_dates(server):
    status, _, body = server.infer("weekdays", [text_input("2024-02-29", "2024-03-02T10:00:00", name="when")])
    assert status == 200, body
    assert [o["data"] for o in body["outputs"]] == [["Thursday", "Saturday"], [3, 5]]
    assert server.infer("weekdays", [text_input("no date", name="when")])[0] == 400


def test_errors_of_the_model_are_its_own(server):
    status, body = ask(server, "raise")
    assert status == 500 and "ZeroDivisionError" in support.only_error(body)
    status, body = ask(server, "nothing")
    assert status == 500 and "None" in support.only_error(body)
    assert ask(server, "texts")[0] == 200


def vectors():
    lines = (harness.shared_dir() / "reference" / "v2-vectors.jsonl").read_text().splitlines()
    models = re.compile(r"/v2/models/(describe|tdict|fail)(/infer)?$")
    for v in map(json.loads, lines):
        rest = v["server"].startswith("mlserver 1.7.1, mlflow 3.17.2") and v.get("transport") != "grpc"
        if rest and models.match(v["request"]["path"]) and v["name"] != "repo-infer-unloaded":
            yield pytest.param(v, id=v["name"])


# What MLServer answers with a 500 although the client is at fault, and what the 400 must name.
FAULTS = {
    "tdict-missing": r"missing inputs \['b'\]",
    "describe-bad-param": "temperature",
}


@pytest.mark.parametrize("vector", list(vectors()))
def test_as_recorded(server, vector):
    request = vector["request"]
    body = json.dumps(request["json"]) if "json" in request else None
    status, _, raw = server.call(request["method"], request["path"], body, request.get("headers") or {})
    answer, want = support.as_json(raw), vector["response"]
    if vector["name"] in FAULTS:
        assert status == 400, answer
        assert re.search(FAULTS[vector["name"]], support.only_error(answer))
        return
    assert status == vector["status"], answer
    for message in (answer, want):
        message.pop("id", None)
    assert answer == want


def together(server, ask_one, count=24):
    """The answers of so many requests that come at once."""

    def one(i):
        mine = support.Server(server.url, server.proc)
        try:
            return [ask_one(mine, i, k) for k in range(5)]
        finally:
            mine.close()

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [a for many in pool.map(one, range(count)) for a in many]


def test_requests_together_get_their_own_answers(server):
    def one(mine, i, k):
        values = [float(i), float(k)]
        inputs = [
            {"name": "a", "datatype": "FP64", "shape": [2], "data": values},
            {"name": "b", "datatype": "FP64", "shape": [2], "data": [0.5, 0.25]},
        ]
        status, _, body = mine.infer("double", inputs)
        assert status == 200, body
        return support.only_output(body)["data"], [2 * values[0] + 0.5, 2 * values[1] + 0.25]

    for got, wanted in together(server, one):
        assert got == wanted


def test_joined_rows_are_cut_apart(server):
    """The model answers each row with the number of rows that it saw at once."""
    for status, body in together(server, lambda mine, i, k: ask(mine, "rows", 2)):
        assert status == 200, body
        first, second = support.only_output(body)["data"]
        assert first == second >= 2 and first % 2 == 0


def test_answers_that_are_not_by_row_are_not_joined(server):
    for status, body in together(server, lambda mine, i, k: ask(mine, "summary", 2)):
        assert status == 200, body
        assert support.only_output(body)["data"] == [2.0]


def test_a_custom_step_is_named_and_served(made, tmp_path):
    data, _, _ = made
    model, rows, expected = python_models.custom_pipeline(tmp_path)
    done = harness.run_once(["model", "explain", model, "--data", data])
    assert done.returncode == 0, done.stderr
    assert "own_steps.Ratio" in done.stdout
    # Computed by the same library that the environment of the tests has, without making another one.
    rows_file = tmp_path / "rows.json"
    rows_file.write_text(json.dumps({"inputs": rows}))
    done = harness.run_once(["model", "predict", model, "--input", rows_file, "--data", data], timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"] == pytest.approx(expected, rel=1e-12)
