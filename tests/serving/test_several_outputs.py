"""predict_proba of models with several outputs, which scikit-learn answers as a list of arrays.

MLServer's mlflow runtime has no codec for such a list and answers 500; `mlflow models serve` writes it as it is. Here it
is one V2 output for each of the model's, and the list in V1 and MLflow's scoring protocol.
"""

import json
import pathlib

import harness
import numpy as np
import pytest
import tritonclient.grpc as triton

from . import support

SEEDS = pathlib.Path(__file__).parents[1] / "corpus" / "fuzz" / "model_fuzz"
MODELS = {"members": "outputs_classes-1.9", "trees": "forest_labels_behind-1.9"}
ROWS = [[1.0, 2.0, 0.5, 10.0, 1.0, 2.0], [0.0, 5.0, 1.0, -20.0, 0.5, 0.0], [3.0, -5.0, 1.5, 200.0, 0.5, 9.0]]
INPUT = {"name": "x", "datatype": "FP64", "shape": [3, 6], "data": [v for row in ROWS for v in row]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("outputs")
    models = {
        f"{name}-{method}": support.write_model(
            root / f"{name}-{method}",
            (SEEDS / file).read_bytes(),
            predict_fn=method,
            inputs=support.tensor("float64", [-1, 6]),
        )
        for name, file in MODELS.items()
        for method in ("predict", "predict_proba", "predict_log_proba")
    }
    port = harness.free_port()
    with support.serve(models, "--grpc-port", port) as running:
        running.grpc = f"127.0.0.1:{port}"
        yield running


def nested(output):
    rows, columns = output["shape"]
    return [output["data"][r * columns : (r + 1) * columns] for r in range(rows)]


@pytest.mark.parametrize("name", MODELS)
def test_one_output_each(server, name):
    status, _, body = server.infer(f"{name}-predict_proba", [INPUT])
    assert status == 200, body
    assert [(o["name"], o["shape"], o["datatype"]) for o in body["outputs"]] == [
        ("output-1", [3, 3], "FP64"),
        ("output-2", [3, 2], "FP64"),
    ]
    shares = [nested(o) for o in body["outputs"]]
    for of_output in shares:
        for row in of_output:
            assert sum(row) == pytest.approx(1)
    # The class that predict answers is the most probable one.
    _, _, labels = server.infer(f"{name}-predict", [INPUT])
    for r, row in enumerate(nested(support.only_output(labels))):
        assert row == [of_output[r].index(max(of_output[r])) for of_output in shares]


@pytest.mark.parametrize("name", MODELS)
def test_the_other_protocols(server, name):
    _, _, body = server.infer(f"{name}-predict_proba", [INPUT])
    wanted = [nested(o) for o in body["outputs"]]
    status, _, answer = server.post(f"/v1/models/{name}-predict_proba:predict", {"instances": ROWS})
    assert (status, answer) == (200, {"predictions": wanted})
    with triton.InferenceServerClient(server.grpc) as client:
        given = triton.InferInput("x", [3, 6], "FP64")
        given.set_data_from_numpy(np.array(ROWS))
        result = client.infer(f"{name}-predict_proba", [given])
        assert [result.as_numpy(f"output-{i}").tolist() for i in (1, 2)] == wanted


def test_binary_outputs(server):
    _, _, wanted = server.infer("trees-predict_proba", [INPUT])
    request = json.dumps({"inputs": [INPUT], "parameters": {"binary_data_output": True}})
    status, headers, data = server.call(
        "POST", "/v2/models/trees-predict_proba/infer", request, {"Content-Type": "application/json"}
    )
    assert status == 200
    size = int(headers["inference-header-content-length"])
    sizes = [o["parameters"]["binary_data_size"] for o in json.loads(data[:size])["outputs"]]
    assert sizes == [72, 48]
    values = np.frombuffer(data[size:], "<f8").tolist()
    assert values == [v for o in wanted["outputs"] for v in o["data"]]


def test_logarithms(server):
    _, _, shares = server.infer("members-predict_proba", [INPUT])
    status, _, body = server.infer("members-predict_log_proba", [INPUT])
    assert status == 200, body
    for plain, logarithm in zip(shares["outputs"], body["outputs"], strict=True):
        for p, q in zip(plain["data"], logarithm["data"], strict=True):
            assert (q is None) == (p == 0)
            assert q is None or q == pytest.approx(np.log(p))
