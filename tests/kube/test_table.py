"""What `kubectl get` prints: the recorded columns and cells, and kubectl's own printing of them."""

import pytest

from . import known_differences, replay, wire

CASES = wire.load("tables.jsonl")


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(api, case):
    known_differences.check(case, replay.play(api, case))


def test_kubectl_prints_the_columns(kubectl):
    kubectl("create", "configmap", "one", "--from-literal=a=b", "--from-literal=c=d")
    lines = kubectl("get", "configmap", "one").splitlines()
    assert lines[0].split() == ["NAME", "DATA", "AGE"]
    assert lines[1].split()[:2] == ["one", "2"]


def test_wide_columns_only_when_asked(kubectl):
    kubectl("create", "service", "clusterip", "s", "--tcp=80:80")
    assert "SELECTOR" not in kubectl("get", "service", "s").splitlines()[0]
    wide = kubectl("get", "service", "s", "-o", "wide").splitlines()
    assert wide[0].split()[-1] == "SELECTOR"
    assert wide[1].split()[-1] == "app=s"


def test_labels_and_custom_columns(kubectl):
    kubectl("create", "configmap", "one")
    kubectl("label", "configmap", "one", "team=red")
    assert "team=red" in kubectl("get", "configmap", "one", "--show-labels")
    assert kubectl("get", "configmap", "one", "-L", "team").splitlines()[1].split()[-1] == "red"
    out = kubectl("get", "configmap", "one", "-o", "custom-columns=N:.metadata.name,T:.metadata.labels.team")
    assert [line.split() for line in out.splitlines()] == [["N", "T"], ["one", "red"]]


def test_sorted_by_a_field(kubectl):
    for name in ("b", "c", "a"):
        kubectl("create", "configmap", name)
    out = kubectl("get", "configmap", "a", "b", "c", "--sort-by=.metadata.name", "-o", "name")
    assert out.split() == ["configmap/a", "configmap/b", "configmap/c"]


def test_nothing_found(kubectl):
    done = kubectl.run("get", "deployments")
    assert done.returncode == 0
    assert done.stderr.strip() == f"No resources found in {kubectl.namespace} namespace."
