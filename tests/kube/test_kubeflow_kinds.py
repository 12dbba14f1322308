"""Kubeflow's own kinds with the real kubectl: what a PodDefault, a Profile and a Notebook bring about."""

import base64
import json
import secrets
import urllib.request

import harness
import pytest

PYTHON = "python:3.11"
SEED_POD_DEFAULT = harness.shared_dir() / "data" / "seed-manifests" / "06-poddefault.yaml"
PREFIX = "poddefault.admission.kubeflow.org/"


def apply(kubectl, *documents):
    return kubectl("apply", "-f", "-", input="\n".join(json.dumps(d) for d in documents))


def get(kubectl, *what):
    return json.loads(kubectl("get", *what, "-o", "json"))


def pod(name, *command, labels=None, annotations=None, **container):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": PYTHON, "command": list(command), **container}],
        },
    }


def pod_default(name, label="on", **spec):
    return {
        "apiVersion": "kubeflow.org/v1alpha1",
        "kind": "PodDefault",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {label: "true"}}, **spec},
    }


# --- PodDefault ----------------------------------------------------------------------------------------------------


@pytest.mark.pods
def test_the_seeds_pod_default_gives_a_token_for_pipelines(kubectl, ns):
    text = SEED_POD_DEFAULT.read_text().replace("kubeflow-user-example-com", ns)
    kubectl("apply", "-f", "-", input=text)
    code = "import os; print(open(os.environ['KF_PIPELINES_SA_TOKEN_PATH']).read())"
    apply(
        kubectl,
        pod("step", "python", "-c", code, labels={"access-ml-pipeline": "true"}),
    )
    kubectl("wait", "pod/step", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    payload = kubectl("logs", "step").strip().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == ["pipelines.kubeflow.org"]
    assert claims["sub"] == f"system:serviceaccount:{ns}:default"
    assert claims["exp"] - claims["iat"] == 7200
    made = get(kubectl, "pod", "step")
    version = get(kubectl, "poddefault", "access-ml-pipeline")["metadata"]["resourceVersion"]
    assert made["metadata"]["annotations"][PREFIX + "poddefault-access-ml-pipeline"] == version
    assert made["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 7200


def test_only_selected_pods_are_changed(kubectl):
    env = [{"name": "GIVEN", "value": "1"}]
    apply(kubectl, pod_default("give", env=env))
    out = {PREFIX + "exclude": "true"}
    apply(
        kubectl,
        pod("plain", "true"),
        pod("chosen", "true", labels={"on": "true"}),
        pod("left-out", "true", labels={"on": "true"}, annotations=out),
    )
    for name, want in (("plain", None), ("chosen", env), ("left-out", None)):
        assert get(kubectl, "pod", name)["spec"]["containers"][0].get("env") == want, name


def test_a_deployments_pods_get_them_too(kubectl):
    apply(
        kubectl,
        pod_default(
            "give",
            labels={"team": "a"},
            tolerations=[{"key": "gpu", "operator": "Exists"}],
        ),
    )
    template = pod("x", "sleep", "60", labels={"on": "true", "app": "web"})
    template["spec"]["restartPolicy"] = "Always"
    apply(
        kubectl,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": template["metadata"]["labels"]},
                    "spec": template["spec"],
                },
            },
        },
    )
    kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=60s")
    (one,) = get(kubectl, "pods", "-l", "team=a")["items"]
    assert {"key": "gpu", "operator": "Exists"} in one["spec"]["tolerations"]


def test_a_conflict_refuses_the_pod(kubectl):
    apply(kubectl, pod_default("one", env=[{"name": "A", "value": "1"}]))
    mine = pod("p", "true", labels={"on": "true"}, env=[{"name": "A", "value": "2"}])
    error = kubectl.fails("create", "-f", "-", input=json.dumps(mine))
    assert 'admission webhook "admission-webhook-deployment.kubeflow.org" denied the request' in error
    assert "conflict occurred while applying poddefaults: one on pod: p" in error
    assert "conflict on A" in error
    assert "NotFound" in kubectl.fails("get", "pod", "p")


