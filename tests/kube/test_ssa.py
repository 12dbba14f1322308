"""Server-side apply: who owns which field, conflicts, and taking over."""

import json

import pytest

from . import known_differences, replay, wire

CASES = [case for case in wire.load("sequences.jsonl") if case["case"].startswith("managed/")]


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(api, case):
    known_differences.check(case, replay.play(api, case, managed=True))


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  paused: true
  replicas: %(replicas)d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: busybox:%(tag)s
"""


def apply(kubectl, *args, replicas=0, tag="1"):
    return kubectl.run(
        "apply", "--server-side", *args, "-f", "-", input=DEPLOYMENT % {"replicas": replicas, "tag": tag}
    )


def test_apply_says_what_it_did(kubectl):
    assert apply(kubectl).stdout == "deployment.apps/web serverside-applied\n"
    version = kubectl("get", "deploy", "web", "-o", "jsonpath={.metadata.generation}")
    assert apply(kubectl).stdout == "deployment.apps/web serverside-applied\n"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.metadata.generation}") == version


def test_conflict_names_manager_and_field(kubectl):
    apply(kubectl)
    done = apply(kubectl, "--field-manager=other", tag="2")
    assert done.returncode == 1
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="web"].image' in done.stderr
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "busybox:1"


def test_force_takes_the_field(kubectl):
    apply(kubectl)
    assert apply(kubectl, "--field-manager=other", "--force-conflicts", tag="2").returncode == 0
    fields = json.loads(kubectl("get", "deploy", "web", "-o", "json", "--show-managed-fields"))["metadata"][
        "managedFields"
    ]
    owners = [
        one["manager"] for one in fields if "f:image" in json.dumps(one["fieldsV1"]) and one["operation"] == "Apply"
    ]
    assert owners == ["other"]


def test_managed_fields_are_hidden_by_default(kubectl):
    apply(kubectl)
    assert "managedFields" not in kubectl("get", "deploy", "web", "-o", "yaml")


def test_dry_run_changes_nothing(kubectl):
    apply(kubectl, "--dry-run=server")
    assert "not found" in kubectl.fails("get", "deploy", "web")


def test_from_client_side_to_server_side(kubectl):
    """What `kubectl apply` set before is kubectl's own after the move: no conflict, and it can be dropped."""
    kubectl("apply", "-f", "-", input=DEPLOYMENT % {"replicas": 0, "tag": "1"})
    assert apply(kubectl, tag="2").returncode == 0
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "busybox:2"


def test_diff_uses_the_server(kubectl):
    apply(kubectl)
    done = kubectl.run("diff", "--server-side", "-f", "-", input=DEPLOYMENT % {"replicas": 0, "tag": "7"})
    assert done.returncode == 1
    assert "+      - image: busybox:7" in done.stdout.splitlines()
