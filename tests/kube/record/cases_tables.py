"""What `kubectl get` is given to print: columns and cells of one object of each kind with a typical status."""

from .shapes import claim, configmap, container, deployment, job, obj, pod, replicaset, service, statefulset, template
from .widgets import WIDGETS, crd, widget, with_crd
from .words import TABLE, create, delete, have, patch, read, step

CASES = {}
RBAC = "rbac.authorization.k8s.io/v1"
T = "2020-01-02T03:04:05Z"
READY = [{"type": "Ready", "status": "True"}]


def of(name, plural, body, status=None, more=(), sub="status"):
    if plural == "pods" and status is not None:
        # Of a node that is not there: nobody but the case writes its status.
        body["spec"]["nodeName"] = "elsewhere"
    steps = [have(plural, body)]
    where = body["metadata"]["name"]
    if status is not None:
        steps.append(patch(plural, where, {"status": status}, sub=sub, setup=True))
    steps += list(more)
    steps.append(read(plural, where, accept=TABLE))
    CASES["table/" + name] = steps


def container_status(state, name="c", ready=False, restarts=0, image_id="", **more):
    return {
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        "image": "i",
        "imageID": image_id,
        "state": state,
        **more,
    }


def running(name="c", ready=True, restarts=0, **more):
    return container_status({"running": {"startedAt": T}}, name, ready, restarts, image_id="i", **more)


def waiting(reason, **more):
    return {"waiting": {"reason": reason, **more}}


def terminated(code, **more):
    return {"terminated": {"exitCode": code, **more, "startedAt": T, "finishedAt": T}}


of("configmap", "configmaps", configmap(data={"a": "b", "c": "d"}, binaryData={"e": "ZA=="}))
of("secret", "secrets", obj("v1", "Secret", "s", stringData={"a": "b"}))
of("serviceaccount", "serviceaccounts", obj("v1", "ServiceAccount", "sa", secrets=[{"name": "x"}]))
CASES["table/namespace"] = [step("GET", "/api/v1/namespaces/{ns}", accept=TABLE)]
CASES["table/namespace-list"] = [
    step("GET", "/api/v1/namespaces", query={"fieldSelector": "metadata.name={ns}"}, accept=TABLE)
]
of(
    "event",
    "events",
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "type": "Warning",
        "reason": "BackOff",
        "message": "m",
        "count": 3,
        "firstTimestamp": T,
        "lastTimestamp": T,
        "source": {"component": "kubelet", "host": "h"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "{ns}", "fieldPath": "spec.containers{c}"},
    },
)
of(
    "event-new-style",
    "events",
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "type": "Normal",
        "reason": "R",
        "message": "m",
        "action": "A",
        "eventTime": "2020-01-02T03:04:05.000000Z",
        "reportingComponent": "example.com/c",
        "reportingInstance": "i",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
    },
)
of(
    "endpoints",
    "endpoints",
    obj(
        "v1",
        "Endpoints",
        "e",
        subsets=[
            {
                "addresses": [{"ip": f"10.1.2.{i}"} for i in range(1, 5)],
                "ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}],
            }
        ],
    ),
)
of("endpoints-none", "endpoints", obj("v1", "Endpoints", "e"))
of(
    "node",
    "nodes",
    obj("v1", "Node", "{ns}-node"),
    {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
        "nodeInfo": {
            k: k[:1]
            for k in (
                "machineID",
                "systemUUID",
                "bootID",
                "kernelVersion",
                "osImage",
                "containerRuntimeVersion",
                "kubeletVersion",
                "kubeProxyVersion",
                "operatingSystem",
                "architecture",
            )
        },
    },
)
CASES["table/node-cordoned"] = [
    have(
        "nodes",
        {
            **obj("v1", "Node", "{ns}-node", spec={"unschedulable": True}),
            "metadata": {
                "name": "{ns}-node",
                "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "x"},
            },
        },
    ),
    patch(
        "nodes",
        "{ns}-node",
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        sub="status",
        setup=True,
    ),
    read("nodes", "{ns}-node", accept=TABLE),
]
of(
    "claim",
    "persistentvolumeclaims",
    claim(storageClassName="standard", volumeName="v"),
    {"phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce", "ReadWriteMany"]},
)
of("claim-pending", "persistentvolumeclaims", claim(storageClassName="none"))

