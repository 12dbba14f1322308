"""Changes that the server refuses: writes that lose, broken patches, applies in conflict."""

from .shapes import configmap, container, deployment, obj, pod, service, template
from .widgets import WIDGETS, widget, with_crd
from .words import APPLY, JSON_PATCH, MERGE, STRATEGIC, Cases, create, delete, have, patch, path, read, step, update

CASES = Cases()
case, bad = CASES.case, CASES.bad


# ---- writes that lose ------------------------------------------------------------------------------------------------

case(
    "conflict/stale-put",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {"a": "1"}}, setup=True),
    update("configmaps", "cm", {**configmap(), "metadata": {"name": "cm", "resourceVersion": "{rv:0}"}}),
)
case(
    "conflict/stale-patch",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {"a": "1"}}, setup=True),
    patch("configmaps", "cm", {"metadata": {"resourceVersion": "{rv:0}"}, "data": {"b": "2"}}),
)
case(
    "conflict/stale-delete",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {"a": "1"}}, setup=True),
    delete("configmaps", "cm", {"preconditions": {"resourceVersion": "{rv:0}"}}),
)
case(
    "conflict/other-uid-delete",
    have("configmaps", configmap()),
    delete("configmaps", "cm", {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}}),
)
case(
    "conflict/other-uid-put",
    have("configmaps", configmap()),
    update(
        "configmaps", "cm", {**configmap(), "metadata": {"name": "cm", "uid": "11111111-1111-1111-1111-111111111111"}}
    ),
)
case(
    "conflict/bad-version-put",
    have("configmaps", configmap()),
    update("configmaps", "cm", {**configmap(), "metadata": {"name": "cm", "resourceVersion": "abc"}}),
)
case(
    "conflict/put-without-version",
    have("configmaps", configmap()),
    update("configmaps", "cm", {**configmap(), "data": {"z": "1"}}),
)
case("delete/bad-options", have("configmaps", configmap()), delete("configmaps", "cm", {"gracePeriodSeconds": "soon"}))
case(
    "delete/bad-propagation",
    have("configmaps", configmap()),
    delete("configmaps", "cm", {"propagationPolicy": "Sideways"}),
)
case(
    "delete/propagation-and-orphan",
    have("configmaps", configmap()),
    delete("configmaps", "cm", {"propagationPolicy": "Background", "orphanDependents": True}),
)
case("delete/negative-grace", have("pods", pod()), delete("pods", "p", {"gracePeriodSeconds": -5}))
case("delete/answer-configmap", have("configmaps", configmap()), delete("configmaps", "cm"))
case(
    "delete/answer-pod-force",
    have("pods", pod()),
    delete("pods", "p", {"gracePeriodSeconds": 0}, drop=["status", "spec.nodeName"]),
)
case(
    "delete/answer-deployment",
    have("deployments", deployment()),
    delete("deployments", "d", {"propagationPolicy": "Background"}),
)
case("delete/answer-service", have("services", service()), delete("services", "svc"))
case(
    "delete/answer-service-account",
    have("serviceaccounts", obj("v1", "ServiceAccount", "sa")),
    delete("serviceaccounts", "sa"),
)
case(
    "delete/foreground",
    have("deployments", {**deployment(replicas=0), "metadata": {"name": "d", "finalizers": ["example.com/keep"]}}),
    delete("deployments", "d", {"propagationPolicy": "Foreground"}, drop=["status", "metadata.annotations"]),
)
case(
    "delete/orphan",
    have("configmaps", {**configmap(), "metadata": {"name": "cm", "finalizers": ["example.com/keep"]}}),
    delete("configmaps", "cm", {"propagationPolicy": "Orphan"}),
)
case(
    "delete/finalizer",
    have("configmaps", {**configmap(), "metadata": {"name": "cm", "finalizers": ["example.com/keep"]}}),
    delete("configmaps", "cm"),
    patch("configmaps", "cm", {"metadata": {"finalizers": ["example.com/keep", "example.com/new"]}}),
    patch("configmaps", "cm", {"data": {"still": "writable"}}),
    delete("configmaps", "cm"),
    patch("configmaps", "cm", {"metadata": {"finalizers": None}}),
    read("configmaps", "cm"),
)
case(
    "delete/collection",
    *[
        have("configmaps", {**configmap(n), "metadata": {"name": n, "labels": {"k": v}}})
        for n, v in (("a", "1"), ("b", "1"), ("c", "2"))
    ],
    step("DELETE", path("configmaps"), query={"labelSelector": "k=1"}),
    read("configmaps", query={"labelSelector": "k"}),
)
case(
    "delete/dry-run",
    have("configmaps", configmap()),
    delete("configmaps", "cm", query={"dryRun": "All"}),
    read("configmaps", "cm"),
)
case("dry-run/create", create("configmaps", configmap(), query={"dryRun": "All"}), read("configmaps", "cm"))
case("dry-run/bad", create("configmaps", configmap(), query={"dryRun": "Some"}))
case(
    "dry-run/patch",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {"a": "b"}}, query={"dryRun": "All"}),
    read("configmaps", "cm"),
)
case(
    "dry-run/generate-name",
    create(
        "configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-"}},
        query={"dryRun": "All"},
    ),
)
case("manager/too-long", create("configmaps", configmap(), query={"fieldManager": "m" * 129}))
case("manager/not-printable", create("configmaps", configmap(), query={"fieldManager": "a\u0001b"}))

