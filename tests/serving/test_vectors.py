"""The recorded requests of v2-vectors.jsonl, sent again: same status, same body, same documented headers.

Three tables say where the answer is meant to differ. BETTER holds what MLServer answers with a 500 although the client
is at fault, and the answer wanted instead. OWN holds answers that name the product. NOT_ASKED holds the lines that are
not sent, each with its reason; a line of the recording that no table and no test knows fails `test_every_line_is_known`.
"""

import gzip
import json
import re

import harness
import pytest

from . import support
from .conftest import VECTOR_MODELS
from .support import UUID4

RECORDED = "mlserver 1.7.1, mlflow 3.17.2, pandas 2.3"


def load():
    lines = (harness.shared_dir() / "reference" / "v2-vectors.jsonl").read_text().splitlines()
    return [v for v in map(json.loads, lines) if v["server"] == RECORDED and v.get("transport") != "grpc"]


VECTORS = {v["name"]: v for v in load()}


class Want:
    """An answer that differs from the recorded one: why, and what is asked instead."""

    def __init__(self, why, status, *, names=(), outputs=None, silent=()):
        self.why = why
        self.status = status
        self.names = names  # for errors: one pattern each that the text must match
        self.outputs = outputs  # for answers: the data of the one output
        self.silent = silent  # input values and headers that the text must not repeat


FAULT = "the client's fault is a 400, not a 500"
COLUMN = "a 400 that names the column"
LOSSLESS = "numbers that convert without loss are converted (case 38)"
CHURN_NAME = r"CreditScore|Geography|Gender|Age|Tenure|Balance|NumOfProducts|HasCrCard|IsActiveMember|EstimatedSalary"

BETTER = {
    "zero-rows": Want(FAULT, 400, names=[r"\b(0|no|zero|empty)\b"]),
    "missing-column": Want(COLUMN, 400, names=["missing", "EstimatedSalary"], silent=["125510", "79084"]),
    "missing-two-columns": Want(COLUMN, 400, names=["missing", "IsActiveMember", "EstimatedSalary"]),
    "wrong-column-name": Want(COLUMN, 400, names=["missing", "CreditScore"]),
    "no-inputs": Want(COLUMN, 400, names=["missing", *CHURN_NAME.split("|")]),
    "request-content-type-unknown": Want(
        "unknown content type is a 400 (case 44)",
        400,
        names=["content.?type"],
        silent=["accept-encoding", "127.0.0.1", "125510"],
    ),
    "input-content-type-str": Want(COLUMN, 400, names=["CreditScore"]),
    "dtype-all-UINT64": Want(LOSSLESS, 200, outputs=[0]),
    "dtype-all-BOOL": Want(LOSSLESS, 200, outputs=[0]),
    "dtype-int64-fraction": Want(
        "a fraction in an INT64 tensor is refused, not cut off",
        400,
        names=["Balance"],
        silent=["125510"],
    ),
    "data-string-text": Want(COLUMN, 400, names=["CreditScore"], silent=["abc"]),
    "data-null": Want(COLUMN, 400, names=["CreditScore"]),
    "shape-too-big": Want(COLUMN, 400, names=["CreditScore", "shape|size|element|row"]),
    "data-too-long": Want(COLUMN, 400, names=["CreditScore", "shape|size|element|row"]),
    "rows-differ": Want(COLUMN, 400, names=[CHURN_NAME]),
    "shape-empty": Want(COLUMN, 400, names=["CreditScore", "shape"]),
    "shape-1-2": Want(COLUMN, 400, names=["CreditScore", "shape|size|element|row"]),
    "single-input-pd-2d": Want(COLUMN, 400, names=[r"CreditScore|\bx\b"]),
    "single-input-np-2d": Want(FAULT, 400, names=["CreditScore"]),
    "tensor-fp32": Want(
        "a tensor of another type is a 400 that names both types",
        400,
        names=["FP32|float32", "FP64|float64"],
    ),
    "tensor-wrong-width": Want(
        "a tensor of another shape is a 400 that names both shapes",
        400,
        names=["3", "4"],
    ),
    "tensor-data-shape-mismatch": Want(FAULT, 400, names=["shape|size|element"]),
    "mixed-double-for-long": Want(LOSSLESS, 200, outputs=["stay"]),
    "mixed-number-for-string": Want(COLUMN, 400, names=["Geography", "string"]),
    "nosig-no-content-type": Want(
        "no signature and no content type: a 400 that says so, and no headers in it",
        400,
        names=["content.?type"],
        silent=["accept-encoding", "127.0.0.1", "Ce-Id"],
    ),
}

