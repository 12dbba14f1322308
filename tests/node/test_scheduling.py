"""Requests of pods against what the machine has."""

import json

from .conftest import condition


def asking(pods, name, *command, **requests):
    resources = {"resources": {"requests": {k.replace("_", "-"): v for k, v in requests.items()}}}
    return pods.start(name, *(command or ("sleep", "1000")), image="busybox", container=resources)


def unschedulable(pods, name, why):
    message = f"0/1 nodes are available: {why}."
    pod = pods.until(name, lambda p: condition(p, "PodScheduled") == "False", "was found unschedulable")
    said = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    assert (said["reason"], said["message"]) == ("Unschedulable", message)
    assert pod["status"]["phase"] == "Pending" and "nodeName" not in pod["spec"]
    pods.until_event(name, "FailedScheduling", message)


def test_more_than_the_machine_has(pods):
    asking(pods, "memory", memory="1000Ti")
    asking(pods, "both", memory="1000Ti", cpu="100000")
    pods.apply(
        pods.pod(
            "device", "true", image="busybox", container={"resources": {"limits": {"example.com/accelerator": "1"}}}
        )
    )
    unschedulable(pods, "memory", "1 Insufficient memory")
    unschedulable(pods, "both", "1 Insufficient cpu, 1 Insufficient memory")
    unschedulable(pods, "device", "1 Insufficient example.com/accelerator")


def test_what_is_asked_is_taken_until_the_pod_ends(pods):
    node = json.loads(pods.kubectl("get", "node", "millrace", "-o", "json"))
    cpus = int(node["status"]["allocatable"]["cpu"])
    asking(pods, "most", "sh", "-c", "until test -e /tmp/enough; do sleep 0.05; done", cpu=f"{cpus * 1000 - 50}m")
    pods.ready("most")
    asking(pods, "little", cpu="100m")
    asking(pods, "nothing")
    pods.ready("nothing")
    unschedulable(pods, "little", "1 Insufficient cpu")
    # Finished pods hold nothing.
    pods.kubectl("exec", "most", "--", "touch", "/tmp/enough")
    pods.ready("little")
    asking(pods, "rest", cpu=f"{cpus * 1000 - 50}m")
    unschedulable(pods, "rest", "1 Insufficient cpu")
    # Neither do those that are gone.
    pods.kubectl("delete", "pod", "little", "--grace-period=1")
    pods.ready("rest")
