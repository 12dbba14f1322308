"""Discovery: aggregated and plain documents agree, and match what a real server says of the same resources."""

import csv

import pytest

from . import wire
from .record import discovery

# What a user of a cluster expects to find there (kubectl, the SDKs, Helm and the seed's manifests name them).
CORE = (
    "bindings configmaps endpoints events namespaces namespaces/finalize namespaces/status nodes nodes/status "
    "persistentvolumeclaims persistentvolumeclaims/status pods pods/attach pods/binding pods/eviction pods/exec pods/log "
    "pods/portforward pods/status secrets serviceaccounts serviceaccounts/token services services/status"
).split()
GROUPED = {
    "apps": "deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status "
    "statefulsets statefulsets/scale statefulsets/status",
    "batch": "jobs jobs/status",
    "authentication.k8s.io": "tokenreviews selfsubjectreviews",
    "authorization.k8s.io": "localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
    "rbac.authorization.k8s.io": "roles rolebindings clusterroles clusterrolebindings",
    "networking.k8s.io": "networkpolicies",
    "apiextensions.k8s.io": "customresourcedefinitions customresourcedefinitions/status",
}
PLATFORM = {
    "networking.istio.io": "virtualservices destinationrules gateways",
    "security.istio.io": "authorizationpolicies peerauthentications requestauthentications",
    "kubeflow.org": "poddefaults profiles notebooks",
    "serving.kserve.io": "inferenceservices servingruntimes clusterservingruntimes inferencegraphs trainedmodels",
}
WANTED = [("", one) for one in CORE if one != "bindings"] + [
    (group, one) for group, names in GROUPED.items() for one in names.split()
]


@pytest.fixture(scope="module")
def announced(api):
    return {(row[0], row[2]): row for row in discovery.rows(api) if row[1] in ("v1", "v2")}


@pytest.fixture(scope="module")
def recorded():
    with (wire.CORPUS / "discovery.tsv").open() as lines:
        rows = [tuple(row) for row in csv.reader(lines, delimiter="\t")][1:]
    return {(row[0], row[2]): row for row in rows if row[1] == "v1"}


@pytest.mark.parametrize(("group", "resource"), WANTED, ids=[f"{r}.{g}" if g else r for g, r in WANTED])
def test_entry(announced, recorded, group, resource):
    assert announced.get((group, resource)) == recorded[group, resource]


def test_nothing_is_announced_differently(announced, recorded):
    """Further resources that a real server has too have its entry as well."""
    both = {key for key in announced if key in recorded}
    assert {key: announced[key] for key in both} == {key: recorded[key] for key in both}


@pytest.mark.binary
@pytest.mark.parametrize("group", PLATFORM)
def test_platform_kinds(api, group):
    document = api.call("GET", "/apis/" + group).json()
    assert document["kind"] == "APIGroup"
    versions = [one["groupVersion"] for one in document["versions"]]
    assert document["preferredVersion"]["groupVersion"] in versions
    found = {one["name"] for version in versions for one in api.get("/apis/" + version)["resources"]}
    assert set(PLATFORM[group].split()) <= found


def plain_rows(api):
    out = set()
    groups = [("", one) for one in api.get("/api")["versions"]]
    groups += [(g["name"], v["version"]) for g in api.get("/apis")["groups"] for v in g["versions"]]
    for group, version in groups:
        document = api.get(f"/apis/{group}/{version}" if group else f"/api/{version}")
        assert document["kind"] == "APIResourceList"
        for one in document["resources"]:
            out.add((group, version, one["name"], one["kind"], one["namespaced"], ",".join(sorted(one["verbs"]))))
    return out


def test_plain_and_aggregated_agree(api):
    aggregated = set()
    for path in ("/api", "/apis"):
        for group in api.call("GET", path, accept=discovery.AGGREGATED).json()["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                for one in version.get("resources", []):
                    wide = one["scope"] == "Namespaced"
                    entries = [(one["resource"], one)]
                    entries += [(f"{one['resource']}/{sub['subresource']}", sub) for sub in one.get("subresources", [])]
                    for resource, entry in entries:
                        verbs = ",".join(sorted(entry["verbs"]))
                        kind = entry["responseKind"]["kind"]
                        aggregated.add((name, version["version"], resource, kind, wide, verbs))
    assert plain_rows(api) == aggregated


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_content_type(api, version):
    accept = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    answer = api.call("GET", "/apis", accept=accept + ",application/json")
    assert answer.headers["Content-Type"] == accept
    assert answer.json()["apiVersion"] == "apidiscovery.k8s.io/" + version


def test_version(api):
    version = api.get("/version")
    assert version["major"] == "1" and int(version["minor"]) >= 28
    assert version["gitVersion"].startswith("v1.")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health(api, path):
    answer = api.call("GET", path)
    assert (answer.status_code, answer.text) == (200, "ok")


def test_openapi_documents_of_every_group(api):
    paths = api.get("/openapi/v3")["paths"]
    for group in (
        "api/v1",
        "apis/apps/v1",
        "apis/batch/v1",
        "apis/rbac.authorization.k8s.io/v1",
        "apis/networking.k8s.io/v1",
    ):
        url = paths[group]["serverRelativeURL"]
        assert url.startswith(f"/openapi/v3/{group}?hash=")
        document = api.call("GET", url).json()
        assert document["openapi"].startswith("3.0")
        assert document["components"]["schemas"]


def test_kubectl_api_resources(kubectl):
    lines = [line.split() for line in kubectl("api-resources", "--no-headers").splitlines()]
    assert ["configmaps", "cm", "v1", "true", "ConfigMap"] in lines
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in lines
    assert {line[0] for line in lines} >= {"pods", "services", "jobs", "roles", "customresourcedefinitions"}
    namespaced = kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert "namespaces" in namespaced and "pods" not in namespaced


def test_kubectl_api_versions(kubectl):
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "apiextensions.k8s.io/v1"} <= set(versions)


def test_short_names_and_plurals(kubectl):
    kubectl("create", "configmap", "c")
    for spelling in ("cm", "configmap", "configmaps", "ConfigMap", "configmaps.v1."):
        assert kubectl("get", spelling, "c", "-o", "name") == "configmap/c\n"
