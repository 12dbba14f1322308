"""Pods that follow demand: from none to as many as maxReplicas, and requests that wait for the first one."""

import base64
import concurrent.futures
import contextlib
import json
import secrets
import shutil
import threading

import harness
import pytest
import tritonclient.grpc as triton
from kube.conftest import Cli, kubectl_program  # noqa: F401

from kube import wire

from . import support
from .isvc import Services, condition, manifest, traffic, v2_request

pytestmark = [pytest.mark.pods, pytest.mark.controllers, pytest.mark.binary]

QUICK = ("--scale-window", "1", "--scale-to-zero-grace", "0")


def services(platform, program, home):
    """The words for InferenceServices, in a namespace of their own on this platform."""
    kubeconfig = platform.data_dir / "kubeconfig"
    api = wire.Api(kubeconfig)
    harness.until(lambda: api.call("GET", "/readyz").status_code == 200, "the API", 60)
    name = "test-" + secrets.token_hex(4)
    api.make_namespace(name)
    return Services(Cli(program, kubeconfig, name, home), platform.gateway_url)


@pytest.fixture(scope="module")
def isvc(kubectl_program, tmp_path_factory):  # noqa: F811
    with harness.launch_platform(tmp_path_factory.mktemp("up"), *QUICK) as platform:
        yield services(platform, kubectl_program, tmp_path_factory.mktemp("home"))


def replicas(isvc, name, revision=1):
    found = isvc.kubectl("get", "deployment", f"{name}-predictor-{revision:05}-deployment", "-o", "json")
    return json.loads(found)["spec"].get("replicas", 1)


def pods(isvc, name):
    found = isvc.kubectl("get", "pods", "-l", f"serving.kserve.io/inferenceservice={name}", "-o", "json")
    return [p["metadata"]["name"] for p in json.loads(found)["items"]]


def created(isvc, name, revision=1):
    """What the events say of the pods that a revision has had."""
    events = json.loads(isvc.kubectl("get", "events", "-o", "json"))["items"]
    of = f"{name}-predictor-{revision:05}-"
    return {
        e["message"] for e in events if e["reason"] == "SuccessfulCreate" and e["involvedObject"]["name"].startswith(of)
    }


@contextlib.contextmanager
def asking(n, ask):
    """Calls ask() in n threads, again and again, until the block ends."""
    stop = threading.Event()

    def go_on():
        while not stop.wait(0.01):
            ask()

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        running = [pool.submit(go_on) for _ in range(n)]
        try:
            yield
        finally:
            stop.set()
        for one in running:
            one.result()


def until_asleep(isvc, name):
    harness.until(
        lambda: replicas(isvc, name) == 0 and not pods(isvc, name),
        f"no pods of {name}",
        60,
    )


def at_once(n, call):
    all_there = threading.Barrier(n)

    def together():
        all_there.wait(60)
        return call()

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return [f.result() for f in [pool.submit(together) for _ in range(n)]]


def host_of(found):
    return found["status"]["url"].removeprefix("http://")


PREDICTOR = """
import http.server, json, os, threading, time
lock = threading.Lock(); now = 0; most = 0
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        global now, most
        self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            now += 1; most = max(most, now)
        time.sleep(float(self.path.rpartition("/")[2]))
        with lock:
            now -= 1
        out = json.dumps({"pod": os.uname().nodename, "most": most}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(out))); self.end_headers(); self.wfile.write(out)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), H).serve_forever()
"""


def custom(name, **predictor):
    """A predictor of our own that answers POST /sleep/SECONDS after so long."""
    code = base64.b64encode(PREDICTOR.encode()).decode()
    command = ["python", "-c", f"import base64; exec(base64.b64decode('{code}'))"]
    container = {
        "name": "kserve-container",
        "image": "python:3.11-slim",
        "command": command,
    }
    m = manifest(name, "")
    m["spec"]["predictor"] = {"containers": [container], **predictor}
    return m


def test_an_idle_service_has_no_pods_and_its_next_requests_start_one(isvc):
    isvc.apply(manifest("m", support.churn_model(), predictor={"minReplicas": 0}))
    host = host_of(isvc.ready("m"))
    assert isvc.post("/v2/models/m/infer", v2_request(), host)[0] == 200
    until_asleep(isvc, "m")
    status = isvc.wait("m", lambda s: s["modelStatus"]["copies"]["totalCopies"] == 0, 60)["status"]
    assert condition(status, "Ready") == "True"
    assert condition(status, "PredictorReady") == "True"
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"
    before = created(isvc, "m")
    answers = at_once(20, lambda: isvc.post("/v2/models/m/infer", v2_request(), host))
    assert [(s, a["outputs"][0]["data"]) for s, a in answers] == [(200, [1])] * 20
    harness.until(lambda: len(created(isvc, "m")) > len(before), "the event of the pod", 60)
    assert len(created(isvc, "m")) == len(before) + 1
    # Nor does it wake at a name inside the cluster only when it is awake.
    until_asleep(isvc, "m")
    ip = isvc.kubectl("get", "service", "m", "-o", "jsonpath={.spec.clusterIP}")
    inside = f"m.{isvc.ns}.svc.cluster.local"
    assert isvc.post("/v2/models/m/infer", v2_request(), inside, base=f"http://{ip}")[0] == 200
    # And of gRPC.
    until_asleep(isvc, "m")
    address = isvc.gateway.removeprefix("http://")
    with triton.InferenceServerClient(address, channel_args=[("grpc.default_authority", host)]) as client:
        assert client.is_model_ready("m")
    # With a pod that it always has, it is as any other. Who waits while that one starts is not turned away.
    until_asleep(isvc, "m")
    isvc.patch("m", {"spec": {"predictor": {"minReplicas": 1}}})
    assert [s for s, _ in at_once(5, lambda: isvc.post("/v2/models/m/infer", v2_request(), host))] == [200] * 5
    harness.until(
        lambda: "on-demand" not in isvc.kubectl("get", "deployment", "-o", "yaml"),
        "no mark",
        60,
    )
    assert replicas(isvc, "m") == 1
    assert condition(isvc.get("m")["status"], "Ready") == "True"


