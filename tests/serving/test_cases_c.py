"""The public cases 38 to 50 of section C, as far as linear models reach. Each stands for its whole kind."""

import json
import pickle
import re
import urllib.parse

import harness
import pytest

from . import support
from .support import CHURN, UUID4

LONGS = [n for n in CHURN if n not in ("Balance", "EstimatedSalary")]
ONE = {"name": "output-1", "shape": [1, 1], "datatype": "INT64", "parameters": {"content_type": "np"}, "data": [1]}


def one_input(name, datatype, value):
    """The seed's row with one column sent as another type and value; the long columns as INT64."""
    inputs = [
        {"name": n, "datatype": "INT64" if n in LONGS else "FP64", "shape": [1], "data": [v]} for n, v in CHURN.items()
    ]
    for entry in inputs:
        if entry["name"] == name:
            entry.update(datatype=datatype, data=[value])
    return inputs


# ---- 38: number types ----


def test_38_doubles_for_long_columns(churn_server):
    status, _, body = churn_server.infer("m_int", support.churn_inputs())
    assert status == 200, body
    assert body["outputs"] == [ONE]


@pytest.mark.parametrize(
    "datatype",
    ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BOOL"],
)
@pytest.mark.parametrize("column", ["Tenure", "Balance"])
def test_38_every_number_type_that_loses_nothing(churn_server, column, datatype):
    value = True if datatype == "BOOL" else 1
    status, _, body = churn_server.infer("m_int", one_input(column, datatype, value))
    assert status == 200, body
    same = churn_server.infer("m_int", one_input(column, "INT64" if column == "Tenure" else "FP64", 1))[2]
    assert body["outputs"] == same["outputs"]


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
@pytest.mark.parametrize("column", LONGS)
def test_38_a_fraction_for_a_long_column(churn_server, column, datatype):
    status, _, body = churn_server.infer("m_int", one_input(column, datatype, 42.5))
    assert status == 400
    text = support.only_error(body)
    assert column in text
    assert re.search(r"long|int64", text, re.IGNORECASE), "the wanted type"
    assert re.search(datatype + r"|double|float", text, re.IGNORECASE), "the given type"
    assert "42.5" not in text


@pytest.mark.parametrize("value", [1e300, -1e19, 2.0**63])
def test_38_a_double_beyond_long(churn_server, value):
    status, _, body = churn_server.infer("m_int", one_input("Age", "FP64", value))
    assert status == 400
    assert "Age" in support.only_error(body)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT64", 2**63),
        ("INT64", -(2**63) - 1),
        ("INT32", 2**31),
        ("INT8", 128),
        ("INT8", -129),
        ("UINT8", 256),
        ("UINT8", -1),
        ("UINT64", 2**64),
        ("UINT64", -1),
        ("FP32", 1e39),
    ],
)
def test_38_a_number_beyond_its_own_datatype(churn_server, datatype, value):
    status, _, body = churn_server.infer("m_int", one_input("Age", datatype, value))
    assert status == 400
    assert "Age" in support.only_error(body)


def test_38_large_whole_numbers_stay_exact(churn_server):
    """2^53 + 1 has no double; a long column of a linear model is computed in doubles, so it may round but not fail."""
    status, _, body = churn_server.infer("m_int", one_input("Balance", "INT64", 125510))
    assert status == 200
    assert body["outputs"] == [ONE]


def test_38_text_that_reads_as_a_number(churn_server):
    status, _, body = churn_server.infer("m_int", one_input("Age", "INT64", "43"))
    assert status == 200, body
    assert body["outputs"] == [ONE]


# ---- 40: shapes ----


def three_rows(shape, nested):
    def data(v):
        return [[v], [v], [v]] if nested else [v, v, v]

    return [{"name": n, "datatype": "FP64", "shape": shape, "data": data(v)} for n, v in CHURN.items()]


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("shape", [[3], [3, 1], [-1], [-1, 1]], ids=str)
@pytest.mark.parametrize("model", ["m_int", "bankchurn-model"])
def test_40_shapes(churn_server, model, shape, nested):
    status, _, body = churn_server.infer(model, three_rows(shape, nested), id="same")
    assert status == 200, body
    assert body == {
        "model_name": model,
        "id": "same",
        "parameters": {"content_type": "np"},
        "outputs": [
            {
                "name": "output-1",
                "shape": [3, 1],
                "datatype": "INT64",
                "parameters": {"content_type": "np"},
                "data": [1, 1, 1],
            }
        ],
    }


def test_40_scalar_data(churn_server):
    inputs = [{"name": n, "datatype": "FP64", "shape": [1], "data": v} for n, v in CHURN.items()]
    status, _, body = churn_server.infer("m_int", inputs)
    assert status == 200, body
    assert body["outputs"] == [ONE]


@pytest.mark.parametrize("data", [[1, 2], [[1, 2]], [[1], [2]], [], [[]], [[[1], 2]]], ids=str)
def test_40_data_that_does_not_fill_its_shape(churn_server, data):
    inputs = support.churn_inputs()
    inputs[3]["data"] = data
    status, _, body = churn_server.infer("m_int", inputs)
    assert status == 400
    assert "Age" in support.only_error(body)


