"""`millrace get` and `describe`: kubectl's everyday commands without kubectl; how they find the server, and their help."""

import json
import os
import re
import signal

import harness
import pytest

from .pods import ended, pod
from .record.shapes import configmap

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


# ---- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "describe", "apply", "delete", "logs", "port-forward"])
def test_help_teaches(own, verb):
    done = own.bare(verb, "--help")
    assert done.returncode == 0
    assert f"  millrace {verb} " in done.stdout.split("Examples:")[1]
    assert "--kubeconfig" in done.stdout
    assert verb in own.bare("completion", "bash").stdout
