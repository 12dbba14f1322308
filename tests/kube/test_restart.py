"""What a stop or a kill leaves: the same objects, custom kinds, addresses and tokens; only old watches have expired."""

import json

import harness
import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from . import replay, wire
from .record.shapes import configmap, deployment, service

NS = "keep"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "cars.keep.example.com"},
    "spec": {
        "group": "keep.example.com",
        "scope": "Namespaced",
        "names": {"plural": "cars", "singular": "car", "kind": "Car", "listKind": "CarList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
CARS = f"/apis/keep.example.com/v1/namespaces/{NS}/cars"
MAPS = f"/api/v1/namespaces/{NS}/configmaps"
KEPT = (
    MAPS + "/cm",
    f"/api/v1/namespaces/{NS}/services/svc",
    f"/apis/apps/v1/namespaces/{NS}/deployments/d",
    CARS + "/c",
    "/api/v1/namespaces/" + NS,
)


def fill(api):
    api.make_namespace(NS)
    api.post(MAPS, configmap(data={"a": "grüße"}))
    api.post(f"/api/v1/namespaces/{NS}/services", service())
    api.post(f"/apis/apps/v1/namespaces/{NS}/deployments", deployment(replicas=0))
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    api.wait_for(CARS, lambda _: True)
    api.post(CARS, {"apiVersion": "keep.example.com/v1", "kind": "Car", "metadata": {"name": "c"}, "spec": {"w": 4}})
    api.wait_for(KEPT[2], lambda one: one.get("status", {}).get("observedGeneration") == 1)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.post(f"/api/v1/namespaces/{NS}/serviceaccounts/default/token", request)["status"]["token"]
    return token


@pytest.mark.binary
@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_everything_is_there_again(tmp_path, how):
    folder = tmp_path / "data"
    with harness.launch_platform(folder) as platform:
        api = wire.Api(folder / "kubeconfig")
        token = fill(api)
        before = {path: api.get(path) for path in KEPT}
        version = int(api.get(MAPS)["metadata"]["resourceVersion"])
        getattr(platform.proc, how)()
    with harness.launch_platform(folder):
        api = wire.Api(folder / "kubeconfig")
        assert {path: api.get(path) for path in KEPT} == before
        assert int(api.get(MAPS)["metadata"]["resourceVersion"]) >= version
        changed = api.patch(MAPS + "/cm", {"data": {"b": "1"}})
        assert int(changed["metadata"]["resourceVersion"]) > version

        # The token is still that user's, who still may do nothing.
        refused = api.call("GET", MAPS, session=api.new_session(token))
        assert refused.status_code == 403
        assert f"system:serviceaccount:{NS}:default" in refused.json()["message"]

        case = next(one for one in wire.load("errors.jsonl") if one["case"] == "watch/too-old")
        assert replay.play(api, case) == []
        core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(folder / "kubeconfig")))
        with pytest.raises(ApiException) as expired:
            for _ in kubernetes.watch.Watch().stream(
                core.list_namespaced_secret, NS, resource_version="1", timeout_seconds=5
            ):
                pass
        assert expired.value.status == 410


@pytest.mark.binary
def test_a_page_begun_before_the_end_goes_on_or_has_expired(tmp_path):
    """Never a page that leaves something out."""
    folder = tmp_path / "data"
    with harness.launch_platform(folder) as platform:
        api = wire.Api(folder / "kubeconfig")
        api.make_namespace(NS)
        for i in range(6):
            api.post(MAPS, configmap(f"m{i}"))
        token = api.get(MAPS, limit=3)["metadata"]["continue"]
        platform.proc.kill()
    with harness.launch_platform(folder):
        api = wire.Api(folder / "kubeconfig")
        answer = api.call("GET", MAPS, limit=10, **{"continue": token})
        if answer.status_code == 410:
            assert answer.json()["reason"] == "Expired", json.dumps(answer.json())
        else:
            assert answer.status_code == 200, answer.text
            assert [one["metadata"]["name"] for one in answer.json()["items"] if one["metadata"]["name"] < "n"][
                -3:
            ] == [
                "m3",
                "m4",
                "m5",
            ]
