"""Init containers, sidecars, restarts, limits, deadlines, hooks, and how pods end."""

import harness

from .conftest import condition, mount

VOLUME = {"name": "v", "emptyDir": {}}
MOUNT = mount("v", "/v")


# --- init containers, sidecars, restarts ------------------------------------------------------------------------------


def test_init_containers_run_in_order_and_share_a_volume(pods):
    pods.start(
        "init",
        "cat",
        "/v/f",
        image="busybox",
        container=MOUNT,
        spec={
            "volumes": [VOLUME],
            "initContainers": [
                {
                    "name": "one",
                    "image": "busybox",
                    "command": ["sh", "-c", "echo 1 >> /v/f"],
                    **MOUNT,
                },
                {
                    "name": "two",
                    "image": "busybox",
                    "command": ["sh", "-c", "echo 2 >> /v/f"],
                    **MOUNT,
                },
            ],
        },
    )
    pod = pods.phase("init", "Succeeded")
    assert pods.logs("init") == "1\n2\n"
    assert [s["state"]["terminated"]["reason"] for s in pod["status"]["initContainerStatuses"]] == ["Completed"] * 2
    assert condition(pod, "Initialized") == "True"


def test_a_failed_init_container_fails_the_pod(pods):
    pods.start(
        "badinit",
        "true",
        image="busybox",
        spec={"initContainers": [{"name": "no", "image": "busybox", "command": ["sh", "-c", "exit 3"]}]},
    )
    pod = pods.phase("badinit", "Failed")
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_sidecar_lives_as_long_as_the_pod(pods):
    pods.start(
        "sidecar",
        "sh",
        "-c",
        "until [ -e /v/up ]; do sleep 0.05; done; echo saw",
        image="busybox",
        container=MOUNT,
        spec={
            "volumes": [VOLUME],
            "initContainers": [
                {
                    "name": "side",
                    "image": "busybox",
                    "restartPolicy": "Always",
                    "command": ["sh", "-c", "touch /v/up; sleep 1000"],
                    **MOUNT,
                }
            ],
        },
    )
    pods.phase("sidecar", "Succeeded")
    assert pods.logs("sidecar", "-c", "main") == "saw\n"


def test_on_failure_restarts_and_back_off(pods):
    pods.start(
        "retry",
        "sh",
        "-c",
        "echo x >> /v/n; echo try; [ $(wc -l < /v/n) -ge 2 ]",
        image="busybox",
        restart="OnFailure",
        container=MOUNT,
        spec={"volumes": [VOLUME]},
    )
    pod = pods.phase("retry", "Succeeded")
    status = pod["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1


def test_crash_loop_back_off_and_previous_logs(pods):
    pods.start("crash", "sh", "-c", "echo run; exit 1", image="busybox", restart="Always")
    pod = pods.waiting("crash", "CrashLoopBackOff")
    status = pod["status"]["containerStatuses"][0]
    assert status["restartCount"] >= 1
    assert "back-off 10s restarting failed container=main pod=crash_" in status["state"]["waiting"]["message"]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert pods.logs("crash", "--previous") == "run\n"
    assert pod["status"]["phase"] == "Running"
    pods.until_event("crash", "BackOff", "Back-off restarting failed container main")


def test_an_image_nothing_runs(pods):
    pods.start("image", image="registry.invalid/nothing:1")
    pods.waiting("image", "ImagePullBackOff")
    assert "python:3.x" in pods.until_event("image", "Failed", "Failed to pull image")
    reasons = [m for r, m in pods.events("image") if r == "Failed"]
    assert "Error: ErrImagePull" in reasons and "Error: ImagePullBackOff" in reasons
    assert "trying and failing to pull image" in pods.kubectl.fails("logs", "image")


# --- limits, deadlines, ends ------------------------------------------------------------------------------------------


def test_out_of_memory(pods):
    pods.start(
        "oom",
        "python",
        "-c",
        "x = bytearray(400 << 20); print(len(x))",
        container={"resources": {"limits": {"memory": "64Mi"}}},
    )
    pod = pods.phase("oom", "Failed")
    done = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (done["reason"], done["exitCode"]) == ("OOMKilled", 137)
    assert pod["status"]["qosClass"] in ("Burstable", "Guaranteed")


def test_active_deadline(pods):
    pods.start("deadline", "sleep", "1000", image="busybox", spec={"activeDeadlineSeconds": 1})
    pod = pods.phase("deadline", "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"


def test_deletion_sends_term_and_waits_for_the_grace(pods, tmp_path):
    script = (
        "import signal,sys,time\n"
        "def end(*a):\n open('/h/ended','w').write('gracefully'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(1000)"
    )
    pods.start(
        "grace",
        "python",
        "-c",
        script,
        container=mount("h", "/h"),
        spec={"volumes": [{"name": "h", "hostPath": {"path": str(tmp_path)}}]},
    )
    pods.phase("grace", "Running")
    harness.until(lambda: pods.logs("grace") == "up\n", "the container is up")
    pods.kubectl("delete", "pod", "grace")
    assert (tmp_path / "ended").read_text() == "gracefully"
    assert "NotFound" in pods.kubectl.fails("get", "pod", "grace")


def test_who_ignores_term_is_killed(pods):
    pods.start(
        "stubborn",
        "sh",
        "-c",
        "trap '' TERM; while :; do sleep 0.2; done",
        image="busybox",
    )
    pods.phase("stubborn", "Running")
    pods.kubectl("delete", "pod", "stubborn", "--grace-period=1")
    assert "NotFound" in pods.kubectl.fails("get", "pod", "stubborn")


def test_hooks(pods, tmp_path):
    pods.start(
        "hooks",
        "sleep",
        "1000",
        image="busybox",
        container={
            **mount("h", "/h"),
            "lifecycle": {
                "postStart": {"exec": {"command": ["sh", "-c", "echo start > /h/start"]}},
                "preStop": {"exec": {"command": ["sh", "-c", "echo stop > /h/stop"]}},
            },
        },
        spec={"volumes": [{"name": "h", "hostPath": {"path": str(tmp_path)}}]},
    )
    pods.ready("hooks")
    assert (tmp_path / "start").read_text() == "start\n"
    pods.kubectl("delete", "pod", "hooks")
    assert (tmp_path / "stop").read_text() == "stop\n"
