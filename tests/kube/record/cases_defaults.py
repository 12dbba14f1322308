"""The smallest valid manifest of each kind, and some with optional parts: which fields does the server fill in?"""

from .shapes import claim, configmap, container, deployment, job, obj, pod, replicaset, service, statefulset
from .widgets import WIDGETS, crd, widget
from .words import create, delete, have, patch, read, step

CASES = {}
RBAC = "rbac.authorization.k8s.io/v1"
REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}


# What becomes of these in a moment, or is the server's own, is no default.
LATER = {
    "customresourcedefinitions": ["status"],
    "selfsubjectreviews": ["metadata", "status.userInfo.uid"],
    "nodes": ["spec", "status"],
}


def of(name, plural, body):
    more = {"drop": LATER[plural]} if plural in LATER else {}
    CASES["default/" + name] = [create(plural, body, **more)]


of("configmap", "configmaps", configmap())
of("configmap-with-data", "configmaps", configmap(data={"a": "b"}, binaryData={"c": "ZA=="}))
of("secret", "secrets", obj("v1", "Secret", "s"))
of("secret-string-data", "secrets", obj("v1", "Secret", "s", stringData={"a": "b"}))
of("secret-of-type", "secrets", obj("v1", "Secret", "s", type="kubernetes.io/basic-auth", stringData={"username": "u"}))
of("serviceaccount", "serviceaccounts", obj("v1", "ServiceAccount", "sa"))
of("serviceaccount-secrets", "serviceaccounts", obj("v1", "ServiceAccount", "sa", secrets=[{"name": "x"}]))
of("namespace", "namespaces", obj("v1", "Namespace", "{ns}-more"))
of(
    "event",
    "events",
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
    },
)
of(
    "endpoints",
    "endpoints",
    obj("v1", "Endpoints", "e", subsets=[{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 1}]}]),
)
of("node", "nodes", obj("v1", "Node", "{ns}-node"))
of("lease", "leases", obj("coordination.k8s.io/v1", "Lease", "l", spec={}))
of("claim", "persistentvolumeclaims", claim())

of("pod", "pods", pod())
of("pod-latest-image", "pods", pod(containers=[container(image="busybox")]))
of("pod-latest-tag", "pods", pod(containers=[container(image="host:5000/busybox:latest")]))
of("pod-digest", "pods", pod(containers=[container(image="busybox@sha256:" + "0" * 64)]))
of("pod-resources", "pods", pod(containers=[container(resources={"limits": {"cpu": "1", "memory": "1Gi"}})]))
of(
    "pod-quantities",
    "pods",
    pod(
        containers=[
            container(
                resources={"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": "1500u", "memory": "1e6"}}
            )
        ]
    ),
)
of(
    "pod-quantities-guaranteed",
    "pods",
    pod(containers=[container(resources={"limits": {"cpu": "1000m", "memory": 1073741824}})]),
)
of(
    "pod-probes",
    "pods",
    pod(
        containers=[
            container(
                livenessProbe={"httpGet": {"port": 80}},
                readinessProbe={"tcpSocket": {"port": "http"}},
                startupProbe={"grpc": {"port": 9}},
                ports=[{"containerPort": 80, "name": "http"}],
                lifecycle={"preStop": {"httpGet": {"port": 80}}, "postStart": {"exec": {"command": ["true"]}}},
            )
        ]
    ),
)
of(
    "pod-env",
    "pods",
    pod(
        containers=[
            container(
                env=[
                    {"name": "A"},
                    {"name": "B", "value": "b"},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": True}}},
                ],
                envFrom=[
                    {"configMapRef": {"name": "x"}},
                    {"prefix": "P_", "secretRef": {"name": "y", "optional": True}},
                ],
            )
        ]
    ),
)
of(
    "pod-volumes",
    "pods",
    pod(
        volumes=[
            {"name": "empty", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "config", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
            {"name": "host", "hostPath": {"path": "/tmp"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "down", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {
                "name": "proj",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "t", "audience": "a"}},
                        {"configMap": {"name": "c"}},
                        {"secret": {"name": "s"}},
                        {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                    ]
                },
            },
            {"name": "nothing"},
            {"name": "nfs", "nfs": {"server": "s", "path": "/p"}},
        ],
        containers=[container(volumeMounts=[{"name": "empty", "mountPath": "/e"}])],
    ),
)
of(
    "pod-init-and-sidecar",
    "pods",
    pod(
        initContainers=[
            container("i"),
            container("s", restartPolicy="Always", readinessProbe={"exec": {"command": ["true"]}}),
        ]
    ),
)
of("pod-without-token", "pods", pod(automountServiceAccountToken=False))
of("pod-host-network", "pods", pod(hostNetwork=True, containers=[container(ports=[{"containerPort": 8080}])]))
of(
    "pod-never",
    "pods",
    pod(restartPolicy="Never", terminationGracePeriodSeconds=0, priorityClassName="system-node-critical"),
)
of(
    "pod-security",
    "pods",
    pod(
        securityContext={"runAsUser": 1, "fsGroup": 2},
        containers=[container(securityContext={"capabilities": {"drop": ["ALL"]}, "privileged": True})],
    ),
)
of(
    "pod-affinity",
    "pods",
    pod(
        nodeSelector={"a": "b"},
        tolerations=[{"key": "k", "operator": "Exists"}],
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"a": "b"}},
            }
        ],
        affinity={
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 5, "podAffinityTerm": {"topologyKey": "h", "labelSelector": {}}}
                ]
            }
        },
    ),
)
of("pod-status-given", "pods", {**pod(), "status": {"phase": "Running", "podIP": "1.2.3.4"}})
of("pod-service-account-field", "pods", pod(serviceAccount="default"))

