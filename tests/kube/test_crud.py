"""Create, read, update, delete through the API, and how kubectl's declarative commands use them."""

import concurrent.futures

import pytest

from .record.shapes import configmap, deployment, obj, service

MAPS = "/api/v1/namespaces/%s/configmaps"


@pytest.fixture
def maps(ns):
    return MAPS % ns


def test_life_of_an_object(api, maps):
    made = api.post(maps, configmap(data={"a": "1"}))
    meta = made["metadata"]
    assert meta["uid"] and meta["creationTimestamp"].endswith("Z") and int(meta["resourceVersion"]) > 0
    assert api.get(maps + "/cm") == made
    made["data"]["a"] = "2"
    changed = api.put(maps + "/cm", made)
    assert int(changed["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])
    assert changed["metadata"]["uid"] == meta["uid"]
    gone = api.delete(maps + "/cm")
    assert gone["status"] == "Success" and gone["details"]["uid"] == meta["uid"]
    assert api.call("GET", maps + "/cm").status_code == 404


def test_a_put_that_changes_nothing_writes_nothing(api, maps):
    made = api.post(maps, configmap(data={"a": "1"}))
    assert api.put(maps + "/cm", made)["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_list_is_sorted_and_has_a_version(api, maps):
    for name in ("b", "a", "c"):
        api.post(maps, configmap(name))
    got = api.get(maps, labelSelector="!nothing")
    mine = [one["metadata"]["name"] for one in got["items"] if one["metadata"]["name"] in "abc"]
    assert mine == ["a", "b", "c"]
    newest = max(int(one["metadata"]["resourceVersion"]) for one in got["items"])
    assert int(got["metadata"]["resourceVersion"]) >= newest
    assert got["kind"] == "ConfigMapList"
    assert "kind" not in got["items"][0]


def test_pages_hold_every_object_once_in_one_version(api, maps):
    for i in range(25):
        api.post(maps, {"metadata": {"name": f"m{i:02}", "labels": {"page": "yes"}}})
    names, token, version = [], None, None
    while True:
        query = {"limit": 10, **({"continue": token} if token else {})}
        page = api.get(maps, **query)
        names += [one["metadata"]["name"] for one in page["items"]]
        version = version or page["metadata"]["resourceVersion"]
        assert page["metadata"]["resourceVersion"] == version
        if token is None:
            # An object that comes between two pages belongs to none of them.
            api.post(maps, configmap("m05x"))
            assert page["metadata"]["remainingItemCount"] >= 15
        token = page["metadata"].get("continue")
        if not token:
            break
    mine = [name for name in names if name.startswith("m")]
    assert mine == [f"m{i:02}" for i in range(25)]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=web", "a b"),
        ("tier==web", "a b"),
        ("tier!=web,team", "c"),
        ("tier in (web,db)", "a b c"),
        ("tier notin (web),team", "c"),
        ("team", "a b c"),
        ("!tier,team", ""),
        ("tier=web,team=red", "a"),
        ("tier in (),team", None),
        ("order>1,team", "b c"),
        ("order<2,team", "a"),
    ],
)
def test_label_selectors(api, maps, selector, names):
    for name, labels in (
        ("a", {"tier": "web", "team": "red", "order": "1"}),
        ("b", {"tier": "web", "team": "blue", "order": "2"}),
        ("c", {"tier": "db", "team": "blue", "order": "3"}),
    ):
        api.post(maps, {"metadata": {"name": name, "labels": labels}})
    answer = api.call("GET", maps, labelSelector=selector)
    if names is None:
        names = ""  # an empty set selects objects with an empty value
    assert answer.status_code == 200, answer.text
    assert " ".join(one["metadata"]["name"] for one in answer.json()["items"]) == names


def test_field_selectors(api, ns, maps):
    api.post(maps, configmap("a"))
    api.post(maps, configmap("b"))
    got = api.get(maps, fieldSelector="metadata.name=a")["items"]
    assert [one["metadata"]["name"] for one in got] == ["a"]
    got = api.get("/api/v1/configmaps", fieldSelector=f"metadata.namespace={ns},metadata.name!=a")["items"]
    assert "b" in [one["metadata"]["name"] for one in got] and {one["metadata"]["namespace"] for one in got} == {ns}


def test_optimistic_concurrency(api, maps):
    first = api.post(maps, configmap(data={"n": "0"}))
    api.patch(maps + "/cm", {"data": {"n": "1"}})
    first["data"]["n"] = "9"
    answer = api.call("PUT", maps + "/cm", first)
    assert answer.status_code == 409 and answer.json()["reason"] == "Conflict"
    assert api.get(maps + "/cm")["data"] == {"n": "1"}


def test_namespaces_are_separate(api, ns, maps):
    other = ns + "-other"
    api.make_namespace(other)
    try:
        api.post(maps, configmap(data={"a": "1"}))
        api.post(MAPS % other, configmap(data={"a": "2"}))
        assert api.get(maps + "/cm")["data"] == {"a": "1"}
        assert api.get(MAPS % other + "/cm")["data"] == {"a": "2"}
    finally:
        api.remove_namespace(other)


def test_unicode_and_large_values(api, maps):
    data = {"text": 'grüße, 世界 \U0001f680 \u2028 "quoted" \\ \t', "large": "x" * 900_000}
    api.post(maps, configmap(data=data))
    assert api.get(maps + "/cm")["data"] == data


def test_cluster_ip_is_given_and_kept(api, ns):
    path = f"/api/v1/namespaces/{ns}/services"
    made = api.post(path, service())
    address = made["spec"]["clusterIP"]
    assert address.count(".") == 3 and made["spec"]["clusterIPs"] == [address]
    made["spec"]["ports"][0]["port"] = 81
    del made["spec"]["ports"][0]["targetPort"]
    assert api.put(path + "/svc", made)["spec"]["clusterIP"] == address
    taken = service("other", clusterIP=address)
    assert api.call("POST", path, taken).status_code == 422


@pytest.mark.controllers
def test_owner_takes_its_dependents_along(api, maps):
    owner = api.post(maps, configmap("owner"))["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    api.post(maps, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    api.delete(maps + "/owner")
    api.wait_gone(maps + "/child")


@pytest.mark.controllers
def test_orphans_stay(api, maps):
    owner = api.post(maps, configmap("owner"))["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    api.post(maps, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    assert api.call("DELETE", maps + "/owner", {"propagationPolicy": "Orphan"}).status_code == 200
    api.wait_gone(maps + "/owner")
    api.wait_for(maps + "/child", lambda child: "ownerReferences" not in child["metadata"])


@pytest.mark.controllers
def test_foreground_waits_for_dependents(api, maps):
    owner = api.post(maps, configmap("owner"))["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["uid"],
        "blockOwnerDeletion": True,
    }
    api.post(maps, {"metadata": {"name": "child", "ownerReferences": [reference], "finalizers": ["example.com/hold"]}})
    got = api.call("DELETE", maps + "/owner", {"propagationPolicy": "Foreground"}).json()
    assert got["metadata"]["finalizers"] == ["foregroundDeletion"]
    api.wait_for(maps + "/child", lambda child: "deletionTimestamp" in child["metadata"])
    assert api.call("GET", maps + "/owner").status_code == 200
    api.patch(maps + "/child", {"metadata": {"finalizers": None}})
    api.wait_gone(maps + "/child")
    api.wait_gone(maps + "/owner")


@pytest.mark.controllers
def test_namespace_deletion_removes_its_contents(api, ns):
    name = ns + "-gone"
    api.make_namespace(name)
    api.post(MAPS % name, configmap())
    api.post(f"/apis/apps/v1/namespaces/{name}/deployments", deployment(replicas=0))
    terminating = api.delete("/api/v1/namespaces/" + name)
    assert terminating["status"]["phase"] == "Terminating"
    refused = api.call("POST", MAPS % name, configmap("late"))
    assert refused.status_code in (403, 404)
    if refused.status_code == 403:
        assert refused.json()["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    api.wait_gone("/api/v1/namespaces/" + name)
    assert api.call("GET", MAPS % name + "/cm").status_code == 404


MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: Secret
metadata: {name: two}
stringData: {k: v}
"""


def test_kubectl_apply_thrice(kubectl):
    assert kubectl("apply", "-f", "-", input=MANIFEST) == "configmap/one created\nsecret/two created\n"
    second = kubectl("apply", "-f", "-", input=MANIFEST)
    # kubectl compares stringData with what it stored itself: a Secret written so is unchanged too.
    assert "configmap/one unchanged\n" in second
    third = kubectl("apply", "-f", "-", input=MANIFEST.replace(', b: "2"', ', c: "3"'))
    assert "configmap/one configured\n" in third
    assert kubectl("get", "configmap", "one", "-o", "jsonpath={.data}") == '{"a":"1","c":"3"}'
    assert kubectl("delete", "-f", "-", input=MANIFEST).splitlines() == [
        f'configmap "one" deleted{_where(kubectl)}',
        f'secret "two" deleted{_where(kubectl)}',
    ]


def _where(kubectl):
    """Newer versions of kubectl name the namespace."""
    return f" from {kubectl.namespace} namespace" if "from" in kubectl("delete", "configmap", "--all") else ""


def test_kubectl_apply_prune(kubectl):
    both = MANIFEST.replace("metadata: {name: one}", "metadata: {name: one, labels: {set: x}}")
    both = both.replace("metadata: {name: two}", "metadata: {name: two, labels: {set: x}}")
    kubectl("apply", "-f", "-", input=both)
    out = kubectl("apply", "-f", "-", "--prune", "-l", "set=x", input=both.split("---")[0])
    assert "secret/two pruned" in out
    assert "not found" in kubectl.fails("get", "secret", "two")


def test_kubectl_create_and_replace(kubectl):
    kubectl("create", "-f", "-", input=MANIFEST)
    assert "AlreadyExists" in kubectl.fails("create", "-f", "-", input=MANIFEST)
    out = kubectl("replace", "-f", "-", input=MANIFEST.replace('"1"', '"9"'))
    assert out == "configmap/one replaced\nsecret/two replaced\n"
    assert kubectl("get", "configmap", "one", "-o", "jsonpath={.data.a}") == "9"
    out = kubectl("replace", "--force", "-f", "-", input=MANIFEST)
    assert "configmap/one replaced" in out


def test_kubectl_refuses_an_unknown_field(kubectl):
    error = kubectl.fails("apply", "-f", "-", input="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nfoo: 1\n")
    assert 'unknown field "foo"' in error
    assert "not found" in kubectl.fails("get", "configmap", "x")


def test_kubectl_warns_of_an_unknown_field(kubectl):
    done = kubectl.run(
        "apply", "--validate=warn", "-f", "-", input="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nfoo: 1\n"
    )
    assert done.returncode == 0
    assert 'Warning: unknown field "foo"' in done.stderr


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (("configmap", "x", "--from-literal=a=b"), "configmap"),
        (("secret", "generic", "x", "--from-literal=a=b"), "secret"),
        (("secret", "docker-registry", "x", "--docker-username=u", "--docker-password=p"), "secret"),
        (("serviceaccount", "x"), "serviceaccount"),
        (("service", "clusterip", "x", "--tcp=80:8080"), "service"),
        (("service", "externalname", "x", "--external-name=example.com"), "service"),
        (("deployment", "x", "--image=busybox", "--replicas=0"), "deployment.apps"),
        (("job", "x", "--image=busybox", "--", "true"), "job.batch"),
        (("cronjob", "x", "--image=busybox", "--schedule=@daily", "--", "true"), "cronjob.batch"),
        (("role", "x", "--verb=get", "--resource=pods"), "role.rbac.authorization.k8s.io"),
        (("rolebinding", "x", "--clusterrole=view", "--user=u"), "rolebinding.rbac.authorization.k8s.io"),
        (("poddisruptionbudget", "x", "--selector=a=b", "--min-available=1"), "poddisruptionbudget.policy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_imperative_create(kubectl, args, kind):
    """Many of these commands send protobuf."""
    assert kubectl("create", *args) == f"{kind}/x created\n"
    assert kubectl("get", kind, "x", "-o", "name") == f"{kind}/x\n"


def test_imperative_namespace(kubectl):
    name = kubectl.namespace + "-two"
    try:
        assert kubectl("create", "namespace", name) == f"namespace/{name} created\n"
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def test_secret_values_travel_as_bytes(kubectl, api, ns):
    kubectl("create", "secret", "generic", "s", "--from-literal=a=grüße")
    assert api.get(f"/api/v1/namespaces/{ns}/secrets/s")["data"] == {"a": "Z3LDvMOfZQ=="}


def test_server_dry_run(kubectl):
    kubectl("create", "configmap", "x", "--dry-run=server")
    assert "not found" in kubectl.fails("get", "configmap", "x")


def test_get_many_as_a_list(kubectl):
    kubectl("apply", "-f", "-", input=MANIFEST)
    assert kubectl("get", "configmap/one", "secret/two", "-o", "name").split() == ["configmap/one", "secret/two"]


def test_custom_kind_of_the_user(kubectl, api, ns):
    group = f"{ns}.example.com"
    crd = obj(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "cars." + group,
        spec={
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "cars", "singular": "car", "kind": "Car", "shortNames": ["vw"], "categories": ["all"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "wheels": {
                                            "type": "integer",
                                            "minimum": 1,
                                            "default": 4,
                                            "description": "How many wheels.",
                                        }
                                    },
                                },
                                "status": {"type": "object", "properties": {"km": {"type": "integer"}}},
                            },
                        }
                    },
                    "additionalPrinterColumns": [{"name": "Wheels", "type": "integer", "jsonPath": ".spec.wheels"}],
                }
            ],
        },
    )
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    try:
        kubectl("wait", "--for=condition=Established", "crd/cars." + group, "--timeout=30s")
        car = f"apiVersion: {group}/v1\nkind: Car\nmetadata: {{name: mine}}\nspec: {{}}\n"
        assert kubectl("apply", "-f", "-", input=car) == f"car.{group}/mine created\n"
        assert kubectl("get", "car", "mine").splitlines()[1].split() == ["mine", "4"]
        assert kubectl("get", "vw", "-o", "name") == f"car.{group}/mine\n"
        assert f"car.{group}/mine" in kubectl("get", "all", "-o", "name")
        assert "wheels" in kubectl.fails("apply", "-f", "-", input=car.replace("{}", "{wheels: 0}"))
        assert "How many wheels." in kubectl("explain", "car.spec.wheels")
        kubectl("patch", "car", "mine", "--subresource=status", "--type=merge", "-p", '{"status":{"km":7}}')
        assert kubectl("get", "car", "mine", "-o", "jsonpath={.status.km}") == "7"
    finally:
        api.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/cars." + group)
    api.wait_gone(f"/apis/{group}/v1/namespaces/{ns}/cars")


def test_services_made_at_once_have_addresses_and_ports_of_their_own(api, ns):
    def make(i):
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"s{i}"},
            "spec": {"type": "NodePort", "ports": [{"port": 80}]},
        }
        return api.post(f"/api/v1/namespaces/{ns}/services", body)["spec"]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        made = list(pool.map(make, range(64)))
    assert len({s["clusterIP"] for s in made}) == 64
    assert len({s["ports"][0]["nodePort"] for s in made}) == 64
