"""Server-side apply with the managedFields that it leaves, and what strategic merge patches make of lists."""

from .shapes import configmap, container, deployment, job, obj, pod, service, template
from .widgets import WIDGETS, widget, with_crd
from .words import APPLY, JSON_PATCH, MERGE, STRATEGIC, create, have, patch, read, step, update

CASES = {}
MANAGED = True


def apply(plural, name, body, manager="one", force=None, sub="", **more):
    query = {"fieldManager": manager}
    if force is not None:
        query["force"] = force
    return patch(plural, name, body, type=APPLY, sub=sub, query=query, **more)


# Status and what controllers add is none of these cases' business.
QUIET = ["status"]


def merged(name, containers=None, body=None, meta=None, **patch_spec):
    """A strategic patch of the pod template of a paused deployment; only the template is compared."""
    first = {"containers": containers if containers is not None else FULL, "volumes": VOLUMES}
    first["initContainers"] = [container("i1"), container("i2")]
    first["imagePullSecrets"] = [{"name": "one"}, {"name": "two"}]
    first["tolerations"] = [{"key": "a", "operator": "Exists"}]
    first["hostAliases"] = [{"ip": "1.1.1.1", "hostnames": ["a"]}]
    first["nodeSelector"] = {"disk": "ssd"}
    first["securityContext"] = {"runAsUser": 5, "supplementalGroups": [1, 2]}
    tmpl = {"metadata": {"labels": {"app": "a"}, **(meta or {})}, "spec": first}
    change = body or {"spec": {"template": {"spec": patch_spec}}}
    CASES["strategic/" + name] = [
        have("deployments", deployment(tmpl=tmpl, paused=True, replicas=0)),
        patch(
            "deployments", "d", change, type=STRATEGIC, drop=[*QUIET, "metadata.managedFields", "metadata.annotations"]
        ),
    ]


FULL = [
    container(
        "a",
        "img:1",
        command=["run"],
        args=["x", "y"],
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        envFrom=[{"configMapRef": {"name": "c"}}],
        ports=[
            {"containerPort": 80, "name": "http"},
            {"containerPort": 53, "protocol": "UDP"},
            {"containerPort": 53, "protocol": "TCP"},
        ],
        volumeMounts=[{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}],
        resources={"limits": {"cpu": "1", "memory": "1Gi"}},
        livenessProbe={"httpGet": {"path": "/", "port": 80}},
        securityContext={"capabilities": {"add": ["A"], "drop": ["B"]}},
    ),
    container("b", "img:2"),
]
VOLUMES = [
    {"name": "v", "emptyDir": {}},
    {"name": "w", "configMap": {"name": "c"}},
    {"name": "x", "secret": {"secretName": "s"}},
]

