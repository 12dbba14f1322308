"""Broken manifests of the built-in kinds but Pod, and fields that may not change."""

from .shapes import claim, configmap, container, deployment, job, obj, replicaset, service, statefulset, template
from .words import MERGE, STRATEGIC, Cases, have, patch, path, step, update

CASES = Cases()
case, bad = CASES.case, CASES.bad
RBAC = "rbac.authorization.k8s.io/v1"


# ---- ConfigMap, Secret, ServiceAccount, Namespace ---------------------------------------------------------------------

bad("configmap/key", "configmaps", configmap(data={"a b": "x"}))
bad("configmap/key-dots", "configmaps", configmap(data={"..": "x"}))
bad("configmap/number", "configmaps", configmap(data={"a": 1}))
bad("configmap/null-value", "configmaps", configmap(data={"a": None}))
bad("configmap/object-value", "configmaps", configmap(data={"a": {"b": "c"}}))
bad("configmap/binary", "configmaps", configmap(binaryData={"a": "not base64!"}))
bad("configmap/both", "configmaps", configmap(data={"a": "x"}, binaryData={"a": "eA=="}))
bad("configmap/too-large", "configmaps", configmap(data={"a": "x" * 1048577}))
case(
    "configmap/immutable",
    have("configmaps", configmap(data={"a": "b"}, immutable=True)),
    patch("configmaps", "cm", {"data": {"a": "c"}}),
)
case(
    "configmap/immutable-undone",
    have("configmaps", configmap(data={"a": "b"}, immutable=True)),
    patch("configmaps", "cm", {"immutable": False, "data": {"a": "c"}}),
)
bad("secret/base64", "secrets", obj("v1", "Secret", "s", data={"a": "not base64!"}))
bad("secret/key", "secrets", obj("v1", "Secret", "s", stringData={"a b": "x"}))
bad("secret/string-data-number", "secrets", obj("v1", "Secret", "s", stringData={"a": 5}))
bad("secret/string-data-wins", "secrets", obj("v1", "Secret", "s", data={"a": "eA=="}, stringData={"a": "y", "b": "ü"}))
bad("secret/tls-without-keys", "secrets", obj("v1", "Secret", "s", type="kubernetes.io/tls"))
bad(
    "secret/docker-json",
    "secrets",
    obj("v1", "Secret", "s", type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "x"}),
)
bad("secret/docker-missing", "secrets", obj("v1", "Secret", "s", type="kubernetes.io/dockerconfigjson"))
bad("secret/basic-auth", "secrets", obj("v1", "Secret", "s", type="kubernetes.io/basic-auth"))
bad("secret/ssh", "secrets", obj("v1", "Secret", "s", type="kubernetes.io/ssh-auth"))
bad("secret/token-without-annotation", "secrets", obj("v1", "Secret", "s", type="kubernetes.io/service-account-token"))
bad("secret/too-large", "secrets", obj("v1", "Secret", "s", stringData={"a": "x" * 1048577}))
case("secret/type-changes", have("secrets", obj("v1", "Secret", "s", type="a")), patch("secrets", "s", {"type": "b"}))
case(
    "secret/immutable",
    have("secrets", obj("v1", "Secret", "s", immutable=True)),
    patch("secrets", "s", {"stringData": {"a": "b"}}),
)
case(
    "secret/string-data-patch",
    have("secrets", obj("v1", "Secret", "s", data={"a": "eA=="})),
    patch("secrets", "s", {"stringData": {"b": "c"}}),
)
bad("serviceaccount/name", "serviceaccounts", obj("v1", "ServiceAccount", "a_b"))
bad("serviceaccount/secrets-shape", "serviceaccounts", obj("v1", "ServiceAccount", "a", secrets=["x"]))


def token(name, spec, account="default", **more):
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    case("serviceaccount/" + name, step("POST", path("serviceaccounts", account, "token"), body, **more))


