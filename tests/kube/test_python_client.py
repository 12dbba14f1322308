"""The official Python client, as scripts and dashboards use it; and the KServe SDK in an environment of its own."""

import json
import subprocess
import threading
import time

import harness
import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream


@pytest.fixture(scope="module")
def client(kubeconfig):
    return kubernetes.config.new_client_from_config(str(kubeconfig))


@pytest.fixture(scope="module")
def core(client):
    return kubernetes.client.CoreV1Api(client)


@pytest.fixture(scope="module")
def apps(client):
    return kubernetes.client.AppsV1Api(client)


@pytest.fixture(scope="module")
def custom(client):
    return kubernetes.client.CustomObjectsApi(client)


def a_deployment(replicas=0, image="busybox"):
    k = kubernetes.client
    return k.V1Deployment(
        metadata=k.V1ObjectMeta(name="d", labels={"app": "d"}),
        spec=k.V1DeploymentSpec(
            replicas=replicas,
            selector=k.V1LabelSelector(match_labels={"app": "d"}),
            template=k.V1PodTemplateSpec(
                metadata=k.V1ObjectMeta(labels={"app": "d"}),
                spec=k.V1PodSpec(
                    containers=[k.V1Container(name="c", image=image, ports=[k.V1ContainerPort(container_port=80)])]
                ),
            ),
        ),
    )


def test_version_and_discovery(client):
    assert kubernetes.client.VersionApi(client).get_code().major == "1"
    groups = {group.name for group in kubernetes.client.ApisApi(client).get_api_versions().groups}
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= groups
    names = {one.name for one in kubernetes.client.CoreV1Api(client).get_api_resources().resources}
    assert {"pods", "pods/log", "services"} <= names


def test_configmap_life(core, ns):
    made = core.create_namespaced_config_map(ns, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    core.patch_namespaced_config_map("c", ns, {"data": {"b": "2"}})
    assert core.read_namespaced_config_map("c", ns).data == {"a": "1", "b": "2"}
    made.data = {"z": "9"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("c", ns, made)
    assert stale.value.status == 409 and json.loads(stale.value.body)["reason"] == "Conflict"
    core.delete_namespaced_config_map("c", ns)
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("c", ns)
    assert missing.value.status == 404


def test_list_pages(core, ns):
    for i in range(7):
        core.create_namespaced_secret(ns, {"metadata": {"name": f"s{i}"}, "stringData": {"k": str(i)}})
    seen, token = [], None
    while True:
        page = core.list_namespaced_secret(ns, limit=3, _continue=token)
        seen += [one.metadata.name for one in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert seen == [f"s{i}" for i in range(7)]


def test_deployment_patch_and_scale(apps, ns):
    made = apps.create_namespaced_deployment(ns, a_deployment(replicas=1))
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}}}}
    container = apps.patch_namespaced_deployment("d", ns, patch).spec.template.spec.containers[0]
    assert container.image == "busybox" and container.env[0].value == "1"
    # A list goes out as a JSON patch.
    got = apps.patch_namespaced_deployment("d", ns, [{"op": "add", "path": "/spec/minReadySeconds", "value": 2}])
    assert got.spec.min_ready_seconds == 2
    assert apps.read_namespaced_deployment_scale("d", ns).spec.replicas == 1
    assert apps.patch_namespaced_deployment_scale("d", ns, {"spec": {"replicas": 0}}).kind == "Scale"
    listed = apps.list_namespaced_deployment(ns, label_selector="app=d")
    assert [one.metadata.name for one in listed.items] == ["d"]


def test_server_side_apply(core, ns):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    apply = {"field_manager": "me", "_content_type": "application/apply-patch+yaml"}
    core.patch_namespaced_config_map("c", ns, body, **apply)
    with pytest.raises(ApiException) as conflict:
        core.patch_namespaced_config_map("c", ns, {**body, "data": {"a": "2"}}, **{**apply, "field_manager": "you"})
    assert conflict.value.status == 409
    got = core.patch_namespaced_config_map(
        "c", ns, {**body, "data": {"a": "2"}}, force=True, **{**apply, "field_manager": "you"}
    )
    assert got.data == {"a": "2"}


def test_watch(core, ns):
    seen = []
    watch = kubernetes.watch.Watch()

    def read():
        for event in watch.stream(core.list_namespaced_secret, ns, timeout_seconds=30):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 4:
                watch.stop()

    reader = threading.Thread(target=read)
    core.create_namespaced_secret(ns, {"metadata": {"name": "before"}})
    reader.start()
    time.sleep(0.3)
    core.create_namespaced_secret(ns, {"metadata": {"name": "during"}})
    core.patch_namespaced_secret("during", ns, {"metadata": {"labels": {"a": "b"}}})
    core.delete_namespaced_secret("during", ns)
    reader.join(40)
    assert not reader.is_alive()
    assert seen == [("ADDED", "before"), ("ADDED", "during"), ("MODIFIED", "during"), ("DELETED", "during")]


def test_custom_objects(client, custom, api, ns):
    group = f"{ns}.example.com"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things." + group},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
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
    extensions = kubernetes.client.ApiextensionsV1Api(client)
    extensions.create_custom_resource_definition(definition)
    try:
        api.wait_for(f"/apis/{group}/v1/namespaces/{ns}/things", lambda _: True)
        body = {"apiVersion": group + "/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": 1, "list": [1]}}
        where = (group, "v1", ns, "things")
        custom.create_namespaced_custom_object(*where, body)
        got = custom.patch_namespaced_custom_object(*where, "t", {"spec": {"list": [2, 3]}})
        assert got["spec"] == {"a": 1, "list": [2, 3]}
        assert len(custom.list_namespaced_custom_object(*where)["items"]) == 1
        got["spec"] = {"b": 2}
        assert custom.replace_namespaced_custom_object(*where, "t", got)["spec"] == {"b": 2}
        assert len(custom.list_cluster_custom_object(group, "v1", "things")["items"]) == 1
        custom.delete_namespaced_custom_object(*where, "t")
        with pytest.raises(ApiException):
            custom.get_namespaced_custom_object(*where, "t")
    finally:
        extensions.delete_custom_resource_definition("things." + group)


