"""The serving plane: lazy models, a memory budget, limits, MLServer's and KServe's ways to say things, docs, metrics."""

import concurrent.futures
import json
import shutil
import time

import harness
import pytest
import yaml

from . import support

LINEAR = support.GOLDEN / "1.9.1" / "logreg_binary.skops"
TENSOR = support.tensor("float64", [-1, 4])
ROW = [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]
DEADLINE = 60


def repository(folder, names, **settings):
    for name in names:
        support.write_model(folder / name / "model", LINEAR, inputs=TENSOR)
        support.write_settings(folder / name, name)
        if settings:
            path = folder / name / "model-settings.json"
            said = json.loads(path.read_text())
            said["parameters"].update(settings.pop("parameters", {}))
            path.write_text(json.dumps({**said, **settings}))
    return folder


def poll(condition):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come true")


# ---- many models ----


def test_lazy_models_are_read_when_asked_for(tmp_path):
    repository(tmp_path, ["good", "bad"])
    (tmp_path / "bad" / "model" / "model.skops").write_bytes(b"not a model")
    with support.serve(None, "--model-repository", tmp_path, "--lazy") as server:
        index = server.post("/v2/repository/index", {})[2]
        assert {m["name"]: m["state"] for m in index} == {"good": "READY", "bad": "READY"}
        assert server.infer("good", ROW)[0] == 200
        assert server.get("/v2/models/good")[0] == 200
        status, _, body = server.infer("bad", ROW)
        assert status == 503 and "bad" in support.only_error(body)
        assert server.infer("nope", ROW)[0] == 404
        # Repaired files are read by the next request.
        shutil.copyfile(tmp_path / "good" / "model" / "model.skops", tmp_path / "bad" / "model" / "model.skops")
        assert server.infer("bad", ROW)[0] == 200
        assert server.call("POST", "/v2/repository/models/good/unload")[0] == 200
        assert server.infer("good", ROW)[0] == 404, "what was unloaded by hand stays so"
        assert server.call("POST", "/v2/repository/models/good/load")[0] == 200
        assert server.infer("good", ROW)[0] == 200


def model_metrics(server):
    text = server.call("GET", "/metrics")[2]
    text = text.decode() if isinstance(text, bytes) else text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("millrace_model")]
    return {name: float(value) for name, value in lines}


def test_memory_budget_lets_the_oldest_go(tmp_path):
    names = [f"m{i}" for i in range(6)]
    repository(tmp_path, names)
    with support.serve(None, "--model-repository", tmp_path) as server:
        said = model_metrics(server)
        assert said["millrace_models_loaded"] == 6
        each = said["millrace_model_memory_bytes"] / 6
        assert each > 0
    # Each model takes a little beside its engine; the files' size is what is reckoned with before one is read.
    with support.serve(None, "--model-repository", tmp_path, "--lazy", "--model-memory", "64Gi") as server:
        for name in names:
            assert server.infer(name, ROW)[0] == 200
        assert model_metrics(server)["millrace_model_evictions_total"] == 0
    size = sum(p.stat().st_size for p in (tmp_path / "m0" / "model").iterdir())
    budget = 2 * size + 64 * 1024 + 1000  # what one model is thought to take before it is read
    with support.serve(None, "--model-repository", tmp_path, "--model-memory", budget) as server:
        # All answer, whatever had to go for them; many times around.
        for _ in range(3):
            for name in names:
                assert server.infer(name, ROW)[0] == 200
        said = model_metrics(server)
        assert said["millrace_model_evictions_total"] > 0
        assert said["millrace_models_loaded"] < 6
        assert said["millrace_model_memory_bytes"] <= budget
        assert any("gives way" in line for line in server.proc.stderr().splitlines())


