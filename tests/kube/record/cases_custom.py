"""Broken custom resource definitions, broken objects of a custom kind, and the reviews."""

from .shapes import job, obj
from .widgets import WIDGETS, crd, widget, with_crd
from .words import APPLY, JSON_PATCH, MERGE, STRICT, WARN, Cases, path, step

CASES = Cases()
case, bad = CASES.case, CASES.bad


# ---- CustomResourceDefinition and its objects ----------------------------------------------------------------------------------------

CRDS = "customresourcedefinitions"
bad("crd/name", CRDS, crd(name="wrong.{ns}.example.com"))
bad("crd/no-spec", CRDS, obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "x.{ns}.example.com"))
bad("crd/scope", CRDS, crd(scope="Global"))
bad("crd/no-schema", CRDS, crd(version={"schema": None}))
bad("crd/no-versions", CRDS, crd(versions=[]))
bad("crd/no-storage", CRDS, crd(version={"storage": False}))
bad(
    "crd/two-storage",
    CRDS,
    crd(
        versions=[
            {"name": n, "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            for n in ("v1", "v2")
        ]
    ),
)
bad("crd/version-name", CRDS, crd(version={"name": "V_1"}))
bad(
    "crd/schema-not-structural",
    CRDS,
    crd(schema={"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}}),
)
bad("crd/schema-root-type", CRDS, crd(schema={"type": "array", "items": {"type": "string"}}))
bad("crd/schema-unknown-type", CRDS, crd(schema={"type": "object", "properties": {"a": {"type": "date"}}}))
bad("crd/schema-ref", CRDS, crd(schema={"type": "object", "properties": {"a": {"$ref": "#/x"}}}))
bad("crd/schema-pattern", CRDS, crd(schema={"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}))
bad(
    "crd/schema-default", CRDS, crd(schema={"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}})
)
bad(
    "crd/schema-metadata",
    CRDS,
    crd(
        schema={
            "type": "object",
            "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
        }
    ),
)
bad("crd/schema-preserve-and-type", CRDS, crd(schema={"type": "object", "x-kubernetes-preserve-unknown-fields": False}))
bad(
    "crd/schema-list-map",
    CRDS,
    crd(
        schema={
            "type": "object",
            "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}},
        }
    ),
)
bad(
    "crd/columns",
    CRDS,
    crd(version={"additionalPrinterColumns": [{"name": "", "type": "money", "jsonPath": "spec.x"}]}),
)
bad(
    "crd/scale",
    CRDS,
    crd(version={"subresources": {"scale": {"specReplicasPath": "spec.n", "statusReplicasPath": ".spec.n"}}}),
)
bad(
    "crd/names",
    CRDS,
    crd(
        names={
            "plural": "widgets",
            "singular": "Wid_get",
            "kind": "1Widget",
            "listKind": "1Widget",
            "shortNames": ["W!"],
            "categories": ["A B"],
        }
    ),
)
bad("crd/conversion", CRDS, crd(conversion={"strategy": "Webhook"}))
bad(
    "crd/protected-group",
    CRDS,
    {**crd(), "metadata": {"name": "widgets.things.k8s.io"}, "spec": {**crd()["spec"], "group": "things.k8s.io"}},
)
case(
    "crd/scope-changes",
    with_crd(step("PATCH", path(CRDS, "widgets.{ns}.example.com"), {"spec": {"scope": "Cluster"}}, type=MERGE)),
)


def widget_case(name, body, **query):
    case("custom/" + name, with_crd(step("POST", WIDGETS, body, query=query or None)))


widget_case("good", widget(), **STRICT)
widget_case("missing-required", obj("{ns}.example.com/v1", "Widget", "w", spec={}))
widget_case("wrong-type", widget(size="3"))
widget_case("range", widget(size=11))
widget_case("minimum", widget(size=0))
widget_case("enum", widget(color="blue"))
widget_case("pattern", widget(label="UPPER"))
widget_case("max-length", widget(label="abcdefgh"))
widget_case("max-items", widget(parts=[{"id": x} for x in "abc"]))
widget_case("list-map-twice", widget(parts=[{"id": "a"}, {"id": "a"}]))
widget_case("list-map-key-missing", widget(parts=[{}]))
widget_case("int-or-string", widget(port=True))
widget_case("null-where-not-allowed", widget(label=None))
widget_case("null-where-allowed", widget(note=None))
widget_case("multiple-of", widget(ratio=0.3))
widget_case("several", widget(size="x", color="blue", label=5))
widget_case("unknown-field-pruned", widget(other=1))
widget_case("unknown-field-strict", {**widget(other=1), "top": 2}, **STRICT)
widget_case("unknown-field-warn", widget(other=1), **WARN)
widget_case("preserved", widget(extra={"any": {"thing": [1, "2"]}}), **STRICT)
widget_case("spec-is-a-list", {**widget(), "spec": []})
widget_case("no-spec", obj("{ns}.example.com/v1", "Widget", "w"))
widget_case("wrong-version", {**widget(), "apiVersion": "{ns}.example.com/v2"})
widget_case("wrong-kind", {**widget(), "kind": "Gadget"})
widget_case("no-kind", {"metadata": {"name": "w"}, "spec": {"size": 3}})
widget_case("bad-name", widget("Bad_Name"))
widget_case("metadata-unknown-strict", {**widget(), "metadata": {"name": "w", "foo": "bar"}}, **STRICT)
widget_case("metadata-wrong-type", {**widget(), "metadata": {"name": "w", "labels": "x"}})
case(
    "custom/status-without-subresource",
    with_crd(
        step("POST", WIDGETS, widget(), setup=True),
        step("PATCH", WIDGETS + "/w/status", {"status": {"phase": "x"}}, type=MERGE),
    ),
)
case(
    "custom/generation",
    with_crd(
        step("POST", WIDGETS, widget()),
        step("PATCH", WIDGETS + "/w", {"spec": {"size": 4}}, type=MERGE),
        step("PATCH", WIDGETS + "/w", {"metadata": {"labels": {"a": "b"}}}, type=MERGE),
        step("PATCH", WIDGETS + "/w", {"status": {"phase": "x"}}, type=MERGE),
    ),
)
case(
    "custom/status-subresource",
    with_crd(
        step("POST", WIDGETS, {**widget(), "status": {"phase": "given"}}),
        step("PATCH", WIDGETS + "/w", {"status": {"phase": "x"}}, type=MERGE),
        step("PATCH", WIDGETS + "/w/status", {"status": {"phase": "y"}, "spec": {"size": 9}}, type=MERGE),
        step("PATCH", WIDGETS + "/w/status", {"status": {"phase": 5}}, type=MERGE),
        version={"subresources": {"status": {}}},
    ),
)
case(
    "custom/put-without-version",
    with_crd(step("POST", WIDGETS, widget(), setup=True), step("PUT", WIDGETS + "/w", widget(size=4))),
)
case(
    "custom/apply",
    with_crd(
        step("PATCH", WIDGETS + "/w", widget(), type=APPLY, query={"fieldManager": "m"}),
        step("PATCH", WIDGETS + "/w", widget(size=5), type=APPLY, query={"fieldManager": "n"}),
    ),
)
case(
    "custom/json-patch",
    with_crd(
        step("POST", WIDGETS, widget(), setup=True),
        step("PATCH", WIDGETS + "/w", [{"op": "replace", "path": "/spec/size", "value": 50}], type=JSON_PATCH),
    ),
)

# ---- reviews ---------------------------------------------------------------------------------------------------------------------------

AUTHZ = "authorization.k8s.io/v1"
bad(
    "review/self-empty",
    "selfsubjectaccessreviews",
    {"apiVersion": AUTHZ, "kind": "SelfSubjectAccessReview", "spec": {}},
)
bad(
    "review/self-both",
    "selfsubjectaccessreviews",
    {
        "apiVersion": AUTHZ,
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {"verb": "get", "resource": "pods"},
            "nonResourceAttributes": {"verb": "get", "path": "/"},
        },
    },
)
bad(
    "review/subject-nobody",
    "subjectaccessreviews",
    {
        "apiVersion": AUTHZ,
        "kind": "SubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    },
)
bad(
    "review/subject-denied",
    "subjectaccessreviews",
    {
        "apiVersion": AUTHZ,
        "kind": "SubjectAccessReview",
        "spec": {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "{ns}"}},
    },
)
bad(
    "review/local-other-namespace",
    "localsubjectaccessreviews",
    {
        "apiVersion": AUTHZ,
        "kind": "LocalSubjectAccessReview",
        "metadata": {},
        "spec": {"user": "x", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "elsewhere"}},
    },
)
bad(
    "review/rules-no-namespace",
    "selfsubjectrulesreviews",
    {"apiVersion": AUTHZ, "kind": "SelfSubjectRulesReview", "spec": {}},
)
bad(
    "review/token-nonsense",
    "tokenreviews",
    {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nonsense"}},
)
bad("review/token-empty", "tokenreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}})
case("review/method", step("GET", path("selfsubjectaccessreviews")))
case("group/autoscaling-missing-name", step("POST", "/apis/autoscaling/v9/namespaces/{ns}/things", {}))
bad(
    "budget/both",
    "poddisruptionbudgets",
    obj("policy/v1", "PodDisruptionBudget", "b", spec={"minAvailable": 1, "maxUnavailable": 1}),
)
bad(
    "lease/duration",
    "leases",
    obj("coordination.k8s.io/v1", "Lease", "l", spec={"leaseDurationSeconds": 0, "leaseTransitions": -1}),
)
bad(
    "cronjob/schedule",
    "cronjobs",
    obj("batch/v1", "CronJob", "c", spec={"schedule": "often", "jobTemplate": {"spec": job()["spec"]}}),
)
