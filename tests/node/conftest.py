"""The Kubernetes tests' server and kubectl, and pods from short descriptions."""

import json
import time

import pytest
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401

PYTHON = "python:3.11"

# A web server on the port of its argument: it answers with its host name, and on /bad with an error.
SERVE = (
    "import http.server,sys,os;"
    "h=type('H',(http.server.BaseHTTPRequestHandler,),{"
    "'do_GET':lambda s:(s.send_response(200 if s.path!='/bad' else 500),s.end_headers(),"
    "s.wfile.write(os.environ.get('HOSTNAME','').encode())),'log_message':lambda *a:None});"
    "http.server.ThreadingHTTPServer(('0.0.0.0',int(sys.argv[1])),h).serve_forever()"
)


class Pods:
    """Creates pods with kubectl and looks at what becomes of them."""

    def __init__(self, kubectl):  # noqa: F811
        self.kubectl = kubectl

    def apply(self, *documents):
        body = "\n".join(json.dumps(d) for d in documents)
        return self.kubectl("apply", "-f", "-", input=body)

    def pod(
        self,
        name,
        *command,
        image=PYTHON,
        restart="Never",
        container=None,
        spec=None,
        meta=None,
    ):
        """A pod of one container that runs `command`; `container`, `spec` and `meta` are merged in."""
        first = {
            "name": "main",
            "image": image,
            **({"command": list(command)} if command else {}),
            **(container or {}),
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **(meta or {})},
            "spec": {
                "restartPolicy": restart,
                "terminationGracePeriodSeconds": 5,
                "containers": [first],
                **(spec or {}),
            },
        }

    def server(self, name, meta=None):
        """A pod that serves on port 8080 and is ready as soon as it does."""
        probes = {"readinessProbe": probe({"tcpSocket": {"port": 8080}})}
        return self.pod(name, "python", "-c", SERVE, "8080", container=probes, meta=meta)

    def start(self, name, *command, **more):
        self.apply(self.pod(name, *command, **more))
        return name

    def get(self, name):
        return json.loads(self.kubectl("get", "pod", name, "-o", "json"))

    def until(self, name, predicate, what, seconds=30):
        """The pod as soon as `predicate` of it holds."""
        end = time.monotonic() + seconds
        pod = None
        while time.monotonic() < end:
            pod = self.get(name)
            if predicate(pod):
                return pod
            time.sleep(0.05)
        raise AssertionError(f"pod {name} never {what}: {json.dumps(pod['status'], indent=1)}\n{self.describe(name)}")

    def phase(self, name, *phases, seconds=30):
        return self.until(name, lambda p: p["status"].get("phase") in phases, f"was {phases}", seconds)

    def ready(self, name, seconds=30):
        return self.until(name, lambda p: condition(p, "Ready") == "True", "was ready", seconds)

    def waiting(self, name, reason):
        """The pod as soon as its first container waits for `reason`."""

        def waits(p):
            first = (p["status"].get("containerStatuses") or [{}])[0]
            return first.get("state", {}).get("waiting", {}).get("reason") == reason

        return self.until(name, waits, f"was in {reason}")

    def state(self, name, container=0, kind="containerStatuses"):
        return self.get(name)["status"][kind][container]

    def logs(self, name, *more):
        return self.kubectl("logs", name, *more)

    def describe(self, name):
        return self.kubectl.run("describe", "pod", name).stdout

    def events(self, name):
        items = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        return [(e["reason"], e["message"]) for e in items if e["involvedObject"]["name"] == name]

    def until_event(self, name, reason, part="", seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for r, message in self.events(name):
                if r == reason and part in message:
                    return message
            time.sleep(0.1)
        raise AssertionError(f"no event {reason} {part!r}: {self.events(name)}")


def condition(pod, name):
    for c in pod["status"].get("conditions", []):
        if c["type"] == name:
            return c["status"]
    return None


def probe(action, **more):
    return {"periodSeconds": 1, **action, **more}


def mount(volume, where):
    """Of a container: the one volume that it sees."""
    return {"volumeMounts": [{"name": volume, "mountPath": where}]}


@pytest.fixture
def pods(kubectl):  # noqa: F811
    return Pods(kubectl)
