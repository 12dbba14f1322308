"""`millrace get|describe|apply|delete|logs|port-forward`: kubectl's everyday commands without kubectl."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

import harness
import pytest

from .conftest import Cli
from .record.shapes import configmap, deployment

PYTHON = "python:3.11-slim"


class Own(Cli):
    """The program itself in kubectl's place: its options stand behind the command."""

    def _args(self, verb, *args):
        return [self.program, verb, "--namespace", self.namespace, *map(str, args)]

    def run(self, *args, input=None, timeout=60, env=None):
        return subprocess.run(
            self._args(*args),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**self.env, **(env or {})},
        )

    def popen(self, *args, **more):
        return subprocess.Popen(
            self._args(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            **more,
        )

    def bare(self, *args, env=None):
        """Without a namespace."""
        return subprocess.run(
            [self.program, *map(str, args)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**self.env, **(env or {})},
        )


@pytest.fixture
def own(kubeconfig, ns, tool_home):
    return Own(str(harness.binary_path()), kubeconfig, ns, tool_home)


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


# ---- get -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        "get pods -A",
        "get svc -A -o wide",
        "get all -A",
        "get nodes -o wide",
        "get ns --show-labels",
        "get clusterroles --no-headers",
        "get deploy,svc -n kubeflow",
        "get service/mlflow deployment/mlflow -n kubeflow",
        "get svc mlflow minio-service -n kubeflow",
        "get po -n kubeflow -l app=mlflow",
        "get pods -n kubeflow --field-selector status.phase=Pending",
        "get svc -n kubeflow -o yaml",
        "get deploy mlflow -n kubeflow -o yaml",
        "get Service -n kubeflow -o json",
        "get deployments.apps -A -o name",
        "get inferenceservices.serving.kserve.io",
    ],
)
def test_prints_what_kubectl_prints(own, kubectl, args):
    args = args.split()
    for _ in range(5):  # ages move on between the two
        theirs, ours = kubectl.run(*args), own.run(*args)
        if theirs.stdout == ours.stdout:
            break
    assert ours.stdout == theirs.stdout
    assert ours.returncode == theirs.returncode == 0
    assert ours.stderr == theirs.stderr


def test_yaml_of_odd_texts(own, kubectl):
    odd = {
        "empty": "",
        "number": "12",
        "float": "1.5e3",
        "truth": "yes",
        "null": "null",
        "date": "2024-01-02",
        "time": "10:30:00",
        "quote": "it's",
        "colon": "a: b",
        "hash": "a #b",
        "dash": "- a",
        "star": "*a",
        "lines": "one\ntwo\n",
        "open": "one\ntwo",
        "blank-end": "one\n\n",
        "indented": "  one\ntwo\n",
        "tab": "a\tb",
        "unicode": "naïve – 日本",
        "space": " a ",
    }
    own("apply", "-f", "-", input=json.dumps(configmap("c", data=odd)))
    shown = own("get", "cm", "c", "-o", "yaml")
    assert json.loads(own("get", "cm", "c", "-o", "json"))["data"] == odd
    # Read back by the server and by kubectl: the same object.
    assert own("apply", "-f", "-", "--force-conflicts", input=shown) == "configmap/c unchanged\n"
    assert shown == kubectl("get", "cm", "c", "-o", "yaml")


