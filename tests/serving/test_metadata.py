"""What a server tells about itself and its models: metadata, health, readiness."""

import pytest

from . import support

TYPES = [("flag", "boolean"), ("small", "integer"), ("whole", "long"), ("single", "float"), ("real", "double")]


def entry(name, datatype, shape, content_type="np"):
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"content_type": content_type}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    linear = support.GOLDEN / "1.9.1" / "logreg_binary.skops"
    four = TYPES[1:]

    def make(name, **kwargs):
        return support.write_model(root / name, linear, **kwargs)

    models = {
        "table": make("table", inputs=support.columns(four), outputs=support.tensor("int64", [-1])),
        "named": make("named", inputs=support.columns(four), outputs=support.columns([("verdict", "long")])),
        "probability": make(
            "probability",
            inputs=support.columns(four),
            predict_fn="predict_proba",
            outputs=support.tensor("float64", [-1, 2]),
        ),
        "tensor32": make("tensor32", inputs=support.tensor("float32", [-1, 4]), outputs=support.tensor("int64", [-1])),
        "no_outputs": make("no_outputs", inputs=support.columns(four)),
        "no_signature": make("no_signature"),
        "optional": make("optional", inputs=support.columns(four[:3]) + support.columns(four[3:], required=False)),
        "bankchurn-model": support.churn_model(),
    }
    with support.serve(models) as running:
        yield running


def test_table(server):
    status, headers, body = server.get("/v2/models/table")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert list(body) == ["name", "versions", "platform", "inputs", "outputs", "parameters"]
    assert body == {
        "name": "table",
        "versions": [],
        "platform": "",
        "inputs": [
            entry("small", "INT32", [-1, 1]),
            entry("whole", "INT64", [-1, 1]),
            entry("single", "FP32", [-1, 1]),
            entry("real", "FP64", [-1, 1]),
        ],
        "outputs": [entry("output-0", "INT64", [-1])],
        "parameters": {"content_type": "pd"},
    }


def test_named_output(server):
    assert server.get("/v2/models/named")[2]["outputs"] == [entry("verdict", "INT64", [-1, 1])]


def test_probability_output(server):
    assert server.get("/v2/models/probability")[2]["outputs"] == [entry("output-0", "FP64", [-1, 2])]


def test_tensor(server):
    body = server.get("/v2/models/tensor32")[2]
    assert body["inputs"] == [entry("input-0", "FP32", [-1, 4])]
    assert body["parameters"] == {"content_type": "np"}


def test_signature_without_outputs_is_served(server):
    """MLServer 1.7.1 does not start with such a model."""
    status, _, body = server.get("/v2/models/no_outputs")
    assert status == 200
    assert body["outputs"] == []
    assert len(body["inputs"]) == 4
    inputs = [{"name": n, "datatype": "FP64", "shape": [1], "data": [1]} for n, _ in TYPES[1:]]
    assert server.infer("no_outputs", inputs)[0] == 200


def test_no_signature(server):
    assert server.get("/v2/models/no_signature")[2] == {
        "name": "no_signature",
        "versions": [],
        "platform": "",
        "inputs": [],
        "outputs": [],
        "parameters": {},
    }


def test_metadata_and_answer_name_the_output_differently(server):
    """As MLServer does: output-0 in the metadata, output-1 in the answer."""
    assert server.get("/v2/models/bankchurn-model")[2]["outputs"][0]["name"] == "output-0"
    body = server.infer("bankchurn-model", support.churn_inputs())[2]
    assert body["outputs"][0]["name"] == "output-1"


def test_optional_column(server):
    inputs = [{"name": n, "datatype": "FP64", "shape": [1], "data": [1]} for n, _ in TYPES[1:]]
    assert server.infer("optional", inputs)[0] == 200
    # Without it the model gets a NaN, which a linear model refuses: the column is still named.
    status, _, body = server.infer("optional", inputs[:-1])
    assert status == 400
    assert "real" in support.only_error(body)


def test_null_in_a_required_column(server):
    for column in ("whole", "single", "real"):
        inputs = [
            {"name": n, "datatype": "FP64", "shape": [2], "data": [1, None if n == column else 2]} for n, _ in TYPES[1:]
        ]
        status, _, body = server.infer("table", inputs)
        assert status == 400
        assert column in support.only_error(body)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/table/ready"])
def test_health_has_no_body(server, path):
    status, headers, raw = server.call("GET", path)
    assert (status, raw) == (200, b"")
    assert "content-type" not in headers


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_every_listener_answers_its_own_health(server, path):
    assert server.call("GET", path)[0] == 200


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready", "/v2/models/table", "/v2/models/table/ready"])
def test_head(server, path):
    status, headers, raw = server.call("HEAD", path)
    assert raw == b""
    # FastAPI knows no HEAD unless told; the platform's own server answers it as HTTP asks.
    assert status == 200
    assert "ce-id" not in headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v2/models/table/infer", "POST"),
        ("DELETE", "/v2/models/table/infer", "POST"),
        ("PUT", "/v2/models/table/infer", "POST"),
        ("POST", "/v2/models/table", "GET"),
        ("POST", "/v2/health/live", "GET"),
        ("DELETE", "/v2", "GET"),
    ],
)
def test_wrong_method(server, method, path, allow):
    status, headers, _ = server.call(method, path)
    assert status == 405
    assert allow in headers["allow"]


@pytest.mark.parametrize(
    "path", ["/v2/nope", "/v2/models/table/nope", "/v2/models//infer", "/v2/models", "/v2/models/table/versions", "/v3"]
)
def test_unknown_path(server, path):
    status, _, body = server.get(path)
    assert status == 404
    assert isinstance(body, dict) and set(body) <= {"detail", "error"}


def test_server(server):
    status, _, body = server.get("/v2")
    assert status == 200
    assert list(body) == ["name", "version", "extensions"]


def test_model_metrics(server):
    """The counters that dashboards for MLServer read."""

    def count(metric):
        text = server.call("GET", "/metrics")[2].decode()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith(metric + "{") and 'model="bankchurn-model"' in line
        )

    good, bad = "model_infer_request_success_total", "model_infer_request_failure_total"
    before = count(good), count(bad)
    for _ in range(3):
        assert server.infer("bankchurn-model", support.churn_inputs())[0] == 200
    assert server.infer("bankchurn-model", support.churn_inputs()[1:])[0] == 400
    assert (count(good), count(bad)) == (before[0] + 3, before[1] + 1)