# Of a scheduler that is not there: no node starts the pod while it is looked at.
of("pod-pending", "pods", pod(schedulerName="nobody"))
of(
    "pod-running",
    "pods",
    pod(),
    {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}],
        "conditions": READY,
        "startTime": T,
        "containerStatuses": [running()],
    },
)
of(
    "pod-two",
    "pods",
    pod(containers=[container("a"), container("b")]),
    {
        "phase": "Running",
        "containerStatuses": [
            running("a", restarts=2, lastState={"terminated": {"exitCode": 1, "finishedAt": T, "startedAt": T}}),
            running("b", ready=False),
        ],
    },
)
of(
    "pod-waiting",
    "pods",
    pod(),
    {
        "phase": "Pending",
        "containerStatuses": [container_status(waiting("ImagePullBackOff", message="m"))],
    },
)
of(
    "pod-crash-loop",
    "pods",
    pod(),
    {
        "phase": "Running",
        "containerStatuses": [
            container_status(waiting("CrashLoopBackOff"), restarts=5, lastState=terminated(1, reason="Error"))
        ],
    },
)
of(
    "pod-terminated-error",
    "pods",
    pod(restartPolicy="Never"),
    {
        "phase": "Failed",
        "containerStatuses": [container_status(terminated(3, reason="Error"))],
    },
)
of(
    "pod-terminated-no-reason",
    "pods",
    pod(restartPolicy="Never"),
    {
        "phase": "Failed",
        "containerStatuses": [container_status(terminated(3))],
    },
)
of(
    "pod-terminated-signal",
    "pods",
    pod(restartPolicy="Never"),
    {
        "phase": "Failed",
        "containerStatuses": [container_status(terminated(137, signal=9))],
    },
)
of(
    "pod-completed",
    "pods",
    pod(restartPolicy="Never"),
    {
        "phase": "Succeeded",
        "conditions": [{"type": "Ready", "status": "False", "reason": "PodCompleted"}],
        "containerStatuses": [container_status(terminated(0, reason="Completed"))],
    },
)
of(
    "pod-init-running",
    "pods",
    pod(initContainers=[container("i1"), container("i2")]),
    {
        "phase": "Pending",
        "initContainerStatuses": [
            container_status(terminated(0), "i1", ready=True),
            container_status({"running": {"startedAt": T}}, "i2"),
        ],
    },
)
of(
    "pod-init-failed",
    "pods",
    pod(initContainers=[container("i1")]),
    {
        "phase": "Pending",
        "initContainerStatuses": [container_status(terminated(2, reason="Error"), "i1", restarts=2)],
    },
)
of(
    "pod-init-waiting",
    "pods",
    pod(initContainers=[container("i1")]),
    {
        "phase": "Pending",
        "initContainerStatuses": [container_status(waiting("CrashLoopBackOff"), "i1", restarts=2)],
    },
)
of(
    "pod-sidecar",
    "pods",
    pod(initContainers=[container("s", restartPolicy="Always")]),
    {
        "phase": "Running",
        "conditions": READY,
        "initContainerStatuses": [running("s", started=True)],
        "containerStatuses": [running()],
    },
)
of("pod-status-reason", "pods", pod(), {"phase": "Failed", "reason": "Evicted", "message": "m"})
of(
    "pod-not-ready-completed-sibling",
    "pods",
    pod(containers=[container("a"), container("b")]),
    {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [
            container_status(terminated(0, reason="Completed"), "a"),
            running("b"),
        ],
    },
)
CASES["table/pod-terminating"] = [
    have("pods", {**pod(), "metadata": {"name": "p", "finalizers": ["example.com/keep"]}}),
    delete("pods", "p", setup=True),
    read("pods", "p", accept=TABLE, drop=["rows[].object.metadata.deletionGracePeriodSeconds"]),
]
of("pod-gated", "pods", pod(schedulingGates=[{"name": "example.com/g"}], readinessGates=[{"conditionType": "x"}]))
CASES["table/pod-list-empty"] = [read("pods", accept=TABLE)]
CASES["table/pod-watch"] = [
    have("pods", pod(schedulerName="nobody")),
    read("pods", query={"watch": "true", "timeoutSeconds": "2"}, accept=TABLE, watch=1),
]
CASES["table/pod-objects"] = [
    have("pods", pod()),
    read("pods", query={"includeObject": "None"}, accept=TABLE),
    read("pods", query={"includeObject": "Object"}, accept=TABLE, drop=["rows[].object.status", "rows[].object.spec"]),
]
CASES["table/v1beta1"] = [
    have("configmaps", configmap()),
    read("configmaps", accept="application/json;as=Table;v=v1beta1;g=meta.k8s.io"),
]
CASES["table/create-answer"] = [create("configmaps", configmap(), accept=TABLE)]
CASES["table/status-answer"] = [read("configmaps", "missing", accept=TABLE)]
CASES["table/fallback"] = [read("configmaps", accept="application/json;as=Table;v=v9;g=meta.k8s.io,application/json")]

