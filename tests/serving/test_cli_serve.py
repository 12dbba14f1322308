"""`millrace serve` as a command: what it takes, what it refuses, and how it ends."""

import json
import re
import shutil
import socket

import harness
import pytest

from . import support

LINEAR = support.GOLDEN / "1.9.1" / "logreg_binary.skops"
TENSOR = support.tensor("float64", [-1, 4])
NP = {"parameters": {"content_type": "np"}}
ROW = [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4], **NP}]


@pytest.fixture
def model(tmp_path):
    return support.write_model(tmp_path / "model", LINEAR, inputs=TENSOR)


def fails(*args, code=(1,), says=()):
    """Ends by itself with one of these exit codes and a text that matches every pattern."""
    ended = support.run_to_end("serve", *args)
    assert ended.code in code, ended
    for pattern in says:
        assert re.search(pattern, ended.text, re.IGNORECASE), (pattern, ended)
    assert "Traceback" not in ended.text and "terminate called" not in ended.text, ended
    return ended


# ---- usage ----


def test_help_teaches():
    ended = support.run_to_end("serve", "--help")
    assert ended.code == 0
    for word in ("--model", "--name", "--port", "models:/", "runs:/", "s3://", "--model-repository"):
        assert word in ended.text, word


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--no-such-flag"], "--no-such-flag"),
        (["--model"], "--model"),
        (["--model", "x", "--name", "a", "--port", "abc"], "--port"),
        (["--model", "x", "--name", "a", "--port", "70000"], "--port"),
        (["--model", "x", "--name", "a", "--port", "-1"], "--port"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_usage_errors_exit_2(args, says):
    fails(*args, code=(2,), says=[says])


def test_without_a_model():
    fails("--port", harness.free_port(), code=(2,), says=["--model"])


def test_more_models_than_names(model):
    fails("--model", model, "--model", model, "--name", "a", "--port", harness.free_port(), code=(2,), says=["--name"])


def test_a_name_twice(model):
    fails(
        "--model",
        model,
        "--name",
        "same",
        "--model",
        model,
        "--name",
        "same",
        "--port",
        harness.free_port(),
        code=(1, 2),
        says=["same"],
    )


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb"], ids=repr)
def test_names_that_no_path_can_say(model, name):
    fails("--model", model, "--name", name, "--port", harness.free_port(), code=(1, 2), says=["name"])


# ---- addresses ----


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://h/x",
        "http://h/x",
        "models:/",
        "models:/n",
        "models:/n/",
        "models:/n@",
        "models:/n/1/2",
        "models:n/1",
        "runs:/",
        "runs:/0123456789abcdef0123456789abcdef",
        "s3://",
        "s3:///key",
        "s3:/b/k",
        "",
    ],
)
def test_addresses_that_mean_nothing(uri):
    """Said at once, without asking any server."""
    ended = fails(
        "--model",
        uri,
        "--name",
        "m",
        "--port",
        harness.free_port(),
        "--tracking-uri",
        "http://127.0.0.1:9",
        "--s3-endpoint",
        "http://127.0.0.1:9",
        code=(1, 2),
    )
    assert uri in ended.text
    assert ended.seconds < 3


@pytest.mark.parametrize("uri", ["models:/n/1", "models:/n@champion", "runs:/0123456789abcdef0123456789abcdef/model"])
def test_tracking_server_that_is_not_there(uri):
    closed = f"http://127.0.0.1:{harness.free_port()}"
    ended = fails(
        "--model", uri, "--name", "m", "--port", harness.free_port(), "--tracking-uri", closed, says=[re.escape(closed)]
    )
    assert ended.seconds < 15


def test_object_store_that_is_not_there():
    closed = f"http://127.0.0.1:{harness.free_port()}"
    fails(
        "--model",
        "s3://bucket/model/",
        "--name",
        "m",
        "--port",
        harness.free_port(),
        "--s3-endpoint",
        closed,
        says=[re.escape(closed.removeprefix("http://"))],
    )


# ---- folders ----


def refused_with(folder, *says):
    return fails("--model", folder, "--name", "m", "--port", harness.free_port(), says=says)


def test_no_such_folder(tmp_path):
    refused_with(tmp_path / "nowhere", "nowhere", "no such|not exist|not found|no model at")