def test_get_says_what_is_wrong(own):
    assert own.fails("get", "pood") == 'error: the server doesn\'t have a resource type "pood". Near it: pods\n'
    assert "inferenceservices.serving.kserve.io" in own.fails("get", "inferenceservce")
    assert own.fails("get", "xyzzyplugh").strip() == 'error: the server doesn\'t have a resource type "xyzzyplugh"'
    assert own.fails("get", "pod", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert "millrace get pods" in own.fails("get")
    assert "selector" in own.fails("get", "pod", "a", "-l", "b=c")
    assert "-n" in own.fails("get", "pod", "a", "-A")
    assert "not both" in own.fails("get", "pod/a", "b")
    assert "BadRequest" in own.fails("get", "pods", "-l", "a=b=c")
    assert own.run("get", "pods", "-o", "wyde").returncode == 2
    done = own.run("get", "pods")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"No resources found in {own.namespace} namespace.\n"


def test_one_missing_name_hides_no_other(own):
    own("apply", "-f", "-", input=json.dumps(configmap("there")))
    done = own.run("get", "configmap", "there", "gone")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split()[0] == "there"
    assert '"gone" not found' in done.stderr


def test_watch(own):
    own("apply", "-f", "-", input=json.dumps(configmap("one", data={"a": "b"})))
    with own.popen("get", "cm", "one", "-w") as watch:
        try:
            assert watch.stdout.readline().split() == ["NAME", "DATA", "AGE"]
            assert watch.stdout.readline().split()[:2] == ["one", "1"]
            own("apply", "-f", "-", input=json.dumps(configmap("other")))
            own("apply", "-f", "-", input=json.dumps(configmap("one", data={"a": "b", "c": "d"})))
            assert watch.stdout.readline().split()[:2] == ["one", "2"]
        finally:
            watch.send_signal(signal.SIGINT)
            code = watch.wait(10)
        assert code != 0


# ---- the connection ------------------------------------------------------------------------------------------------


def test_kubeconfigs(own, kubeconfig, tmp_path):
    junk = tmp_path / "junk"
    junk.write_text("just: [broken")
    assert "no kubeconfig" in own.fails("get", "pods", "--kubeconfig", junk)
    assert "millrace up" in own.fails("get", "pods", "--kubeconfig", tmp_path / "absent")
    assert "no kubeconfig" in own.fails("get", "pods", env={"KUBECONFIG": os.devnull})
    # The folder of the platform, when it is named, goes before KUBECONFIG.
    done = own.bare("get", "ns", "default", "--data", kubeconfig.parent, env={"KUBECONFIG": str(junk)})
    assert done.returncode == 0, done.stderr
    # Settings may stand before the command, as kubectl takes them.
    done = own.bare("-n", "kubeflow", "--data", kubeconfig.parent, "get", "svc", "mlflow")
    assert done.returncode == 0 and "mlflow" in done.stdout, done.stderr
    # A file of settings for the platform is no trouble here.
    settings = tmp_path / "settings"
    settings.write_text("access-key = minio\n[up]\nport-offset = 1\n")
    done = own.bare("get", "ns", "default", env={"MILLRACE_CONFIG": str(settings)})
    assert done.returncode == 0, done.stderr
    # Several files make one.
    done = own.bare("get", "ns", "default", env={"KUBECONFIG": f"{tmp_path / 'absent'}:{kubeconfig}"})
    assert done.returncode == 0, done.stderr


def test_nobody_answers(own, kubeconfig, tmp_path):
    other = tmp_path / "config"
    other.write_text(re.sub(r"server: .*", f"server: https://127.0.0.1:{harness.free_port()}", kubeconfig.read_text()))
    message = own.fails("get", "pods", "--kubeconfig", other)
    assert "does not answer" in message and "millrace up" in message


def test_another_authority_is_not_believed(own, kubeconfig, tmp_path):
    other = tmp_path / "config"
    other.write_text(re.sub(r"    certificate-authority-data: .*\n", "", kubeconfig.read_text()))
    assert "trusted" in own.fails("get", "pods", "--kubeconfig", other)


def test_a_token_is_somebody_else(own, kubectl, kubeconfig, tmp_path):
    def with_token(token):
        lines = [x for x in kubeconfig.read_text().splitlines() if "client-" not in x]
        at = lines.index("- name: admin")
        lines[at + 1 : at + 2] = ["  user:", f"    token: {token}"]
        path = tmp_path / "config"
        path.write_text("\n".join(lines) + "\n")
        return path

    token = kubectl("create", "token", "default").strip()
    refused = own.fails("get", "secrets", "--kubeconfig", with_token(token))
    assert refused.startswith("Error from server (Forbidden): secrets is forbidden: User ")
    assert f"system:serviceaccount:{own.namespace}:default" in refused
    assert "Unauthorized" in own.fails("get", "secrets", "--kubeconfig", with_token(token[:-6] + "AAAAAA"))


# ---- apply ---------------------------------------------------------------------------------------------------------


def test_apply_creates_changes_and_leaves(own):
    def objects(n):
        return text(deployment(replicas=0), configmap("c", data={"n": str(n)}))

    assert own("apply", "-f", "-", input=objects(1)) == "deployment.apps/d created\nconfigmap/c created\n"
    assert own("apply", "-f", "-", input=objects(1)) == "deployment.apps/d unchanged\nconfigmap/c unchanged\n"
    assert own("apply", "-f", "-", input=objects(2)) == "deployment.apps/d unchanged\nconfigmap/c configured\n"
    dry = own("apply", "-f", "-", "--dry-run", input=objects(3))
    assert dry == "deployment.apps/d unchanged (server dry run)\nconfigmap/c configured (server dry run)\n"
    c = json.loads(own("get", "cm", "c", "-o", "json"))
    assert c["data"] == {"n": "2"}
    # What is taken out of the file goes from the object.
    own("apply", "-f", "-", input=json.dumps(configmap("c", data={})))
    assert not json.loads(own("get", "cm", "c", "-o", "json")).get("data")


def test_apply_reads_files_folders_lists_and_json(own, tmp_path):
    (tmp_path / "b.yaml").write_text(
        "# comments alone\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  text: |\n    a\n\n    ---b\n---\n"
    )
    (tmp_path / "a.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [configmap("l1"), configmap("l2")]})
    )
    (tmp_path / "notes.txt").write_text("not for applying")
    out = own("apply", "-f", tmp_path)
    assert out == "configmap/l1 created\nconfigmap/l2 created\nconfigmap/b created\n"
    assert json.loads(own("get", "cm", "b", "-o", "json"))["data"] == {"text": "a\n\n---b\n"}
    # JSON texts one after the other
    out = own("apply", "-f", "-", input=json.dumps(configmap("j1")) + json.dumps(configmap("j2"), indent=1))
    assert out == "configmap/j1 created\nconfigmap/j2 created\n"


def test_apply_says_what_is_wrong_and_goes_on(own, tmp_path):
    bad = deployment(name="bad")
    bad["spec"]["replicaz"] = 1
    invalid = deployment(name="invalid")
    invalid["spec"]["selector"] = {"matchLabels": {"other": "one"}}
    done = own.run("apply", "-f", "-", input=text(bad, configmap("after"), invalid, {**configmap("p"), "kind": "Podd"}))
    assert done.returncode == 1
    assert done.stdout == "configmap/after created\n"
    assert 'unknown field "spec.replicaz"' in done.stderr or ".spec.replicaz: field not declared" in done.stderr
    assert "spec.template.metadata.labels: Invalid value" in done.stderr
    assert 'no matches for kind "Podd" in version "v1"' in done.stderr

    def fails(content, *more):
        return own.fails("apply", "-f", "-", *more, input=content)

    assert "kind is not set" in fails("a: b")
    assert "document 2" in fails("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\na: [")
    assert "JSON" in fails('{"a": ')
    assert "metadata.name" in fails('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}')
    assert "no objects" in fails("# nothing\n")
    elsewhere = configmap("x")
    elsewhere["metadata"]["namespace"] = "kubeflow"
    assert "leave -n out" in fails(json.dumps(elsewhere))
    elsewhere["metadata"]["namespace"] = "no-such-namespace"
    (tmp_path / "x.json").write_text(json.dumps(elsewhere))
    done = own.bare("apply", "-f", tmp_path / "x.json")
    assert done.returncode == 1 and "Make the namespace first" in done.stderr
    assert "does not exist" in own.fails("apply", "-f", tmp_path / "absent.yaml")
    assert "millrace apply -f" in own.fails("apply")


def test_apply_and_other_managers(own, kubectl):
    kubectl("apply", "-f", "-", input=json.dumps(configmap("c", data={"a": "theirs"})))
    ours = json.dumps(configmap("c", data={"a": "ours"}))
    refused = own.fails("apply", "-f", "-", input=ours)
    assert "conflict" in refused and "kubectl-client-side-apply" in refused and "--force-conflicts" in refused
    assert own("apply", "-f", "-", "--force-conflicts", input=ours) == "configmap/c configured\n"
    assert json.loads(own("get", "cm", "c", "-o", "json"))["data"] == {"a": "ours"}


def test_a_kind_and_an_object_of_it_in_one_file(own):
    group = own.namespace.removeprefix("test-") + ".example.com"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                        }
                    },
                }
            ],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    try:
        out = own("apply", "-f", "-", input=text(crd, widget))
        assert out.splitlines()[1] == f"widget.{group}/w created"
        assert "  size: 3\n" in own("describe", f"widgets.{group}", "w")
    finally:
        own("delete", "crd", f"widgets.{group}")
    assert "doesn't have a resource type" in own.fails("get", f"widgets.{group}")