def test_a_service_account_that_is_not_there_refuses_the_pod(kubectl):
    apply(kubectl, pod_default("account", serviceAccountName="nobody"))
    error = kubectl.fails("create", "-f", "-", input=json.dumps(pod("p", "true", labels={"on": "true"})))
    assert 'serviceaccount "nobody" not found' in error


# --- Profile -------------------------------------------------------------------------------------------------------


def profile(name, owner="ann@example.com", **spec):
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "Profile",
        "metadata": {"name": name},
        "spec": {"owner": {"kind": "User", "name": owner}, **spec},
    }


@pytest.fixture
def team(kubectl):
    """The name of a profile that is not there yet, and goes afterwards."""
    name = "team-" + secrets.token_hex(4)
    yield name
    kubectl("delete", "profile", name, "--ignore-not-found", "--wait=false")


def test_a_profile_is_a_namespace_with_all_that_belongs_to_it(kubectl, team):
    apply(kubectl, profile(team, resourceQuotaSpec={"hard": {"cpu": "4", "pods": "10"}}))
    kubectl(
        "wait",
        f"profile/{team}",
        "--for=jsonpath={.status.conditions[0].type}=Successful",
        "--timeout=30s",
    )
    space = get(kubectl, "namespace", team)["metadata"]
    assert space["annotations"]["owner"] == "ann@example.com"
    assert space["labels"]["app.kubernetes.io/part-of"] == "kubeflow-profile"
    assert space["labels"]["istio-injection"] == "enabled"
    for account, role in (
        ("default-editor", "kubeflow-edit"),
        ("default-viewer", "kubeflow-view"),
    ):
        get(kubectl, "serviceaccount", account, "-n", team)
        bound = get(kubectl, "rolebinding", account, "-n", team)
        assert bound["roleRef"]["name"] == role
        assert bound["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": team}]
    admin = get(kubectl, "rolebinding", "namespaceAdmin", "-n", team)
    assert admin["roleRef"]["name"] == "kubeflow-admin"
    assert admin["metadata"]["annotations"] == {
        "user": "ann@example.com",
        "role": "admin",
    }
    assert get(kubectl, "resourcequota", "kf-resource-quota", "-n", team)["spec"]["hard"] == {"cpu": "4", "pods": "10"}
    policy = get(kubectl, "authorizationpolicy", "ns-owner-access-istio", "-n", team)
    assert policy["spec"]["rules"][0]["when"] == [
        {"key": "request.headers[kubeflow-userid]", "values": ["ann@example.com"]}
    ]
    # The owner may work there, others may not.
    ask = ("auth", "can-i", "create", "pods", "-n", team)
    assert kubectl(*ask, "--as=ann@example.com").strip() == "yes"
    assert kubectl.run(*ask, "--as=bob@example.com").stdout.strip() == "no"


def test_a_profile_puts_right_what_was_taken_away(kubectl, api, team):
    apply(kubectl, profile(team, resourceQuotaSpec={"hard": {"cpu": "4"}}))
    kubectl(
        "wait",
        f"profile/{team}",
        "--for=jsonpath={.status.conditions[0].type}=Successful",
        "--timeout=30s",
    )
    binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{team}/rolebindings/default-editor"
    before = api.get(binding)["metadata"]["uid"]
    kubectl("delete", "rolebinding", "default-editor", "-n", team)
    api.wait_for(binding, lambda b: b["metadata"]["uid"] != before)
    # Another quota, then none.
    quota = f"/api/v1/namespaces/{team}/resourcequotas/kf-resource-quota"
    apply(kubectl, profile(team, resourceQuotaSpec={"hard": {"cpu": "2"}}))
    api.wait_for(quota, lambda q: q["spec"]["hard"] == {"cpu": "2"})
    apply(kubectl, profile(team))
    api.wait_gone(quota)


def test_deleting_a_profile_removes_its_namespace(kubectl, api, team):
    apply(kubectl, profile(team))
    kubectl(
        "wait",
        f"profile/{team}",
        "--for=jsonpath={.status.conditions[0].type}=Successful",
        "--timeout=30s",
    )
    kubectl("delete", "profile", team, "--timeout=30s")
    api.wait_gone(f"/api/v1/namespaces/{team}")


