"""What the tests of InferenceServices share: manifests, waiting, requests at the gateway."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import yaml

from . import support

GROUP = "serving.kserve.io"


def manifest(name, uri, *, annotations=None, predictor=None, **model):
    """An InferenceService of one MLflow model."""
    return {
        "apiVersion": GROUP + "/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "mlflow"},
                    "protocolVersion": "v2",
                    "storageUri": str(uri),
                    **model,
                },
                **(predictor or {}),
            }
        },
    }


def v2_request():
    """The seed document's request."""
    return {
        "inputs": [{"name": n, "datatype": "FP64", "shape": [1], "data": [v]} for n, v in support.CHURN.items()],
    }


class Services:
    """kubectl with words for InferenceServices, and the gateway of the same platform."""

    def __init__(self, kubectl, gateway):
        self.kubectl = kubectl
        self.ns = kubectl.namespace
        self.gateway = gateway

    def apply(self, *documents):
        self.kubectl("apply", "-f", "-", input="\n---\n".join(yaml.safe_dump(d) for d in documents))

    def get(self, name, kind="inferenceservice"):
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def patch(self, name, change):
        self.kubectl("patch", "inferenceservice", name, "--type=merge", "-p", json.dumps(change))

    def wait(self, name, holds, timeout=30, kind="inferenceservice"):
        """The object, once holds(status) is true."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(name, kind)
            if holds(found.get("status", {})):
                return found
            assert time.monotonic() < deadline, json.dumps(found.get("status"), indent=1) + self.pods()
            time.sleep(0.05)

    def ready(self, name, kind="inferenceservice"):
        return self.wait(name, lambda s: condition(s, "Ready") == "True", kind=kind)

    def pods(self):
        return self.kubectl("get", "pods", "-o", "wide") + self.kubectl("get", "events")

    def post(self, path, body, host=None, base=None):
        """(status, JSON) of a request at the gateway, or at another address."""
        rq = urllib.request.Request((base or self.gateway) + path, data=json.dumps(body).encode(), method="POST")
        rq.add_header("Content-Type", "application/json")
        if host:
            rq.add_header("Host", host)
        try:
            with urllib.request.urlopen(rq, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            text = e.read().decode(errors="replace")
            with contextlib.suppress(ValueError):
                return e.code, json.loads(text)
            return e.code, text

    @contextlib.contextmanager
    def forward(self, target, port):
        """kubectl port-forward; the address on this side."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            local = probe.getsockname()[1]
        process = self.kubectl.popen("port-forward", target, f"{local}:{port}")
        try:
            line = process.stdout.readline()
            assert f"Forwarding from 127.0.0.1:{local} -> " in line, line + (process.stderr.read() if not line else "")
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5)


def condition(status, kind):
    return next((c["status"] for c in status.get("conditions", []) if c["type"] == kind), None)


def traffic(found):
    """{revision number: percent} of the predictor."""
    targets = found["status"]["components"]["predictor"]["traffic"]
    assert all("latestRevision" in t for t in targets)
    return {int(t["revisionName"][-5:]): t["percent"] for t in targets}
