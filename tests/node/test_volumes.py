"""The environment and the volumes of a pod."""

import json

from kube.record.shapes import claim, configmap, obj

from .conftest import mount


def test_environment_from_everywhere(pods):
    pods.apply(
        configmap(data={"A": "1", "B": "2"}),
        obj("v1", "Secret", "s", stringData={"password": "x y"}),
        pods.pod(
            "env",
            "sh",
            "-c",
            'echo "$CM_A $A2 $PW $NODE $IP $LIMIT $(EXPANDED) $KEPT"',
            image="busybox",
            meta={"labels": {"app": "web"}},
            container={
                "envFrom": [{"prefix": "CM_", "configMapRef": {"name": "cm"}}],
                "resources": {"limits": {"memory": "64Mi"}},
                "env": [
                    {"name": "A2", "value": "$(CM_A)$(CM_B)"},
                    {
                        "name": "PW",
                        "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}},
                    },
                    {
                        "name": "NODE",
                        "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                    },
                    {
                        "name": "IP",
                        "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                    },
                    {
                        "name": "LIMIT",
                        "valueFrom": {
                            "resourceFieldRef": {
                                "resource": "limits.memory",
                                "divisor": "1Mi",
                            }
                        },
                    },
                    {"name": "EXPANDED", "value": "in-command"},
                    {"name": "KEPT", "value": "$(UNKNOWN)"},
                ],
            },
        ),
    )
    pod = pods.phase("env", "Succeeded")
    node, ip = pod["spec"]["nodeName"], pod["status"]["podIP"]
    assert pods.logs("env") == f"1 12 x y {node} {ip} 64 in-command $(UNKNOWN)\n"


def test_a_missing_secret_holds_the_container_until_it_comes(pods):
    pods.start(
        "waits",
        "sh",
        "-c",
        "echo $V",
        image="busybox",
        container={
            "env": [
                {
                    "name": "V",
                    "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}},
                }
            ]
        },
    )
    pods.waiting("waits", "CreateContainerConfigError")
    assert 'secret "late" not found' in pods.until_event("waits", "Failed", "late")
    pods.kubectl("create", "secret", "generic", "late", "--from-literal=k=here")
    pods.phase("waits", "Succeeded")
    assert pods.logs("waits") == "here\n"


def test_volumes_of_every_kind(pods, tmp_path):
    (tmp_path / "file").write_text("host\n")
    pods.apply(
        configmap(data={"a": "A\n", "b": "B\n"}),
        obj("v1", "Secret", "s", stringData={"k": "K\n"}),
        claim("claim"),
        pods.pod(
            "vols",
            "sh",
            "-c",
            "cat /cm/renamed /one /s/k /p/labels /p/x/b /h/file; echo; touch /cm/x || echo ro; echo kept > /claim/f; echo e > /e/f",
            image="busybox",
            meta={"labels": {"app": "web"}},
            container={
                "volumeMounts": [
                    {"name": "cm", "mountPath": "/cm"},
                    {"name": "all", "mountPath": "/one", "subPath": "b"},
                    {"name": "s", "mountPath": "/s"},
                    {"name": "p", "mountPath": "/p"},
                    {"name": "h", "mountPath": "/h", "readOnly": True},
                    {"name": "claim", "mountPath": "/claim"},
                    {"name": "e", "mountPath": "/e"},
                ]
            },
            spec={
                "volumes": [
                    {
                        "name": "cm",
                        "configMap": {
                            "name": "cm",
                            "items": [{"key": "a", "path": "renamed"}],
                        },
                    },
                    {"name": "all", "configMap": {"name": "cm"}},
                    {"name": "s", "secret": {"secretName": "s"}},
                    {
                        "name": "p",
                        "projected": {
                            "sources": [
                                {
                                    "downwardAPI": {
                                        "items": [
                                            {
                                                "path": "labels",
                                                "fieldRef": {"fieldPath": "metadata.labels"},
                                            }
                                        ]
                                    }
                                },
                                {
                                    "configMap": {
                                        "name": "cm",
                                        "items": [{"key": "b", "path": "x/b"}],
                                    }
                                },
                            ]
                        },
                    },
                    {
                        "name": "h",
                        "hostPath": {"path": str(tmp_path), "type": "Directory"},
                    },
                    {"name": "claim", "persistentVolumeClaim": {"claimName": "claim"}},
                    {"name": "e", "emptyDir": {}},
                ]
            },
        ),
    )
    pods.phase("vols", "Succeeded")
    assert pods.logs("vols").splitlines()[:6] == [
        "A",
        "B",
        "K",
        'app="web"B',
        "host",
        "",
    ]
    assert "ro" in pods.logs("vols").splitlines()
    pods.kubectl("wait", "pvc/claim", "--for=jsonpath={.status.phase}=Bound", "--timeout=20s")
    bound = json.loads(pods.kubectl("get", "pvc", "claim", "-o", "json"))
    assert bound["status"]["capacity"]["storage"] == "1Gi"
    assert (
        json.loads(pods.kubectl("get", "pv", bound["spec"]["volumeName"], "-o", "json"))["status"]["phase"] == "Bound"
    )
    # What one pod left in the claim another one reads.
    pods.start(
        "reads",
        "cat",
        "/c/f",
        image="busybox",
        container=mount("c", "/c"),
        spec={"volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "claim"}}]},
    )
    pods.phase("reads", "Succeeded")
    assert pods.logs("reads") == "kept\n"


def test_a_missing_configmap_is_a_failed_mount(pods):
    pods.start(
        "mount",
        "true",
        image="busybox",
        container=mount("v", "/v"),
        spec={"volumes": [{"name": "v", "configMap": {"name": "absent"}}]},
    )
    assert 'configmap "absent" not found' in pods.until_event("mount", "FailedMount")
    assert pods.state("mount")["state"]["waiting"]["reason"] == "ContainerCreating"


def test_files_of_a_configmap_follow_it(pods):
    pods.apply(
        configmap(data={"a": "one"}),
        pods.pod(
            "follows",
            "sh",
            "-c",
            "until grep -q two /v/a; do sleep 0.1; done; echo seen",
            image="busybox",
            container=mount("v", "/v"),
            spec={"volumes": [{"name": "v", "configMap": {"name": "cm"}}]},
        ),
    )
    pods.phase("follows", "Running")
    pods.kubectl("patch", "configmap", "cm", "-p", '{"data":{"a":"two"}}')
    pods.phase("follows", "Succeeded")
    assert pods.logs("follows") == "seen\n"


def test_pods_that_take_more_disk_than_they_may_are_evicted(pods):
    """By a container's limit, by an emptyDir's; the event and the status have the kubelet's words."""
    fill = "head -c 64000000 /dev/zero > {}; exec sleep 600"
    limit = {"resources": {"limits": {"ephemeral-storage": "16Mi"}}}
    pods.start("own-files", "sh", "-c", fill.format("/tmp/x"), image="busybox", container=limit)
    pods.start(
        "scratch",
        "sh",
        "-c",
        fill.format("/e/x"),
        image="busybox",
        container={"volumeMounts": [{"name": "e", "mountPath": "/e"}]},
        spec={"volumes": [{"name": "e", "emptyDir": {"sizeLimit": "8Mi"}}]},
    )
    for name, words in (
        ("own-files", "ephemeral local storage usage exceeds the total limit of containers 16Mi. "),
        ("scratch", 'Usage of EmptyDir volume "e" exceeds the limit "8Mi". '),
    ):
        status = pods.phase(name, "Failed")["status"]
        assert status["reason"] == "Evicted" and status["message"].endswith(words), status
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] in (137, 143)
        assert any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in status["conditions"])
        pods.until_event(name, "Evicted", words.strip())
