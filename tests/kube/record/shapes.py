"""Small documents that the recorded cases are made of, and the words of a case."""

import copy

STRICT = {"fieldValidation": "Strict"}
WARN = {"fieldValidation": "Warn"}
IGNORE = {"fieldValidation": "Ignore"}

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

# plural -> (path before the namespace, namespaced)
GROUPS = {
    "": "namespaces configmaps secrets serviceaccounts services endpoints pods persistentvolumeclaims events nodes",
    "apps": "deployments replicasets statefulsets",
    "batch": "jobs cronjobs",
    "rbac.authorization.k8s.io": "roles rolebindings clusterroles clusterrolebindings",
    "networking.k8s.io": "networkpolicies",
    "apiextensions.k8s.io": "customresourcedefinitions",
    "authorization.k8s.io": "selfsubjectaccessreviews subjectaccessreviews selfsubjectrulesreviews localsubjectaccessreviews",
    "authentication.k8s.io": "tokenreviews selfsubjectreviews",
    "policy": "poddisruptionbudgets",
    "coordination.k8s.io": "leases",
}
CLUSTER_WIDE = {
    "namespaces",
    "nodes",
    "clusterroles",
    "clusterrolebindings",
    "customresourcedefinitions",
    "selfsubjectaccessreviews",
    "subjectaccessreviews",
    "selfsubjectrulesreviews",
    "tokenreviews",
    "selfsubjectreviews",
}


def path(plural, name="", sub=""):
    group = next(g for g, plurals in GROUPS.items() if plural in plurals.split())
    out = f"/apis/{group}/v1" if group else "/api/v1"
    if plural not in CLUSTER_WIDE:
        out += "/namespaces/{ns}"
    out += "/" + plural
    if name:
        out += "/" + name
    if sub:
        out += "/" + sub
    return out


def step(method, where, body=None, *, query=None, **more):
    out = {"method": method, "path": where}
    if body is not None:
        out["text" if isinstance(body, str) else "body"] = body
    if query:
        out["query"] = query
    out.update(more)
    return out


def create(plural, body, **more):
    return step("POST", path(plural), body, **more)


def have(plural, body, **more):
    """A create that only prepares the case."""
    return step("POST", path(plural), body, setup=True, **more)


def read(plural, name="", **more):
    return step("GET", path(plural, name), **more)


def patch(plural, name, body, type=MERGE, sub="", **more):
    return step("PATCH", path(plural, name, sub), body, type=type, **more)


def update(plural, name, body, sub="", **more):
    return step("PUT", path(plural, name, sub), body, **more)


def delete(plural, name, body=None, **more):
    return step("DELETE", path(plural, name), body, **more)


def obj(api, kind, name, **fields):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **copy.deepcopy(fields)}


def container(name="c", image="busybox:1.36", **more):
    return {"name": name, "image": image, **more}


def pod(name="p", containers=None, meta=None, **spec):
    out = obj("v1", "Pod", name, spec={"containers": [container()] if containers is None else containers, **spec})
    out["metadata"].update(meta or {})
    return out


def template(labels=None, containers=None, **spec):
    return {
        "metadata": {"labels": {"app": "a"} if labels is None else labels},
        "spec": {"containers": [container()] if containers is None else containers, **spec},
    }


def deployment(name="d", tmpl=None, **spec):
    return obj(
        "apps/v1",
        "Deployment",
        name,
        spec={"selector": {"matchLabels": {"app": "a"}}, "template": tmpl or template(), **spec},
    )


def replicaset(name="r", **spec):
    return obj(
        "apps/v1",
        "ReplicaSet",
        name,
        spec={"selector": {"matchLabels": {"app": "a"}}, "template": template(), **spec},
    )


def statefulset(name="s", **spec):
    return obj(
        "apps/v1",
        "StatefulSet",
        name,
        spec={"serviceName": "s", "selector": {"matchLabels": {"app": "a"}}, "template": template(), **spec},
    )


def job(name="j", tmpl=None, **spec):
    return obj(
        "batch/v1",
        "Job",
        name,
        spec={"template": tmpl or {"spec": {"containers": [container()], "restartPolicy": "Never"}}, **spec},
    )


def service(name="svc", ports=None, **spec):
    return obj("v1", "Service", name, spec={"ports": [{"port": 80}] if ports is None else ports, **spec})


def configmap(name="cm", **more):
    return obj("v1", "ConfigMap", name, **more)


def claim(name="pvc", **spec):
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return obj("v1", "PersistentVolumeClaim", name, spec={**base, **spec})


def crd(schema=None, plural="widgets", kind="Widget", scope="Namespaced", name=None, version=None, **spec):
    """A custom kind in a group of the run's own, `{ns}.example.com`."""
    body = {
        "group": "{ns}.example.com",
        "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": kind + "List"},
        "scope": scope,
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": schema or WIDGET},
                **(version or {}),
            }
        ],
    }
    return obj(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        name or plural + ".{ns}.example.com",
        spec={**body, **spec},
    )


WIDGET = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "label": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "parts": {
                    "type": "array",
                    "maxItems": 2,
                    "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["id"],
                },
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "port": {"x-kubernetes-int-or-string": True},
                "note": {"type": "string", "nullable": True},
                "ratio": {"type": "number", "multipleOf": 0.5},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    },
}
WIDGETS = "/apis/{ns}.example.com/v1/namespaces/{ns}/widgets"


def widget(name="w", **spec):
    return obj("{ns}.example.com/v1", "Widget", name, spec={"size": 3, **spec})


def with_crd(*steps, **arguments):
    """The steps after the custom kind is there and served."""
    return [
        step("POST", path("customresourcedefinitions"), crd(**arguments), setup=True),
        step("GET", WIDGETS, until=200, setup=True),
        *steps,
        step("DELETE", path("customresourcedefinitions", "widgets.{ns}.example.com"), setup=True),
    ]