OWN = {
    "server-metadata": "names the product",
    "infer-stream": "the recorded answer repeats the response headers inside `parameters`",
    "metrics-on-http-port": "there is one port for answers and metrics",
}

NOT_ASKED = {
    "docs": "MLServer's own Swagger page",
    "v1-models": "says only that MLServer has no V1 protocol",
    "root": "says only that MLServer has no page at /",
    "repo-index": "asked with other models in test_repository_index",
    "repo-index-ready": "asked with other models in test_repository_index",
    "repo-unload": "asked of another model in test_unload_and_load",
    "repo-unload-again": "asked of another model in test_unload_and_load",
    "repo-infer-unloaded": "asked of another model in test_unload_and_load",
    "repo-index-after-unload": "asked of another model in test_unload_and_load",
    "repo-load": "asked of another model in test_unload_and_load",
    "inv-v1-instances-path": "says only that MLServer has no V1 protocol",
    "ping": "asked in test_scoring, as `mlflow models serve` answers it",
    "health": "asked in test_scoring, as `mlflow models serve` answers it",
    "version": "asked in test_scoring, as `mlflow models serve` answers it",
}
# These models are Python code.
OTHER_MODELS = re.compile(r"/v2/(repository/)?models/(frame|tdict|describe|fail)(/|$)")


def is_asked(vector):
    path = vector["request"]["path"]
    return (
        vector["name"] not in NOT_ASKED
        and vector["name"] not in OWN
        and path != "/invocations"
        and not OTHER_MODELS.match(path)
    )


ASKED = [name for name, v in VECTORS.items() if is_asked(v)]


def ask(server, vector):
    request = vector["request"]
    headers = dict(request.get("headers") or {})
    body = json.dumps(request["json"]) if "json" in request else request.get("text")
    if vector["name"] == "gzip-request":
        body = gzip.compress(json.dumps(VECTORS["seed-exact"]["request"]["json"]).encode())
    return server.call(request["method"], request["path"], body, headers)


def without_id(body):
    body = dict(body)
    given = body.pop("id", None)
    return body, given


def test_every_line_is_known():
    """A new line in the recording is either sent by this file or named in a table."""
    known = set(ASKED) | set(NOT_ASKED) | set(OWN)
    unknown = {
        n
        for n, v in VECTORS.items()
        if n not in known and v["request"]["path"] != "/invocations" and not OTHER_MODELS.match(v["request"]["path"])
    }
    assert not unknown
    assert set(BETTER) <= set(ASKED)
    assert {
        "seed-exact",
        "two-rows",
        "proba-two-rows",
        "nosig-np",
        "versioned-infer",
    } <= set(ASKED)
    assert len(ASKED) > 70


@pytest.mark.parametrize("name", [n for n in ASKED if n not in BETTER])
def test_as_recorded(vector_server, name):
    vector = VECTORS[name]
    status, headers, raw = ask(vector_server, vector)
    body = support.as_json(raw)
    assert status == vector["status"], body
    want = vector["response"]
    for key, value in vector["response_headers"].items():
        if key != "vary":  # said of every compressible answer, asked in test_gzip
            assert headers.get(key) == value, key
    if isinstance(want, dict) and "outputs" in want and "id" in want:
        body, given = without_id(body)
        want, recorded = without_id(want)
        asked_id = vector["request"].get("json", {}).get("id")
        assert given == asked_id if asked_id is not None else UUID4.match(given)
        assert headers["ce-id"] == headers["ce-requestid"] == given
        assert body == want
        for output, recorded in zip(body["outputs"], want["outputs"], strict=True):
            assert [type(v) for v in output["data"]] == [type(v) for v in recorded["data"]]
    elif isinstance(want, dict) and "detail" in want and isinstance(want["detail"], list):
        compare_details(body, want)
    elif name in ("request-content-type-np", "tensor-two-inputs"):
        # The name of the Python class in front of it says nothing here.
        assert re.search(r"single input tensor \(\d+ were received\)", want["error"]).group() in support.only_error(
            body
        )
    else:
        assert body == want
    if name == "trailing-slash":
        assert headers["location"].endswith("/v2")
    if name in ("live", "ready", "model-ready"):
        assert raw == b"" and "content-type" not in headers


