"""Makes ONNX models, and what mlflow.onnx and onnxruntime answer; runs in the environment of environment.py.

train.py FOLDER REQUIREMENTS    writes FOLDER/NAME (MLflow folders), FOLDER/bare/NAME.onnx, FOLDER/expected.json
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS = 3000
COLUMNS = ["a", "b", "c", "d"]
OUT = pathlib.Path(sys.argv[1])
REQUIREMENTS = sys.argv[2].split(",")


def plain(value):
    """What json can write; floats as the doubles that they are."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def save(name, model, signature, example=None, requirements=None, **more):
    import mlflow

    mlflow.onnx.save_model(
        model,
        OUT / name,
        signature=signature,
        input_example=example,
        pip_requirements=requirements or REQUIREMENTS,
        **more,
    )


def ask(name, data):
    import mlflow

    return mlflow.pyfunc.load_model(str(OUT / name)).predict(data)


def run(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def graph_of_types():
    """Inputs of several types, each a column; outputs that show them."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None]),
        helper.make_tensor_value_info("n", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("yes", TensorProto.BOOL, [None]),
        helper.make_tensor_value_info("word", TensorProto.STRING, [None]),
    ]
    outputs = [
        helper.make_tensor_value_info("sum", TensorProto.DOUBLE, [None]),
        helper.make_tensor_value_info("twice", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("no", TensorProto.BOOL, [None]),
        helper.make_tensor_value_info("same", TensorProto.STRING, [None]),
    ]
    nodes = [
        helper.make_node("Cast", ["n"], ["nd"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["x", "nd"], ["sum"]),
        helper.make_node("Add", ["n", "n"], ["twice"]),
        helper.make_node("Not", ["yes"], ["no"]),
        helper.make_node("Identity", ["word"], ["same"]),
    ]
    graph = helper.make_graph(nodes, "types", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def graph_of_halves():
    """A fixed number of rows, 16-bit floats, three dimensions."""
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT16, [1, 2, 3])]
    outputs = [helper.make_tensor_value_info("more", TensorProto.FLOAT16, [1, 2, 3])]
    one = numpy_helper.from_array(np.array([1], np.float16), "one")
    graph = helper.make_graph([helper.make_node("Add", ["image", "one"], ["more"])], "halves", inputs, outputs, [one])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def graph_of_weights():
    """A matrix product whose matrix may lie in a file of its own."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])]
    matrix = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3) / 7, "matrix")
    nodes = [helper.make_node("MatMul", ["x", "matrix"], ["y"])]
    graph = helper.make_graph(nodes, "weights", inputs, outputs, [matrix])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def unknown_operator():
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])]
    nodes = [helper.make_node("Unheard", ["x"], ["y"], domain="some.vendor")]
    graph = helper.make_graph(nodes, "unknown", inputs, outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("some.vendor", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def external(name, location, target=None):
    """A bare model whose matrix is said to lie at `location`; `target`: where the bytes really are put."""
    folder = OUT / "external" / name
    folder.mkdir(parents=True)
    model = graph_of_weights()
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(len(data)))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    if target is not None:
        (folder / target).write_bytes(data)
    return folder, data


def main():
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, 4)).astype(np.float32)
    labels = (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(int) + (x[:, 2] > 1).astype(int)
    forest = RandomForestClassifier(30, max_depth=8, random_state=0).fit(x, labels)
    names = np.array(["low", "mid", "high"])[labels]
    texts = LogisticRegression(max_iter=500).fit(x, names)
    trees = GradientBoostingRegressor(n_estimators=40, random_state=0).fit(x, x[:, 0] * x[:, 1])

    tensor = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, 4))]))
    table = ModelSignature(Schema([ColSpec(DataType.float, c) for c in COLUMNS]))
    frame = pd.DataFrame(x, columns=COLUMNS)
    expected = {"x": plain(x)}

    zipped = to_onnx(forest, x[:1])
    save("forest", zipped, tensor, x[:3])
    expected["forest"] = plain(ask("forest", x))
    save("forest_table", zipped, table, frame[:3])
    expected["forest_table"] = plain(ask("forest_table", frame).to_dict("list"))
    save("labels", to_onnx(texts, x[:1]), table)
    expected["labels"] = plain(ask("labels", frame).to_dict("list"))
    save("uneven", to_onnx(forest, x[:1], options={"zipmap": False}), table)
    save("unsigned", to_onnx(trees, x[:1]), None)
    expected["unsigned"] = plain(ask("unsigned", x))

    columns = pd.DataFrame(
        {
            "x": rng.normal(size=ROWS),
            "n": rng.integers(-(2**40), 2**40, ROWS),
            "yes": rng.integers(0, 2, ROWS).astype(bool),
            "word": [f"wört {i % 97}" for i in range(ROWS)],
        }
    )
    save("types", graph_of_types(), infer_signature(columns), onnx_session_options={"intra_op_num_threads": 1})
    expected["columns"] = plain(columns.to_dict("list"))
    expected["types"] = plain(ask("types", columns).to_dict("list"))
    save("types_tensors", graph_of_types(), infer_signature({k: v.to_numpy() for k, v in columns.items()}))
    expected["types_tensors"] = plain(ask("types_tensors", {k: v.to_numpy() for k, v in columns.items()}))

    # One input for each column, as [N, 1]: mlflow.onnx gives them [N], which onnxruntime refuses.
    mixed = pd.DataFrame({"size": x[:, 0], "rooms": rng.integers(1, 9, ROWS), "place": names})
    prepared = make_column_transformer((StandardScaler(), ["size", "rooms"]), (OneHotEncoder(), ["place"]))
    pipe = make_pipeline(prepared, LogisticRegression()).fit(mixed, labels > 0)
    kinds = [
        ("size", FloatTensorType([None, 1])),
        ("rooms", Int64TensorType([None, 1])),
        ("place", StringTensorType([None, 1])),
    ]
    piped = to_onnx(pipe, initial_types=kinds, options={"zipmap": False})
    specs = [ColSpec(DataType.float, "size"), ColSpec(DataType.long, "rooms"), ColSpec(DataType.string, "place")]
    save("pipeline", piped, ModelSignature(Schema(specs)))
    expected["mixed"] = plain(mixed.to_dict("list"))
    feeds = {c: mixed[[c]].to_numpy() for c in mixed}
    expected["pipeline"] = plain(run(piped, feeds))

    bare = OUT / "bare"
    bare.mkdir()
    plain_forest = to_onnx(forest, x[:1], options={"zipmap": False})
    (bare / "forest.onnx").write_bytes(plain_forest.SerializeToString())
    expected["bare_forest"] = plain(run(plain_forest, {plain_forest.graph.input[0].name: x}))
    (bare / "types.onnx").write_bytes(graph_of_types().SerializeToString())
    (bare / "halves.onnx").write_bytes(graph_of_halves().SerializeToString())
    (bare / "unknown.onnx").write_bytes(unknown_operator().SerializeToString())
    save("vendor", unknown_operator(), None)
    save("elsewhere", zipped, tensor, requirements=["mlflow-skinny"])
    version = OUT / "triton" / "plates" / "2"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(graph_of_weights().SerializeToString())
    (OUT / "triton" / "plates" / "1").mkdir()
    (OUT / "triton" / "plates" / "1" / "model.onnx").write_bytes(graph_of_halves().SerializeToString())
    expected["weights"] = plain(run(graph_of_weights(), {"x": x[:50]}))

    external("inside", "model.weights", "model.weights")
    external("beside", "model.onnx.data", "model.onnx.data")
    _, data = external("climbing", "../secret.weights")
    (OUT / "external" / "secret.weights").write_bytes(data)
    external("absolute", str(OUT / "external" / "secret.weights"))
    folder, _ = external("linked", "link.weights")
    (folder / "link.weights").symlink_to("../secret.weights")
    external("missing", "nowhere.weights")
    external("address", "*/_ORT_MEM_ADDR_/*")
    (OUT / "expected.json").write_text(json.dumps(expected))
    shutil.rmtree(OUT / "mlruns", ignore_errors=True)


main()
