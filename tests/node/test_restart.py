"""Pods through the end and the return of the program."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import harness
import pytest
from kube.conftest import Cli, find_program

from .conftest import Pods

pytestmark = pytest.mark.binary


def processes_of(marker):
    """Processes of this machine whose command line holds `marker`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
        except OSError:
            continue
        if marker.encode() in line and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def pods_of(platform, tmp_path):
    program = find_program("kubectl", (1, 28))
    return Pods(Cli(program, platform.data_dir / "kubeconfig", "default", tmp_path / f"home{platform.port_offset}"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_no_process_is_orphaned_and_no_pod_is_lost(tmp_path, how):
    marker = f"marker-{time.time_ns()}"
    sleeper = ["sh", "-c", f"# {marker}\nsleep 5000"]
    data = tmp_path / "data"
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        pods.start("always", *sleeper, image="busybox", restart="Always")
        pods.start("never", *sleeper, image="busybox")
        pods.start("done", "sh", "-c", "echo said", image="busybox")
        pods.phase("always", "Running")
        pods.phase("never", "Running")
        pods.phase("done", "Succeeded")
        assert processes_of(marker)
        os.kill(platform.proc.pid, how)
        platform.proc.popen.wait(timeout=20)
        harness.until(lambda: not processes_of(marker), "the pods' processes are gone")
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        pod = pods.phase("never", "Failed")
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 255
        pod = pods.until(
            "always",
            lambda p: (
                "running" in p["status"]["containerStatuses"][0]["state"]
                and p["status"]["containerStatuses"][0]["restartCount"] == 1
            ),
            "ran again",
        )
        assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "Unknown"
        assert pods.phase("done", "Succeeded")["status"]["containerStatuses"][0]["restartCount"] == 0
        assert pods.logs("done") == "said\n"
        assert pods.kubectl("exec", "always", "--", "echo", "in") == "in\n"


def test_a_pod_deleted_while_it_ends_is_gone_after_a_restart(tmp_path):
    data = tmp_path / "data"
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        pods.start("slow", "sh", "-c", "trap '' TERM; while :; do sleep 0.2; done", image="busybox")
        pods.phase("slow", "Running")
        pods.kubectl("delete", "pod", "slow", "--grace-period=300", "--wait=false")
        assert pods.get("slow")["metadata"]["deletionTimestamp"]
        os.kill(platform.proc.pid, signal.SIGKILL)
        platform.proc.popen.wait(timeout=20)
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        harness.until(lambda: pods.kubectl.run("get", "pod", "slow").returncode != 0, "the pod is gone")


def sandboxes_of(data):
    """Sandboxes of a platform that have lost their parent."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if b"/bwrap\0" in line and f"{data}/pods/".encode() in line and parent == 1:
            found.append(entry.name)
    return found


def starting_pods(pods, count):
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{i}", "labels": {"app": "many"}},
            "spec": {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "5000"]}]},
        }
        for i in range(count)
    ]
    together = {"apiVersion": "v1", "kind": "List", "items": documents}
    pods.kubectl("apply", "-f", "-", input=json.dumps(together))


def test_pods_that_are_ended_while_they_start_leave_nothing(tmp_path):
    data = tmp_path / "data"
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        for _ in range(3):
            starting_pods(pods, 12)
            pods.kubectl("delete", "pods", "-l", "app=many", "--grace-period=1")
        harness.until(lambda: not sandboxes_of(data), "the sandboxes are gone")
        starting_pods(pods, 12)
        os.kill(platform.proc.pid, signal.SIGTERM)
        platform.proc.popen.wait(timeout=20)
    assert not sandboxes_of(data)


def test_a_kill_while_pods_start_leaves_nothing_that_the_next_start_does_not_end(tmp_path):
    data = tmp_path / "data"
    for _ in range(3):
        with harness.launch_platform(data) as platform:
            assert not sandboxes_of(data)
            pods = pods_of(platform, tmp_path)
            starting_pods(pods, 12)
            pods.kubectl("delete", "pods", "-l", "app=many", "--wait=false", "--grace-period=0", "--force")
            starting_pods(pods, 12)
            os.kill(platform.proc.pid, signal.SIGKILL)
            platform.proc.popen.wait(timeout=20)
            # What is left holds no port of ours: the next start takes the same ones.
            for port in (harness.PORT_TRACKING, harness.PORT_KUBE):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port + platform.port_offset))
    with harness.launch_platform(data):
        assert not sandboxes_of(data)


def test_without_bubblewrap_the_event_says_what_to_install(tmp_path):
    # The platform's own view of the machine, in which bwrap is not to be executed.
    empty = tmp_path / "empty"
    empty.write_text("")
    data = tmp_path / "data"
    wrapper = tmp_path / "millrace"
    wrapper.write_text(f'#!/bin/sh\nmount --bind {empty} "$(command -v bwrap)" && exec {harness.binary_path()} "$@"\n')
    wrapper.chmod(0o755)
    ported = harness.free_port_offset()
    command = ["unshare", "-rm", str(wrapper), "up", "--data", str(data), "--port-offset", str(ported)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        harness.until(lambda: harness.answers_ok(f"http://127.0.0.1:{5000 + ported}/readyz"), "it is ready")
        kubectl = Cli(find_program("kubectl", (1, 28)), data / "kubeconfig", "default", tmp_path / "home")
        pods = Pods(kubectl)
        pods.start("p", "true", image="busybox")
        assert "install the package bubblewrap" in pods.until_event("p", "Failed", "bubblewrap")
        waiting = json.loads(kubectl("get", "pod", "p", "-o", "json"))["status"]["containerStatuses"][0]["state"][
            "waiting"
        ]
        assert waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")
    finally:
        process.terminate()
        process.wait(timeout=20)