merged("image", body={"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "img:3"}]}}}})


def on(name, fields, **more):
    """A strategic patch of container a."""
    merged(name, body={"spec": {"template": {"spec": {"containers": [{"name": "a", **fields}], **more}}}})


def spec(name, **fields):
    merged(name, body={"spec": {"template": {"spec": fields}}})


spec("new-container", containers=[container("c", "img:9")])
spec("delete-container", containers=[{"name": "a", "$patch": "delete"}])
spec("replace-containers", containers=[{"$patch": "replace"}, container("z", "img:9")])
spec(
    "order-containers",
    **{"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
    containers=[{"name": "b", "image": "img:4"}],
)
spec(
    "order-with-new",
    **{"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]},
    containers=[container("c", "img:9")],
)
spec(
    "order-unlisted-stays",
    **{"$setElementOrder/containers": [{"name": "b"}]},
    containers=[{"name": "b", "image": "img:4"}],
)
on("env-change-and-add", {"env": [{"name": "B", "value": "9"}, {"name": "C", "value": "3"}]})
on("env-delete", {"env": [{"name": "A", "$patch": "delete"}]})
on(
    "env-value-to-source",
    {"env": [{"name": "A", "value": None, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
)
on(
    "env-order",
    {"$setElementOrder/env": [{"name": "C"}, {"name": "B"}, {"name": "A"}], "env": [{"name": "C", "value": "3"}]},
)
on("env-from-is-atomic", {"envFrom": [{"secretRef": {"name": "s"}}]})
on("ports-by-number", {"ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]})
on("ports-same-number", {"ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}]})
on("ports-delete", {"ports": [{"containerPort": 80, "$patch": "delete"}]})
on("mounts-by-path", {"volumeMounts": [{"mountPath": "/v", "name": "w"}, {"mountPath": "/x", "name": "x"}]})
on("args-replaced", {"args": ["z"]})
on("args-removed", {"args": None, "command": None})
on("limits-merged", {"resources": {"limits": {"cpu": "2"}, "requests": {"memory": "5Mi"}}})
on("probe-kind-changed", {"livenessProbe": {"httpGet": None, "exec": {"command": ["true"]}}})
on("probe-replaced", {"livenessProbe": {"$patch": "replace", "tcpSocket": {"port": 1}}})
on("capabilities-atomic", {"securityContext": {"capabilities": {"add": ["C"]}}})
spec("volume-source-without-retain", volumes=[{"name": "v", "hostPath": {"path": "/h"}}])
spec(
    "volume-source-retain-keys",
    volumes=[{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/h"}}],
)
spec("volume-delete", volumes=[{"name": "x", "$patch": "delete"}])
spec(
    "volume-new-first",
    **{"$setElementOrder/volumes": [{"name": "n"}, {"name": "v"}, {"name": "w"}, {"name": "x"}]},
    volumes=[{"name": "n", "emptyDir": {}}],
)
spec("init-containers", initContainers=[{"name": "i2", "image": "img:7"}])
spec("pull-secrets", imagePullSecrets=[{"name": "two"}, {"name": "three"}])
spec("pull-secret-delete", imagePullSecrets=[{"name": "one", "$patch": "delete"}])
spec("tolerations-atomic", tolerations=[{"key": "b", "operator": "Exists"}])
spec("host-aliases-by-ip", hostAliases=[{"ip": "1.1.1.1", "hostnames": ["b"]}, {"ip": "2.2.2.2", "hostnames": ["c"]}])
spec("node-selector-map", nodeSelector={"disk": None, "gpu": "yes"})
spec("node-selector-replace", nodeSelector={"$patch": "replace", "gpu": "yes"})
spec("node-selector-delete", nodeSelector={"$patch": "delete"})
spec("groups-atomic", securityContext={"supplementalGroups": [3]})
merged(
    "restarted-at",
    body={"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
)
merged("strategy-retain-keys", body={"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
merged("strategy-without-retain", body={"spec": {"strategy": {"type": "Recreate"}}})
merged("strategy-null", body={"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})
merged("labels", body={"metadata": {"labels": {"x": "y"}}, "spec": {"template": {"metadata": {"labels": {"z": "w"}}}}})
merged("selector-is-a-struct", body={"spec": {"selector": {"matchExpressions": []}}})

FIN = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "cm", "finalizers": ["example.com/a", "example.com/b"]},
}


def finalizers(name, change):
    CASES["strategic/" + name] = [
        have("configmaps", FIN),
        patch("configmaps", "cm", {"metadata": change}, type=STRATEGIC, drop=["metadata.managedFields"]),
    ]


finalizers("finalizers-merge", {"finalizers": ["example.com/c", "example.com/a"]})
finalizers("finalizers-delete", {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]})
finalizers(
    "finalizers-order",
    {
        "$setElementOrder/finalizers": ["example.com/c", "example.com/b", "example.com/a"],
        "finalizers": ["example.com/c"],
    },
)
finalizers("finalizers-null", {"finalizers": None})
OWNERS = [have("configmaps", configmap("o1")), have("configmaps", configmap("o2"))]


def owner(number, **more):
    return {"uid": f"{{uid:{number - 1}}}", "apiVersion": "v1", "kind": "ConfigMap", "name": f"o{number}", **more}


CASES["strategic/owners-merge"] = [
    *OWNERS,
    have("configmaps", configmap()),
    patch(
        "configmaps",
        "cm",
        {"metadata": {"ownerReferences": [owner(1), owner(2)]}},
        type=STRATEGIC,
        drop=["metadata.managedFields"],
    ),
]
CASES["strategic/owners-by-uid"] = [
    *OWNERS,
    have("configmaps", {**FIN, "metadata": {"name": "cm", "ownerReferences": [owner(1), owner(2)]}}),
    patch(
        "configmaps",
        "cm",
        {
            "metadata": {
                "ownerReferences": [{"uid": "{uid:0}", "$patch": "delete"}, {"uid": "{uid:1}", "controller": True}]
            }
        },
        type=STRATEGIC,
        drop=["metadata.managedFields"],
    ),
]
CASES["strategic/data-map"] = [
    have("configmaps", configmap(data={"a": "1", "b": "2"})),
    patch("configmaps", "cm", {"data": {"a": None, "c": "3"}}, type=STRATEGIC, drop=["metadata.managedFields"]),
    patch(
        "configmaps", "cm", {"data": {"$patch": "replace", "z": "9"}}, type=STRATEGIC, drop=["metadata.managedFields"]
    ),
    patch("configmaps", "cm", {"data": None}, type=STRATEGIC, drop=["metadata.managedFields"]),
]
CASES["strategic/service-ports"] = [
    have("services", service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b"}])),
    patch(
        "services",
        "svc",
        {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 82, "name": "c"}]}},
        type=STRATEGIC,
        drop=["metadata.managedFields"],
    ),
    patch(
        "services",
        "svc",
        {"spec": {"ports": [{"port": 81, "$patch": "delete"}], "selector": {"k": "v"}}},
        type=STRATEGIC,
        drop=["metadata.managedFields"],
    ),
]
CASES["strategic/service-account-secrets"] = [
    have("serviceaccounts", obj("v1", "ServiceAccount", "sa", secrets=[{"name": "one"}])),
    patch(
        "serviceaccounts",
        "sa",
        {"secrets": [{"name": "two"}], "imagePullSecrets": [{"name": "three"}]},
        type=STRATEGIC,
        drop=["metadata.managedFields"],
    ),
]
CASES["strategic/conditions-by-type"] = [
    have("pods", pod(nodeName="elsewhere")),
    patch(
        "pods",
        "p",
        {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Mine", "status": "True"}]}},
        type=STRATEGIC,
        sub="status",
        drop=["metadata.managedFields", "spec"],
    ),
    patch(
        "pods",
        "p",
        {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        type=STRATEGIC,
        sub="status",
        drop=["metadata.managedFields", "spec"],
    ),
]

# ---- managedFields --------------------------------------------------------------------------------------------------

LABELLED = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "cm", "labels": {"l": "1"}, "annotations": {"a": "1"}},
    "data": {"x": "1", "y": "2"},
}
PAUSED = {"paused": True, "replicas": 0}


def paused(**more):
    return deployment(**{**PAUSED, **more})


CASES["managed/create"] = [create("configmaps", LABELLED, query={"fieldManager": "maker"}), read("configmaps", "cm")]
CASES["managed/create-default-manager"] = [
    create("configmaps", configmap(data={"a": "b"}), drop=["metadata.managedFields[].manager"])
]
CASES["managed/put"] = [
    create("configmaps", LABELLED, query={"fieldManager": "maker"}, setup=True),
    update("configmaps", "cm", configmap(data={"x": "9"}), query={"fieldManager": "putter"}),
]
CASES["managed/put-no-change"] = [
    create("configmaps", configmap(data={"x": "1"}), query={"fieldManager": "maker"}, setup=True),
    update("configmaps", "cm", configmap(data={"x": "1"}), query={"fieldManager": "putter"}),
]
CASES["managed/merge-patch"] = [
    create("configmaps", LABELLED, query={"fieldManager": "maker"}, setup=True),
    patch("configmaps", "cm", {"data": {"x": "5", "z": "3", "y": None}}, query={"fieldManager": "patcher"}),
]
CASES["managed/json-patch"] = [
    create("configmaps", LABELLED, query={"fieldManager": "maker"}, setup=True),
    patch(
        "configmaps",
        "cm",
        [{"op": "add", "path": "/data/n", "value": "1"}],
        type=JSON_PATCH,
        query={"fieldManager": "patcher"},
    ),
]
CASES["managed/apply-create"] = [apply("configmaps", "cm", LABELLED)]
CASES["managed/apply-twice-is-quiet"] = [apply("configmaps", "cm", LABELLED), apply("configmaps", "cm", LABELLED)]
CASES["managed/apply-drops-what-it-owned"] = [
    apply("configmaps", "cm", LABELLED, setup=True),
    apply("configmaps", "cm", configmap(data={"y": "2"})),
]
CASES["managed/two-share"] = [
    apply("configmaps", "cm", configmap(data={"x": "1", "y": "1"}), setup=True),
    apply("configmaps", "cm", configmap(data={"x": "1", "z": "1"}), "two"),
    apply("configmaps", "cm", configmap(data={"y": "1"})),
    apply("configmaps", "cm", configmap(), "two"),
]
CASES["managed/force"] = [
    apply("configmaps", "cm", configmap(data={"x": "1", "y": "1"}), setup=True),
    apply("configmaps", "cm", configmap(data={"x": "2"}), "two"),
    apply("configmaps", "cm", configmap(data={"x": "2"}), "two", force="true"),
]
CASES["managed/apply-over-update"] = [
    create("configmaps", configmap(data={"x": "1", "y": "1"}), query={"fieldManager": "maker"}, setup=True),
    apply("configmaps", "cm", configmap(data={"x": "1"})),
    apply("configmaps", "cm", configmap(data={"x": "3"}), force="true"),
    apply("configmaps", "cm", configmap()),
]
CASES["managed/update-over-apply"] = [
    apply("configmaps", "cm", configmap(data={"x": "1", "y": "1"}), setup=True),
    patch("configmaps", "cm", {"data": {"x": "2"}}, query={"fieldManager": "hand"}),
    apply("configmaps", "cm", configmap(data={"x": "1", "y": "1"})),
    apply("configmaps", "cm", configmap(data={"y": "1"})),
]
CASES["managed/same-manager-both-ways"] = [
    apply("configmaps", "cm", configmap(data={"x": "1"}), setup=True),
    patch("configmaps", "cm", {"data": {"x": "2", "y": "2"}}, query={"fieldManager": "one"}),
]
CASES["managed/clear-by-empty-list"] = [
    apply("configmaps", "cm", configmap(data={"x": "1"}), setup=True),
    patch("configmaps", "cm", {"metadata": {"managedFields": [{}]}}),
]
CASES["managed/deployment"] = [
    apply("deployments", "d", paused(), drop=QUIET),
    apply(
        "deployments",
        "d",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 0}},
        "scaler",
        drop=QUIET,
    ),
    apply("deployments", "d", deployment(paused=True), drop=QUIET),
]
CASES["managed/containers"] = [
    apply("deployments", "d", paused(tmpl=template(containers=FULL, volumes=VOLUMES)), drop=QUIET),
    apply(
        "deployments",
        "d",
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {
                "template": {
                    "spec": {
                        "containers": [{"name": "a", "env": [{"name": "C", "value": "3"}]}, container("side", "img:5")]
                    }
                }
            },
        },
        "two",
        drop=QUIET,
    ),
    apply("deployments", "d", paused(tmpl=template(containers=[FULL[1]])), drop=QUIET),
    apply(
        "deployments",
        "d",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}},
        "two",
        drop=QUIET,
    ),
]
CASES["managed/scale"] = [
    apply("deployments", "d", paused(), setup=True),
    patch("deployments", "d", {"spec": {"replicas": 0}}, sub="scale", query={"fieldManager": "scaler"}, setup=True),
    patch("deployments", "d", {"spec": {"paused": False}}, query={"fieldManager": "hand"}, drop=QUIET),
]
CASES["managed/status"] = [
    apply("pods", "p", pod(nodeName="elsewhere"), drop=QUIET),
    patch(
        "pods",
        "p",
        {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
        type=STRATEGIC,
        sub="status",
        query={"fieldManager": "node"},
    ),
    apply(
        "pods",
        "p",
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"message": "m"}},
        "mine",
        sub="status",
    ),
]
CASES["managed/service"] = [
    apply(
        "services",
        "svc",
        service(ports=[{"port": 80, "name": "a"}, {"port": 53, "protocol": "UDP", "name": "b"}], selector={"k": "v"}),
    ),
    apply("services", "svc", service(ports=[{"port": 80, "name": "a"}], selector={"k": "v"})),
]
CASES["managed/job"] = [apply("jobs", "j", job(suspend=True), drop=QUIET)]
CASES["managed/secret"] = [
    apply("secrets", "s", obj("v1", "Secret", "s", stringData={"a": "b"})),
    apply("secrets", "s", obj("v1", "Secret", "s", stringData={"a": "c"})),
]
CASES["managed/role-binding"] = [
    apply(
        "rolebindings",
        "b",
        obj(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "b",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            subjects=[{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}],
        ),
    )
]
CASES["managed/finalizers-and-owners"] = [
    *OWNERS,
    apply("configmaps", "cm", {**FIN, "metadata": {**FIN["metadata"], "ownerReferences": [owner(1)]}}),
    apply("configmaps", "cm", {**FIN, "metadata": {"name": "cm", "finalizers": ["example.com/c"]}}, "two"),
    apply("configmaps", "cm", configmap()),
]
CASES["managed/custom"] = with_crd(
    step(
        "PATCH",
        WIDGETS + "/w",
        widget(parts=[{"id": "a"}], extra={"k": {"n": 1}}),
        type=APPLY,
        query={"fieldManager": "one"},
    ),
    step(
        "PATCH",
        WIDGETS + "/w",
        {**widget(parts=[{"id": "b"}]), "spec": {"parts": [{"id": "b"}]}},
        type=APPLY,
        query={"fieldManager": "two"},
    ),
    step("PATCH", WIDGETS + "/w", {"spec": {"size": 7}}, type=MERGE, query={"fieldManager": "hand"}),
    step("PATCH", WIDGETS + "/w", widget(), type=APPLY, query={"fieldManager": "one"}),
)
CASES["managed/last-applied-migration"] = [
    create(
        "configmaps",
        {
            **configmap(data={"x": "1", "y": "1"}),
            "metadata": {
                "name": "cm",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm"},"data":{"x":"1","y":"1"}}'
                },
            },
        },
        query={"fieldManager": "kubectl-client-side-apply"},
        setup=True,
    ),
    apply("configmaps", "cm", configmap(data={"x": "2"}), "kubectl"),
]
