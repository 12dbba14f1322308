"""Triton's own client, unchanged: HTTP with binary tensors, and what it asks of a server besides."""

import json
import shutil

import harness
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from . import support

ROWS = np.array([[1.0, 2, 3, 4], [0.5, -1, 2.25, 1e3], [4, 3, 2, 1]])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("triton")
    for name, source, fn in (
        ("labels", "logreg_binary.skops", "predict"),
        ("proba", "logreg_binary.skops", "predict_proba"),
        ("texts", "logreg_text.p4.pkl", "predict"),
    ):
        path = next(p for p in sorted((support.GOLDEN / "1.9.1").iterdir()) if p.name.startswith(source.split(".")[0]))
        support.write_model(
            root / name / "model",
            path,
            predict_fn=fn,
            inputs=support.tensor("float64", [-1, 4]),
            outputs=support.tensor("int64", [-1]),
        )
        support.write_settings(root / name, name, **({"version": "3"} if name == "proba" else {}))
    churn = root / "churn"
    churn.mkdir()
    support.write_settings(churn, "churn")
    settings = json.loads((churn / "model-settings.json").read_text())
    settings["parameters"]["uri"] = str(support.churn_model())
    (churn / "model-settings.json").write_text(json.dumps(settings))
    mixed = harness.shared_dir() / "data" / "models" / "vector-models" / "mixed"
    shutil.copytree(mixed, root / "mixed")
    with support.serve(None, "--model-repository", root) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as c:
        yield c


def tensor(name, array, datatype, binary=True):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("labels")
    assert client.is_model_ready("proba", "3")
    assert not client.is_model_ready("nope")
    told = client.get_server_metadata()
    assert told["name"] == "millrace" and "binary_tensor_data" in told["extensions"]
    assert client.get_model_metadata("labels")["inputs"][0]["datatype"] == "FP64"
    assert client.get_model_config("labels")["input"][0]["data_type"] == "TYPE_FP64"
    with pytest.raises(InferenceServerException, match="Model nope not found"):
        client.get_model_metadata("nope")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tensors_both_ways(client, server, binary_in, binary_out):
    outputs = None if binary_out is None else [triton.InferRequestedOutput("output-1", binary_data=binary_out)]
    answer = client.infer(
        "labels",
        [tensor("x", ROWS, "FP64", binary_in)],
        outputs=outputs,
        request_id="one",
    )
    told = answer.get_response()
    assert told["id"] == "one" and told["model_name"] == "labels"
    plain = server.infer(
        "labels",
        [
            {
                "name": "x",
                "datatype": "FP64",
                "shape": list(ROWS.shape),
                "data": ROWS.ravel().tolist(),
            }
        ],
    )[2]["outputs"][0]
    got = answer.as_numpy("output-1")
    assert got.dtype == np.int64 and got.shape == (3, 1)
    assert got.ravel().tolist() == plain["data"]
    assert ("data" in told["outputs"][0]) == (binary_out is False)


def test_output_by_the_name_in_the_metadata(client):
    name = client.get_model_metadata("labels")["outputs"][0]["name"]
    answer = client.infer(
        "labels",
        [tensor("x", ROWS, "FP64")],
        outputs=[triton.InferRequestedOutput(name, binary_data=True)],
    )
    assert answer.as_numpy(name).shape == (3, 1)


def test_probabilities_are_the_same_bits(client, server):
    answer = client.infer("proba", [tensor("x", ROWS, "FP64")], model_version="3").as_numpy("output-1")
    plain = server.infer(
        "proba",
        [
            {
                "name": "x",
                "datatype": "FP64",
                "shape": list(ROWS.shape),
                "data": ROWS.ravel().tolist(),
            }
        ],
    )[2]["outputs"][0]["data"]
    assert answer.dtype == np.float64 and answer.ravel().tolist() == plain


def test_text_labels(client, server):
    answer = client.infer("texts", [tensor("x", ROWS, "FP64")]).as_numpy("output-1")
    plain = server.infer(
        "texts",
        [
            {
                "name": "x",
                "datatype": "FP64",
                "shape": list(ROWS.shape),
                "data": ROWS.ravel().tolist(),
            }
        ],
    )[2]["outputs"][0]["data"]
    assert [v.decode() for v in answer.ravel()] == plain


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("FP64", np.float64),
        ("FP32", np.float32),
        ("FP16", np.float16),
        ("INT32", np.int32),
        ("UINT8", np.uint8),
    ],
)
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_columns_of_every_type(client, datatype, dtype, packing):
    row = dict(support.CHURN, Balance=100, EstimatedSalary=200, CreditScore=200)
    inputs = [tensor(n, np.array([[v]]).astype(dtype), datatype) for n, v in row.items()]
    answer = client.infer(
        "churn",
        inputs,
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )
    assert answer.as_numpy("output-1").shape == (1, 1)