def test_anothers_namespace_is_refused(kubectl, ns, api):
    try:
        apply(kubectl, profile(ns))
        kubectl(
            "wait",
            f"profile/{ns}",
            "--for=jsonpath={.status.conditions[0].type}=Failed",
            "--timeout=30s",
        )
        message = get(kubectl, "profile", ns)["status"]["conditions"][0]["message"]
        assert message == "namespace already exist, but not owned by profile creator ann@example.com"
        assert "default-editor" not in kubectl("get", "serviceaccounts", "-o", "name")
    finally:
        kubectl("delete", "profile", ns, "--timeout=30s")
    assert api.get(f"/api/v1/namespaces/{ns}")["status"]["phase"] == "Active"


def test_an_owners_namespace_is_taken_over_and_stays(kubectl, ns, api):
    kubectl("annotate", "namespace", ns, "owner=ann@example.com")
    kubectl("label", "namespace", ns, "serving.kubeflow.org/inferenceservice=disabled")
    plugin = {
        "kind": "AwsIamForServiceAccount",
        "spec": {"awsIamRole": "arn:aws:iam::1:role/x"},
    }
    apply(kubectl, profile(ns, plugins=[plugin]))
    kubectl(
        "wait",
        f"profile/{ns}",
        "--for=jsonpath={.status.conditions[0].type}=Successful",
        "--timeout=30s",
    )
    assert "AwsIamForServiceAccount" in get(kubectl, "profile", ns)["status"]["conditions"][0]["message"]
    labels = get(kubectl, "namespace", ns)["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "kubeflow-profile"
    assert labels["serving.kubeflow.org/inferenceservice"] == "disabled"
    get(kubectl, "serviceaccount", "default-editor")
    kubectl("delete", "profile", ns, "--timeout=30s")
    api.wait_gone(f"/api/v1/namespaces/{ns}/serviceaccounts/default-editor")
    assert api.get(f"/api/v1/namespaces/{ns}")["status"]["phase"] == "Active"


# --- Notebook ------------------------------------------------------------------------------------------------------


def notebook(name, image=PYTHON, version="v1", annotations=None, labels=None, **container):
    return {
        "apiVersion": "kubeflow.org/" + version,
        "kind": "Notebook",
        "metadata": {
            "name": name,
            "annotations": annotations or {},
            "labels": labels or {},
        },
        "spec": {
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {
                            "name": name,
                            "image": image,
                            "command": ["python", "-m", "http.server", "8888"],
                            **container,
                        }
                    ],
                }
            }
        },
    }


@pytest.mark.pods
def test_a_notebook_runs_and_answers_at_the_gateway(kubectl, ns, millrace):
    # A file server knows no prefix: the gateway takes it away for it.
    rewrite = {"notebooks.kubeflow.org/http-rewrite-uri": "/"}
    apply(
        kubectl,
        pod_default("give", label="gift", env=[{"name": "GIVEN", "value": "1"}]),
    )
    apply(kubectl, notebook("book", annotations=rewrite, labels={"gift": "true"}))
    kubectl(
        "wait",
        "notebook/book",
        "--for=jsonpath={.status.readyReplicas}=1",
        "--timeout=60s",
    )
    container = get(kubectl, "pod", "book-0")["spec"]["containers"][0]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert env == {"NB_PREFIX": f"/notebook/{ns}/book", "GIVEN": "1"}
    assert container["workingDir"] == "/home/jovyan"
    assert get(kubectl, "pod", "book-0")["spec"]["securityContext"] == {"fsGroup": 100}
    assert get(kubectl, "pods", "-l", "notebook-name=book")["items"][0]["metadata"]["name"] == "book-0"
    port = get(kubectl, "service", "book")["spec"]["ports"][0]
    assert (port["name"], port["port"], port["targetPort"]) == ("http-book", 80, 8888)
    route = get(kubectl, "virtualservice", f"notebook-{ns}-book")["spec"]
    assert route["gateways"] == ["kubeflow/kubeflow-gateway"]
    assert route["http"][0]["match"] == [{"uri": {"prefix": f"/notebook/{ns}/book/"}}]
    kubectl("exec", "book-0", "--", "sh", "-c", "echo hello > words")
    with urllib.request.urlopen(f"{millrace.gateway_url}/notebook/{ns}/book/words", timeout=20) as answer:
        assert answer.read() == b"hello\n"
    shown = get(kubectl, "notebook", "book")["status"]
    assert "running" in shown["containerState"]
    assert {"Ready", "PodScheduled"} <= {c["type"] for c in shown["conditions"]}


