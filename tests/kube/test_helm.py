"""Helm installs, lists, upgrades, rolls back and removes a chart of the kinds that this program has."""

import base64
import gzip
import json
import pathlib

import pytest

from . import conftest

CHART = pathlib.Path(__file__).resolve().parent / "chart"
KINDS = "configmap,secret,serviceaccount,role,rolebinding,networkpolicy,deployment,service"


def settings(kubectl):
    return json.loads(kubectl("get", "configmap", "demo", "-o", "json"))["data"]


def history(helm):
    return [(one["revision"], one["status"]) for one in json.loads(helm("history", "demo", "-o", "json"))]


# Helm 3; and Helm 4 where it was built (tests/tools/helm4).
HELMS = {"helm": None, "helm4": conftest.TOOLS / "helm4"}


@pytest.fixture(params=[name for name, program in HELMS.items() if program is None or program.exists()])
def helm(request, kubeconfig, ns, tool_home):
    program = HELMS[request.param] or conftest.find_program("helm", (3, 14))
    return conftest.Cli(str(program), kubeconfig, ns, tool_home)


def test_life_of_a_release(helm, kubectl):
    out = helm("install", "demo", CHART, "--set", "replicas=0")
    assert "STATUS: deployed" in out and "REVISION: 1" in out
    assert settings(kubectl) == {"greeting": "hello", "revision": "1", "kube": "1", "apps": "true"}
    made = kubectl("get", KINDS, "-l", "app.kubernetes.io/instance=demo", "-o", "name").split()
    assert len(made) == 8
    key = kubectl("get", "secret", "demo-key", "-o", "jsonpath={.data.key}")

    helm("upgrade", "demo", CHART, "--set", "replicas=0,greeting=moin")
    assert settings(kubectl)["greeting"] == "moin"
    assert kubectl("get", "secret", "demo-key", "-o", "jsonpath={.data.key}") == key
    assert history(helm) == [(1, "superseded"), (2, "deployed")]

    helm("rollback", "demo", "1")
    assert settings(kubectl)["greeting"] == "hello"
    assert history(helm)[-1] == (3, "deployed")

    listed = json.loads(helm("list", "-o", "json"))
    assert [(one["name"], one["revision"], one["status"], one["chart"]) for one in listed] == [
        ("demo", "3", "deployed", "parts-0.1.0")
    ]
    assert "greeting: hello" not in helm("get", "values", "demo")
    assert "kind: NetworkPolicy" in helm("get", "manifest", "demo")

    assert 'release "demo" uninstalled' in helm("uninstall", "demo")
    assert kubectl("get", KINDS, "-l", "app.kubernetes.io/instance=demo", "-o", "name") == ""
    assert json.loads(helm("list", "-o", "json")) == []


def test_release_is_a_secret(helm, kubectl):
    helm("install", "demo", CHART, "--set", "replicas=0")
    secret = json.loads(kubectl("get", "secret", "sh.helm.release.v1.demo.v1", "-o", "json"))
    assert secret["type"] == "helm.sh/release.v1"
    assert secret["metadata"]["labels"]["owner"] == "helm" and secret["metadata"]["labels"]["status"] == "deployed"
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    assert release["name"] == "demo" and release["info"]["status"] == "deployed"


def test_an_object_of_another_is_not_taken_over(helm, kubectl):
    kubectl("create", "configmap", "demo")
    error = helm.fails("install", "demo", CHART, "--set", "replicas=0")
    assert "exists and cannot be imported into the current release" in error
    assert "not found" in kubectl.fails("get", "service", "demo")


def test_same_name_twice(helm):
    helm("install", "demo", CHART, "--set", "replicas=0")
    assert "a name that is still in use" in helm.fails("install", "demo", CHART)


def test_dry_run_against_the_server(helm, kubectl):
    out = helm("install", "demo", CHART, "--dry-run=server")
    assert "kind: Deployment" in out
    assert "not found" in kubectl.fails("get", "configmap", "demo")


def test_an_invalid_object_fails_the_release(helm):
    error = helm.fails("install", "demo", CHART, "--set", "replicas=-1")
    assert "must be greater than or equal to 0" in error
    listed = (
        json.loads(helm("list", "--all", "-o", "json"))
        if "v3" in helm("version")
        else json.loads(helm("list", "-o", "json"))
    )
    assert [one["status"] for one in listed] == ["failed"]


@pytest.mark.pods
def test_wait_for_ready_and_hooks(helm, kubectl):
    helm("install", "demo", CHART, "--wait", "--timeout", "60s", timeout=90)
    assert kubectl("get", "deployment", "demo", "-o", "jsonpath={.status.readyReplicas}") == "1"
    helm("upgrade", "demo", CHART, "--set", "hook=true", "--wait", "--timeout", "60s", timeout=90)
    assert "not found" in kubectl.fails("get", "job", "demo-before")
    helm("uninstall", "demo", "--wait", "--timeout", "60s", timeout=90)