of(
    "service",
    "services",
    service(
        selector={"a": "b", "c": "d"}, ports=[{"port": 80, "name": "a"}, {"port": 53, "name": "b", "protocol": "UDP"}]
    ),
)
of("service-headless", "services", service(clusterIP="None"))
of("service-external-name", "services", service(type="ExternalName", externalName="example.com", ports=[]))
of("service-node-port", "services", service(type="NodePort"), more=[])
of("service-load-balancer", "services", service(type="LoadBalancer"))
of(
    "service-load-balancer-ready",
    "services",
    service(type="LoadBalancer"),
    {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}]}},
)
of("service-external-ips", "services", service(externalIPs=["9.9.9.9"]))

of(
    "deployment",
    "deployments",
    deployment(replicas=3, tmpl=template(containers=[container("a"), container("b", "img:2")])),
    {"replicas": 3, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 2},
)
of("replicaset", "replicasets", replicaset(replicas=2), {"replicas": 2, "readyReplicas": 1, "fullyLabeledReplicas": 2})
of("statefulset", "statefulsets", statefulset(replicas=2), {"replicas": 2, "readyReplicas": 1})
of("job-running", "jobs", job(suspend=False), {"active": 1, "startTime": T})
of(
    "job-complete",
    "jobs",
    job(),
    {
        "succeeded": 1,
        "startTime": T,
        "completionTime": "2020-01-02T03:05:10Z",
        "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
    },
)
of(
    "job-failed",
    "jobs",
    job(completions=4, parallelism=2),
    {
        "failed": 2,
        "succeeded": 1,
        "startTime": T,
        "conditions": [{"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "True"}],
    },
)
of("job-suspended", "jobs", job(suspend=True), {"conditions": [{"type": "Suspended", "status": "True"}]})
of("job-parallel", "jobs", job(parallelism=3))
of(
    "cronjob",
    "cronjobs",
    obj("batch/v1", "CronJob", "c", spec={"schedule": "@daily", "jobTemplate": {"spec": job()["spec"]}}),
    {"lastScheduleTime": T},
)
of("role", "roles", obj(RBAC, "Role", "r"))
of("clusterrole", "clusterroles", obj(RBAC, "ClusterRole", "{ns}"))
of(
    "rolebinding",
    "rolebindings",
    obj(
        RBAC,
        "RoleBinding",
        "b",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        subjects=[
            {"kind": "User", "name": "u"},
            {"kind": "Group", "name": "g"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
        ],
    ),
)
of(
    "clusterrolebinding",
    "clusterrolebindings",
    obj(
        RBAC,
        "ClusterRoleBinding",
        "{ns}",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        subjects=[{"kind": "User", "name": "u"}],
    ),
)
of(
    "networkpolicy",
    "networkpolicies",
    obj(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "n",
        spec={
            "podSelector": {
                "matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}],
            }
        },
    ),
)
of("networkpolicy-all", "networkpolicies", obj("networking.k8s.io/v1", "NetworkPolicy", "n", spec={"podSelector": {}}))
of(
    "budget",
    "poddisruptionbudgets",
    obj("policy/v1", "PodDisruptionBudget", "b", spec={"minAvailable": "50%", "selector": {}}),
)
of("lease", "leases", obj("coordination.k8s.io/v1", "Lease", "l", spec={"holderIdentity": "me"}))
of("crd", "customresourcedefinitions", crd(name="widgets.{ns}.example.com"))
COLUMNS = [
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1, "description": "d"},
    {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Parts", "type": "string", "jsonPath": ".spec.parts[*].id"},
    {"name": "Ready", "type": "string", "jsonPath": '.spec.parts[?(@.id=="b")].id'},
    {"name": "None", "type": "string", "jsonPath": ".spec.nothing"},
    {"name": "Extra", "type": "string", "jsonPath": ".spec.extra"},
    {"name": "Flag", "type": "boolean", "jsonPath": ".spec.extra.flag"},
    {"name": "Ratio", "type": "number", "jsonPath": ".spec.ratio"},
]
CASES["table/custom"] = with_crd(
    step(
        "POST", WIDGETS, widget(parts=[{"id": "a"}, {"id": "b"}], extra={"flag": True, "n": 1}, ratio=1.5), setup=True
    ),
    step("GET", WIDGETS + "/w", accept=TABLE),
    version={"additionalPrinterColumns": COLUMNS},
)
CASES["table/custom-without-columns"] = with_crd(
    step("POST", WIDGETS, widget(), setup=True), step("GET", WIDGETS, accept=TABLE)
)
