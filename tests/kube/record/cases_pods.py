"""Broken pods, and fields of a pod that may not change."""

from .shapes import container, obj, pod
from .words import MERGE, STRATEGIC, Cases, have, patch, path, step

CASES = Cases()
case, bad = CASES.case, CASES.bad


def bad_pod(name, /, *containers, meta=None, **spec):
    bad("pod/" + name, "pods", pod("p", list(containers) or None, meta, **spec))


def bad_container(name, /, **fields):
    bad_pod(name, container(**fields))


# ---- Pod -----------------------------------------------------------------------------------------------------------

bad("pod/no-spec", "pods", obj("v1", "Pod", "p"))
bad("pod/no-containers", "pods", pod(containers=[]))
bad("pod/containers-missing", "pods", obj("v1", "Pod", "p", spec={}))
bad("pod/containers-is-an-object", "pods", obj("v1", "Pod", "p", spec={"containers": {}}))
bad("pod/container-is-a-string", "pods", obj("v1", "Pod", "p", spec={"containers": ["x"]}))
bad("pod/empty-container", "pods", pod(containers=[{}]))
bad_container("no-image", image="")
bad_container("image-with-blanks", image=" busybox ")
bad_container("container-name", name="Bad_Name")
bad_pod("two-containers-of-one-name", container(), container())
bad_pod("init-container-of-one-name", container(), initContainers=[container()])
bad_container("pull-policy", imagePullPolicy="Sometimes")
bad_container("port-zero", ports=[{"containerPort": 0}])
bad_container("port-too-large", ports=[{"containerPort": 65536}])
bad_container("port-name-twice", ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}])
bad_container("port-name", ports=[{"containerPort": 1, "name": "Not-Good-And-Far-Too-Long"}])
bad_container("port-protocol", ports=[{"containerPort": 1, "protocol": "ICMP"}])
bad_container("port-is-a-string", ports=[{"containerPort": "80"}])
bad_container("same-port-twice", ports=[{"containerPort": 1}, {"containerPort": 1}])
bad_container("host-port-twice", ports=[{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}])
bad_container("env-name-missing", env=[{"value": "x"}])
bad_container("env-name", env=[{"name": "1 =bad", "value": "x"}])
bad_container("env-value-number", env=[{"name": "A", "value": 5}])
bad_container("env-value-bool", env=[{"name": "A", "value": True}])
bad_container(
    "env-value-and-from", env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
)
bad_container("env-from-nothing", env=[{"name": "A", "valueFrom": {}}])
bad_container(
    "env-two-sources",
    env=[
        {
            "name": "A",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "s", "key": "k"}},
        }
    ],
)
bad_container("env-field-path", env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.containers"}}}])
bad_container("env-resource", env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gold"}}}])
bad_container("env-key-missing", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}])
bad_container("env-twice", env=[{"name": "A", "value": "x"}, {"name": "A", "value": "y"}])
bad_container("env-from-prefix", envFrom=[{"prefix": "1=", "configMapRef": {"name": "a"}}])
bad_container("env-from-empty", envFrom=[{}])
bad_container("env-from-no-name", envFrom=[{"secretRef": {}}])
bad_container("quantity", resources={"limits": {"cpu": "lots"}})
bad_container("quantity-negative", resources={"requests": {"cpu": "-1"}})
bad_container("quantity-suffix", resources={"requests": {"memory": "1GiB"}})
bad_container("quantity-bool", resources={"requests": {"memory": True}})
bad_container("quantity-fraction", resources={"requests": {"memory": "100m"}})
bad_container("request-over-limit", resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})
bad_container("resource-name", resources={"requests": {"gold": "1"}})
bad_container("extended-resource", resources={"requests": {"example.com/gpu": "1"}})
bad_container("extended-resource-fraction", resources={"limits": {"example.com/gpu": "500m"}})
bad_container("mount-of-nothing", volumeMounts=[{"name": "v", "mountPath": "/x"}])
bad_pod(
    "mount-path-twice",
    container(volumeMounts=[{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]),
    volumes=[{"name": "v", "emptyDir": {}}],
)
bad_pod("mount-path-missing", container(volumeMounts=[{"name": "v"}]), volumes=[{"name": "v", "emptyDir": {}}])
bad_pod(
    "mount-path-colon",
    container(volumeMounts=[{"name": "v", "mountPath": "/a:b"}]),
    volumes=[{"name": "v", "emptyDir": {}}],
)
bad_pod(
    "mount-sub-path",
    container(volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "../x"}]),
    volumes=[{"name": "v", "emptyDir": {}}],
)
bad_container("probe-without-action", livenessProbe={})
bad_container("probe-two-actions", livenessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})
bad_container("probe-exec-empty", livenessProbe={"exec": {}})
bad_container("probe-port", readinessProbe={"httpGet": {"port": 0}})
bad_container("probe-port-name", readinessProbe={"httpGet": {"port": "No Such"}})
bad_container("probe-port-missing", readinessProbe={"httpGet": {"path": "/"}})
bad_container("probe-scheme", readinessProbe={"httpGet": {"port": 1, "scheme": "FTP"}})
bad_container(
    "probe-negative",
    livenessProbe={
        "tcpSocket": {"port": 1},
        "periodSeconds": -1,
        "timeoutSeconds": -1,
        "initialDelaySeconds": -1,
        "failureThreshold": -1,
    },
)
bad_container("probe-success-threshold", livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2})
bad_container("probe-grace-on-readiness", readinessProbe={"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1})
bad_container("lifecycle-empty", lifecycle={"preStop": {}})
bad_container("termination-policy", terminationMessagePolicy="Nowhere")
bad_container("privileged-without-escalation", securityContext={"privileged": True, "allowPrivilegeEscalation": False})
bad_container("run-as-negative", securityContext={"runAsUser": -1})
bad_pod("restart-policy", restartPolicy="Sometimes")
bad_pod("dns-policy", dnsPolicy="Magic")
bad_pod("dns-none-without-servers", dnsPolicy="None")
bad_pod("grace-negative", terminationGracePeriodSeconds=-1)
bad_pod("deadline-zero", activeDeadlineSeconds=0)
bad_pod("service-account-name", serviceAccountName="Bad_Name")
bad_pod("service-account-missing", serviceAccountName="nobody")
bad_pod("node-name", nodeName="Bad_Node")
bad_pod("host-name", hostname="Bad_Host", subdomain="a.b")
bad_pod("node-selector", nodeSelector={"a b": "c"})
bad_pod("toleration", tolerations=[{"operator": "Exists", "value": "x"}])
bad_pod("toleration-effect", tolerations=[{"key": "a", "operator": "Exists", "effect": "Maybe"}])
bad_pod("toleration-operator", tolerations=[{"key": "a", "operator": "Like"}])
bad_pod("affinity", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}})
bad_pod(
    "affinity-operator",
    affinity={
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]
            }
        }
    },
)
bad_pod(
    "affinity-topology",
    affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}},
)
bad_pod("spread", topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Never"}])
bad_pod("host-alias", hostAliases=[{"ip": "nope", "hostnames": ["A_B"]}])
bad_pod("volume-name-twice", volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}])
bad_pod("volume-name", volumes=[{"name": "V_", "emptyDir": {}}])
bad_pod("volume-two-sources", volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}])
bad_pod("volume-no-source", volumes=[{"name": "v"}])
bad_pod("volume-secret-no-name", volumes=[{"name": "v", "secret": {}}])
bad_pod("volume-config-no-name", volumes=[{"name": "v", "configMap": {}}])
bad_pod("volume-claim-no-name", volumes=[{"name": "v", "persistentVolumeClaim": {}}])
bad_pod(
    "volume-item-path",
    volumes=[
        {"name": "v", "configMap": {"name": "c", "items": [{"key": "", "path": "/abs"}, {"key": "k", "path": "../up"}]}}
    ],
)
bad_pod("volume-mode", volumes=[{"name": "v", "secret": {"secretName": "s", "defaultMode": 4096}}])
bad_pod("volume-host-path", volumes=[{"name": "v", "hostPath": {"path": "", "type": "Thing"}}])
bad_pod("volume-medium", volumes=[{"name": "v", "emptyDir": {"medium": "Paper", "sizeLimit": "-1"}}])
bad_pod(
    "volume-projected",
    volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 5}}, {}]}}],
)
bad_pod(
    "volume-downward",
    volumes=[
        {"name": "v", "downwardAPI": {"items": [{"path": "a"}, {"path": "b", "fieldRef": {"fieldPath": "spec.x"}}]}}
    ],
)
bad_pod("security-context", securityContext={"runAsUser": -1, "fsGroup": -1, "supplementalGroups": [-1]})
bad_pod("sysctl", securityContext={"sysctls": [{"name": "Bad Sysctl", "value": "1"}]})
bad_pod("host-network-ports", container(ports=[{"containerPort": 5, "hostPort": 6}]), hostNetwork=True)
bad_pod("init-container-probe", container(), initContainers=[container("i", livenessProbe={"tcpSocket": {"port": 1}})])
bad_pod("init-container-restart", container(), initContainers=[container("i", restartPolicy="Never")])
bad_pod("ephemeral-on-create", container(), ephemeralContainers=[container("e")])
bad_pod("os-name", os={"name": "beos"})
bad_pod("preemption", preemptionPolicy="Loud")
bad_pod("priority-class-missing", priorityClassName="no-such")
bad_pod("priority-given", priority=5)
bad_pod("scheduling-gate", schedulingGates=[{"name": ""}])
bad_pod("image-pull-secret", imagePullSecrets=[{}])
bad_pod("overhead", overhead={"cpu": "1"})
bad_pod(
    "many-faults",
    container("A", image="", ports=[{"containerPort": -1}], env=[{"name": ""}]),
    restartPolicy="x",
    volumes=[{"name": ""}],
)
case("pod/change-spec", have("pods", pod()), patch("pods", "p", {"spec": {"containers": [container(command=["x"])]}}))
case("pod/change-node-selector", have("pods", pod()), patch("pods", "p", {"spec": {"nodeSelector": {"a": "b"}}}))
case(
    "pod/change-image",
    have("pods", pod()),
    patch(
        "pods",
        "p",
        {"spec": {"containers": [container(image="busybox:2")]}},
        type=STRATEGIC,
        drop=["status", "spec.nodeName"],
    ),
)
case(
    "pod/add-container",
    have("pods", pod()),
    patch("pods", "p", {"spec": {"containers": [container("d")]}}, type=STRATEGIC),
)
case("pod/remove-all-containers", have("pods", pod()), patch("pods", "p", {"spec": {"containers": []}}))
case(
    "pod/deadline-grows",
    have("pods", pod(activeDeadlineSeconds=5)),
    patch("pods", "p", {"spec": {"activeDeadlineSeconds": 6}}),
)
case(
    "pod/status-through-main",
    have("pods", pod()),
    patch(
        "pods",
        "p",
        {"status": {"phase": "Succeeded", "message": "m"}},
        drop=[
            "spec.nodeName",
            "status.conditions",
            "status.startTime",
            "status.hostIP",
            "status.hostIPs",
            "status.podIP",
            "status.podIPs",
            "status.containerStatuses",
        ],
    ),
)
case(
    "pod/bad-status",
    have("pods", pod()),
    patch("pods", "p", {"status": {"conditions": [{"type": "Ready"}]}}, type=MERGE, sub="status"),
)
case(
    "pod/binding-missing-node",
    have("pods", pod()),
    step(
        "POST",
        path("pods", "p", "binding"),
        {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": ""}},
    ),
)
case(
    "pod/eviction",
    have("pods", pod()),
    step(
        "POST",
        path("pods", "p", "eviction"),
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}},
    ),
)
case(
    "pod/log-of-unknown-container",
    have("pods", pod()),
    step("GET", path("pods", "p", "log"), query={"container": "zzz"}),
)
case(
    "pod/log-of-two",
    have("pods", pod(containers=[container("a"), container("b")])),
    step("GET", path("pods", "p", "log")),
)
case(
    "pod/log-bad-option",
    have("pods", pod()),
    step("GET", path("pods", "p", "log"), query={"container": "c", "tailLines": "-1"}),
)
case(
    "pod/log-two-since",
    have("pods", pod()),
    step(
        "GET",
        path("pods", "p", "log"),
        query={"container": "c", "sinceSeconds": "1", "sinceTime": "2020-01-01T00:00:00Z"},
    ),
)
case("pod/log-missing", step("GET", path("pods", "nope", "log")))
