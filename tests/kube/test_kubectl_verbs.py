"""kubectl's verbs that the other files do not need: what it prints, and what it leaves behind."""

import json
import os
import stat
import time

import pytest

from .record.shapes import configmap, deployment, pod

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: python:3.11-slim
        command: [python3, -m, http.server, "8000"]
        ports: [{containerPort: 8000}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8000}]
"""


@pytest.fixture
def web(kubectl):
    kubectl("apply", "-f", "-", input=WEB % 1)
    return kubectl


# ---- changing ------------------------------------------------------------------------------------------------------


def test_label_and_annotate(kubectl):
    kubectl("create", "configmap", "c")
    assert kubectl("label", "configmap", "c", "a=1", "b=2") == "configmap/c labeled\n"
    assert "already has a value (1)" in kubectl.fails("label", "configmap", "c", "a=9")
    kubectl("label", "configmap", "c", "a=9", "b-", "--overwrite")
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.metadata.labels}") == '{"a":"9"}'
    assert kubectl("annotate", "configmap", "c", "note=some words") == "configmap/c annotated\n"
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.metadata.annotations.note}") == "some words"
    assert "invalid label value" in kubectl.fails("label", "configmap", "c", "a=-no-", "--overwrite")


def test_edit(kubectl, tmp_path):
    kubectl("create", "configmap", "c", "--from-literal=a=old")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/old/new/" "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    assert kubectl("edit", "configmap", "c", env={"EDITOR": str(editor)}) == "configmap/c edited\n"
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data.a}") == "new"
    assert "no changes made" in kubectl.run("edit", "configmap", "c", env={"EDITOR": str(editor)}).stderr


def test_edit_to_something_invalid_is_offered_again(kubectl, tmp_path):
    kubectl("create", "service", "clusterip", "s", "--tcp=80:80")
    editor = tmp_path / "editor"
    # Breaks the port the first time; the second time it finds the reason in the file and leaves it at that.
    editor.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen\nsed -i "s/port: 80/port: 0/" "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    kubectl.fails("edit", "service", "s", env={"EDITOR": str(editor)})
    assert "must be between 1 and 65535" in (tmp_path / "seen").read_text()


def test_scale(kubectl):
    kubectl("create", "-f", "-", input=json.dumps(deployment(replicas=0)))
    assert kubectl("scale", "deployment", "d", "--replicas=0") == "deployment.apps/d scaled\n"
    assert kubectl("scale", "deploy/d", "--current-replicas=0", "--replicas=1") == "deployment.apps/d scaled\n"
    assert "Expected replicas to be 7, was 1" in kubectl.fails(
        "scale", "deploy/d", "--current-replicas=7", "--replicas=0"
    )
    assert kubectl("get", "deploy", "d", "-o", "jsonpath={.spec.replicas}") == "1"


def test_set_image_env_and_resources(kubectl):
    kubectl("create", "-f", "-", input=json.dumps(deployment(replicas=0)))
    assert kubectl("set", "image", "deployment/d", "c=busybox:2") == "deployment.apps/d image updated\n"
    assert kubectl("set", "env", "deployment/d", "A=1", "B=2") == "deployment.apps/d env updated\n"
    kubectl("set", "env", "deployment/d", "A-")
    kubectl("set", "resources", "deployment/d", "--limits=cpu=200m,memory=64Mi")
    container = json.loads(kubectl("get", "deployment", "d", "-o", "json"))["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "busybox:2"
    assert container["env"] == [{"name": "B", "value": "2"}]
    assert container["resources"]["limits"] == {"cpu": "200m", "memory": "64Mi"}


def test_expose_and_run(kubectl):
    kubectl("create", "-f", "-", input=json.dumps(deployment(replicas=0)))
    assert kubectl("expose", "deployment", "d", "--port=80", "--target-port=8000") == "service/d exposed\n"
    assert kubectl("get", "service", "d", "-o", "jsonpath={.spec.selector}") == '{"app":"a"}'
    assert kubectl("run", "p", "--image=busybox", "--restart=Never", "--", "true") == "pod/p created\n"
    assert kubectl("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].args}") == '["true"]'


def test_rollout_restart_pause_and_resume(kubectl):
    kubectl("create", "-f", "-", input=json.dumps(deployment(replicas=0)))
    assert kubectl("rollout", "restart", "deployment/d") == "deployment.apps/d restarted\n"
    assert "restartedAt" in kubectl("get", "deployment", "d", "-o", "jsonpath={.spec.template.metadata.annotations}")
    assert kubectl("rollout", "pause", "deployment/d") == "deployment.apps/d paused\n"
    assert "already paused" in kubectl.fails("rollout", "pause", "deployment/d")
    assert kubectl("rollout", "resume", "deployment/d") == "deployment.apps/d resumed\n"


def test_delete_by_selector_and_all(kubectl):
    for name in "abc":
        kubectl("create", "configmap", name)
    kubectl("label", "configmap", "a", "b", "k=v")
    assert kubectl("delete", "configmap", "-l", "k=v").count("deleted") == 2
    assert "deleted" in kubectl("delete", "configmap", "--all")
    assert "configmap/c" not in kubectl("get", "configmap", "-o", "name").split()
    assert "not found" in kubectl.fails("delete", "configmap", "c")
    assert kubectl("delete", "configmap", "c", "--ignore-not-found") == ""


# ---- looking -------------------------------------------------------------------------------------------------------


def test_get_in_every_format(kubectl):
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    assert json.loads(kubectl("get", "configmap", "c", "-o", "json"))["data"] == {"a": "b"}
    assert "  a: b\n" in kubectl("get", "configmap", "c", "-o", "yaml")
    assert kubectl("get", "configmap", "c", "-o", "go-template={{.data.a}}") == "b"
    assert kubectl("get", "configmap", "c", "-o", "name") == "configmap/c\n"
    assert kubectl("get", "configmap", "-o", "jsonpath={.items[?(@.metadata.name=='c')].data.a}") == "b"
    assert kubectl("get", "--raw", f"/api/v1/namespaces/{kubectl.namespace}/configmaps/c").startswith("{")


def test_describe_configmap_secret_and_service(kubectl):
    kubectl("create", "configmap", "c", "--from-literal=key=words")
    out = kubectl("describe", "configmap", "c")
    assert "Name:         c\n" in out and "key:\n----\nwords\n" in out
    kubectl("create", "secret", "generic", "s", "--from-literal=key=words")
    out = kubectl("describe", "secret", "s")
    assert "key:  5 bytes" in out and "words" not in out
    kubectl("create", "service", "clusterip", "v", "--tcp=80:8080")
    out = kubectl("describe", "service", "v")
    assert "Selector:                 app=v\n" in out and "TargetPort:               8080/TCP\n" in out


def test_describe_roles(kubectl):
    kubectl("create", "role", "r", "--verb=get,list", "--resource=pods,deployments.apps")
    kubectl("create", "rolebinding", "b", "--role=r", "--serviceaccount=x:y")
    out = kubectl("describe", "role", "r")
    rows = [line.split() for line in out.splitlines()]
    assert ["pods", "[]", "[]", "[get", "list]"] in rows and ["deployments.apps", "[]", "[]", "[get", "list]"] in rows
    out = kubectl("describe", "rolebinding", "b")
    assert ["ServiceAccount", "y", "x"] in [line.split() for line in out.splitlines()]


def test_describe_pod_with_events(kubectl, api, ns):
    made = api.post(f"/api/v1/namespaces/{ns}/pods", pod(nodeName="elsewhere"))
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": ns, "name": "p", "uid": made["metadata"]["uid"]},
        "type": "Warning",
        "reason": "Trouble",
        "message": "some words",
        "source": {"component": "tester"},
    }
    api.post(f"/api/v1/namespaces/{ns}/events", event)
    out = kubectl("describe", "pod", "p")
    assert "Node:             elsewhere" in out
    assert "Image:        busybox:1.36" in out
    assert "Trouble" in out and "tester" in out and "some words" in out


def test_events(kubectl, api, ns):
    for name, kind, reason in (("e1", "Normal", "Fine"), ("e2", "Warning", "Trouble")):
        api.post(
            f"/api/v1/namespaces/{ns}/events",
            {
                "metadata": {"name": name},
                "involvedObject": {"kind": "ConfigMap", "namespace": ns, "name": "c", "apiVersion": "v1"},
                "type": kind,
                "reason": reason,
                "message": "m",
                "lastTimestamp": "2020-01-01T00:00:00Z",
                "count": 1,
            },
        )
    rows = [line.split() for line in kubectl("events").splitlines()]
    assert rows[0] == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [row[1:4] for row in rows[1:]] == [["Normal", "Fine", "ConfigMap/c"], ["Warning", "Trouble", "ConfigMap/c"]]
    assert "Fine" not in kubectl("events", "--types=Warning")
    assert "Trouble" in kubectl("events", "--for=configmap/c")
    assert "Trouble" in kubectl("get", "events", "--field-selector=type=Warning")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("pod", ("KIND:       Pod", "VERSION:    v1", "spec\t<PodSpec>", "metadata\t<ObjectMeta>")),
        ("pod.spec.containers", ("FIELD: containers <[]Container>", "image\t<string>", "name\t<string> -required-")),
        ("deployment.spec.replicas", ("GROUP:      apps", "FIELD: replicas <integer>")),
        ("service.spec.ports.targetPort", ("FIELD: targetPort <IntOrString>",)),
        ("configmap.data", ("FIELD: data <map[string]string>",)),
        ("job.spec.backoffLimit", ("GROUP:      batch", "FIELD: backoffLimit <integer>")),
        ("role.rules", ("FIELD: rules <[]PolicyRule>", "verbs\t<[]string> -required-")),
        ("networkpolicy.spec.podSelector", ("FIELD: podSelector <LabelSelector>", "matchLabels\t<map[string]string>")),
    ],
)
def test_explain(kubectl, what, words):
    out = kubectl("explain", what)
    for one in words:
        assert one in out
    assert "DESCRIPTION:" in out and "<empty>" not in out


def test_explain_recursive_and_unknown(kubectl):
    assert "containerPort" in kubectl("explain", "pod", "--recursive")
    assert 'field "nonsense" does not exist' in kubectl.fails("explain", "pod.spec.nonsense")


def test_auth(kubectl):
    assert kubectl("auth", "can-i", "create", "deployments") == "yes\n"
    who = kubectl("auth", "whoami")
    assert "system:authenticated" in who
    assert "*.*" in kubectl("auth", "can-i", "--list")
    denied = kubectl.run("auth", "can-i", "get", "pods", "--as=nobody")
    assert (denied.returncode, denied.stdout) == (1, "no\n")


def test_auth_follows_role_bindings(kubectl):
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--user=jane")
    assert kubectl("auth", "can-i", "list", "pods", "--as=jane") == "yes\n"
    assert kubectl.run("auth", "can-i", "delete", "pods", "--as=jane").stdout == "no\n"
    assert kubectl("get", "pods", "-o", "name", "--as=jane") == ""
    error = kubectl.fails("get", "secrets", "--as=jane")
    assert (
        f'secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "{kubectl.namespace}"'
        in error
    )
    error = kubectl.fails("get", "namespaces", "--as=jane")
    assert 'User "jane" cannot list resource "namespaces" in API group "" at the cluster scope' in error


def test_auth_reconcile(kubectl):
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: NS}\nrules:\n- {apiGroups: [''], resources: [pods], verbs: [%s]}\n"
    role = role.replace("NS", kubectl.namespace)
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", input=role % "get")
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", input=role % "list")
    assert kubectl("get", "role", "r", "-o", "jsonpath={.rules[*].verbs}") == '["get"] ["list"]'


def test_service_account_token_is_a_user(kubectl, kubectl_program, kubeconfig, api, ns, tool_home):
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "rolebinding", "robot", "--clusterrole=view", f"--serviceaccount={ns}:robot")
    token = kubectl("create", "token", "robot", "--duration=1h").strip()
    session = api.new_session(token)
    path = f"/api/v1/namespaces/{ns}/configmaps"
    assert api.call("GET", path, session=session).status_code == 200
    refused = api.call("POST", path, configmap(), session=session)
    assert refused.status_code == 403
    assert f'User "system:serviceaccount:{ns}:robot" cannot create resource "configmaps"' in refused.json()["message"]
    head, body, signature = token.split(".")
    forged = f"{head}.{body}.{'A' * len(signature)}"
    refused = api.call("GET", path, session=api.new_session(forged))
    assert (refused.status_code, refused.json()["reason"]) == (401, "Unauthorized")


def test_nobody_is_unauthorized(api):
    session = api.new_session("nonsense")
    refused = api.call("GET", "/api/v1/namespaces", session=session)
    assert refused.status_code == 401
    assert refused.json()["message"] == "Unauthorized" and refused.json()["reason"] == "Unauthorized"


def test_cluster_info(kubectl):
    assert "is running at" in kubectl("cluster-info")


@pytest.mark.binary
def test_top(web):
    """Only with a metrics API, which a bare API server has not."""
    web("rollout", "status", "deployment/web", "--timeout=60s")
    deadline = time.monotonic() + 60
    while (done := web.run("top", "pods")).returncode and time.monotonic() < deadline:
        assert "not available yet" in done.stderr  # until the pod has been measured twice
        time.sleep(0.5)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert rows[1][1].endswith("m") and rows[1][2].endswith("Mi")
    assert web("top", "nodes").splitlines()[0].split()[:2] == ["NAME", "CPU(cores)"]


# ---- with pods -----------------------------------------------------------------------------------------------------


@pytest.mark.controllers
def test_get_all(web):
    web("wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=60s")
    names = web("get", "all", "-o", "name").split()
    assert {one.split("/")[0] for one in names} == {"pod", "service", "deployment.apps", "replicaset.apps"}
    assert "deployment.apps/web" in names and "service/web" in names


@pytest.mark.pods
def test_rollout_status_and_history(web):
    assert 'deployment "web" successfully rolled out' in web("rollout", "status", "deployment/web", "--timeout=60s")
    web("set", "env", "deployment/web", "A=1")
    web("rollout", "status", "deployment/web", "--timeout=60s")
    history = [line.split()[0] for line in web("rollout", "history", "deployment/web").splitlines()[2:] if line]
    assert history == ["1", "2"]
    assert "rolled back" in web("rollout", "undo", "deployment/web")
    web("rollout", "status", "deployment/web", "--timeout=60s")
    assert web("get", "deployment", "web", "-o", "jsonpath={..env}") == ""


@pytest.mark.pods
def test_wait_for_conditions(web):
    assert "condition met" in web("wait", "deployment/web", "--for=condition=Available", "--timeout=60s")
    assert "condition met" in web("wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=60s")


@pytest.mark.pods
def test_scaling_makes_and_removes_pods(web):
    web("scale", "deployment", "web", "--replicas=3")
    web("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=60s")
    assert len(web("get", "pods", "-l", "app=web", "-o", "name").split()) == 3
    assert len(web("get", "endpoints", "web", "-o", "jsonpath={.subsets[*].addresses[*].ip}").split()) == 3
    web("scale", "deployment", "web", "--replicas=0")
    web("wait", "pod", "-l", "app=web", "--for=delete", "--timeout=60s")
    assert web("get", "endpoints", "web", "-o", "jsonpath={.subsets}") == ""


@pytest.mark.pods
def test_logs_and_exec(web):
    web("rollout", "status", "deployment/web", "--timeout=60s")
    assert "hello" in web("exec", "deployment/web", "--", "sh", "-c", "echo hello; exit 0")
    failed = web.run("exec", "deployment/web", "--", "sh", "-c", "exit 3")
    assert failed.returncode == 3
    assert web("exec", "-i", "deployment/web", "--", "cat", input="words") == "words"
    assert isinstance(web("logs", "deployment/web"), str)


@pytest.mark.pods
def test_job_runs_once(kubectl):
    kubectl("create", "job", "once", "--image=python:3.11-slim", "--", "python3", "-c", "print(6*7)")
    kubectl("wait", "job/once", "--for=condition=Complete", "--timeout=60s")
    assert kubectl("logs", "job/once") == "42\n"
    assert kubectl("get", "job", "once").splitlines()[1].split()[:3] == ["once", "Complete", "1/1"]


@pytest.mark.pods
def test_copy(web, tmp_path):
    web("rollout", "status", "deployment/web", "--timeout=60s")
    name = web("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    content = os.urandom(300_000)
    (tmp_path / "there").write_bytes(content)
    web("cp", tmp_path / "there", f"{name}:/tmp/file")
    web("cp", f"{name}:/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
