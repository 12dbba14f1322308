"""Broken and borderline requests: names, documents, addresses, lists and watches."""

from .shapes import configmap, container, deployment, obj, pod, service
from .words import APPLY, IGNORE, STRICT, WARN, Cases, create, delete, have, patch, path, read, step, update

CASES = Cases()
case, bad = CASES.case, CASES.bad


# ---- names and metadata ------------------------------------------------------------------------------------------

bad("meta/no-name", "configmaps", {"apiVersion": "v1", "kind": "ConfigMap"})
bad("meta/upper-case-name", "configmaps", configmap("Upper"))
bad("meta/underscore-name", "configmaps", configmap("a_b"))
bad("meta/long-name", "configmaps", configmap("a" * 254))
bad("meta/long-service-name", "services", service("a" * 64))
bad("meta/service-name-starts-with-digit", "services", service("1abc"))
bad("meta/dot-in-service-name", "services", service("a.b"))
bad("meta/slash-name", "configmaps", configmap("a/b"))
bad("meta/dots-name", "configmaps", configmap(".."))
bad("meta/path-segment-role-name", "roles", obj("rbac.authorization.k8s.io/v1", "Role", "a%b", rules=[]))
bad("meta/namespace-name", "namespaces", obj("v1", "Namespace", "Bad_Name"))
bad("meta/label-value", "configmaps", {**configmap(), "metadata": {"name": "cm", "labels": {"a": "-bad-"}}})
bad("meta/label-value-too-long", "configmaps", {**configmap(), "metadata": {"name": "cm", "labels": {"a": "x" * 64}}})
bad("meta/label-key", "configmaps", {**configmap(), "metadata": {"name": "cm", "labels": {"a/b/c": "x"}}})
bad("meta/label-key-empty", "configmaps", {**configmap(), "metadata": {"name": "cm", "labels": {"": "x"}}})
bad("meta/label-number", "configmaps", {**configmap(), "metadata": {"name": "cm", "labels": {"a": 1}}})
bad("meta/annotation-key", "configmaps", {**configmap(), "metadata": {"name": "cm", "annotations": {"-a": "x"}}})
bad(
    "meta/annotation-too-large",
    "configmaps",
    {**configmap(), "metadata": {"name": "cm", "annotations": {"a": "x" * 263000}}},
)
bad("meta/annotation-bool", "configmaps", {**configmap(), "metadata": {"name": "cm", "annotations": {"a": True}}})
bad("meta/finalizer-name", "configmaps", {**configmap(), "metadata": {"name": "cm", "finalizers": ["no slash here"]}})
bad("meta/finalizer-unqualified", "configmaps", {**configmap(), "metadata": {"name": "cm", "finalizers": ["nodomain"]}})
bad(
    "meta/owner-without-uid",
    "configmaps",
    {**configmap(), "metadata": {"name": "cm", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}},
)
bad(
    "meta/owner-two-controllers",
    "configmaps",
    {
        **configmap(),
        "metadata": {
            "name": "cm",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in ("x", "y")
            ],
        },
    },
)
bad("meta/owner-empty", "configmaps", {**configmap(), "metadata": {"name": "cm", "ownerReferences": [{}]}})
bad("meta/generate-name", "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-"}})
case(
    "meta/generate-name-bad",
    create(
        "configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "Gen_"}},
        drop=["message", "details"],
    ),
)
case(
    "meta/generate-name-long",
    create(
        "configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g" * 300}},
        drop=["message", "details"],
    ),
)
bad(
    "meta/name-beside-generate-name",
    "configmaps",
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "generateName": "g-"}},
)
bad("meta/other-namespace", "configmaps", {**configmap(), "metadata": {"name": "cm", "namespace": "elsewhere"}})
bad(
    "meta/resource-version-on-create", "configmaps", {**configmap(), "metadata": {"name": "cm", "resourceVersion": "5"}}
)
bad("meta/uid-on-create", "configmaps", {**configmap(), "metadata": {"name": "cm", "uid": "abc"}})
bad("meta/metadata-is-a-list", "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": []})
bad(
    "meta/self-link-and-cluster-fields",
    "configmaps",
    {
        **configmap(),
        "metadata": {"name": "cm", "selfLink": "/x", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z"},
    },
)
bad("meta/bad-time", "configmaps", {**configmap(), "metadata": {"name": "cm", "creationTimestamp": "yesterday"}})

# ---- the document as such ------------------------------------------------------------------------------------------

case("body/empty", step("POST", path("configmaps"), ""))
case("body/not-json", step("POST", path("configmaps"), "{"))
case("body/a-list", step("POST", path("configmaps"), "[]"))
case("body/a-string", step("POST", path("configmaps"), '"x"'))
case("body/null", step("POST", path("configmaps"), "null"))
case(
    "body/yaml",
    step(
        "POST",
        path("configmaps"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\ndata:\n  a: b\n",
        type="application/yaml",
    ),
)
case("body/bad-yaml", step("POST", path("configmaps"), "a: [\n", type="application/yaml"))
case("body/wrong-content-type", step("POST", path("configmaps"), "x", type="text/plain"))
case("body/form-content-type", step("POST", path("configmaps"), "a=b", type="application/x-www-form-urlencoded"))
bad("body/no-kind", "configmaps", {"metadata": {"name": "nokind"}})
bad("body/other-kind", "configmaps", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
bad("body/other-group", "configmaps", {"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
bad("body/unknown-kind", "configmaps", {"apiVersion": "v1", "kind": "Nonsense", "metadata": {"name": "x"}})
bad("body/old-version", "deployments", {**deployment(), "apiVersion": "extensions/v1beta1"})
bad("body/list-kind", "configmaps", {"apiVersion": "v1", "kind": "List", "items": []})
bad("body/api-version-number", "configmaps", {"apiVersion": 1, "kind": "ConfigMap", "metadata": {"name": "x"}})
bad("strict/unknown-top", "configmaps", {**configmap(), "foo": 1}, **STRICT)
bad(
    "strict/unknown-nested",
    "pods",
    pod(foo=1, containers=[container(bar=2, env=[{"name": "A", "valeu": "x"}])]),
    **STRICT,
)
bad("strict/unknown-in-metadata", "configmaps", {**configmap(), "metadata": {"name": "cm", "label": {}}}, **STRICT)
case(
    "strict/duplicate",
    step(
        "POST",
        path("configmaps"),
        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"b"},"data":{"x":"1","x":"2"}}',
        query=STRICT,
    ),
)
case(
    "strict/unknown-and-duplicate",
    step(
        "POST",
        path("deployments"),
        '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"replicas":1,"replicas":2,"x":1,"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"c","image":"i","y":1}]}}}}',
        query=STRICT,
    ),
)
case(
    "strict/duplicate-yaml",
    step(
        "POST",
        path("configmaps"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n  x: '2'\n",
        type="application/yaml",
        query=STRICT,
    ),
)
bad(
    "strict/case-of-a-field",
    "pods",
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "Spec": {"containers": [container()]}},
    **STRICT,
)
bad("warn/unknown", "configmaps", {**configmap(), "foo": 1, "metadata": {"name": "cm", "bar": 2}}, **WARN)
case(
    "warn/duplicate",
    step(
        "POST",
        path("configmaps"),
        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","x":"2"}}',
        query=WARN,
    ),
)
bad("warn/is-default", "configmaps", {**configmap(), "foo": 1})
bad("ignore/unknown", "configmaps", {**configmap(), "foo": 1}, **IGNORE)
bad("validation/bad-mode", "configmaps", configmap(), fieldValidation="Loose")
case(
    "strict/patch",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"foo": 1, "data": {"a": "b"}}, query=STRICT),
)
case("strict/put", have("configmaps", configmap()), update("configmaps", "cm", {**configmap(), "foo": 1}, query=STRICT))
case(
    "strict/apply",
    patch("configmaps", "cm", {**configmap(), "foo": 1}, type=APPLY, query={**STRICT, "fieldManager": "m"}),
)
case(
    "warn/apply", patch("configmaps", "cm", {**configmap(), "foo": 1}, type=APPLY, query={**WARN, "fieldManager": "m"})
)
case(
    "warn/patch", have("configmaps", configmap()), patch("configmaps", "cm", {"foo": 1, "data": {"a": "b"}}, query=WARN)
)

# ---- addresses -----------------------------------------------------------------------------------------------------

case("path/unknown-plural", step("GET", "/api/v1/namespaces/{ns}/widgets"))
case("path/unknown-group", step("GET", "/apis/nothing.example.com/v1/things"))
case("path/unknown-version", step("GET", "/apis/apps/v9/deployments"))
case("path/unknown-sub", read("pods", "x/nonsense"))
case("path/not-found", read("configmaps", "missing"))
case("path/not-found-group", read("deployments", "missing"))
case("path/delete-not-found", delete("secrets", "missing"))
case("path/put-not-found", update("configmaps", "missing", configmap("missing")))
case(
    "path/put-not-found-with-uid",
    update("configmaps", "missing", {**configmap("missing"), "metadata": {"name": "missing", "uid": "abc"}}),
)
case("path/patch-not-found", patch("configmaps", "missing", {"data": {}}))
case("path/other-name", have("configmaps", configmap()), update("configmaps", "cm", configmap("other")))
case("path/namespace-missing", step("POST", "/api/v1/namespaces/no-such-ns/configmaps", configmap()))
case("path/list-of-missing-namespace", step("GET", "/api/v1/namespaces/no-such-ns/configmaps"))
case("path/post-to-name", step("POST", path("configmaps", "x"), configmap()))
case("path/put-to-collection", step("PUT", path("configmaps"), configmap()))
case("path/delete-collection-of-namespaces", step("DELETE", "/api/v1/namespaces"))
case("path/namespaced-as-cluster-wide", step("POST", "/api/v1/configmaps", configmap()))
case("path/cluster-wide-as-namespaced", step("GET", "/api/v1/namespaces/{ns}/nodes"))
case("path/root-unknown", step("GET", "/nonsense"))
case("path/method", step("OPTIONS", path("configmaps")))
case("path/exists", have("configmaps", configmap()), create("configmaps", configmap()))
case("path/exists-group", have("deployments", deployment()), create("deployments", deployment()))
case("path/accept", step("GET", path("configmaps"), accept="text/html"))
case("path/accept-unknown-as", step("GET", path("configmaps"), accept="application/json;as=Nothing;v=v1;g=meta.k8s.io"))
case("path/delete-default-namespace", step("DELETE", "/api/v1/namespaces/default", query={"dryRun": "All"}))

# ---- lists and watches ---------------------------------------------------------------------------------------------

case("list/bad-label-selector", read("configmaps", query={"labelSelector": "a in b"}))
case("list/bad-label-selector-key", read("configmaps", query={"labelSelector": "-a=b"}))
case("list/bad-label-selector-value", read("configmaps", query={"labelSelector": "a=b b"}))
case("list/bad-label-selector-operator", read("configmaps", query={"labelSelector": "a=>b"}))
case("list/bad-field-selector", read("configmaps", query={"fieldSelector": "data.x=1"}))
case("list/field-selector-operator", read("configmaps", query={"fieldSelector": "metadata.name>1"}))
case("list/field-selector-no-operator", read("configmaps", query={"fieldSelector": "metadata.name"}))
case("list/field-selector-of-pods", read("pods", query={"fieldSelector": "spec.image=x"}))
case(
    "list/field-selectors-that-work",
    read(
        "pods",
        query={
            "fieldSelector": "spec.nodeName=,status.phase!=Running,spec.restartPolicy=Always,spec.serviceAccountName=x,spec.schedulerName=y,status.podIP=,spec.hostNetwork=false,status.nominatedNodeName="
        },
    ),
)
case(
    "list/field-selector-of-events",
    read(
        "events",
        query={
            "fieldSelector": "involvedObject.kind=Pod,involvedObject.namespace={ns},involvedObject.name=x,involvedObject.uid=u,involvedObject.apiVersion=v1,involvedObject.resourceVersion=1,involvedObject.fieldPath=x,reason=r,type=Normal,source=s,reportingComponent=z"
        },
    ),
)
case("list/field-selector-of-secrets", read("secrets", query={"fieldSelector": "type=Opaque"}))
case("list/field-selector-of-jobs", read("jobs", query={"fieldSelector": "status.successful=0"}))
case(
    "list/field-selector-of-services",
    read("services", query={"fieldSelector": "spec.clusterIP=None,spec.type=ClusterIP"}),
)
case(
    "list/field-selector-of-namespaces",
    step("GET", "/api/v1/namespaces", query={"fieldSelector": "metadata.name={ns},status.phase=Active"}),
)
case("list/bad-limit", read("configmaps", query={"limit": "many"}))
case("list/negative-limit", read("configmaps", query={"limit": "-1"}))
case("list/bad-continue", read("configmaps", query={"limit": "1", "continue": "nonsense"}))
case("list/bad-continue-base64", read("configmaps", query={"limit": "1", "continue": "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"}))
case(
    "list/continue-and-resource-version",
    have("secrets", obj("v1", "Secret", "a")),
    have("secrets", obj("v1", "Secret", "b")),
    read("secrets", query={"limit": "1"}),
    read("secrets", query={"limit": "1", "continue": "{continue:2}", "resourceVersion": "{rv:2}"}),
)
case(
    "list/pages",
    *[have("secrets", obj("v1", "Secret", n)) for n in "abc"],
    read("secrets", query={"limit": "2", "labelSelector": "!x"}),
    read("secrets", query={"limit": "2"}),
    read("secrets", query={"limit": "2", "continue": "{continue:4}"}),
)
case("list/bad-resource-version", read("configmaps", query={"resourceVersion": "abc"}))
case("list/bad-resource-version-match", read("configmaps", query={"resourceVersionMatch": "Exact"}))
case(
    "list/resource-version-match-unknown",
    read("configmaps", query={"resourceVersion": "1", "resourceVersionMatch": "Nearly"}),
)
case("list/future-resource-version", read("configmaps", query={"resourceVersion": "99999999999"}))
case("list/exact-with-zero", read("configmaps", query={"resourceVersion": "0", "resourceVersionMatch": "Exact"}))
case(
    "list/get-bad-resource-version",
    have("configmaps", configmap()),
    read("configmaps", "cm", query={"resourceVersion": "abc"}),
)
case(
    "watch/too-old", read("configmaps", query={"watch": "true", "resourceVersion": "1", "timeoutSeconds": "2"}, watch=1)
)
case(
    "watch/bad-version",
    read("configmaps", query={"watch": "true", "resourceVersion": "abc", "timeoutSeconds": "2"}, watch=1),
)
case(
    "watch/bad-selector",
    read("configmaps", query={"watch": "true", "labelSelector": "=", "timeoutSeconds": "2"}, watch=1),
)
case(
    "watch/field-selector",
    read("configmaps", query={"watch": "true", "fieldSelector": "data.x=1", "timeoutSeconds": "2"}, watch=1),
)
case("watch/bad-timeout", read("configmaps", query={"watch": "true", "timeoutSeconds": "soon"}, watch=1))
case(
    "watch/existing",
    have("configmaps", configmap()),
    read("configmaps", query={"watch": "true", "timeoutSeconds": "2", "fieldSelector": "metadata.name=cm"}, watch=1),
)
case(
    "watch/selected",
    have("configmaps", {**configmap(), "metadata": {"name": "cm", "labels": {"a": "1"}}}),
    patch("configmaps", "cm", {"metadata": {"labels": {"a": "2"}}}, setup=True),
    patch("configmaps", "cm", {"metadata": {"labels": {"a": "1"}}}, setup=True),
    delete("configmaps", "cm", setup=True),
    read(
        "configmaps",
        query={"watch": "true", "timeoutSeconds": "2", "resourceVersion": "{rv:0}", "labelSelector": "a=1"},
        watch=3,
    ),
)
case(
    "watch/send-initial-events-alone",
    read("configmaps", query={"watch": "true", "sendInitialEvents": "true", "timeoutSeconds": "1"}, watch=1),
)
