"""The Kubernetes tests' server and kubectl, and pods from short descriptions."""

import json
import time

import pytest
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401

PYTHON = "python:3.11"


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


@pytest.fixture
def pods(kubectl):  # noqa: F811
    return Pods(kubectl)