# ---- patches -----------------------------------------------------------------------------------------------------------

case(
    "patch/wrong-type",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {}}, type="application/json"),
)
case("patch/no-such-type", have("configmaps", configmap()), patch("configmaps", "cm", {"data": {}}, type="text/plain"))
case(
    "patch/json-missing-path",
    have("configmaps", configmap()),
    patch("configmaps", "cm", [{"op": "remove", "path": "/data/x"}], type=JSON_PATCH),
)
case(
    "patch/json-replace-missing",
    have("configmaps", configmap(data={"a": "b"})),
    patch("configmaps", "cm", [{"op": "replace", "path": "/data/x", "value": "y"}], type=JSON_PATCH),
)
case(
    "patch/json-add-below-missing",
    have("configmaps", configmap()),
    patch("configmaps", "cm", [{"op": "add", "path": "/data/x", "value": "y"}], type=JSON_PATCH),
)
case(
    "patch/json-test-fails",
    have("configmaps", configmap(data={"a": "b"})),
    patch("configmaps", "cm", [{"op": "test", "path": "/data/a", "value": "c"}], type=JSON_PATCH),
)
case(
    "patch/json-unknown-op",
    have("configmaps", configmap()),
    patch("configmaps", "cm", [{"op": "frobnicate", "path": "/data"}], type=JSON_PATCH),
)
case(
    "patch/json-not-a-list", have("configmaps", configmap()), patch("configmaps", "cm", {"op": "add"}, type=JSON_PATCH)
)
case(
    "patch/json-copy-move",
    have("configmaps", configmap(data={"a": "b", "c": "d"})),
    patch(
        "configmaps",
        "cm",
        [{"op": "copy", "from": "/data/a", "path": "/data/e"}, {"op": "move", "from": "/data/c", "path": "/data/f"}],
        type=JSON_PATCH,
    ),
)
case(
    "patch/json-to-wrong-type",
    have("configmaps", configmap(data={"a": "b"})),
    patch("configmaps", "cm", [{"op": "replace", "path": "/data/a", "value": 5}], type=JSON_PATCH),
)
case(
    "patch/json-breaks-the-name",
    have("configmaps", configmap()),
    patch("configmaps", "cm", [{"op": "replace", "path": "/metadata/name", "value": "other"}], type=JSON_PATCH),
)
case("patch/merge-not-an-object", have("configmaps", configmap()), patch("configmaps", "cm", "[]", type=MERGE))
case("patch/merge-not-json", have("configmaps", configmap()), patch("configmaps", "cm", "{", type=MERGE))
case("patch/merge-name", have("configmaps", configmap()), patch("configmaps", "cm", {"metadata": {"name": "other"}}))
case("patch/merge-kind", have("configmaps", configmap()), patch("configmaps", "cm", {"kind": "Secret"}))
case(
    "patch/merge-wrong-type-of-field",
    have("deployments", deployment()),
    patch("deployments", "d", {"spec": {"replicas": "three"}}),
)
case(
    "patch/strategic-wrong-type-of-field",
    have("deployments", deployment()),
    patch("deployments", "d", {"spec": {"template": {"spec": {"containers": "x"}}}}, type=STRATEGIC),
)
case(
    "patch/strategic-no-merge-key",
    have("deployments", deployment()),
    patch("deployments", "d", {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}, type=STRATEGIC),
)
case(
    "patch/strategic-bad-directive",
    have("deployments", deployment()),
    patch(
        "deployments",
        "d",
        {"spec": {"template": {"spec": {"containers": [{"name": "c", "$patch": "explode"}]}}}},
        type=STRATEGIC,
    ),
)
case(
    "patch/strategic-on-custom",
    with_crd(
        step("POST", WIDGETS, widget(), setup=True),
        step("PATCH", WIDGETS + "/w", {"spec": {"size": 4}}, type=STRATEGIC),
    ),
)
case("patch/empty-merge", have("configmaps", configmap()), patch("configmaps", "cm", {}))
case("patch/to-invalid", have("services", service()), patch("services", "svc", {"spec": {"ports": [{"port": 70000}]}}))

