"""Requests as CloudEvents, V1 predictions in batches, turns by priority, shadows: what KServe's agent and mesh do."""

import base64
import concurrent.futures
import contextlib
import gzip
import http.server
import json
import threading
import time
import urllib.request

import numpy as np
import pytest
import tritonclient.http as triton
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401

from . import support
from .isvc import Services, condition, manifest, traffic, v2_request

LINEAR = support.GOLDEN / "1.9.1" / "logreg_binary.skops"
TENSOR = support.tensor("float64", [-1, 4])
ROW = [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]
PREFIX = "org.kubeflow.serving.inference."
DEADLINE = 60


def poll(condition):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come true")


class Sink:
    """An HTTP server that keeps what it is sent."""

    def __init__(self):
        self.events = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.events.append(({k.lower(): v for k, v in handler.headers.items()}, body))
                handler.send_response(200)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, event_id, count):
        """The events of this id once there are so many: {"request": (headers, body), …}."""

        def there():
            found = [e for e in self.events if e[0]["ce-id"] == event_id]
            return found if len(found) >= count else None

        return {h["ce-type"].removeprefix(PREFIX): (h, b) for h, b in poll(there)}


@pytest.fixture(scope="module")
def sink():
    s = Sink()
    yield s
    s.server.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return support.write_model(tmp_path_factory.mktemp("log") / "model", LINEAR, inputs=TENSOR)


@pytest.fixture(scope="module")
def logged(model, sink):
    args = [
        "--log-url",
        sink.url,
        "--inference-service",
        "churn",
        "--namespace",
        "team",
        "--endpoint",
        "default",
    ]
    args += [
        "--metadata-headers",
        "X-Team,X-None",
        "--metadata-annotations",
        "owner=me,stage=test",
    ]
    with support.serve({"m": model}, *args) as server:
        yield server


def metric(server, name, *labels):
    text = server.call("GET", "/metrics")[2].decode()
    lines = [x for x in text.splitlines() if x.startswith(name + "{") and all(label in x for label in labels)]
    return sum(float(x.rsplit(" ", 1)[1]) for x in lines)


# ---- the log of requests ----


def test_request_and_answer_are_one_pair_of_events(logged, sink):
    message = json.dumps({"id": "7", "inputs": ROW})
    given = {"Content-Type": "application/json", "Ce-Id": "pair", "X-Team": "blue"}
    status, _, answer = logged.call("POST", "/v2/models/m/infer", message, given)
    assert status == 200
    events = sink.of("pair", 2)
    asked, answered = events["request"], events["response"]
    assert asked[1] == message.encode() and answered[1] == answer
    for headers, _ in events.values():
        assert headers["ce-specversion"] == "1.0"
        assert headers["ce-source"].startswith("http://localhost:")
        assert headers["ce-inferenceservicename"] == "churn"
        assert (headers["ce-namespace"], headers["ce-component"]) == (
            "team",
            "predictor",
        )
        assert headers["ce-endpoint"] == "default"
        assert json.loads(headers["ce-metadata"]) == {"X-Team": ["blue"]}
        assert json.loads(headers["ce-annotations"]) == {"owner": "me", "stage": "test"}
        assert headers["content-type"] == "application/json"
        assert headers["ce-time"].endswith("Z") and headers["ce-recordedtime"].endswith("Z")
    assert asked[0]["ce-time"] <= answered[0]["ce-time"]


def test_every_protocol_is_logged_and_nothing_else(logged, sink):
    def of_this_server():
        return [h["ce-id"] for h, _ in list(sink.events) if h.get("ce-namespace") == "team"]

    before = len(of_this_server())
    assert logged.get("/v2/models/m")[0] == 200
    assert logged.post("/v2/repository/index", {})[0] == 200
    assert logged.post("/v1/models/m:predict", {"instances": [[1, 2, 3, 4]]})[0] == 200
    assert logged.post("/invocations", {"inputs": [[1, 2, 3, 4]]})[0] == 200
    packed = gzip.compress(json.dumps({"inputs": ROW}).encode())
    given = {
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "Ce-Id": "packed",
    }
    assert logged.call("POST", "/v2/models/m/infer", packed, given)[0] == 200
    assert json.loads(sink.of("packed", 2)["request"][1]) == {"inputs": ROW}
    poll(lambda: len(of_this_server()) == before + 6)
    ids = of_this_server()[before:]
    assert len(set(ids)) == 3 and all(support.UUID4.match(i) or i == "packed" for i in ids)