# ---- describe ------------------------------------------------------------------------------------------------------


@pytest.mark.pods
def test_describe(own, api):
    p = pod("p", "python3", "-c", "print(1)")
    p["metadata"]["annotations"] = {"note": "some words"}
    own("apply", "-f", "-", input=json.dumps(p))
    ended(api, own.namespace, "p")
    out = own("describe", "pod", "p")
    assert re.search(rf"^Name: +p\nNamespace: +{own.namespace}\nKind: +Pod \(v1\)\nLabels: +app=p\n", out)
    assert re.search(r"^Annotations: .*note: some words$", out, re.M)
    assert "\nSpec:\n" in out and "\nStatus:\n" in out and "    image: python:3.11-slim\n" in out
    assert re.search(r"^Events:\n  Type +Reason +Age +From +Message\n", out, re.M)
    assert re.search(r"^  Normal +Started ", out, re.M)
    assert "Name:         p\n" in own("describe", "pods", "-l", "app=p")
    assert 'pods "q" not found' in own.fails("describe", "pod", "q")


def test_describe_keeps_secrets(own):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "words"}}
    own("apply", "-f", "-", input=json.dumps(secret))
    out = own("describe", "secret/s")
    assert "  key: 5 bytes\n" in out and "words" not in out and "d29yZHM" not in out


