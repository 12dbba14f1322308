"""Pods on this machine, driven by the real kubectl: processes that run to their end, and the node."""

import json

import pytest

# --- a process runs to its end ----------------------------------------------------------------------------------------


def test_a_python_pod_runs_to_succeeded_with_its_logs(pods):
    pods.start(
        "hello",
        "python",
        "-c",
        "import sys; print('hello'); print('oops', file=sys.stderr)",
    )
    pod = pods.phase("hello", "Succeeded")
    assert sorted(pods.logs("hello").splitlines()) == ["hello", "oops"]
    done = pod["status"]["containerStatuses"][0]
    assert done["state"]["terminated"]["exitCode"] == 0
    assert done["state"]["terminated"]["reason"] == "Completed"
    assert done["restartCount"] == 0
    assert pod["status"]["qosClass"] == "BestEffort"
    assert pod["status"]["hostIP"] == "127.0.0.1"
    assert pod["status"]["podIP"].startswith("127.")
    reasons = {r for r, _ in pods.events("hello")}
    assert {"Scheduled", "Pulled", "Created", "Started"} <= reasons


def test_exit_codes_and_failure(pods):
    pods.start("fails", "python", "-c", "raise SystemExit(7)")
    pod = pods.phase("fails", "Failed")
    done = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (done["exitCode"], done["reason"]) == (7, "Error")


def test_a_command_that_is_not_there(pods):
    pods.start("nothing", "/no/such/program")
    pod = pods.phase("nothing", "Failed")
    done = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (done["exitCode"], done["reason"]) == (128, "StartError")
    assert "executable file not found" in done["message"]


def test_termination_message(pods):
    pods.start(
        "says",
        "sh",
        "-c",
        "echo -n why > /dev/termination-log; exit 1",
        image="busybox",
    )
    pod = pods.phase("says", "Failed")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "why"


@pytest.mark.parametrize(
    "image",
    [
        "python:3.11-slim",
        "docker.io/library/python:3.11",
        "python",
        "busybox:1.36",
        "debian",
        "registry.access.redhat.com/ubi9/python-311:latest",
        "ghcr.io/containerd/busybox",
    ],
)
def test_images_that_name_a_runtime(pods, image):
    pods.start("named", "sh", "-c", "echo ok", image=image)
    pods.phase("named", "Succeeded")
    assert pods.logs("named") == "ok\n"


def test_the_shell_of_busybox(pods):
    pods.start("ash", "sh", "-c", '[[ "a b" == a* ]] && echo "one\\ntwo"', image="busybox")
    pods.phase("ash", "Succeeded")
    assert pods.logs("ash") == "one\\ntwo\n"
    pods.start("dash", "sh", "-c", 'echo "one\\ntwo"', image="debian")
    pods.phase("dash", "Succeeded")
    assert pods.logs("dash") == "one\ntwo\n"


def test_another_python_version_is_said_in_an_event(pods):
    pods.start("other", "python", "-c", "print(1)", image="python:3.2")
    pods.phase("other", "Succeeded", "Pending")
    pods.until_event("other", "OtherPythonVersion", "3.2")


# --- the node ---------------------------------------------------------------------------------------------------------


def test_the_node_is_there(kubectl):
    node = json.loads(kubectl("get", "nodes", "-o", "json"))["items"][0]
    assert int(node["status"]["capacity"]["cpu"]) > 0
    assert {"type": "InternalIP", "address": "127.0.0.1"} in node["status"]["addresses"]
    assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["True"]
    assert node["status"]["nodeInfo"]["operatingSystem"] == "linux"
    assert "Ready" in kubectl("get", "nodes")