token("token-of-missing", {}, account="nobody")
token("token-too-short", {"expirationSeconds": 5})
token("token-too-long", {"expirationSeconds": 4294967297})
token("token-bound-to-missing", {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "none"}})
token("token-bound-to-odd-kind", {"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "none"}})
token("token", {"audiences": ["a"], "expirationSeconds": 600}, drop=["status.token"])
case("namespace/finalizers-by-main", step("PATCH", "/api/v1/namespaces/{ns}", {"spec": {"finalizers": []}}, type=MERGE))
case("namespace/exists", step("POST", "/api/v1/namespaces", obj("v1", "Namespace", "{ns}")))

# ---- Service ------------------------------------------------------------------------------------------------------------

bad("service/no-ports", "services", service(ports=[]))
bad("service/headless-no-ports", "services", service(ports=[], clusterIP="None"))
bad("service/port-range", "services", service(ports=[{"port": 0}, {"port": 65536, "name": "b"}]))
bad("service/port-names-missing", "services", service(ports=[{"port": 1}, {"port": 2}]))
bad("service/port-names-twice", "services", service(ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]))
bad("service/same-port-twice", "services", service(ports=[{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]))
bad("service/protocol", "services", service(ports=[{"port": 1, "protocol": "HTTP"}]))
bad("service/target-port", "services", service(ports=[{"port": 1, "targetPort": 70000}]))
bad("service/target-port-name", "services", service(ports=[{"port": 1, "targetPort": "-x-"}]))
bad("service/target-port-zero", "services", service(ports=[{"port": 1, "targetPort": 0}]))
bad("service/node-port-on-cluster-ip", "services", service(ports=[{"port": 1, "nodePort": 30000}]))
bad("service/node-port-range", "services", service(ports=[{"port": 1, "nodePort": 80}], type="NodePort"))
bad("service/type", "services", service(type="Magic"))
bad("service/cluster-ip", "services", service(clusterIP="nonsense"))
bad("service/cluster-ip-outside", "services", service(clusterIP="8.8.8.8"))
bad("service/external-name-missing", "services", service(type="ExternalName", ports=[]))
bad("service/external-name-bad", "services", service(type="ExternalName", externalName="a_b!", ports=[]))
bad("service/affinity", "services", service(sessionAffinity="Often"))
bad("service/selector", "services", service(selector={"a b": "c"}))
bad("service/headless-node-port", "services", service(type="NodePort", clusterIP="None"))
bad("service/external-traffic-policy", "services", service(externalTrafficPolicy="Local"))
bad("service/ip-families", "services", service(ipFamilies=["IPv5"]))
bad("service/port-is-a-string", "services", service(ports=[{"port": "80"}]))
case(
    "service/cluster-ip-changes",
    have("services", service(clusterIP="None")),
    patch("services", "svc", {"spec": {"clusterIP": "10.0.0.77"}}),
)
case(
    "service/put-keeps-cluster-ip",
    have("services", service()),
    update("services", "svc", service(ports=[{"port": 81}])),
)
case(
    "service/to-external-name",
    have("services", service()),
    patch(
        "services",
        "svc",
        {"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": None, "clusterIPs": None}},
    ),
)
bad(
    "endpoints/address",
    "endpoints",
    obj("v1", "Endpoints", "e", subsets=[{"addresses": [{"ip": "nope"}], "ports": [{"port": 0}]}]),
)
bad(
    "endpoints/loopback",
    "endpoints",
    obj("v1", "Endpoints", "e", subsets=[{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 1}]}]),
)
bad("endpoints/nothing", "endpoints", obj("v1", "Endpoints", "e", subsets=[{}]))
bad(
    "event/namespace",
    "events",
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "other"},
    },
)
bad("event/no-object", "events", {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}})

# ---- workloads ------------------------------------------------------------------------------------------------------------

