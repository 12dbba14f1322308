"""Short pods for the tests of the program's own client, and waiting for them."""

import json

PYTHON = "python:3.11-slim"


def pod(name, *command, labels=None, containers=None):
    first = {"name": "main", "image": PYTHON, "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [first, *(containers or [])],
        },
    }


def running(api, ns, name):
    def is_ready(p):
        return any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))

    return api.wait_for(f"/api/v1/namespaces/{ns}/pods/{name}", is_ready)


def ended(api, ns, name):
    path = f"/api/v1/namespaces/{ns}/pods/{name}"
    return api.wait_for(path, lambda p: p["status"].get("phase") in ("Succeeded", "Failed"))


def text(*documents):
    return "\n---\n".join(json.dumps(d) for d in documents)