def test_a_request_is_told_why_no_pod_comes(isvc, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(support.churn_model(), model)
    isvc.apply(manifest("gone", model, predictor={"minReplicas": 0}))
    host = host_of(isvc.ready("gone"))
    until_asleep(isvc, "gone")
    shutil.rmtree(model)
    status, text = isvc.post("/v2/models/gone/infer", v2_request(), host)
    assert (status, text) == (503, f"Local path {model} does not exist.")
    isvc.kubectl("delete", "inferenceservice", "gone")


def test_traffic_goes_back_to_a_revision_that_sleeps(isvc, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(support.churn_model(), second)
    isvc.apply(manifest("back", support.churn_model(), predictor={"minReplicas": 0}))
    host = host_of(isvc.ready("back"))
    isvc.patch("back", {"spec": {"predictor": {"model": {"storageUri": str(second)}}}})
    isvc.wait(
        "back",
        lambda s: s["components"]["predictor"]["latestRolledoutRevision"].endswith("2"),
        60,
    )
    harness.until(lambda: not pods(isvc, "back"), "no pods", 60)
    before = created(isvc, "back")
    isvc.patch("back", {"spec": {"predictor": {"canaryTrafficPercent": 0}}})
    found = isvc.wait("back", lambda s: len(s["components"]["predictor"]["traffic"]) == 2, 60)
    assert traffic(found) == {2: 0, 1: 100}
    assert isvc.post("/v2/models/back/infer", v2_request(), host)[0] == 200
    harness.until(lambda: created(isvc, "back") > before, "a pod of the first revision", 60)


def test_replicas_follow_the_rate_of_requests(isvc):
    isvc.apply(
        manifest("many", support.churn_model(),
                 predictor={"minReplicas": 1, "maxReplicas": 3, "scaleMetric": "rps", "scaleTarget": 2})
    )  # fmt: skip
    host = host_of(isvc.ready("many"))
    assert replicas(isvc, "many") == 1

    def ask():
        assert isvc.post("/v2/models/many/infer", v2_request(), host)[0] == 200

    with asking(4, ask):
        harness.until(lambda: replicas(isvc, "many") == 3, "three replicas", 60)
    harness.until(lambda: replicas(isvc, "many") == 1, "one replica again", 60)


@pytest.mark.slow
def test_requests_under_way_and_their_limit(isvc):
    isvc.apply(custom("slow", minReplicas=1, maxReplicas=2, containerConcurrency=1, timeout=20))
    host = host_of(isvc.wait("slow", lambda s: condition(s, "Ready") == "True", 60))
    answers = []

    with asking(6, lambda: answers.append(isvc.post("/sleep/0.2", {}, host))):
        harness.until(lambda: replicas(isvc, "slow") == 2, "two replicas", 60)
    # One request at a time in each pod; the others wait, and none is refused.
    assert {(s, a["most"]) for s, a in answers} == {(200, 1)}
    isvc.patch("slow", {"spec": {"predictor": {"minReplicas": 0, "timeout": 1}}})
    until_asleep(isvc, "slow")
    harness.until(
        lambda: "timeout: 1s" in isvc.kubectl("get", "virtualservice", "slow", "-o", "yaml"),
        "1 s",
        60,
    )
    harness.until(lambda: isvc.post("/sleep/0", {}, host)[0] == 200, "an answer", 60)
    late = (504, "upstream request timeout")
    harness.until(lambda: isvc.post("/sleep/5", {}, host) == late, "the new time limit", 60)


def test_a_sleeping_service_is_ready_after_a_restart(kubectl_program, tmp_path):  # noqa: F811
    data, home = tmp_path / "up", tmp_path / "home"
    home.mkdir()
    with harness.launch_platform(data, *QUICK) as platform:
        isvc = services(platform, kubectl_program, home)
        isvc.apply(manifest("m", support.churn_model(), predictor={"minReplicas": 0}))
        isvc.ready("m")
        until_asleep(isvc, "m")
        ns = isvc.ns
    with harness.launch_platform(data, *QUICK) as platform:
        isvc = Services(Cli(kubectl_program, data / "kubeconfig", ns, home), platform.gateway_url)
        found = isvc.ready("m")
        assert not pods(isvc, "m")
        # Its route is at the gateway once the controllers have started.
        harness.until(
            lambda: isvc.post("/v2/models/m/infer", v2_request(), host_of(found))[0] == 200,
            "an answer",
            60,
        )
