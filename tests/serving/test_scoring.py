"""MLflow's scoring protocol (`/invocations`): as recorded, and as the real scoring server answers the same requests."""

import json

import harness
import pytest

from . import support

SERVER = "mlflow models serve 3.17.2"


def load():
    lines = (harness.shared_dir() / "reference" / "v2-vectors.jsonl").read_text().splitlines()
    return {v["name"]: v for v in map(json.loads, lines) if v["server"] == SERVER}


VECTORS = load()
OWN = {
    "version": "the release of MLflow that the program follows",
    "inv-v1-instances-path": "this server speaks V1 as well",
    "inv-bad-ct": "parquet is not among the types, and the list says so",
}


@pytest.fixture(scope="module")
def server():
    with support.serve({"bankchurn-model": support.churn_model()}) as running:
        yield running


def ask(server, request):
    body = json.dumps(request["json"]) if "json" in request else request.get("text")
    return server.call(request["method"], request["path"], body, dict(request.get("headers") or {}))


@pytest.mark.parametrize("name", [n for n in VECTORS if n not in OWN])
def test_as_recorded(server, name):
    vector = VECTORS[name]
    status, headers, raw = ask(server, vector["request"])
    assert status == vector["status"], raw
    assert headers["content-type"] == vector["response_headers"]["content-type"]
    want = vector["response"]
    if isinstance(want, str):
        assert raw.decode().split(".")[0].split(" Got")[0] == want.split(".")[0].split(" Got")[0]
        return
    got = json.loads(raw)
    if status == 200:
        assert got == want
        return
    for key in ("error_code", "sqlstate", "error_class"):
        assert got[key] == want[key], got
    # The first words are mlflow's; the values of the request are not repeated.
    assert got["message"].split(" ")[:3] == want["message"].split(" ")[:3]
    assert "125510" not in got["message"] and "79084" not in got["message"]


def test_version_and_unsupported_type(server):
    status, headers, raw = server.call("GET", "/version")
    assert status == 200 and raw.count(b".") == 2
    status, headers, raw = ask(server, VECTORS["inv-bad-ct"]["request"])
    assert status == 415 and b"application/x-foo" in raw and headers["content-type"].startswith("text/plain")


# ---- against the real scoring server, in this process ----