# ---- logs ----------------------------------------------------------------------------------------------------------

COUNT = "for i in range(5): print('line', i)"


@pytest.mark.pods
def test_logs(own, api):
    two = pod(
        "two",
        "python3",
        "-c",
        COUNT,
        labels={"app": "x"},
        containers=[{"name": "side", "image": PYTHON, "command": ["python3", "-c", "print('from the side')"]}],
    )
    one = pod("one", "python3", "-c", COUNT, labels={"app": "x"})
    own("apply", "-f", "-", input=text(one, two))
    ended(api, own.namespace, "one")
    ended(api, own.namespace, "two")
    assert own("logs", "one") == "".join(f"line {i}\n" for i in range(5))
    assert own("logs", "pod/one", "--tail", "2") == "line 3\nline 4\n"
    assert own("logs", "one", "-f", "--tail=1", "--since", "1h") == "line 4\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z line 4\n", own("logs", "one", "--tail=1", "--timestamps"))
    assert own("logs", "two", "side") == own("logs", "two", "-c", "side") == "from the side\n"
    done = own.run("logs", "two")
    assert done.stdout.count("line") == 5
    assert done.stderr == 'Defaulted container "main" out of: main, side\n'
    every = own("logs", "-l", "app=x", "--prefix", "--all-containers", "--tail=1").splitlines()
    assert sorted(every) == [
        "[pod/one/main] line 4",
        "[pod/two/main] line 4",
        "[pod/two/side] from the side",
    ]
    assert sorted(own("logs", "-l", "app=x", "-f", "--tail=1").split("\n")) == ["", "line 4", "line 4"]