def compare_details(body, want):
    """A 422 as pydantic words it. The echo of the input (`input`) is left out on purpose: it may hold secrets.

    The first fault must be told as recorded; whether the same fault in further inputs is told as well is free.
    """
    assert list(body) == ["detail"], body

    def facts(entry):
        if entry["type"] == "json_invalid":
            return entry["type"], entry["loc"][0], entry["msg"]
        return entry["type"], entry["loc"], entry["msg"]

    ours, theirs = (
        [facts(e) for e in body["detail"]],
        [facts(e) for e in want["detail"]],
    )
    assert ours[0] == theirs[0]
    assert all(o in theirs for o in ours)


@pytest.mark.parametrize("name", list(BETTER))
def test_better_than_recorded(vector_server, name):
    vector, want = VECTORS[name], BETTER[name]
    assert vector["status"] == 500, "this table is for answers that blame the server"
    status, headers, raw = ask(vector_server, vector)
    body = support.as_json(raw)
    assert status == want.status, (want.why, body)
    assert headers["content-type"] == "application/json"
    if want.outputs is not None:
        assert support.only_output(body)["data"] == want.outputs
        return
    text = support.only_error(body)
    for pattern in want.names:
        assert re.search(pattern, text, re.IGNORECASE), (pattern, text)
    for secret in want.silent:
        assert secret.lower() not in text.lower()
    # What comes after must not suffer.
    assert ask(vector_server, VECTORS["seed-exact"])[0] == 200


def test_server_metadata(vector_server):
    status, _, body = vector_server.get("/v2")
    assert status == 200
    assert list(body) == ["name", "version", "extensions"]
    assert body["name"] and body["version"]
    assert isinstance(body["extensions"], list)


def test_infer_stream(vector_server):
    vector = VECTORS["infer-stream"]
    status, headers, raw = ask(vector_server, vector)
    assert status == 200
    assert headers["content-type"] == vector["response_headers"]["content-type"]
    events = raw.decode().split("\n\n")
    assert events.pop() == "" and len(events) == 1 and events[0].startswith("data: ")
    ours = json.loads(events[0].removeprefix("data: "))
    theirs = json.loads(vector["response"].removeprefix("data: "))
    assert UUID4.match(ours.pop("id")) and UUID4.match(theirs.pop("id"))
    assert ours["parameters"].pop("content_type") == theirs["parameters"].pop("content_type")
    for body in (ours, theirs):
        body.pop("parameters")
    assert ours == theirs


def test_metrics_on_the_same_port(vector_server):
    ask(vector_server, VECTORS["seed-exact"])
    status, headers, raw = vector_server.call("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert b"\n# TYPE " in b"\n" + raw


def test_repository_index(vector_server):
    for message in ({}, {"ready": True}):
        status, _, body = vector_server.post("/v2/repository/index", message)
        assert status == 200
        versions = {"versioned": {"version": "v3"}}
        assert sorted(body, key=lambda m: m["name"]) == sorted(
            ({"name": n, **versions.get(n, {}), "state": "READY", "reason": ""} for n in VECTOR_MODELS),
            key=lambda m: m["name"],
        )


def test_unload_and_load(tmp_path):
    """The recorded `repo-*` lines, asked of a model that is served natively."""
    for name in ("tensor", "other"):
        support.write_model(
            tmp_path / name / "model",
            support.GOLDEN / "1.9.1" / "logreg_binary.skops",
            inputs=support.tensor("float64", [-1, 4]),
        )
        support.write_settings(tmp_path / name, name)
    row = [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]
    with support.serve(None, "--model-repository", tmp_path) as server:
        assert server.infer("tensor", row)[0] == 200
        assert server.call("POST", "/v2/repository/models/tensor/unload")[::2] == (
            200,
            b"",
        )
        status, _, body = server.post("/v2/repository/models/tensor/unload", "")
        assert (status, body) == (404, {"error": "Model tensor not found"})
        status, _, body = server.infer("tensor", row)
        assert (status, body) == (404, {"error": "Model tensor not found"})
        _, _, body = server.post("/v2/repository/index", {})
        assert {m["name"]: m["state"] for m in body} == {
            "tensor": "UNAVAILABLE",
            "other": "READY",
        }
        assert server.infer("other", row)[0] == 200
        assert server.call("POST", "/v2/repository/models/tensor/load")[::2] == (
            200,
            b"",
        )
        assert server.infer("tensor", row)[0] == 200
        status, _, body = server.post("/v2/repository/models/nope/load", "")
        assert (status, body) == (404, {"error": "Model nope not found"})