def signature(*types):
    return support.columns([(f"c{i}", t) for i, t in enumerate(types)])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A function that asks both servers the same; the models have four columns or one tensor."""
    import mlflow
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    root = tmp_path_factory.mktemp("scoring")
    linear = support.GOLDEN / "1.9.1" / "logreg_binary.skops"
    folders = {
        "doubles": support.write_model(root / "doubles", linear, inputs=signature(*["double"] * 4)),
        "typed": support.write_model(
            root / "typed",
            linear,
            inputs=signature("integer", "long", "float", "double"),
        ),
        "tensor": support.write_model(root / "tensor", linear, inputs=support.tensor("float64", [-1, 4])),
        "nothing": support.write_model(root / "nothing", linear),
        "proba": support.write_model(
            root / "proba",
            linear,
            inputs=signature(*["double"] * 4),
            predict_fn="predict_proba",
        ),
    }
    folders["mixed"] = harness.shared_dir() / "data" / "models" / "vector-models" / "mixed" / "model"
    asked = {}

    def run(model, message, content_type="application/json"):
        if model not in asked:
            running = support.serve({model: folders[model]})
            real = TestClient(
                scoring_server.init(mlflow.pyfunc.load_model(str(folders[model]))),
                raise_server_exceptions=False,
            )
            asked[model] = (running, running.__enter__(), real)
        _, ours, theirs = asked[model]
        body = message if isinstance(message, str) else json.dumps(message)
        status, _, raw = ours.call("POST", "/invocations", body, {"Content-Type": content_type})
        answer = theirs.post("/invocations", content=body, headers={"content-type": content_type})
        return (status, raw.decode()), (answer.status_code, answer.text)

    yield run
    for running, _, _ in asked.values():
        running.__exit__(None, None, None)


ROWS = [[1, 2, 3, 4], [0.5, -1, 2.25, 1e3]]
NAMES = ["c0", "c1", "c2", "c3"]
OBJECTS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
CSV = "c0,c1,c2,c3\n1,2,3,4\n\n0.5,-1,2.25,1e3\n"

SAME = [
    ("doubles", {"dataframe_split": {"columns": NAMES, "data": ROWS}}),
    ("doubles", {"dataframe_split": {"columns": NAMES[::-1], "data": ROWS}}),
    (
        "doubles",
        {"dataframe_split": {"columns": NAMES, "data": [["1", "2", "3", "4"]]}},
    ),
    ("doubles", {"dataframe_split": {"columns": NAMES, "data": [[True, False, 1, 2]]}}),
    (
        "doubles",
        {"dataframe_split": {"columns": [*NAMES, "more"], "data": [[*ROWS[0], "x"]]}},
    ),
    ("doubles", {"dataframe_records": OBJECTS}),
    ("doubles", {"instances": OBJECTS}),
    ("doubles", {"inputs": {n: [r[i] for r in ROWS] for i, n in enumerate(NAMES)}}),
    ("doubles", {"inputs": dict(zip(NAMES, ROWS[0], strict=True))}),
    (
        "doubles",
        {"dataframe_split": {"columns": NAMES, "data": ROWS}, "params": {"a": 1}},
    ),
    ("typed", {"dataframe_records": OBJECTS}),
    ("typed", {"dataframe_split": {"columns": NAMES, "data": [[1.9, 2, 3, 4]]}}),
    ("tensor", {"inputs": ROWS}),
    ("tensor", {"instances": ROWS}),
    ("tensor", {"instances": [[1, 2, 3, 4]]}),
    ("nothing", {"inputs": ROWS}),
    ("nothing", {"dataframe_split": {"columns": NAMES, "data": ROWS}}),
    ("proba", {"dataframe_split": {"columns": NAMES, "data": ROWS}}),
]
REFUSED = [
    ("doubles", {"dataframe_split": {"columns": NAMES[:3], "data": [[1, 2, 3]]}}),
    ("doubles", {"dataframe_split": {"columns": NAMES, "data": [[1, 2, 3]]}}),
    ("doubles", {"dataframe_split": {"data": ROWS}}),
    ("doubles", {"dataframe_split": ROWS}),
    ("doubles", {"dataframe_split": {"columns": NAMES, "data": ROWS, "extra": 1}}),
    ("doubles", {"dataframe_split": {"columns": NAMES, "data": [["x", 2, 3, 4]]}}),
    ("doubles", {"dataframe_records": {"c0": 1}}),
    ("doubles", {"instances": ROWS}),
    ("doubles", {"inputs": ROWS}),
    ("doubles", {"instances": [{"c0": 1}]}),
    ("doubles", {}),
    ("doubles", []),
    ("doubles", 5),
    ("doubles", "{"),
    ("doubles", {"inputs": [], "instances": []}),
    ("typed", {"dataframe_records": [{**OBJECTS[0], "c0": None}]}),
    ("tensor", {"inputs": [[1, 2, 3]]}),
]


@pytest.mark.parametrize(
    ("model", "message"),
    SAME,
    ids=lambda v: v if isinstance(v, str) else json.dumps(v)[:60],
)
def test_same_answer_as_the_real_server(both, model, message):
    ours, theirs = both(model, message)
    assert theirs[0] == 200, theirs
    assert ours[0] == 200, ours
    got, want = json.loads(ours[1])["predictions"], json.loads(theirs[1])["predictions"]
    assert got == (pytest.approx(want, rel=1e-12) if not isinstance(want[0], list) else want)


@pytest.mark.parametrize(
    ("model", "message"),
    REFUSED,
    ids=lambda v: v if isinstance(v, str) else json.dumps(v)[:60],
)
def test_same_refusal_as_the_real_server(both, model, message):
    ours, theirs = both(model, message)
    assert theirs[0] == 400, theirs
    assert ours[0] == 400, ours
    got, want = json.loads(ours[1]), json.loads(theirs[1])
    assert got["error_code"] in (
        want["error_code"],
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
    )
    assert got["message"]


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=UTF-8"])
@pytest.mark.parametrize("model", ["doubles", "typed", "nothing"])
def test_csv(both, model, content_type):
    text = CSV if model != "typed" else "c3,c2,c1,c0\n4,3,2,1\n"
    ours, theirs = both(model, text, content_type)
    assert theirs[0] == ours[0] == 200, (ours, theirs)
    assert json.loads(ours[1]) == json.loads(theirs[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c0,c1,c2,c3\n1,2,3,4\n1,2,3,4,5\n",
        'c0,c1,c2,c3\n"1,2,3,4\n',
        "c0,c1,c2,c3\nx,2,3,4\n",
    ],
)
def test_broken_csv(both, text):
    ours, theirs = both("doubles", text, "text/csv")
    assert ours[0] == theirs[0] == 400, (ours, theirs)


def test_csv_quotes_and_windows_lines(both):
    ours, theirs = both("doubles", '"c0","c1",c2,c3\r\n"1","2",3,4\r\n', "text/csv")
    assert ours[0] == theirs[0] == 200
    assert json.loads(ours[1]) == json.loads(theirs[1])


MIXED = {
    "CreditScore": 619,
    "Geography": "France",
    "Gender": "Female",
    "Age": 42,
    "Tenure": 2,
    "Balance": 0.0,
    "NumOfProducts": 1,
    "HasCrCard": True,
    "IsActiveMember": 1,
    "EstimatedSalary": 101348.88,
}
OTHER = {**MIXED, "Geography": "Germany", "Age": 71, "Balance": 125510.5, "NumOfProducts": 4}


def mixed_csv():
    header = ",".join(MIXED)
    return "\n".join([header, *(",".join(str(v) for v in row.values()) for row in (MIXED, OTHER))]) + "\n"


@pytest.mark.parametrize(
    "message",
    [
        {"dataframe_records": [MIXED, OTHER]},
        {"dataframe_split": {"columns": list(MIXED), "data": [list(MIXED.values()), list(OTHER.values())]}},
        {"instances": [MIXED, OTHER]},
        {"inputs": {k: [MIXED[k], OTHER[k]] for k in MIXED}},
        mixed_csv(),
    ],
    ids=["records", "split", "instances", "inputs", "csv"],
)
def test_columns_of_text(both, message):
    kind = "text/csv" if isinstance(message, str) else "application/json"
    ours, theirs = both("mixed", message, kind)
    assert theirs[0] == ours[0] == 200, (ours, theirs)
    assert json.loads(ours[1]) == json.loads(theirs[1])
    assert json.loads(ours[1])["predictions"] == ["stay", "leave"]


def test_the_model_loaded_last_answers(tmp_path):
    for name, source in (("a", "logreg_binary.skops"), ("b", "linreg.p4.pkl")):
        support.write_model(
            tmp_path / name / "model",
            support.GOLDEN / "1.9.1" / source,
            inputs=support.tensor("float64", [-1, 4]),
        )
        support.write_settings(tmp_path / name, name)
    with support.serve(None, "--model-repository", tmp_path) as server:
        predict = [server.post("/invocations", {"inputs": [[1, 2, 3, 4]]})[2]["predictions"][0]]
        assert server.call("POST", "/v2/repository/models/b/unload")[0] == 200
        predict.append(server.post("/invocations", {"inputs": [[1, 2, 3, 4]]})[2]["predictions"][0])
        assert isinstance(predict[0], float) and isinstance(predict[1], int)
        assert server.call("POST", "/v2/repository/models/a/unload")[0] == 200
        assert server.call("GET", "/ping")[0] == 404
        assert server.post("/invocations", {"inputs": [[1, 2, 3, 4]]})[0] == 404