@pytest.mark.pods
def test_a_notebook_is_stopped_and_started_by_its_annotation(kubectl):
    apply(kubectl, notebook("book"))
    kubectl(
        "wait",
        "notebook/book",
        "--for=jsonpath={.status.readyReplicas}=1",
        "--timeout=60s",
    )
    kubectl("annotate", "notebook", "book", "kubeflow-resource-stopped=2026-01-01T00:00:00Z")
    kubectl(
        "wait",
        "notebook/book",
        "--for=jsonpath={.status.readyReplicas}=0",
        "--timeout=60s",
    )
    kubectl("wait", "pod/book-0", "--for=delete", "--timeout=60s")
    assert get(kubectl, "notebook", "book")["status"]["conditions"] == []
    kubectl("annotate", "notebook", "book", "kubeflow-resource-stopped-")
    kubectl(
        "wait",
        "notebook/book",
        "--for=jsonpath={.status.readyReplicas}=1",
        "--timeout=60s",
    )


@pytest.mark.pods
def test_an_image_that_cannot_run_is_told_of_the_notebook(kubectl, api, ns):
    apply(kubectl, notebook("book", image="example.com/no/such:1"))
    path = f"/apis/kubeflow.org/v1/namespaces/{ns}/notebooks/book"
    reasons = ("ErrImagePull", "ImagePullBackOff")
    api.wait_for(
        path,
        lambda n: n.get("status", {}).get("containerState", {}).get("waiting", {}).get("reason") in reasons,
    )

    def told(events):
        texts = [e["message"] for e in events["items"] if e["involvedObject"]["kind"] == "Notebook"]
        return any(t.startswith("Reissued from pod/book-0: ") for t in texts) and any(
            t.startswith("Reissued from statefulset/book: ") for t in texts
        )

    api.wait_for(f"/api/v1/namespaces/{ns}/events", told)


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
def test_older_versions_and_a_change_of_the_template(kubectl, api, ns, version):
    apply(kubectl, notebook("book", version=version, image="example.com/no/such:1"))
    path = f"/apis/apps/v1/namespaces/{ns}/statefulsets/book"
    made = api.wait_for(path, lambda s: s["spec"]["replicas"] == 1)
    assert made["spec"]["selector"] == {"matchLabels": {"statefulset": "book"}}
    apply(kubectl, notebook("book", version=version, image="example.com/no/such:2"))
    changed = api.wait_for(
        path,
        lambda s: s["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/no/such:2",
    )
    # One write for one change: the controller and the defaults agree.
    assert (made["metadata"]["generation"], changed["metadata"]["generation"]) == (1, 2)
    kubectl("delete", "notebook", "book", "--timeout=30s")
    api.wait_gone(path)
    api.wait_gone(f"/api/v1/namespaces/{ns}/services/book")
    api.wait_gone(f"/apis/networking.istio.io/v1/namespaces/{ns}/virtualservices/notebook-{ns}-book")


def test_a_service_in_the_way_stays(kubectl, api, ns):
    kubectl("create", "service", "clusterip", "book", "--tcp=9:9")
    apply(kubectl, notebook("book", image="example.com/no/such:1"))
    api.wait_for(
        f"/api/v1/namespaces/{ns}/events",
        lambda events: any(e["reason"] == "FailedCreate" and "Service book" in e["message"] for e in events["items"]),
    )
    assert get(kubectl, "service", "book")["spec"]["ports"][0]["port"] == 9
