"""ONNX models by ONNX Runtime's library, in sandboxed processes of the program itself.

What is expected is what mlflow.onnx and onnxruntime answer for the same rows (onnx/train.py).
"""

import json
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import harness
import pytest

from . import support
from .onnx import environment

START = 120
BATCH = 1000
MODELS = (
    "forest",
    "forest_table",
    "labels",
    "pipeline",
    "types",
    "types_tensors",
    "uneven",
    "unsigned",
    "bare/forest.onnx",
    "bare/halves.onnx",
    "external/inside",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of models, what they answer, and the environment's library."""
    folder = tmp_path_factory.mktemp("onnx")
    script = pathlib.Path(environment.__file__).parent / "train.py"
    done = subprocess.run(
        [environment.python(), script, folder, ",".join(environment.requirements())],
        capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/none.db", "PYTHONWARNINGS": "ignore",
             "ORT_DISABLE_TELEMETRY": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, json.loads((folder / "expected.json").read_text()), environment.library()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(made, data):
    folder, _, library = made
    models = {pathlib.Path(m).stem if "/" not in m else m.replace("/", "-"): folder / m for m in MODELS}
    with support.serve(models, "--onnxruntime", library, "--data", data, timeout=START) as running:
        yield running


def close(got, wanted, within=1e-6):
    """Equal values, floats to 32-bit precision, whatever they are nested in."""
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(close(got[k], wanted[k], within) for k in wanted)
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(close(g, w, within) for g, w in zip(got, wanted, strict=True))
    if isinstance(wanted, float):
        return isinstance(got, (int, float)) and math.isclose(got, wanted, rel_tol=within, abs_tol=within)
    return got == wanted and isinstance(got, bool) == isinstance(wanted, bool)


def rows_of(table, start, end):
    return {k: v[start:end] for k, v in table.items()}


def batches(expected):
    for start in range(0, len(expected["x"]), BATCH):
        yield start, start + BATCH


def predictions(server, name, message):
    status, _, body = server.post(f"/v1/models/{name}:predict", message)
    assert status == 200, body
    return body["predictions"]


def tensor(name, datatype, shape, values):
    return {"name": name, "datatype": datatype, "shape": shape, "data": values}


def flat(rows):
    return [v for row in rows for v in row]


def outputs_of(answer):
    status, _, body = answer
    assert status == 200, body
    return {o["name"]: o for o in body["outputs"]}


def explain(path, *args):
    done = harness.run_once(["model", "explain", path, "--json", *args], timeout=START)
    return done.returncode, json.loads(done.stdout)


# ---- answers ----


def test_a_tensor_gives_named_outputs(server, made):
    """As mlflow.onnx: a dict; the maps of ZipMap are JSON values."""
    _, expected, _ = made
    for start, end in batches(expected):
        wanted = rows_of(expected["forest"], start, end)
        inputs = [tensor("x", "FP32", [end - start, 4], flat(expected["x"][start:end]))]
        outputs = outputs_of(server.infer("forest", inputs))
        assert outputs["output_label"]["datatype"] == "INT64"
        assert outputs["output_label"]["data"] == wanted["output_label"]
        maps = [json.loads(t) for t in outputs["output_probability"]["data"]]
        assert close(maps, wanted["output_probability"])
    wanted = rows_of(expected["forest"], 0, 5)
    assert close(predictions(server, "forest", {"instances": expected["x"][:5]}), wanted)


@pytest.mark.parametrize("name", ["forest_table", "labels"])
def test_a_table_gives_a_table(server, made, name):
    _, expected, _ = made
    for start, end in batches(expected):
        wanted = rows_of(expected[name], start, end)
        records = [dict(zip("abcd", row, strict=True)) for row in expected["x"][start:end]]
        got = predictions(server, name, {"instances": records})
        assert close({k: [r[k] for r in got] for k in wanted}, wanted)


def test_columns_of_all_types(server, made):
    _, expected, _ = made
    columns = expected["columns"]
    for start, end in batches(expected):
        some = rows_of(columns, start, end)
        n = end - start
        inputs = [
            tensor("word", "BYTES", [n], some["word"]),
            tensor("yes", "BOOL", [n], some["yes"]),
            tensor("n", "INT64", [n], some["n"]),
            tensor("x", "FP64", [n], some["x"]),
        ]
        for name in ("types", "types_tensors"):
            outputs = outputs_of(server.infer(name, inputs))
            assert {k: o["datatype"] for k, o in outputs.items()} == {
                "sum": "FP64", "twice": "INT64", "no": "BOOL", "same": "BYTES",
            }  # fmt: skip
            got = {k: o["data"] for k, o in outputs.items()}
            assert got == rows_of(expected[name], start, end)


def test_a_pipeline_with_an_input_a_column(server, made):
    _, expected, _ = made
    for start, end in batches(expected):
        some = rows_of(expected["mixed"], start, end)
        n = end - start
        inputs = [
            tensor("size", "FP32", [n, 1], some["size"]),
            tensor("rooms", "INT64", [n, 1], some["rooms"]),
            tensor("place", "BYTES", [n, 1], some["place"]),
        ]
        outputs = outputs_of(server.infer("pipeline", inputs))
        wanted = rows_of(expected["pipeline"], start, end)
        assert outputs["label"]["data"] == [int(v) for v in wanted["label"]]
        assert close(outputs["probabilities"]["data"], flat(wanted["probabilities"]))


def test_a_table_whose_outputs_have_no_common_length(server, made):
    """Where mlflow.onnx fails, the outputs keep their shapes."""
    _, expected, _ = made
    records = [dict(zip("abcd", row, strict=True)) for row in expected["x"][:7]]
    got = predictions(server, "uneven", {"instances": records})
    assert close(got, {k: v[:7] for k, v in expected["bare_forest"].items()})


def test_without_a_signature(server, made):
    _, expected, _ = made
    inputs = [tensor("anything", "FP32", [50, 4], flat(expected["x"][:50]))]
    outputs = outputs_of(server.infer("unsigned", inputs))
    assert close(outputs["variable"]["data"], flat(expected["unsigned"]["variable"][:50]))


def test_a_bare_file_describes_itself(server, made):
    _, expected, _ = made
    _, _, described = server.get("/v2/models/bare-forest.onnx")
    assert [(t["datatype"], t["shape"]) for t in described["inputs"]] == [("FP32", [-1, 4])]
    assert [(t["name"], t["datatype"]) for t in described["outputs"]] == [("label", "INT64"), ("probabilities", "FP32")]
    name = described["inputs"][0]["name"]
    for start, end in batches(expected):
        inputs = [tensor(name, "FP32", [end - start, 4], flat(expected["x"][start:end]))]
        outputs = outputs_of(server.infer("bare-forest.onnx", inputs))
        wanted = rows_of(expected["bare_forest"], start, end)
        assert outputs["label"]["data"] == wanted["label"]
        assert close(outputs["probabilities"]["data"], flat(wanted["probabilities"]))
        assert outputs["probabilities"]["shape"] == [end - start, 3]


def test_fixed_rows_and_half_floats(server):
    values = [0.5, 1.25, -2.0, 65504.0, 0.0999755859375, 3.0]
    outputs = outputs_of(server.infer("bare-halves.onnx", [tensor("image", "FP16", [1, 2, 3], values)]))
    assert outputs["more"]["datatype"] == "FP16" and outputs["more"]["shape"] == [1, 2, 3]
    assert outputs["more"]["data"] == [1.5, 2.25, -1.0, 65504.0, 1.099609375, 4.0]


def test_weights_in_a_file_of_their_own(server, made):
    _, expected, _ = made
    outputs = outputs_of(server.infer("external-inside", [tensor("x", "FP32", [50, 4], flat(expected["x"][:50]))]))
    assert close(outputs["y"]["data"], flat(expected["weights"]["y"]))


def test_a_repository_as_triton_has_it(made, data):
    folder, expected, library = made
    args = ["--model-repository", folder / "triton", "--onnxruntime", library, "--data", data]
    with support.serve(None, *args, timeout=START) as running:
        inputs = [tensor("x", "FP32", [50, 4], flat(expected["x"][:50]))]
        outputs = outputs_of(running.infer("plates", inputs))
        assert close(outputs["y"]["data"], flat(expected["weights"]["y"]))


# ---- what a client does wrong ----


@pytest.mark.parametrize(
    "name, inputs, what",
    [
        ("forest", [("x", "FP32", [2, 3], [0.0] * 6)], "shape"),
        ("forest", [("x", "FP64", [2, 4], [0.0] * 8)], "float32"),
        ("unsigned", [("x", "FP32", [2, 3], [0.0] * 6)], "invalid dimensions"),
        ("unsigned", [("x", "BYTES", [1, 4], ["w"] * 4)], "texts"),
        ("types", [("x", "FP64", [1], [0.5])], "missing inputs"),
        ("bare-forest.onnx", [("other", "FP32", [1, 4, 1], [0.0] * 4)], "shape"),
    ],
)
def test_bad_requests_are_the_clients(server, name, inputs, what):
    status, _, body = server.infer(name, [tensor(*i) for i in inputs])
    assert status == 400, body
    assert what.lower() in support.only_error(body).lower()


# ---- which engine, and the check before traffic ----


def test_explain_names_the_library(made, data):
    folder, _, library = made
    code, body = explain(folder / "forest", "--onnxruntime", library.parent, "--data", data)
    assert code == 0 and body["engine"] == "native"
    assert body["description"].startswith("ONNX Runtime 1.")


def test_without_a_library_the_python_worker_stays(made, data):
    folder, _, _ = made
    code, body = explain(folder / "elsewhere", "--data", data)
    assert code == 0, body
    assert body["engine"] == "python" and "--onnxruntime" in body["reason"]
    code, body = explain(folder / "bare" / "forest.onnx", "--data", data)
    assert code == 1 and body["engine"] == "none" and "libonnxruntime.so" in body["reason"]


def test_an_operator_that_is_not_known(made, data):
    folder, _, library = made
    code, body = explain(folder / "vendor", "--onnxruntime", library, "--data", data)
    assert code == 0 and body["engine"] == "python" and "Unheard" in body["reason"]
    code, body = explain(folder / "bare" / "unknown.onnx", "--onnxruntime", library, "--data", data)
    assert code == 1 and body["engine"] == "none"


def test_the_model_s_own_environment_brings_the_library(made, data):
    """And then the check has the model's own mlflow.onnx to compare with."""
    folder, expected, _ = made
    code, body = explain(folder / "forest_table", "--data", data)
    assert code == 0 and body["engine"] == "native" and "made when it is first served" in body["description"]
    rows = folder / "rows.json"
    rows.write_text(json.dumps({"dataframe_split": {"columns": list("abcd"), "data": expected["x"][:20]}}))
    args = ["model", "predict", folder / "forest_table", "--data", data, "--input", rows, "--check", "strict"]
    done = harness.run_once(args, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "its input example gives what is expected" in done.stderr
    got = json.loads(done.stdout)["predictions"]
    wanted = rows_of(expected["forest_table"], 0, 20)
    assert close({k: [r[k] for r in got] for k in wanted}, wanted)
    code, body = explain(folder / "forest_table", "--data", data)
    assert body["description"].startswith("ONNX Runtime 1.")


def test_a_stored_output_that_differs_is_a_failed_load(made, data, tmp_path):
    folder, expected, library = made
    model = tmp_path / "model"
    shutil.copytree(folder / "forest_table", model)
    wanted = rows_of(expected["forest_table"], 0, 3)
    wanted["output_label"][1] = 7
    records = [dict(zip(wanted, row, strict=True)) for row in zip(*wanted.values(), strict=True)]
    (model / "expected_output.json").write_text(json.dumps(records))
    ended = support.refused(model, "--onnxruntime", library, "--data", data, timeout=START)
    assert "expected_output.json" in ended.text and "7 expected" in ended.text


# ---- hostile models ----


@pytest.mark.parametrize("name", ["climbing", "absolute", "linked", "missing", "address"])
def test_weights_must_lie_in_the_models_folder(made, data, name):
    folder, _, library = made
    code, body = explain(folder / "external" / name, "--onnxruntime", library, "--data", data)
    assert code == 1 and body["engine"] == "none"
    # What a link leads to outside of the folder, the worker does not even see.
    assert ("not in the model's folder" if name in ("climbing", "absolute") else "is not there") in body["reason"]


def test_weights_beside_a_bare_file_are_a_file(made, data, tmp_path):
    # A link would lead out of the model's folder on this machine, and a worker would tell what lies there.
    folder, _, library = made
    shutil.copy(folder / "external" / "beside" / "model.onnx", tmp_path / "model.onnx")
    weights = folder / "external" / "beside" / "model.onnx.data"
    (tmp_path / "model.onnx.data").symlink_to(weights)
    code, body = explain(tmp_path / "model.onnx", "--onnxruntime", library, "--data", data)
    assert code == 1 and body["engine"] == "none"
    (tmp_path / "model.onnx.data").unlink()
    shutil.copy(weights, tmp_path / "model.onnx.data")
    code, body = explain(tmp_path / "model.onnx", "--onnxruntime", library, "--data", data)
    assert (code, body["engine"]) == (0, "native")


def test_damaged_files_are_refused(made, data, tmp_path):
    folder, _, library = made
    whole = (folder / "bare" / "forest.onnx").read_bytes()
    file = tmp_path / "model.onnx"
    for keep in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:keep])
        code, body = explain(file, "--onnxruntime", library, "--data", data)
        assert code == 1 and body["engine"] == "none" and body["reason"], keep
    pick = random.Random(11)
    for _ in range(8):
        damaged = bytearray(whole)
        for _ in range(6):
            damaged[pick.randrange(len(whole) if _ % 2 else 400)] ^= 1 << pick.randrange(8)
        file.write_bytes(damaged)
        code, body = explain(file, "--onnxruntime", library, "--data", data)
        assert (code, body["engine"]) in ((0, "native"), (1, "none"))  # a changed number is a model all the same
        assert code == 0 or body["reason"]


def workers(pid):
    """The processes below `pid` that compute a model."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += workers(int(child))
            try:
                command = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[0].endswith(b"millrace") and b"onnx-worker" in command:
                found.append(int(child))
    return found


def test_a_worker_that_ends_is_started_anew(made, data):
    folder, expected, library = made
    models = {"forest": folder / "bare" / "forest.onnx"}
    with support.serve(models, "--onnxruntime", library, "--data", data, timeout=START) as running:
        inputs = [tensor("X", "FP32", [1, 4], expected["x"][0])]
        assert running.infer("forest", inputs)[0] == 200
        before = workers(running.proc.pid)
        assert len(before) == 1
        os.kill(before[0], signal.SIGSEGV)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status, _, body = running.infer("forest", inputs)
            assert status in (200, 500, 503), body
            if status == 200 and workers(running.proc.pid) not in ([], before):
                break
        else:
            pytest.fail("no new worker answers")
        assert outputs_of((status, {}, body))["label"]["data"] == expected["bare_forest"]["label"][:1]


def test_a_worker_sees_no_more_than_it_needs(server):
    pid = workers(server.proc.pid)[0]
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["CapEff"].strip().strip("0") == "" and status["NoNewPrivs"].strip() == "1"
    own = os.readlink(f"/proc/{os.getpid()}/ns/net")
    assert os.readlink(f"/proc/{pid}/ns/net") != own
    seen = pathlib.Path("/proc", str(pid), "root")  # what the worker has for a root
    assert (seen / "mnt" / "models").exists() and not (seen / "home").exists()