def test_empty_folder(tmp_path):
    refused_with(tmp_path, "MLmodel")


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    refused_with(tmp_path / "notes.txt", "notes.txt")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flavors: [unclosed\n", "MLmodel"),
        ("", "MLmodel"),
        ("just text\n", "MLmodel"),
        ("\0\1\2", "MLmodel"),
        ("flavors: {}\n", "flavor"),
        ("flavors:\n  python_function: 5\n", "MLmodel|flavor|python_function"),
        ("flavors:\n  sklearn: {}\n", "MLmodel|model"),
        ("a: &a [*a, *a]\nflavors: *a\n", "MLmodel|flavor"),
        ("x" * 100 + ": " + "[" * 5000 + "\n", "MLmodel"),
    ],
)
def test_broken_mlmodel(model, text, says):
    (model / "MLmodel").write_text(text)
    refused_with(model, says)


def replaced(model, old, new):
    text = (model / "MLmodel").read_text()
    assert old in text
    (model / "MLmodel").write_text(text.replace(old, new))


def test_missing_model_file(model):
    (model / "model.skops").unlink()
    refused_with(model, r"model\.skops")


@pytest.mark.parametrize("path", ["../outside.skops", "/etc/hostname", "sub/../../outside.skops"])
def test_model_file_outside_its_folder(model, path):
    """A folder that was downloaded names only its own files, even when the other one is a sound model."""
    shutil.copyfile(LINEAR, model.parent / "outside.skops")
    (model / "sub").mkdir()
    replaced(model, "model.skops", path)
    refused_with(model, "outside|hostname")


def test_model_file_behind_a_link_out_of_the_folder(model):
    shutil.move(model / "model.skops", model.parent / "outside.skops")
    (model / "model.skops").symlink_to("/etc/hostname")
    refused_with(model, r"model\.skops|skops")


@pytest.mark.parametrize("loader", ["mlflow.pyfunc.model", "mlflow.keras", "mlflow.spark", "acme.loader"])
def test_other_flavors_are_named(model, loader):
    replaced(model, "loader_module: mlflow.sklearn", f"loader_module: {loader}")
    replaced(model, "  sklearn:", f"  {loader.split('.')[1]}:")
    refused_with(model, re.escape(loader))


@pytest.mark.parametrize(
    "signature",
    [
        "not json",
        "{}",
        "[1]",
        '[{"type":"double"}, 5]',
        '[{"type":"quaternion"}]',
        '[{"type":"tensor","tensor-spec":{"dtype":"float64","shape":"x"}}]',
    ],
)
def test_broken_signature(model, signature):
    replaced(model, json.dumps(json.dumps(TENSOR)), json.dumps(signature))
    refused_with(model, "signature")


@pytest.mark.parametrize("path", ["linear_svc", "ridge", "sgd_hinge", "ridge_classifier", "pipe_no_std"])
def test_probabilities_of_a_model_without(tmp_path, path):
    source = next((support.GOLDEN / "1.3.2").glob(path + ".*"))
    folder = support.write_model(tmp_path / "model", source, inputs=TENSOR, predict_fn="predict_proba")
    refused_with(folder, "predict_proba")


@pytest.mark.parametrize("method", ["fit", "__class__", "transform", "set_params"])
def test_a_predict_function_that_does_not_predict(tmp_path, method):
    folder = support.write_model(tmp_path / "model", LINEAR, inputs=TENSOR, predict_fn=method)
    refused_with(folder, method)


def test_a_scaler_alone_cannot_predict(tmp_path):
    from .opcodes import array, doubles, estimator, pickle_of, small

    scaler = estimator(
        "sklearn.preprocessing._data",
        "StandardScaler",
        with_mean=b"\x88",
        with_std=b"\x88",
        mean_=array((1,), doubles(0)),
        scale_=array((1,), doubles(1)),
        n_features_in_=small(1),
    )
    refused_with(support.write_model(tmp_path / "model", pickle_of(scaler)), "StandardScaler", "predict")


def test_an_unfitted_model(tmp_path):
    from .opcodes import logistic, pickle_of

    bare = pickle_of(logistic(coef_=None, intercept_=None, classes_=None, n_features_in_=None))
    refused_with(
        support.write_model(tmp_path / "model", bare), "LogisticRegression", "fitted|coef_|classes_|intercept_"
    )


# ---- running ----