@pytest.mark.parametrize("shape", [[-1, -1], [0], [2**62, 4], [2**63], [1, 2**40], [-2], [1] * 40], ids=str)
def test_40_shapes_that_cannot_be(churn_server, shape):
    """No number in a shape may make the server allocate or compute with it."""
    inputs = support.churn_inputs()
    inputs[3]["shape"] = shape
    status, _, body = churn_server.infer("m_int", inputs)
    if shape == [1] * 40:
        # One element in forty dimensions is still one row; both answers are right.
        assert status in (200, 400)
    else:
        assert status in (400, 422), body
    assert churn_server.infer("m_int", support.churn_inputs())[0] == 200


def test_40_many_rows(churn_server):
    n = 10_000
    inputs = [{"name": c, "datatype": "FP64", "shape": [n, 1], "data": [v] * n} for c, v in CHURN.items()]
    status, _, body = churn_server.infer("m_int", inputs)
    assert status == 200
    output = support.only_output(body)
    assert output["shape"] == [n, 1]
    assert output["data"] == [1] * n


# ---- 42: strings ----


@pytest.mark.parametrize("model", ["logreg_text", "logreg_text_object", "ridge_classifier", "linear_svc_three"])
def test_42_text_labels(churn_server, model):
    rows = json.loads((support.GOLDEN / "inputs.json").read_text())["tensor64"]
    want = next(
        c
        for c in map(json.loads, (support.GOLDEN / "cases.jsonl").read_text().splitlines())
        if c["sklearn"] == "1.9.1" and c["name"] == model
    )["predict"]["values"]
    status, _, raw = churn_server.call(
        "POST",
        f"/v2/models/{model}/infer",
        json.dumps({"id": "i", "inputs": support.golden_inputs(rows)}),
        {"Content-Type": "application/json"},
    )
    assert status == 200, raw
    body = json.loads(raw)
    assert body["outputs"] == [
        {
            "name": "output-1",
            "shape": [len(want), 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "np"},
            "data": want,
        }
    ]
    if "größer" in want:
        assert "größer".encode() in raw, "text is sent as UTF-8, not as escapes"


def test_42_text_for_a_number(churn_server):
    for data in (["Hello=="], [""], ["é" * 1000], ["nan"], ["0x10"], ["1,5"]):
        inputs = support.churn_inputs()
        inputs[3].update(datatype="BYTES", data=data)
        status, _, body = churn_server.infer("m_int", inputs)
        assert status == 400, data
        assert "Age" in support.only_error(body)
        assert not data[0] or data[0] == "nan" or data[0] not in support.only_error(body)


def test_42_a_megabyte_of_text(churn_server):
    inputs = support.churn_inputs()
    inputs[3].update(datatype="BYTES", data=["7" * 1_000_000])
    status, _, body = churn_server.infer("m_int", inputs)
    assert status == 400
    assert len(support.only_error(body)) < 2000


# ---- 44: id, parameters, content types ----


@pytest.mark.parametrize("given", [5, 1.5, True, ["a"], {"a": 1}], ids=str)
def test_44_an_id_that_is_no_text(churn_server, given):
    status, _, body = churn_server.infer("m_int", support.churn_inputs(), id=given)
    assert status == 422
    assert body["detail"][0]["loc"] == ["body", "id"]
    assert body["detail"][0]["type"] == "string_type"


def test_44_ids(churn_server):
    assert churn_server.infer("m_int", support.churn_inputs(), id="my-id-1")[2]["id"] == "my-id-1"
    assert UUID4.match(churn_server.infer("m_int", support.churn_inputs(), id=None)[2]["id"])
    assert UUID4.match(churn_server.infer("m_int", support.churn_inputs())[2]["id"])


def test_44_unknown_parameters_are_ignored(churn_server):
    inputs = support.churn_inputs()
    inputs[0]["parameters"] = {"colour": "red", "deep": 1.5}
    status, _, body = churn_server.infer("m_int", inputs, parameters={"temperature": 0.5, "x": "y", "b": True})
    assert status == 200, body
    assert body["parameters"] == {"content_type": "np"}
    assert body["outputs"] == [ONE]