def test_thousands_of_models_start_at_once_and_answer(tmp_path):
    model = support.write_model(tmp_path / "shared", LINEAR, inputs=TENSOR)
    root = tmp_path / "repository"
    for i in range(1000):
        (root / f"m{i}").mkdir(parents=True)
        settings = {"name": f"m{i}", "parameters": {"uri": str(model)}}
        (root / f"m{i}" / "model-settings.json").write_text(json.dumps(settings))
    with support.serve(None, "--model-repository", root, "--lazy", "--model-memory", "8Mi") as server:
        assert len(server.post("/v2/repository/index", {})[2]) == 1000
        answers = [server.infer(f"m{i}", ROW) for i in range(0, 1000, 10)]
        assert {a[0] for a in answers} == {200}
        assert len({json.dumps(a[2]["outputs"]) for a in answers}) == 1


def test_many_ask_for_one_lazy_model_at_once(tmp_path):
    repository(tmp_path, ["m"])
    with support.serve(None, "--model-repository", tmp_path, "--lazy") as server:

        def ask(_):
            other = support.Server(server.url, server.proc)
            try:
                return other.infer("m", ROW)[0]
            finally:
                other.close()

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert set(pool.map(ask, range(64))) == {200}


# ---- limits ----


def test_too_many_requests_get_429_with_retry_after(tmp_path):
    repository(
        tmp_path, ["m"], parameters={"extra": {"millrace": {"max_concurrency": 1, "max_queue": 0, "timeout_ms": 5000}}}
    )
    rows = 20_000
    large = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [rows, 4], "data": [0.123456789] * (4 * rows)}]}
    )
    with support.serve(None, "--model-repository", tmp_path) as server:

        def ask(_):
            other = support.Server(server.url, server.proc)
            try:
                return other.call("POST", "/v2/models/m/infer", large, {"Content-Type": "application/json"})[:2]
            finally:
                other.close()

        def refused():
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(ask, range(12)))
            assert {status for status, _ in answers} <= {200, 429}
            return next((headers for status, headers in answers if status == 429), None)

        assert int(poll(refused)["retry-after"]) >= 1
        assert server.infer("m", ROW)[0] == 200


# ---- MLServer's settings and variables ----


def test_fields_of_model_settings(tmp_path):
    repository(
        tmp_path,
        ["m"],
        parameters={"version": "7", "content_type": "np"},
        platform="sklearn",
        versions=["7"],
        parallel_workers=3,
        max_batch_size=10,
        max_batch_time=0.5,
        inputs=[{"name": "ignored", "datatype": "FP32", "shape": [-1]}],
    )
    with support.serve(None, "--model-repository", tmp_path) as server:
        body = server.get("/v2/models/m/versions/7")[2]
        assert (body["platform"], body["versions"]) == ("sklearn", ["7"])
        assert [t["name"] for t in body["inputs"]] == ["input-0"], "the model's own signature goes first"
        assert server.infer("m", ROW)[2]["model_version"] == "7"


def test_bare_files_as_mlserver_and_kserve_name_their_outputs(tmp_path):
    for name, implementation in (("ml", "mlserver_sklearn.SKLearnModel"), ("ks", "")):
        (tmp_path / name).mkdir()
        shutil.copyfile(LINEAR, tmp_path / name / "model.skops")
        settings = {"name": name, "parameters": {"uri": "./model.skops"}}
        if implementation:
            settings["implementation"] = implementation
        (tmp_path / name / "model-settings.json").write_text(json.dumps(settings))
    with support.serve(None, "--model-repository", tmp_path) as server:
        answers = {n: server.infer(n, ROW) for n in ("ml", "ks")}
        assert {n: a[2]["outputs"][0]["name"] for n, a in answers.items()} == {"ml": "predict", "ks": "output-0"}
        columns = [{"name": f"c{i}", "datatype": "FP64", "shape": [1], "data": [i + 1]} for i in range(4)]
        assert server.infer("ks", columns)[2]["outputs"] == answers["ks"][2]["outputs"]
        status, _, body = server.post("/v1/models/ks:predict", {"instances": [[1, 2, 3, 4]]})
        assert status == 200 and body["predictions"] == answers["ks"][2]["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"name": "m", "implementation": "mlserver_huggingface.HuggingFaceRuntime"}', "HuggingFace"),
        ("[" * 100, "model-settings.json"),
    ],
)
def test_settings_that_cannot_be_served(tmp_path, text, says):
    (tmp_path / "model-settings.json").write_text(text)
    ended = support.run_to_end("serve", tmp_path, "--port", harness.free_port())
    assert ended.code in (1, 2) and says in ended.text