def test_a_refused_request_has_no_answer_in_the_log(logged, sink):
    status, _, body = logged.post("/v2/models/m/infer", {"inputs": []}, {"Ce-Id": "bad"})
    assert status in (400, 422), body
    assert logged.infer("m", ROW, {"Ce-Id": "after"})[0] == 200
    sink.of("after", 2)
    assert set(sink.of("bad", 1)) == {"request"}


@pytest.mark.parametrize("mode", ["request", "response"])
def test_one_half_is_logged_when_only_that_is_asked_for(model, sink, mode):
    with support.serve({"m": model}, "--log-url", sink.url, "--log-mode", mode, "--source-uri", "me") as server:
        assert server.infer("m", ROW, {"Ce-Id": f"only-{mode}"})[0] == 200
        assert server.infer("m", ROW, {"Ce-Id": f"then-{mode}"})[0] == 200
        assert set(sink.of(f"then-{mode}", 1)) == {mode}
        ((headers, _),) = sink.of(f"only-{mode}", 1).values()
        assert headers["ce-source"] == "me" and headers["ce-type"] == PREFIX + mode


def test_a_sink_that_is_gone_costs_no_request(model):
    with support.serve({"m": model}, "--log-url", "http://127.0.0.1:1/") as server:
        for _ in range(5):
            assert server.infer("m", ROW)[0] == 200
        poll(lambda: metric(server, "millrace_request_log_events_total", 'result="failed"') == 10)
        assert sum("does not take events" in line for line in server.proc.stderr().splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [(["--log-url", "s3://bucket/x"], "http"), (["--metadata-annotations", "x"], "x")],
)
def test_settings_of_the_log_that_make_no_sense(model, args, says):
    if "--log-url" not in args:
        args = ["--log-url", "http://127.0.0.1:1/", *args]
    ended = support.run_to_end("serve", "--model", model, "--name", "m", *args)
    assert ended.code == 2 and says in ended.text, ended


# ---- batches ----


def test_predictions_are_joined_and_each_gets_its_own(model):
    rows = [[i, 2, 3, 0.5 * i] for i in range(40)]
    with support.serve({"m": model}) as plain:
        wanted = plain.post("/v1/models/m:predict", {"instances": rows})[2]["predictions"]
    flags = [
        "--enable-batcher",
        "--max-batchsize",
        8,
        "--max-latency",
        60000,
        "--max-concurrency",
        1,
    ]
    with support.serve({"m": model}, *flags) as server:

        def ask(i):
            other = support.Server(server.url, server.proc)
            try:
                if i % 10 == 9:  # of another width: refused, and nobody else with it
                    status, _, body = other.post("/v1/models/m:predict", {"instances": [[1, 2, 3]]})
                    return status, None, support.only_error(body)
                status, _, body = other.post("/v1/models/m:predict", {"instances": rows[i : i + 1]})
                return status, body["predictions"], body["batchId"]
            finally:
                other.close()

        # Who comes alone is answered at once, however long a batch may wait.
        lone = server.post("/v1/models/m:predict", {"instances": rows[:2]})[2]
        assert lone["predictions"] == wanted[:2] and lone["message"] == "" and support.UUID4.match(lone["batchId"])
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for i, (status, predictions, _) in enumerate(pool.map(ask, range(40))):
                assert (status, predictions) == ((400, None) if i % 10 == 9 else (200, wanted[i : i + 1])), i
        assert metric(server, "batch_request_queue_count", 'model="m"') == 41
        assert metric(server, "millrace_batch_requests_sum", 'model="m"') == 41
        # What is no such request goes its usual way.
        assert server.infer("m", ROW)[0] == 200
        assert server.post("/v1/models/m:predict", {"instances": []})[0] == 400
        assert server.post("/v1/models/m:predict", "{")[0] == 400
        assert server.post("/v1/models/none:predict", {"instances": rows[:1]})[0] == 404
        as_event = {
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-source": "t",
            "ce-type": "t",
        }
        assert "batchId" not in server.post("/v1/models/m:predict", {"instances": rows[:1]}, as_event)[2]


# ---- turns ----