SECRETS = {"Authorization": "Bearer secret123", "Cookie": "session=secret456", "X-Api-Key": "secret789"}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda m: m.update(parameters={"content_type": "zzz"}), id="request-content-type"),
        pytest.param(lambda m: m["inputs"][0].update(parameters={"content_type": "zzz"}), id="input-content-type"),
        pytest.param(lambda m: m.update(parameters={"content_type": "np"}), id="one-tensor-codec"),
        pytest.param(lambda m: m["inputs"].pop(), id="missing-column"),
        pytest.param(lambda m: m["inputs"][0].update(data=["secret321"]), id="text-for-number"),
        pytest.param(lambda m: m["inputs"][0].update(datatype="secret321"), id="unknown-datatype"),
        pytest.param(lambda m: m["inputs"][0].update(shape=["secret321"]), id="text-in-shape"),
        pytest.param(lambda m: m["inputs"][0].update(data={"secret321": 1}), id="object-for-data"),
        pytest.param(lambda m: m.update(id=["secret321"]), id="bad-id"),
    ],
)
def test_44_errors_repeat_no_header_and_no_value(churn_server, spoil):
    message = {"inputs": support.churn_inputs()}
    spoil(message)
    status, headers, raw = churn_server.call(
        "POST", "/v2/models/m_int/infer", json.dumps(message), {"Content-Type": "application/json", **SECRETS}
    )
    if message["inputs"][0].get("parameters") == {"content_type": "zzz"}:
        # As recorded for MLServer, an unknown name on an input is as if absent; refusing it is as good.
        assert status in (200, 400)
    else:
        assert status in (400, 422), raw
    assert b"secret" not in raw
    assert "secret" not in str(headers)
    assert b"79084" not in raw and b"125510" not in raw


def test_44_unknown_content_type(churn_server):
    status, _, body = churn_server.infer("m_int", support.churn_inputs(), parameters={"content_type": "zzz"})
    assert status == 400
    assert re.search("content.?type", support.only_error(body), re.IGNORECASE)


# ---- 46: names and versions ----


@pytest.mark.parametrize("path", ["/v2/models/nope", "/v2/models/nope/ready", "/v2/models/nope/versions/1"])
def test_46_unknown_model(churn_server, path):
    status, _, body = churn_server.get(path)
    assert status == 404
    assert "nope" in support.only_error(body)


@pytest.mark.parametrize("path", ["/v2/models/m_int/versions/9", "/v2/models/m_int/versions/9/ready"])
def test_46_unknown_version(churn_server, path):
    status, _, body = churn_server.get(path)
    assert status == 404
    assert support.only_error(body) == "Model m_int with version 9 not found"


def test_46_version_in_the_path(vector_server):
    inputs = support.churn_inputs()
    status, _, body = vector_server.post("/v2/models/versioned/versions/v3/infer", {"id": "i", "inputs": inputs})
    assert status == 200
    assert list(body)[:3] == ["model_name", "model_version", "id"]
    assert body["model_version"] == "v3"
    assert vector_server.get("/v2/models/versioned/versions/v3/ready")[0] == 200
    assert vector_server.get("/v2/models/versioned/versions/v4/ready")[0] == 404
    status, _, other = vector_server.post("/v2/models/versioned/infer", {"id": "i", "inputs": inputs})
    assert (status, other) == (200, body)


@pytest.mark.parametrize("name", ["a b", "größe", "x" * 200, "a.b-c_d", "100%"])
def test_46_names(tmp_path, name):
    """A model's name is text; in the path it comes percent-encoded."""
    with support.serve({name: support.churn_model()}) as server:
        status, _, body = server.infer(urllib.parse.quote(name), support.churn_inputs())
        assert status == 200, body
        assert body["model_name"] == name
        assert server.get(f"/v2/models/{urllib.parse.quote(name)}/ready")[0] == 200
        assert server.get(f"/v2/models/{urllib.parse.quote(name)}")[2]["name"] == name


# ---- 50: what the native reader knows and what not ----


class TestUnknownModels:
    """Case 50: what is not read natively is refused with the class and the version that wrote it."""

    def test_50_forest(self, tmp_path):
        import sklearn
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(n_estimators=2, max_depth=2, random_state=0)
        model.fit([[0, 1], [1, 0], [2, 3], [3, 2]], [0, 1, 0, 1])
        folder = support.write_model(
            tmp_path / "model", pickle.dumps(model, protocol=4), sklearn_version=sklearn.__version__
        )
        try:
            with support.serve({"m": folder}) as server:
                status, _, body = server.infer(
                    "m",
                    [
                        {
                            "name": "x",
                            "datatype": "FP64",
                            "shape": [1, 2],
                            "data": [0, 1],
                            "parameters": {"content_type": "np"},
                        }
                    ],
                    parameters={"content_type": "np"},
                )
                assert status == 200
                assert support.only_output(body)["data"] == model.predict([[0, 1]]).tolist()
        except harness.StartFailed as failure:
            # Not read natively (yet): then the text must say which class, and that it comes from which version.
            assert "RandomForestClassifier" in str(failure)
            assert sklearn.__version__ in str(failure)

    def test_50_custom_transformer(self, tmp_path):
        known = (support.GOLDEN / "1.3.2" / "pipe_frame_text.p2.pkl").read_bytes()
        # The scaler becomes a class of the user's own, as a team's pipeline has it.
        assert known.count(b"csklearn.preprocessing._data\nStandardScaler\n") == 1
        custom = known.replace(b"csklearn.preprocessing._data\nStandardScaler\n", b"cacme.features\nChurnRatios\n")
        folder = support.write_model(tmp_path / "model", custom, sklearn_version="1.3.2")
        ended = support.refused(folder)
        assert "acme.features.ChurnRatios" in ended.text
        assert "1.3.2" in ended.text