of("service", "services", service())
of(
    "service-two-ports",
    "services",
    service(
        ports=[{"port": 80, "name": "a", "targetPort": "http"}, {"port": 81, "name": "b", "protocol": "UDP"}],
        selector={"a": "b"},
    ),
)
of("service-headless", "services", service(clusterIP="None", selector={"a": "b"}))
of("service-headless-no-selector", "services", service(clusterIP="None", ports=[]))
of("service-external-name", "services", service(type="ExternalName", externalName="example.com", ports=[]))
of("service-node-port", "services", service(type="NodePort"))
of("service-load-balancer", "services", service(type="LoadBalancer"))
of("service-affinity", "services", service(sessionAffinity="ClientIP"))

of("deployment", "deployments", deployment())
of("deployment-recreate", "deployments", deployment(strategy={"type": "Recreate"}, replicas=0))
of("deployment-rolling", "deployments", deployment(strategy={"rollingUpdate": {"maxSurge": "50%"}}))
of("replicaset", "replicasets", replicaset())
of("statefulset", "statefulsets", statefulset())
of(
    "statefulset-claims",
    "statefulsets",
    statefulset(volumeClaimTemplates=[claim("data")], updateStrategy={"type": "OnDelete"}),
)
of("job", "jobs", job())
of("job-parallel", "jobs", job(parallelism=3))
of("job-completions", "jobs", job(completions=3, completionMode="Indexed"))
of("job-suspended", "jobs", {**job(suspend=True, backoffLimit=0), "metadata": {"name": "j", "labels": {"a": "b"}}})
of(
    "job-failure-policy",
    "jobs",
    job(podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}),
)
of(
    "cronjob",
    "cronjobs",
    obj("batch/v1", "CronJob", "c", spec={"schedule": "@daily", "jobTemplate": {"spec": job()["spec"]}}),
)

of("role", "roles", obj(RBAC, "Role", "r", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))
of("role-empty", "roles", obj(RBAC, "Role", "r"))
of(
    "clusterrole",
    "clusterroles",
    obj(RBAC, "ClusterRole", "{ns}", rules=[{"nonResourceURLs": ["/x"], "verbs": ["get"]}]),
)
of(
    "rolebinding",
    "rolebindings",
    obj(
        RBAC,
        "RoleBinding",
        "b",
        roleRef=REF,
        subjects=[
            {"kind": "User", "name": "u"},
            {"kind": "Group", "name": "g"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
        ],
    ),
)
of(
    "rolebinding-ref-without-group",
    "rolebindings",
    obj(RBAC, "RoleBinding", "b", roleRef={"kind": "ClusterRole", "name": "view"}),
)
of("clusterrolebinding", "clusterrolebindings", obj(RBAC, "ClusterRoleBinding", "{ns}", roleRef=REF))
of("networkpolicy", "networkpolicies", obj("networking.k8s.io/v1", "NetworkPolicy", "n", spec={"podSelector": {}}))
of(
    "networkpolicy-egress",
    "networkpolicies",
    obj(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "n",
        spec={
            "podSelector": {},
            "egress": [{}],
            "ingress": [{"ports": [{"port": 80}, {}], "from": [{"podSelector": {}}]}],
        },
    ),
)
of(
    "budget",
    "poddisruptionbudgets",
    obj("policy/v1", "PodDisruptionBudget", "b", spec={"minAvailable": "50%", "selector": {}}),
)
of("crd", "customresourcedefinitions", crd())
of(
    "crd-cluster-wide",
    "customresourcedefinitions",
    crd(
        scope="Cluster",
        version={
            "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
        },
    ),
)
CASES["default/crd-established"] = [
    create("customresourcedefinitions", crd(names={"plural": "widgets", "kind": "Widget"}), setup=True),
    step("GET", WIDGETS, until=200, setup=True),
    read("customresourcedefinitions", "widgets.{ns}.example.com"),
    step("GET", "/apis/{ns}.example.com/v1", until=200, drop=["resources[].storageVersionHash"]),
    step("POST", WIDGETS, widget()),
    step("GET", WIDGETS),
    delete("customresourcedefinitions", "widgets.{ns}.example.com", setup=True),
]
of(
    "review-self",
    "selfsubjectaccessreviews",
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "{ns}"}},
    },
)
of("whoami", "selfsubjectreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
CASES["default/list-shape"] = [
    read("configmaps"),
    read("deployments"),
    have("configmaps", configmap()),
    read("configmaps", accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
    read("configmaps", "cm", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
    read("configmaps", "cm", accept="application/yaml"),
]
CASES["default/update-keeps-defaults"] = [
    have("services", service()),
    patch("services", "svc", {"spec": {"type": None, "sessionAffinity": None}}),
]