def test_priorities_and_times_of_waiting_requests(model):
    """A crowd of large requests at one place: the urgent one is always answered, the hasty one soon gives up."""
    rows = 50_000
    crowd = [
        {
            "name": "x",
            "datatype": "FP64",
            "shape": [rows, 4],
            "data": [0.5] * (4 * rows),
        }
    ]
    large = json.dumps({"inputs": crowd, "parameters": {"priority": 8}})
    with support.serve({"m": model}, "--max-concurrency", 1, "--max-queue", 1) as server:
        over = threading.Event()

        def keep_busy():
            other = support.Server(server.url, server.proc)
            said = set()
            while not over.is_set():
                said.add(other.post("/v2/models/m/infer", large)[0])
            other.close()
            return said

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            busy = [pool.submit(keep_busy) for _ in range(4)]
            try:
                refused = ("millrace_model_refused_total", 'model="m"')

                def all_seen():
                    urgent = server.infer("m", ROW, parameters={"priority": 1})
                    assert urgent[0] == 200, "there is one urgent request, and a place in the queue"
                    assert server.infer("m", ROW, {"Priority": "u=0"})[0] == 200
                    assert server.infer("m", ROW, parameters={"priority": 1, "timeout": 1})[0] in (200, 504)
                    return metric(server, *refused, 'reason="full"') and metric(server, *refused, 'reason="timeout"')

                poll(all_seen)
            finally:
                over.set()
            assert set.union(*(b.result() for b in busy)) <= {200, 429}
        assert metric(server, "millrace_model_queue_wait_seconds_count", 'model="m"') > 0
        assert metric(server, "parallel_request_queue_count", 'model="m"') > 0
        assert metric(server, "millrace_model_batch_rows_sum", 'model="m"') >= rows
        assert metric(server, "millrace_model_queue_length", 'model="m"') == 0
        # As Triton's client says it.
        with contextlib.closing(triton.InferenceServerClient(server.url.removeprefix("http://"))) as client:
            x = triton.InferInput("x", [1, 4], "FP64")
            x.set_data_from_numpy(np.ones((1, 4)))
            assert client.infer("m", [x], priority=1, timeout=5_000_000).as_numpy("output-1") is not None


# ---- InferenceServices ----


@pytest.fixture
def isvc(kubectl, millrace):  # noqa: F811
    return Services(kubectl, millrace.gateway_url)


@pytest.mark.pods
@pytest.mark.controllers
def test_logger_batcher_and_shadow_of_an_inference_service(isvc, sink, model, millrace):
    """One service: its events name it; its second revision is a shadow until it is rolled out."""
    name = "watched"
    logger = {
        "mode": "all",
        "url": sink.url,
        "metadataHeaders": ["X-Team"],
        "metadataAnnotations": ["owner"],
    }
    predictor = {"logger": logger, "batcher": {"maxBatchSize": 4, "maxLatency": 100}}
    spec = manifest(name, support.churn_model(), annotations={"owner": "me"}, predictor=predictor)
    isvc.apply(spec)
    isvc.ready(name)
    path = f"/serving/{isvc.ns}/{name}"

    def ask():
        rq = urllib.request.Request(
            isvc.gateway + f"{path}/v2/models/{name}/infer",
            data=json.dumps(v2_request()).encode(),
            headers={"Content-Type": "application/json", "X-Team": "red"},
        )
        with urllib.request.urlopen(rq, timeout=20) as answer:
            return answer.status

    def mine():
        return [(h, b) for h, b in list(sink.events) if h.get("ce-inferenceservicename") == name]

    assert ask() == 200
    poll(lambda: len(mine()) == 2)
    pods = isvc.kubectl("get", "pods", "-l", f"serving.kserve.io/inferenceservice={name}", "-o", "name")
    for headers, body in mine():
        assert "pod/" + headers["ce-source"] in pods.split()
        assert (headers["ce-namespace"], headers["ce-component"]) == (
            isvc.ns,
            "predictor",
        )
        assert json.loads(headers["ce-metadata"]) == {"X-Team": ["red"]}
        assert json.loads(headers["ce-annotations"]) == {"owner": "me"}
        assert json.loads(body)
    assert len({h["ce-id"] for h, _ in mine()}) == 1
    row = [list(support.CHURN.values())]
    status, answer = isvc.post(f"{path}/v1/models/{name}:predict", {"instances": row})
    assert status == 200 and support.UUID4.match(answer["batchId"]) and len(answer["predictions"]) == 1
    poll(lambda: len(mine()) == 4)

    # A second revision: no answer is its own, and it gets a copy of each request.
    first = {h["ce-source"] for h, _ in mine()}
    isvc.patch(
        name,
        {
            "metadata": {"annotations": {"serving.millrace.io/shadow-traffic-percent": "100"}},
            "spec": {
                "predictor": {
                    "canaryTrafficPercent": 0,
                    "logger": {**logger, "metadataHeaders": None},
                }
            },
        },
    )
    found = isvc.wait(
        name,
        lambda s: traffic({"status": s}) == {1: 100, 2: 0} and shadowed(s),
        timeout=DEADLINE,
    )
    assert condition(found["status"], "Ready") == "True"

    def copied():
        assert ask() == 200
        return [h for h, _ in mine() if h["ce-source"] not in first]

    copies = poll(copied)
    assert {h["ce-metadata"] for h in copies} == {"{}"}
    series = f'namespace="{isvc.ns}",revision="{name}-predictor-'
    gateway = support.Server(isvc.gateway, None)
    text = gateway.call("GET", "/metrics")[2].decode()
    counted = (f'namespace_name="{isvc.ns}"', f'revision_name="{name}-predictor-00001"', 'response_code_class="2xx"')
    assert metric(gateway, "revision_app_request_count", *counted) >= 2
    assert metric(gateway, "revision_app_request_latencies_count", *counted) >= 2
    for number in (1, 2):
        assert f'model_infer_request_success_total{{model="{name}",{series}{number:05}"' in text
    # Rolled out, it answers itself.
    isvc.patch(name, {"spec": {"predictor": {"canaryTrafficPercent": None}}})
    isvc.wait(
        name,
        lambda s: traffic({"status": s}) == {2: 100} and not shadowed(s),
        timeout=DEADLINE,
    )
    assert ask() == 200