@pytest.mark.pods
def test_logs_are_followed(own, api):
    own("apply", "-f", "-", input=json.dumps(pod("p", "python3", "-uc", "import time\nprint('on')\ntime.sleep(600)")))
    running(api, own.namespace, "p")
    with own.popen("logs", "p", "-f") as logs:
        try:
            assert logs.stdout.readline() == "on\n"
            assert logs.poll() is None
        finally:
            logs.send_signal(signal.SIGINT)


@pytest.mark.pods
def test_logs_of_a_workload(own, api):
    d = deployment(name="web", replicas=1)
    d["spec"]["template"]["spec"] = pod("x", "python3", "-uc", "print('serving'); import time; time.sleep(600)")["spec"]
    d["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    own("apply", "-f", "-", input=json.dumps(d))
    path = f"/apis/apps/v1/namespaces/{own.namespace}/deployments/web"
    api.wait_for(path, lambda o: o["status"].get("readyReplicas") == 1)
    assert own("logs", "deploy/web") == "serving\n"


def test_logs_say_what_is_wrong(own):
    assert own.fails("logs", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert "--since" in own.fails("logs", "nope", "--since", "yesterday")
    assert "millrace logs --help" in own.fails("logs")
    assert "selects no pods" in own.fails("logs", "service/kubernetes", "-n", "default")
    own("apply", "-f", "-", input=json.dumps(deployment(replicas=0)))
    assert "has no pods" in own.fails("logs", "deploy/d")


# ---- delete --------------------------------------------------------------------------------------------------------


@pytest.mark.pods
def test_delete_waits_until_pods_are_gone(own, api):
    p = pod("p", "python3", "-c", "import time; time.sleep(600)")
    own("apply", "-f", "-", input=json.dumps(p))
    running(api, own.namespace, "p")
    assert own("delete", "pod", "p") == 'pod "p" deleted\n'
    assert api.call("GET", f"/api/v1/namespaces/{own.namespace}/pods/p").status_code == 404


def test_delete_by_file_selector_and_all(own):
    objects = text(deployment(replicas=0), *(configmap(n, data={}) for n in "abc"))
    own("apply", "-f", "-", input=objects)
    own("apply", "-f", "-", input=json.dumps({**configmap("l"), "metadata": {"name": "l", "labels": {"k": "v"}}}))
    assert own("delete", "cm", "-l", "k=v") == 'configmap "l" deleted\n'
    out = own("delete", "-f", "-", input=objects)
    assert out == 'deployment.apps "d" deleted\n' + "".join(f'configmap "{n}" deleted\n' for n in "abc")
    done = own.run("delete", "-f", "-", input=objects)
    assert done.returncode == 1 and done.stderr.count("not found") == 4
    assert own("delete", "-f", "-", "--ignore-not-found", input=objects) == ""
    own("apply", "-f", "-", input=objects)
    assert own("delete", "cm", "--all", "--wait=false").count("deleted") >= 3


def test_delete_says_what_is_wrong(own):
    assert "-l LABELS" in own.fails("delete", "cm")
    assert "millrace delete --help" in own.fails("delete")
    assert "not found" in own.fails("delete", "cm", "nope")
    held = configmap("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    own("apply", "-f", "-", input=json.dumps(held))
    done = own.run("delete", "cm", "held", "--timeout", "1")
    assert done.returncode == 1 and done.stdout == 'configmap "held" deleted\n'
    assert "still there" in done.stderr and "example.com/hold" in done.stderr
    held["metadata"]["finalizers"] = []
    own("apply", "-f", "-", input=json.dumps(held))
    assert "not found" in own.fails("get", "cm", "held")


# ---- port-forward --------------------------------------------------------------------------------------------------

# Answers with what it got, only once the client has said that no more comes.
ECHO = """
import socket, threading
def serve(c):
    got = b""
    while piece := c.recv(65536):
        got += piece
    c.sendall(got)
    c.close()
s = socket.create_server(("", 7000), backlog=64)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


class Forward:
    def __init__(self, process):
        self.process = process
        self.port = 0
        line = process.stdout.readline()
        found = re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)\n", line)
        assert found, (line, process.stderr.read() if process.poll() is not None else "")
        self.port, self.remote = int(found[1]), int(found[2])


@pytest.fixture
def echo(own, api):
    """A pod behind a Service of another port, and forwards to them."""
    p = pod("echo", "python3", "-c", ECHO)
    p["spec"]["containers"][0]["ports"] = [{"containerPort": 7000, "name": "talk"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"selector": {"app": "echo"}, "ports": [{"name": "main", "port": 70, "targetPort": "talk"}]},
    }
    own("apply", "-f", "-", input=text(p, service))
    running(api, own.namespace, "echo")
    started = []

    def forward(*args):
        process = own.popen("port-forward", *args)
        started.append(process)
        return Forward(process)

    yield forward
    for process in started:
        process.kill()
        process.communicate()


def talk(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while piece := s.recv(65536):
            got += piece
        return got


def talk_until_listening(port, data):
    """The pod runs before its server listens: a connection until then is closed without an answer."""
    deadline = time.monotonic() + 20
    while True:
        try:
            got = talk(port, data)
        except OSError:
            got = b""
        if got or time.monotonic() > deadline:
            return got
        time.sleep(0.05)


@pytest.mark.pods
def test_forward_to_pods_and_services(own, echo):
    f = echo("echo", ":7000")
    assert f.remote == 7000
    assert talk_until_listening(f.port, b"hello") == b"hello"
    big = os.urandom(5_000_000)
    assert talk(f.port, big) == big
    for args in (("svc/echo", ":70"), ("svc/echo", ":main"), ("pod/echo", ":talk")):
        f = echo(*args)
        assert f.remote == 7000
        assert talk(f.port, b"again") == b"again"
    f.process.send_signal(signal.SIGINT)
    assert f.process.wait(10) == 0


@pytest.mark.pods
def test_many_connections_at_once(own, echo):
    f = echo("echo", ":7000")
    assert talk_until_listening(f.port, b"x") == b"x"
    sockets = [socket.create_connection(("127.0.0.1", f.port), timeout=20) for _ in range(20)]
    for i, s in enumerate(sockets):
        s.sendall(f"number {i}".encode())
    for i, s in reversed(list(enumerate(sockets))):  # none waits for another
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == f"number {i}".encode()
        s.close()


@pytest.mark.pods
def test_forward_says_what_is_wrong(own, echo, api):
    f = echo("echo", ":7001")  # nobody listens there
    assert talk(f.port, b"") == b""
    assert "7001" in f.process.stderr.readline()
    assert f.process.poll() is None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = own.fails("port-forward", "echo", f"{port}:7000")
        assert str(port) in message and "another local port" in message
    assert "does not have a port 71; it has 70 (main)" in own.fails("port-forward", "svc/echo", "71")
    assert "neither a port number" in own.fails("port-forward", "echo", "chat")
    assert "not a local port" in own.fails("port-forward", "echo", "x:7000")
    assert 'pods "nope" not found' in own.fails("port-forward", "nope", "1")
    assert "8080:80" in own.fails("port-forward", "echo")
    # A pod that goes away ends it, at the latest with the next connection.
    own("delete", "pod", "echo")
    assert "has no pods" in own.fails("port-forward", "svc/echo", ":70")
    talk(f.port, b"")
    assert f.process.wait(20) == 1
    assert "cannot be reached" in f.process.stderr.read()


def test_forward_of_the_platforms_own_services(own):
    """The seed's `port-forward` of parts that are no pods."""
    with own.popen("port-forward", "svc/mlflow", ":5000", "-n", "kubeflow") as process:
        try:
            f = Forward(process)
            with urllib.request.urlopen(f"http://127.0.0.1:{f.port}/health", timeout=20) as answer:
                assert answer.read() == b"OK"
        finally:
            process.kill()


# ---- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "describe", "apply", "delete", "logs", "port-forward"])
def test_help_teaches(own, verb):
    done = own.bare(verb, "--help")
    assert done.returncode == 0
    assert f"  millrace {verb} " in done.stdout.split("Examples:")[1]
    assert "--kubeconfig" in done.stdout
    assert verb in own.bare("completion", "bash").stdout