def test_numbers_as_texts(client):
    inputs = [tensor(n, np.array([[str(v)]], dtype=object), "BYTES") for n, v in support.CHURN.items()]
    assert client.infer("churn", inputs).as_numpy("output-1").tolist() == [[1]]


@pytest.mark.parametrize("binary", [True, False])
def test_columns_of_text(client, binary):
    rows = {
        "CreditScore": ([619, 619], "INT64"),
        "Geography": (["France", "Germany"], "BYTES"),
        "Gender": (["Female", "Female"], "BYTES"),
        "Age": ([42, 71], "INT32"),
        "Tenure": ([2, 2], "INT64"),
        "Balance": ([0.0, 125510.5], "FP64"),
        "NumOfProducts": ([1, 4], "INT64"),
        "HasCrCard": ([True, True], "BOOL"),
        "IsActiveMember": ([1, 1], "INT64"),
        "EstimatedSalary": ([101348.88, 101348.88], "FP64"),
    }
    types = {"INT64": np.int64, "INT32": np.int32, "FP64": np.float64, "BOOL": bool, "BYTES": object}
    inputs = [tensor(n, np.array(v, dtype=types[t]).reshape(-1, 1), t, binary) for n, (v, t) in rows.items()]
    assert client.infer("mixed", inputs).as_numpy("output-1").tolist() == [[b"stay"], [b"leave"]]


@pytest.mark.parametrize("shape", [[2, 4], [3, 3], [12]])
def test_wrong_shapes(client, shape):
    given = triton.InferInput("x", [3, 4], "FP64")
    given.set_data_from_numpy(ROWS)
    given._shape = shape
    with pytest.raises(InferenceServerException) as refused:
        client.infer("labels", [given])
    assert refused.value.status() in ("400", "Bad Request", 400)
    assert "1000" not in refused.value.message()


@pytest.mark.parametrize("length", ["0", "-1", "x", "99999999", "18446744073709551616", "3"])
def test_wrong_header_length(server, length):
    body, size = triton.InferenceServerClient.generate_request_body([tensor("x", ROWS, "FP64")])
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": length,
    }
    status, _, raw = server.call("POST", "/v2/models/labels/infer", body, headers)
    assert status in (400, 422), raw
    headers["Inference-Header-Content-Length"] = str(size)
    assert server.call("POST", "/v2/models/labels/infer", body, headers)[0] == 200


@pytest.mark.parametrize("cut", [1, 8, 96])
def test_cut_tensors(server, cut):
    body, size = triton.InferenceServerClient.generate_request_body([tensor("x", ROWS, "FP64")])
    headers = {"Inference-Header-Content-Length": str(size)}
    status, _, raw = server.call("POST", "/v2/models/labels/infer", body[:-cut], headers)
    assert status == 400 and "'x'" in json.loads(raw)["error"]
    assert server.call("POST", "/v2/models/labels/infer", body + b"\0" * cut, headers)[0] == 400


def test_repository(client):
    assert {m["name"] for m in client.get_model_repository_index()} == {
        "labels",
        "proba",
        "texts",
        "churn",
        "mixed",
    }
    client.unload_model("texts")
    assert not client.is_model_ready("texts")
    client.load_model("texts")
    assert client.is_model_ready("texts")
    with pytest.raises(InferenceServerException, match="not found"):
        client.load_model("nope")


def test_statistics(client):
    before = client.get_inference_statistics("proba")["model_stats"][0]
    client.infer("proba", [tensor("x", ROWS, "FP64")])
    with pytest.raises(InferenceServerException):
        client.infer("proba", [tensor("x", ROWS[:, :2], "FP64")])
    after = client.get_inference_statistics("proba", "3")["model_stats"][0]
    assert after["name"] == "proba" and after["version"] == "3"
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    stats = after["inference_stats"]
    assert stats["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert stats["fail"]["count"] == before["inference_stats"]["fail"]["count"] + 1
    assert stats["success"]["ns"] >= stats["compute_infer"]["ns"] > 0
    assert {m["name"] for m in client.get_inference_statistics()["model_stats"]} == {
        "labels",
        "proba",
        "texts",
        "churn",
        "mixed",
    }


def test_explain_without_an_explainer(server):
    status, _, body = server.post("/v1/models/labels:explain", {"instances": ROWS.tolist()})
    assert status == 501 and "explainer" in support.only_error(body)
    assert server.post("/v1/models/nope:explain", {"instances": []})[0] == 404
    status, _, body = server.post("/v1/models/labels%3Apredict", {"instances": ROWS.tolist()})
    assert status == 200 and len(body["predictions"]) == 3