def test_variables_of_mlserver(tmp_path):
    model = support.write_model(tmp_path / "model", LINEAR, inputs=TENSOR)
    port, grpc_port, metrics_port = harness.free_port(), harness.free_port(), harness.free_port()
    env = {
        "MLSERVER_MODEL_NAME": "named",
        "MLSERVER_MODEL_URI": str(model),
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_mlflow.MLflowRuntime",
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(grpc_port),
        "MLSERVER_METRICS_PORT": str(metrics_port),
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_PARALLEL_WORKERS": "2",
        "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": "1000000",
    }
    url = f"http://127.0.0.1:{port}"
    with harness.launch(["serve"], url + "/readyz", env=env) as proc:
        server = support.Server(url, proc)
        assert server.infer("named", ROW)[2]["outputs"][0]["name"] == "output-1"
        assert str(grpc_port) in proc.stdout()
        metrics = support.Server(f"http://127.0.0.1:{metrics_port}", proc)
        assert b"model_infer_request_success_total" in metrics.call("GET", "/metrics")[2]
        assert metrics.call("GET", "/v2")[0] == 404
        for s in (server, metrics):
            s.close()


def test_flags_go_before_variables_and_a_folder_may_stand_alone(tmp_path):
    repository(tmp_path, ["m"])
    port = harness.free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"MLSERVER_HTTP_PORT": "1", "MLSERVER_LOAD_MODELS_AT_STARTUP": "false"}
    with harness.launch(["serve", tmp_path, "--http_port", port], url + "/readyz", env=env) as proc:
        server = support.Server(url, proc)
        assert server.infer("m", ROW)[0] == 200
        server.close()


def test_settings_of_the_server(tmp_path):
    repository(tmp_path, ["m"])
    port, grpc_port = harness.free_port(), harness.free_port()
    settings = {"http_port": port, "grpc_port": grpc_port, "debug": False, "load_models_at_startup": False}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}"
    with harness.launch(["serve", tmp_path], url + "/readyz") as proc:
        server = support.Server(url, proc)
        assert server.infer("m", ROW)[0] == 200
        assert str(grpc_port) in proc.stdout()
        server.close()
    (tmp_path / "settings.json").write_text('{"http_port": "x"}')
    ended = support.run_to_end("serve", tmp_path)
    assert ended.code in (1, 2) and "settings.json" in ended.text


# ---- KServe ----


def manifests():
    return sorted((harness.REPO_ROOT / "deploy" / "kserve").glob("millrace-*.yaml"))


def test_cloud_events(tmp_path):
    model = support.write_model(tmp_path / "model", LINEAR, inputs=TENSOR)
    path, message = "/v1/models/m:predict", {"instances": [[1, 2, 3, 4]]}
    given = {"specversion": "1.0", "id": "1", "source": "test", "type": "request"}
    with support.serve({"m": model}) as server:
        plain = server.post(path, message)[2]
        status, headers, body = server.post(path, message, {"ce-" + k: v for k, v in given.items()})
        assert (status, body) == (200, plain)
        assert headers["ce-type"] == "io.kserve.inference.response" and headers["ce-source"] == "io.kserve.inference.m"
        assert headers["ce-id"] != "1" and headers["ce-specversion"] == "1.0"
        kind = {"Content-Type": "application/cloudevents+json"}
        status, headers, body = server.post(path, {**given, "data": message}, kind)
        assert status == 200 and headers["content-type"] == kind["Content-Type"]
        assert body["data"] == plain and body["type"] == "io.kserve.inference.response"
        for broken in ({**given}, {"data": message}, [], {**given, "data": 5}):
            status, _, body = server.post(path, broken, kind)
            assert status == 400 and support.only_error(body)