def test_dynamic_client(client, ns):
    dynamic = kubernetes.dynamic.DynamicClient(client)
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    maps.create(namespace=ns, body={"metadata": {"name": "c"}, "data": {"a": "1"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2"}}
    maps.server_side_apply(namespace=ns, body=body, field_manager="dyn", force_conflicts=True)
    assert maps.get(name="c", namespace=ns).data.a == "2"
    assert "deployments" in {one.name for one in dynamic.resources.search(group="apps")}


def test_reviews_and_tokens(client, core, ns):
    k = kubernetes.client
    attributes = k.V1ResourceAttributes(namespace=ns, verb="delete", resource="pods")
    review = k.V1SelfSubjectAccessReview(spec=k.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes))
    assert k.AuthorizationV1Api(client).create_self_subject_access_review(review).status.allowed
    core.create_namespaced_service_account(ns, {"metadata": {"name": "robot"}})
    request = k.AuthenticationV1TokenRequest(spec=k.V1TokenRequestSpec(audiences=["me"], expiration_seconds=3600))
    token = core.create_namespaced_service_account_token("robot", ns, request).status.token
    token_review = k.V1TokenReview(spec=k.V1TokenReviewSpec(token=token, audiences=["me"]))
    status = k.AuthenticationV1Api(client).create_token_review(token_review).status
    assert status.authenticated and status.audiences == ["me"]
    assert status.user.username == f"system:serviceaccount:{ns}:robot"
    assert f"system:serviceaccounts:{ns}" in status.user.groups


def test_create_from_yaml(client, core, ns):
    document = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}],
    }
    kubernetes.utils.create_from_dict(client, document, namespace=ns)
    assert core.read_namespaced_config_map("c", ns).metadata.name == "c"


@pytest.fixture
def running_pod(core, ns):
    container = {
        "name": "c",
        "image": "python:3.11-slim",
        "command": ["python3", "-uc", "import time; print('one'); print('two'); time.sleep(600)"],
    }
    core.create_namespaced_pod(
        ns, {"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    )
    deadline = time.monotonic() + 60
    while (pod := core.read_namespaced_pod("p", ns)).status.phase != "Running":
        assert time.monotonic() < deadline, pod.status
        time.sleep(0.1)
    return "p"


@pytest.mark.pods
def test_pod_log(core, ns, running_pod):
    deadline = time.monotonic() + 20
    while core.read_namespaced_pod_log(running_pod, ns) != "one\ntwo\n" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert core.read_namespaced_pod_log(running_pod, ns, tail_lines=1) == "two\n"
    follow = core.read_namespaced_pod_log(running_pod, ns, follow=True, _preload_content=False)
    assert next(iter(follow)).startswith(b"one\n")
    follow.close()


@pytest.mark.pods
def test_exec_stream(core, ns, running_pod):
    out = stream(
        core.connect_get_namespaced_pod_exec,
        running_pod,
        ns,
        command=["sh", "-c", "echo out; echo err >&2"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert sorted(out.split()) == ["err", "out"]
    live = stream(
        core.connect_get_namespaced_pod_exec,
        running_pod,
        ns,
        command=["sh"],
        stdin=True,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    live.write_stdin("echo $((6*7)); exit 5\n")
    live.run_forever(timeout=20)
    assert live.read_stdout().strip() == "42"
    assert live.returncode == 5


KSERVE = """
import sys, time
from kubernetes import client
from kserve import KServeClient, V1beta1InferenceService, V1beta1InferenceServiceSpec, V1beta1ModelFormat, \\
    V1beta1ModelSpec, V1beta1PredictorSpec, constants

config, ns, uri = sys.argv[1:]
kserve = KServeClient(config_file=config)

def service(uri):
    model = V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="mlflow"), protocol_version="v2", storage_uri=uri)
    return V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1, kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=client.V1ObjectMeta(name="churn", namespace=ns),
        spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(model=model)))

kserve.create(service(uri))
kserve.wait_isvc_ready("churn", namespace=ns, timeout_seconds=60, polling_interval=1)
got = kserve.get("churn", namespace=ns)
assert got["status"]["url"].startswith("http://churn"), got["status"]
assert kserve.is_isvc_ready("churn", namespace=ns)
kserve.patch("churn", service(uri), namespace=ns)
kserve.replace("churn", service(uri), namespace=ns)
kserve.wait_isvc_ready("churn", namespace=ns, timeout_seconds=60, polling_interval=1)
kserve.delete("churn", namespace=ns)
print("done")
"""


@pytest.mark.binary
@pytest.mark.slow
def test_kserve_sdk(kubeconfig, ns):
    """Its client makes, awaits, changes and deletes an InferenceService of the seed's model."""
    python = harness.REPO_ROOT / "build" / "tools" / "kserve-env" / "bin" / "python"
    model = harness.shared_dir() / "data" / "models" / "vector-models" / "bankchurn-model" / "model"
    done = subprocess.run(
        [python, "-c", KSERVE, str(kubeconfig), ns, f"file://{model}"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stdout.strip().endswith("done"), done.stderr[-3000:]