def shadowed(status):
    found = [c for c in status["conditions"] if c["type"] == "PredictorConfigurationReady"]
    return "gets copies of 100 %" in found[0].get("message", "")


TRANSFORMER = """
import http.server, json

class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b"{}")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200 if body.startswith(b"{") else 418, body.upper())

http.server.ThreadingHTTPServer(("0.0.0.0", 7000), H).serve_forever()
"""


@pytest.mark.pods
@pytest.mark.controllers
def test_the_agent_logs_in_front_of_other_images(isvc, sink):
    name = "fronted"
    spec = manifest(name, support.churn_model())
    code = base64.b64encode(TRANSFORMER.encode()).decode()
    container = {
        "name": "kserve-container",
        "image": "python:3.11-slim",
        "command": ["python", "-c", f"import base64; exec(base64.b64decode('{code}'))"],
        "ports": [{"containerPort": 7000}],
    }
    # The sink is a Service of the same namespace, by its short name.
    port = int(sink.url.rsplit(":", 1)[1].strip("/"))
    dumper = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "dumper"},
        "spec": {"ports": [{"port": 80, "targetPort": port}]},
    }
    behind = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "dumper"},
        "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": port}]}],
    }
    spec["spec"]["transformer"] = {"containers": [container], "logger": {"mode": "all", "url": "http://dumper/log"}}
    isvc.apply(dumper, behind, spec)
    isvc.wait(name, lambda s: condition(s, "Ready") == "True", timeout=DEADLINE)
    server = support.Server(isvc.gateway, None)
    path = f"/serving/{isvc.ns}/{name}/v2/models/{name}"
    message = json.dumps({"a": "x" * 100_000})
    status, headers, body = server.call("POST", path + "/infer", message, {"Ce-Id": "front"})
    assert (status, body, headers["content-type"]) == (200, message.upper().encode(), "application/json")
    events = sink.of("front", 2)
    assert (events["request"][1], events["response"][1]) == (message.encode(), message.upper().encode())
    assert {h["ce-component"] for h, _ in events.values()} == {"transformer"}
    assert {h["host"] for h, _ in events.values()} == {"dumper"}
    # What it refuses passes too, and is no answer in the log.
    assert server.call("POST", path + "/infer", "no", {"Ce-Id": "teapot"})[0] == 418
    assert server.call("GET", path)[0] == 200
    assert set(sink.of("teapot", 1)) == {"request"}