@pytest.mark.parametrize("path", manifests(), ids=lambda p: p.stem)
def test_runtime_manifests_start_what_they_name(tmp_path, path):
    runtime = yaml.safe_load(path.read_text())
    assert runtime["kind"] == "ClusterServingRuntime"
    assert {f["name"] for f in runtime["spec"]["supportedModelFormats"]} == {path.stem.removeprefix("millrace-")}
    (container,) = runtime["spec"]["containers"]
    folder = tmp_path / "models"
    support.write_model(folder, LINEAR, inputs=TENSOR)
    ports = {"8080": harness.free_port(), "9000": harness.free_port()}
    args = [
        a.replace("{{.Name}}", "mine")
        .replace("/mnt/models", str(folder))
        .replace("/tmp/millrace", str(tmp_path / "data"))
        for a in container["args"]
    ]
    for said, free in ports.items():
        args = [a.replace(f"={said}", f"={free}") for a in args]
    args = [a.replace("0.0.0.0", "127.0.0.1") for a in args]
    url = f"http://127.0.0.1:{ports['8080']}"
    with harness.launch(args, url + container["readinessProbe"]["httpGet"]["path"]) as proc:
        server = support.Server(url, proc)
        assert server.infer("mine", ROW)[0] == 200
        assert server.post("/v1/models/mine:predict", {"instances": [[1, 2, 3, 4]]})[0] == 200
        assert str(ports["9000"]) in proc.stdout()
        server.close()


def test_kustomization_names_them_all():
    said = yaml.safe_load((harness.REPO_ROOT / "deploy" / "kserve" / "kustomization.yaml").read_text())
    assert sorted(said["resources"]) == [p.name for p in manifests()]


# ---- documents and metrics ----


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("docs")
    model = support.write_model(
        root / "table",
        LINEAR,
        inputs=support.columns([("a", "double"), ("b", "long"), ("c", "double"), ("d", "integer")]),
    )
    with support.serve({"a model": model}) as running:
        yield running


def test_openapi_document_and_page(server):
    status, headers, body = server.get("/v2/models/a%20model/docs/dataplane.json")
    assert status == 200 and body["openapi"].startswith("3.")
    operation = body["paths"]["/v2/models/a%20model/infer"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert [i["name"] for i in example["inputs"]] == ["a", "b", "c", "d"]
    assert server.post("/v2/models/a%20model/infer", example)[0] == 200, "the example is a request that works"

    def references(v):
        if isinstance(v, dict):
            yield from ([v["$ref"]] if "$ref" in v else [])
            v = list(v.values())
        for one in v if isinstance(v, list) else []:
            yield from references(one)

    for r in references(body):
        assert r.removeprefix("#/components/schemas/") in body["components"]["schemas"]
    status, headers, html = server.call("GET", "/v2/models/a%20model/docs")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert b"a model" in html and b"http://" not in html and b"https://" not in html
    assert "default-src 'none'" in headers["content-security-policy"]
    assert server.get("/v2/docs/dataplane.json")[0] == server.call("GET", "/v2/docs")[0] == 200
    assert server.get("/v2/models/nope/docs")[0] == 404


def test_metrics_of_dashboards(server):
    example = server.get("/v2/models/a%20model/docs/dataplane.json")[2]["paths"]["/v2/models/a%20model/infer"]["post"]
    message = example["requestBody"]["content"]["application/json"]["example"]

    def value(name, *labels):
        text = server.call("GET", "/metrics")[2].decode()
        lines = [
            line for line in text.splitlines() if line.startswith(name + "{") and all(label in line for label in labels)
        ]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    infer = ('path="/v2/models/{model_name}/infer"', 'app_name="mlserver"', 'method="POST"')
    names = [
        ("rest_server_requests_total", *infer, 'status_code="200"'),
        ("rest_server_request_duration_seconds_count", *infer),
        ("model_infer_request_success_total", 'model="a model"'),
        ("model_infer_request_duration_count", 'model="a model"'),
        ("request_predict_seconds_count", 'model_name="a model"'),
    ]
    before = [value(*n) for n in names]
    for _ in range(4):
        assert server.post("/v2/models/a%20model/infer", message)[0] == 200
    assert [value(*n) for n in names] == [b + 4 for b in before]
    assert value("rest_server_requests_in_progress", *infer) == 0