def test_port_in_use(model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        fails("--model", model, "--name", "m", "--port", port, code=(1, 2), says=[str(port), "in use"])


def test_ready_line_and_graceful_stop(model):
    with support.serve({"m": model}) as server:
        assert "ready" in server.proc.stdout()
        assert server.infer("m", ROW)[0] == 200
        assert server.proc.terminate() == 0
        assert server.proc.stdout().count("ready") == 1


def test_json_logs(model):
    with support.serve({"m": model}, "--log-format", "json") as server:
        server.infer("m", ROW)
        server.proc.terminate()
        lines = [line for line in server.proc.stderr().splitlines() if line.strip()]
        assert lines, "starting and stopping is told"
        assert all(isinstance(json.loads(line), dict) for line in lines)


def test_several_models(model, tmp_path):
    other = support.write_model(
        tmp_path / "other", next((support.GOLDEN / "1.9.1").glob("linreg.p4.pkl")), inputs=TENSOR
    )
    with support.serve({"first": model, "second": other, "third": model}) as server:
        answers = {n: server.infer(n, ROW)[2]["outputs"][0] for n in ("first", "second", "third")}
    assert answers["first"] == answers["third"]
    assert answers["first"]["datatype"] == "INT64"
    assert answers["second"]["datatype"] == "FP64"


def test_one_bad_model_among_several(model, tmp_path):
    bad = support.write_model(tmp_path / "bad", b"\x80\x04cacme\nTrap\n)R.", inputs=TENSOR)
    fails(
        "--model",
        model,
        "--name",
        "good",
        "--model",
        bad,
        "--name",
        "bad",
        "--port",
        harness.free_port(),
        says=["acme.Trap", "bad"],
    )


def test_a_relative_folder(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    with support.serve({"m": "model"}) as server:
        assert server.infer("m", ROW)[0] == 200


def test_a_file_address(model):
    with support.serve({"m": model.as_uri()}) as server:
        assert server.infer("m", ROW)[0] == 200


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl"])
def test_a_bare_model_file(tmp_path, name):
    """A folder as KServe's scikit-learn server takes it: one file, no MLmodel."""
    source = "logreg_binary.joblib" if name.endswith("joblib") else "logreg_binary.p4.pkl"
    shutil.copyfile(support.GOLDEN / "1.3.2" / source, tmp_path / name)
    with support.serve({"m": tmp_path}) as server:
        status, _, body = server.infer("m", ROW, **NP)
        assert status == 200, body
        assert server.get("/v2/models/m")[2]["inputs"] == []


# ---- model repositories ----


def test_repository_tree(tmp_path, model):
    for name, where in (("one", "a"), ("two", "b/c")):
        shutil.copytree(model, tmp_path / "repo" / where / "model")
        support.write_settings(tmp_path / "repo" / where, name)
    with support.serve(None, "--model-repository", tmp_path / "repo") as server:
        assert server.infer("one", ROW)[0] == server.infer("two", ROW)[0] == 200


def test_repository_of_scikit_learn_files(tmp_path):
    """MLServer's own scikit-learn runtime: the address names the file."""
    folder = tmp_path / "repo" / "m"
    folder.mkdir(parents=True)
    shutil.copyfile(support.GOLDEN / "1.3.2" / "logreg_binary.joblib", folder / "model.joblib")
    (folder / "model-settings.json").write_text(
        json.dumps(
            {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
        )
    )
    with support.serve(None, "--model-repository", tmp_path / "repo") as server:
        assert server.infer("m", ROW, **NP)[0] == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "model-settings.json"),
        ("[]", "model-settings.json"),
        ("{}", "name"),
        ('{"name": 5}', "name"),
        ('{"name": "m"}', "uri|m"),
        ('{"name": "m", "parameters": {"uri": "./nowhere"}}', "nowhere"),
        ('{"name": "m", "implementation": "acme.Runtime", "parameters": {"uri": "./model"}}', "acme.Runtime"),
    ],
)
def test_broken_settings(tmp_path, model, text, says):
    (tmp_path / "model-settings.json").write_text(text)
    fails("--model-repository", tmp_path, "--port", harness.free_port(), says=[says])


def test_repository_that_is_not_there(tmp_path):
    fails("--model-repository", tmp_path / "nowhere", "--port", harness.free_port(), code=(1, 2), says=["nowhere"])


def test_a_name_twice_in_the_repository(tmp_path, model):
    for where in ("a", "b"):
        shutil.copytree(model, tmp_path / "repo" / where / "model")
        support.write_settings(tmp_path / "repo" / where, "same")
    fails("--model-repository", tmp_path / "repo", "--port", harness.free_port(), says=["same"])