# ---- server-side apply ---------------------------------------------------------------------------------------------------

case("apply/no-manager", patch("configmaps", "cm", configmap(), type=APPLY))
case(
    "apply/conflict",
    patch(
        "configmaps", "cm", configmap(data={"a": "1", "b": "1"}), type=APPLY, query={"fieldManager": "one"}, setup=True
    ),
    patch("configmaps", "cm", configmap(data={"a": "2"}), type=APPLY, query={"fieldManager": "two"}),
    patch(
        "configmaps",
        "cm",
        configmap(data={"a": "2", "b": "2"}),
        type=APPLY,
        query={"fieldManager": "two", "force": "false"},
    ),
    patch("configmaps", "cm", configmap(data={"a": "2"}), type=APPLY, query={"fieldManager": "two", "force": "true"}),
    patch("configmaps", "cm", configmap(data={"a": "1"}), type=APPLY, query={"fieldManager": "one"}),
)
case(
    "apply/conflict-with-update",
    create("configmaps", configmap(data={"a": "1"}), query={"fieldManager": "maker"}, setup=True),
    patch("configmaps", "cm", configmap(data={"a": "2"}), type=APPLY, query={"fieldManager": "two"}),
)
case(
    "apply/conflict-nested",
    patch("deployments", "d", deployment(replicas=2), type=APPLY, query={"fieldManager": "one"}, setup=True),
    patch(
        "deployments",
        "d",
        deployment(replicas=3, tmpl=template(containers=[container(image="other")])),
        type=APPLY,
        query={"fieldManager": "two"},
    ),
)
case(
    "apply/force-without-apply",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {"a": "b"}}, query={"force": "true"}),
)
case("apply/other-name", patch("configmaps", "cm", configmap("other"), type=APPLY, query={"fieldManager": "m"}))
case(
    "apply/other-kind",
    patch(
        "configmaps",
        "cm",
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cm"}},
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
case("apply/no-kind", patch("configmaps", "cm", {"metadata": {"name": "cm"}}, type=APPLY, query={"fieldManager": "m"}))
case(
    "apply/managed-fields-given",
    patch(
        "configmaps",
        "cm",
        {**configmap(), "metadata": {"name": "cm", "managedFields": [{"manager": "x"}]}},
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
case(
    "apply/no-name",
    patch("configmaps", "cm", {"apiVersion": "v1", "kind": "ConfigMap"}, type=APPLY, query={"fieldManager": "m"}),
)
case(
    "apply/duplicate-key",
    patch(
        "deployments",
        "d",
        deployment(tmpl=template(containers=[container(), container(image="x")])),
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
case(
    "apply/missing-key",
    patch(
        "deployments",
        "d",
        deployment(tmpl=template(containers=[{"image": "x"}])),
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
case("apply/wrong-type", patch("deployments", "d", deployment(replicas="x"), type=APPLY, query={"fieldManager": "m"}))
case("apply/not-yaml", patch("configmaps", "cm", "a: [", type=APPLY, query={"fieldManager": "m"}))
case("apply/invalid", patch("services", "svc", service(ports=[{"port": 0}]), type=APPLY, query={"fieldManager": "m"}))
case(
    "apply/stale-version",
    have("configmaps", configmap()),
    patch("configmaps", "cm", {"data": {"a": "1"}}, setup=True),
    patch(
        "configmaps",
        "cm",
        {**configmap(), "metadata": {"name": "cm", "resourceVersion": "{rv:0}"}},
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
case(
    "apply/new-with-version",
    patch(
        "configmaps",
        "cm",
        {**configmap(), "metadata": {"name": "cm", "resourceVersion": "1"}},
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
case(
    "apply/new-with-uid",
    patch(
        "configmaps",
        "cm",
        {**configmap(), "metadata": {"name": "cm", "uid": "11111111-1111-1111-1111-111111111111"}},
        type=APPLY,
        query={"fieldManager": "m"},
    ),
)
