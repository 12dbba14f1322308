"""The words of a recorded case: its steps, and the collection that a module of cases fills."""

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


class Cases(dict):
    """name -> steps, in the order in which they are played."""

    def case(self, name, *steps):
        """A new case of steps and lists of steps."""
        assert name not in self, name
        self[name] = []
        for one in steps:
            self[name] += one if isinstance(one, list) else [one]

    def bad(self, name, plural, body, **query):
        """A create that the server has something to say about."""
        self.case(name, create(plural, body, query=query or None))
