"""JSON, merge and strategic merge patches."""

import pytest

from . import known_differences, replay, wire
from .record.shapes import configmap, deployment

CASES = [case for case in wire.load("sequences.jsonl") if case["case"].startswith("strategic/")]
JSON_PATCH = "application/json-patch+json"


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(api, case):
    known_differences.check(case, replay.play(api, case, managed=True))


@pytest.fixture
def maps(ns):
    return f"/api/v1/namespaces/{ns}/configmaps"


def test_merge_patch_removes_by_null(api, maps):
    api.post(maps, configmap(data={"a": "1", "b": "2"}))
    got = api.patch(maps + "/cm", {"data": {"a": None, "c": "3"}})
    assert got["data"] == {"b": "2", "c": "3"}


def test_json_patch_is_all_or_nothing(api, maps):
    made = api.post(maps, configmap(data={"a": "1"}))
    change = [{"op": "replace", "path": "/data/a", "value": "2"}, {"op": "test", "path": "/data/a", "value": "9"}]
    assert api.call("PATCH", maps + "/cm", change, type=JSON_PATCH).status_code == 422
    now = api.get(maps + "/cm")
    assert now["data"] == {"a": "1"}
    assert now["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_json_patch_pointers_are_unescaped(api, maps):
    api.post(maps, {"metadata": {"name": "cm", "annotations": {"example.com/a": "1"}}})
    change = [{"op": "replace", "path": "/metadata/annotations/example.com~1a", "value": "2"}]
    got = api.patch(maps + "/cm", change, type=JSON_PATCH)
    assert got["metadata"]["annotations"] == {"example.com/a": "2"}


def test_a_patch_that_changes_nothing_writes_nothing(api, maps):
    made = api.post(maps, configmap(data={"a": "1"}))
    got = api.patch(maps + "/cm", {"data": {"a": "1"}})
    assert got["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_generation_counts_changes_of_the_spec(api, ns):
    path = f"/apis/apps/v1/namespaces/{ns}/deployments"
    assert api.post(path, deployment(replicas=0, paused=True))["metadata"]["generation"] == 1
    assert api.patch(path + "/d", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert api.patch(path + "/d", {"spec": {"minReadySeconds": 1}})["metadata"]["generation"] == 2
    assert api.patch(path + "/d/status", {"status": {"observedGeneration": 2}})["metadata"]["generation"] == 2


def test_kubectl_patch_types(kubectl):
    kubectl("create", "configmap", "c", "--from-literal=a=1")
    kubectl("patch", "configmap", "c", "-p", '{"data":{"b":"2"}}')
    kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"data":{"a":null}}')
    kubectl("patch", "configmap", "c", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"3"}]')
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data}") == '{"b":"2","c":"3"}'
    assert "no change" in kubectl("patch", "configmap", "c", "-p", '{"data":{"b":"2"}}')