bad("deployment/no-spec", "deployments", obj("apps/v1", "Deployment", "d"))
bad("deployment/no-selector", "deployments", obj("apps/v1", "Deployment", "d", spec={"template": template()}))
bad("deployment/empty-selector", "deployments", deployment(selector={}))
bad("deployment/selector-does-not-match", "deployments", deployment(selector={"matchLabels": {"app": "other"}}))
bad(
    "deployment/selector-operator",
    "deployments",
    deployment(selector={"matchExpressions": [{"key": "app", "operator": "Like", "values": ["a"]}]}),
)
bad(
    "deployment/selector-in-without-values",
    "deployments",
    deployment(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
)
bad(
    "deployment/selector-exists-with-values",
    "deployments",
    deployment(selector={"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["a"]}]}),
)
bad("deployment/selector-value", "deployments", deployment(selector={"matchLabels": {"app": "-a-"}}))
bad("deployment/negative-replicas", "deployments", deployment(replicas=-1))
bad("deployment/replicas-fraction", "deployments", deployment(replicas=1.5))
bad("deployment/replicas-too-large", "deployments", deployment(replicas=99999999999))
bad("deployment/restart-policy", "deployments", deployment(tmpl=template(restartPolicy="Never")))
bad("deployment/deadline", "deployments", deployment(tmpl=template(activeDeadlineSeconds=5)))
bad(
    "deployment/no-template",
    "deployments",
    obj("apps/v1", "Deployment", "d", spec={"selector": {"matchLabels": {"app": "a"}}}),
)
bad("deployment/template-without-containers", "deployments", deployment(tmpl=template(containers=[])))
bad("deployment/strategy", "deployments", deployment(strategy={"type": "Explode"}))
bad(
    "deployment/recreate-with-rolling",
    "deployments",
    deployment(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
)
bad(
    "deployment/rolling-both-zero",
    "deployments",
    deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
)
bad(
    "deployment/rolling-percent",
    "deployments",
    deployment(strategy={"rollingUpdate": {"maxSurge": "5", "maxUnavailable": "200%"}}),
)
bad(
    "deployment/min-ready",
    "deployments",
    deployment(minReadySeconds=-1, revisionHistoryLimit=-1, progressDeadlineSeconds=-1),
)
bad("deployment/progress-deadline", "deployments", deployment(minReadySeconds=700))
case(
    "deployment/selector-changes",
    have("deployments", deployment()),
    patch(
        "deployments",
        "d",
        {"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}},
    ),
)
case(
    "deployment/scale",
    have("deployments", deployment()),
    step("GET", path("deployments", "d", "scale"), drop=["status"]),
    patch("deployments", "d", {"spec": {"replicas": 0}}, sub="scale", drop=["status"]),
    patch("deployments", "d", {"spec": {"replicas": -1}}, sub="scale"),
    update(
        "deployments",
        "d",
        {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 4}},
        sub="scale",
        drop=["status"],
    ),
    update(
        "deployments",
        "d",
        {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "other"}, "spec": {"replicas": 4}},
        sub="scale",
    ),
)
case("deployment/scale-missing", step("GET", path("deployments", "none", "scale")))
case(
    "deployment/status-by-main",
    have("deployments", deployment(paused=True)),
    patch(
        "deployments",
        "d",
        {"status": {"replicas": 3}, "metadata": {"labels": {"x": "y"}}},
        drop=["status", "metadata.annotations"],
    ),
)
case(
    "deployment/spec-by-status",
    have("deployments", deployment(paused=True)),
    patch(
        "deployments",
        "d",
        {"spec": {"replicas": 5}, "metadata": {"labels": {"x": "y"}}},
        sub="status",
        drop=["status", "metadata.annotations"],
    ),
)
case(
    "deployment/generation",
    have("deployments", deployment(paused=True)),
    patch("deployments", "d", {"metadata": {"annotations": {"a": "b"}}}, drop=["status", "metadata.annotations"]),
    patch("deployments", "d", {"spec": {"replicas": 2}}, drop=["status", "metadata.annotations"]),
)
bad("replicaset/selector", "replicasets", replicaset(selector={"matchLabels": {"app": "b"}}))
bad("replicaset/negative", "replicasets", replicaset(replicas=-1, minReadySeconds=-1))
case(
    "replicaset/selector-changes",
    have("replicasets", replicaset(replicas=0)),
    patch(
        "replicasets",
        "r",
        {"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}},
    ),
)
bad("statefulset/pod-management", "statefulsets", statefulset(podManagementPolicy="Wild"))
bad(
    "statefulset/update-strategy",
    "statefulsets",
    statefulset(updateStrategy={"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
)
bad(
    "statefulset/partition",
    "statefulsets",
    statefulset(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": -1}}),
)
bad(
    "statefulset/service-name-missing",
    "statefulsets",
    obj("apps/v1", "StatefulSet", "s", spec={"selector": {"matchLabels": {"app": "a"}}, "template": template()}),
)
bad("statefulset/negative", "statefulsets", statefulset(replicas=-1, ordinals={"start": -1}))
bad(
    "statefulset/claim-policy",
    "statefulsets",
    statefulset(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Burn", "whenScaled": "Retain"}),
)
case(
    "statefulset/forbidden-change",
    have("statefulsets", statefulset(replicas=0)),
    patch("statefulsets", "s", {"spec": {"serviceName": "other"}}),
)
bad("job/no-restart-policy", "jobs", job(tmpl=template()))
bad("job/restart-always", "jobs", job(tmpl=template(restartPolicy="Always")))
bad(
    "job/negative",
    "jobs",
    job(parallelism=-1, completions=-1, backoffLimit=-1, activeDeadlineSeconds=-1, ttlSecondsAfterFinished=-1),
)
bad("job/own-selector", "jobs", job(selector={"matchLabels": {"a": "b"}}))
bad("job/manual-selector", "jobs", job(manualSelector=True, selector={"matchLabels": {"a": "b"}}))
bad("job/indexed-without-completions", "jobs", job(completionMode="Indexed"))
bad("job/completion-mode", "jobs", job(completionMode="Random"))
bad(
    "job/failure-policy",
    "jobs",
    job(podFailurePolicy={"rules": [{"action": "Explode", "onExitCodes": {"operator": "In", "values": [0]}}]}),
)
bad("job/backoff-per-index", "jobs", job(backoffLimitPerIndex=1))
case(
    "job/template-changes",
    have("jobs", job(suspend=True)),
    patch("jobs", "j", {"spec": {"template": {"spec": {"containers": [container(image="x")]}}}}, type=STRATEGIC),
)
case("job/completions-change", have("jobs", job(suspend=True)), patch("jobs", "j", {"spec": {"completions": 3}}))
case(
    "job/parallelism-changes",
    have("jobs", job(suspend=True)),
    patch("jobs", "j", {"spec": {"parallelism": 3}}, drop=["status"]),
)

# ---- PersistentVolumeClaim ---------------------------------------------------------------------------------------------------

bad("claim/no-spec", "persistentvolumeclaims", obj("v1", "PersistentVolumeClaim", "c"))
bad("claim/no-modes", "persistentvolumeclaims", claim(accessModes=[]))
bad("claim/mode", "persistentvolumeclaims", claim(accessModes=["ReadSometimes"]))
bad("claim/no-storage", "persistentvolumeclaims", claim(resources={}))
bad("claim/storage-zero", "persistentvolumeclaims", claim(resources={"requests": {"storage": "0"}}))
bad("claim/storage-text", "persistentvolumeclaims", claim(resources={"requests": {"storage": "big"}}))
bad("claim/volume-mode", "persistentvolumeclaims", claim(volumeMode="Tape"))
bad("claim/class-name", "persistentvolumeclaims", claim(storageClassName="Bad_Class"))
case(
    "claim/change",
    have("persistentvolumeclaims", claim(storageClassName="none")),
    patch("persistentvolumeclaims", "pvc", {"spec": {"accessModes": ["ReadOnlyMany"]}}),
)

# ---- RBAC ------------------------------------------------------------------------------------------------------------------------

bad("role/no-verbs", "roles", obj(RBAC, "Role", "r", rules=[{"apiGroups": [""], "resources": ["pods"]}]))
bad("role/no-resources", "roles", obj(RBAC, "Role", "r", rules=[{"apiGroups": [""], "verbs": ["get"]}]))
bad("role/no-groups", "roles", obj(RBAC, "Role", "r", rules=[{"resources": ["pods"], "verbs": ["get"]}]))
bad("role/non-resource-urls", "roles", obj(RBAC, "Role", "r", rules=[{"nonResourceURLs": ["/x"], "verbs": ["get"]}]))
bad(
    "clusterrole/urls-and-resources",
    "clusterroles",
    obj(
        RBAC,
        "ClusterRole",
        "{ns}",
        rules=[{"nonResourceURLs": ["/x"], "apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    ),
)
bad(
    "clusterrole/aggregation",
    "clusterroles",
    obj(RBAC, "ClusterRole", "{ns}", aggregationRule={"clusterRoleSelectors": []}),
)
bad("rolebinding/no-ref", "rolebindings", obj(RBAC, "RoleBinding", "b"))
bad(
    "rolebinding/ref-kind",
    "rolebindings",
    obj(RBAC, "RoleBinding", "b", roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Thing", "name": "x"}),
)
bad(
    "rolebinding/ref-group",
    "rolebindings",
    obj(RBAC, "RoleBinding", "b", roleRef={"apiGroup": "x", "kind": "Role", "name": "x"}),
)
bad(
    "rolebinding/ref-name",
    "rolebindings",
    obj(RBAC, "RoleBinding", "b", roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ""}),
)
bad(
    "rolebinding/subject",
    "rolebindings",
    obj(
        RBAC,
        "RoleBinding",
        "b",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"},
        subjects=[
            {"kind": "Robot", "name": "x"},
            {"kind": "User", "name": ""},
            {"kind": "ServiceAccount", "name": "a_b", "apiGroup": "x"},
            {"kind": "ServiceAccount", "name": "a"},
        ],
    ),
)
case(
    "rolebinding/ref-changes",
    have(
        "rolebindings",
        obj(
            RBAC,
            "RoleBinding",
            "b",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        ),
    ),
    patch("rolebindings", "b", {"roleRef": {"name": "edit"}}),
)
bad(
    "clusterrolebinding/role",
    "clusterrolebindings",
    obj(
        RBAC,
        "ClusterRoleBinding",
        "{ns}",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"},
    ),
)

# ---- NetworkPolicy -----------------------------------------------------------------------------------------------------------------

NETWORK = "networking.k8s.io/v1"
bad("networkpolicy/no-spec", "networkpolicies", obj(NETWORK, "NetworkPolicy", "n"))
bad(
    "networkpolicy/port",
    "networkpolicies",
    obj(
        NETWORK,
        "NetworkPolicy",
        "n",
        spec={"podSelector": {}, "ingress": [{"ports": [{"port": 0, "protocol": "ICMP"}, {"port": "Bad_Name"}]}]},
    ),
)
bad(
    "networkpolicy/end-port",
    "networkpolicies",
    obj(
        NETWORK,
        "NetworkPolicy",
        "n",
        spec={
            "podSelector": {},
            "ingress": [{"ports": [{"port": 90, "endPort": 80}, {"endPort": 9}, {"port": "a", "endPort": 5}]}],
        },
    ),
)
bad(
    "networkpolicy/cidr",
    "networkpolicies",
    obj(
        NETWORK,
        "NetworkPolicy",
        "n",
        spec={
            "podSelector": {},
            "ingress": [
                {
                    "from": [
                        {"ipBlock": {"cidr": "10.0.0.0"}},
                        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}},
                        {},
                    ]
                }
            ],
        },
    ),
)
bad(
    "networkpolicy/block-and-selector",
    "networkpolicies",
    obj(
        NETWORK,
        "NetworkPolicy",
        "n",
        spec={"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
    ),
)
bad(
    "networkpolicy/types",
    "networkpolicies",
    obj(NETWORK, "NetworkPolicy", "n", spec={"podSelector": {}, "policyTypes": ["Ingress", "Sideways", "Egress"]}),
)
bad(
    "networkpolicy/selector",
    "networkpolicies",
    obj(NETWORK, "NetworkPolicy", "n", spec={"podSelector": {"matchExpressions": [{"key": "", "operator": "In"}]}}),
)
