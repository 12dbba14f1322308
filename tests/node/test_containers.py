"""Images that no process of this machine stands for: real containers, run by podman."""

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import time

import harness
import pytest
from kube.conftest import Cli, find_program

from .conftest import Pods, probe
from .engine import IMAGE, Registry, labelled, make_image, podman


@pytest.fixture(scope="module", autouse=True)
def image():
    yield make_image()
    podman("rmi", "--force", IMAGE)


def box(pods, name, *command, container=None, **more):
    return pods.start(
        name,
        *command,
        image=IMAGE,
        container={"imagePullPolicy": "Never", **(container or {})},
        **more,
    )


def containers_of(pods, name):
    return labelled(f"io.kubernetes.pod.uid={pods.get(name)['metadata']['uid']}")


def restarted(pods, name):
    """Its first container's status once it was started again."""

    def again(pod):
        return (pod["status"].get("containerStatuses") or [{"restartCount": 0}])[0]["restartCount"] >= 1

    return pods.until(name, again, "was restarted")["status"]["containerStatuses"][0]


def terminated(pods, name, seconds=30):
    pod = pods.phase(name, "Succeeded", "Failed", seconds=seconds)
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


# --- what runs --------------------------------------------------------------------------------------------------------


def test_an_image_runs_as_it_says_itself(pods):
    box(pods, "own")
    assert terminated(pods, "own")["exitCode"] == 0
    assert pods.logs("own") == "hello from the image\n/srv\n0\n"
    status = pods.state("own")
    assert status["containerID"].startswith("podman://")
    assert "@sha256:" in status["imageID"]
    assert (
        "Pulled",
        f'Container image "{IMAGE}" already present on machine',
    ) in pods.events("own")
    assert not containers_of(pods, "own")


def test_arguments_replace_the_images_arguments_and_a_command_both(pods):
    box(pods, "args", container={"args": ["echo only arguments"]})
    box(pods, "command", "/bin/echo", "a command")
    box(
        pods,
        "both",
        "/bin/echo",
        container={
            "args": ["a command", "and", "$(WHO)"],
            "env": [{"name": "WHO", "value": "I"}],
        },
    )
    for name, said in {
        "args": "only arguments\n",
        "command": "a command\n",
        "both": "a command and I\n",
    }.items():
        assert terminated(pods, name)["exitCode"] == 0
        assert pods.logs(name) == said


def test_environment_folder_user_and_streams(pods):
    secret = "two\nlines, and = signs"
    box(
        pods,
        "told",
        "sh",
        "-c",
        'echo "$PATH|$GREETING|$SECRET|$LD_LIBRARY_PATH|$HOSTNAME"; pwd; id -u; id -g; id -G; '
        "touch /mine 2>/dev/null || echo read only; hostname; echo to stderr >&2",
        container={
            "workingDir": "/not/in/the/image",
            "env": [
                {"name": "SECRET", "value": secret},
                {"name": "LD_LIBRARY_PATH", "value": "/lib"},
                {"name": "PATH", "value": "/bin"},
            ],
            "securityContext": {
                "runAsUser": 1001,
                "runAsGroup": 1002,
                "readOnlyRootFilesystem": True,
            },
        },
        spec={"securityContext": {"supplementalGroups": [1003]}},
    )
    assert terminated(pods, "told")["exitCode"] == 0
    lines = pods.logs("told").splitlines()
    assert "to stderr" in lines
    lines.remove("to stderr")
    assert "\n".join(lines) == (
        f"/bin|hello|{secret}|/lib|told\n/not/in/the/image\n1001\n1002\n1002 1003\nread only\ntold"
    )


def test_volumes_are_open_to_whoever_runs_inside(pods):
    pods.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "kept"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        }
    )
    box(
        pods,
        "writer",
        "sh",
        "-c",
        "touch /scratch/a /kept/a && echo written",
        container={
            "volumeMounts": [{"name": "work", "mountPath": "/scratch"}, {"name": "kept", "mountPath": "/kept"}],
            "securityContext": {"runAsUser": 1001},
        },
        spec={
            "volumes": [
                {"name": "work", "emptyDir": {}},
                {"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}},
            ]
        },
    )
    terminated(pods, "writer")
    assert pods.logs("writer") == "written\n"


def test_volumes_hosts_and_the_termination_message(pods):
    pods.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"key": "value"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "neighbour"},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]},
        },
    )
    work = [{"name": "work", "mountPath": "/scratch"}]
    pods.start(
        "files",
        "sh",
        "-c",
        "cat /scratch/made /settings/key; echo; touch /settings/new 2>/dev/null || echo read only; "
        "grep -c neighbour /etc/hosts; grep -c files /etc/hosts; ls /var/run/secrets/kubernetes.io/serviceaccount; "
        "echo why it ended > /dev/termination-log; exit 3",
        image=IMAGE,
        container={
            "imagePullPolicy": "Never",
            "volumeMounts": [*work, {"name": "settings", "mountPath": "/settings"}],
        },
        spec={
            "initContainers": [
                {
                    "name": "first",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "args": ["echo made first > /scratch/made"],
                    "volumeMounts": work,
                }
            ],
            "volumes": [
                {"name": "work", "emptyDir": {}},
                {"name": "settings", "configMap": {"name": "settings"}},
            ],
        },
    )
    end = terminated(pods, "files")
    assert end["exitCode"] == 3 and end["message"] == "why it ended\n"
    assert pods.logs("files") == "made first\nvalue\nread only\n1\n1\nca.crt\nnamespace\ntoken\n"


def test_who_must_not_be_root(pods):
    box(pods, "root", spec={"securityContext": {"runAsNonRoot": True}})
    waiting = pods.waiting("root", "CreateContainerConfigError")["status"]["containerStatuses"][0]["state"]["waiting"]
    assert "container has runAsNonRoot and image will run as root" in waiting["message"]


def test_a_program_that_is_not_there(pods):
    box(pods, "absent", "no-such-program")
    end = terminated(pods, "absent")
    assert end["reason"] == "StartError" and end["exitCode"] == 128
    assert 'exec: "no-such-program": executable file not found in $PATH' in end["message"]
    assert pods.logs("absent") == ""
    assert not containers_of(pods, "absent")


def test_memory_beyond_the_limit(pods):
    eat = "x=$(head -c 100000000 /dev/zero | tr '\\0' a); echo $x | wc -c"
    box(
        pods,
        "eater",
        "sh",
        "-c",
        eat,
        container={"resources": {"limits": {"memory": "32Mi", "cpu": "1"}}},
    )
    end = terminated(pods, "eater")
    assert end["reason"] == "OOMKilled" and end["exitCode"] == 137


# --- life and end -----------------------------------------------------------------------------------------------------


def test_restarts_keep_the_previous_log(pods):
    box(
        pods,
        "again",
        "sh",
        "-c",
        "echo started; sleep 0.2; exit 4",
        restart="OnFailure",
    )
    assert restarted(pods, "again")["lastState"]["terminated"]["exitCode"] == 4
    pods.waiting("again", "CrashLoopBackOff")
    assert pods.logs("again", "--previous") == "started\n"


def test_the_images_stop_signal_ends_it_and_a_kill_what_does_not_listen(pods):
    loop = "while true; do sleep 0.1; done"
    box(
        pods,
        "polite",
        "sh",
        "-c",
        f"trap 'echo interrupted; exit 0' INT; echo on; {loop}",
    )
    box(
        pods,
        "deaf",
        "sh",
        "-c",
        f"trap '' INT TERM; echo on; {loop}",
        spec={"activeDeadlineSeconds": 3},
    )
    pods.ready("polite")
    following = pods.kubectl.popen("logs", "-f", "polite")
    assert following.stdout.readline() == "on\n"
    ids = containers_of(pods, "polite")
    assert len(ids) == 1
    pods.kubectl("delete", "pod", "polite", "--grace-period=20")
    assert following.communicate(timeout=20)[0] == "interrupted\n"
    assert ids[0] not in podman("ps", "--all", "--quiet").split()
    pod = pods.phase("deaf", "Failed", seconds=60)
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert terminated(pods, "deaf")["exitCode"] == 137


def test_probes_and_hooks(pods):
    # It listens on all addresses of the machine: a port that no other pod has.
    port = harness.free_port()
    box(
        pods,
        "watched",
        "sh",
        "-c",
        f"mkdir www; echo page > www/index.html; exec httpd -f -p {port} -h www",
        container={
            "startupProbe": probe({"exec": {"command": ["test", "-e", "/tmp/hooked"]}}),
            "readinessProbe": probe({"httpGet": {"path": "/index.html", "port": port}}),
            "livenessProbe": probe(
                {"exec": {"command": ["sh", "-c", "! test -e /tmp/ill"]}},
                failureThreshold=1,
            ),
            "lifecycle": {"postStart": {"exec": {"command": ["touch", "/tmp/hooked"]}}},
        },
        restart="Always",
    )
    pods.ready("watched")
    pods.kubectl("exec", "watched", "--", "touch", "/tmp/ill")
    restarted(pods, "watched")
    # A new container has files of its own: it is healthy again.
    pods.ready("watched")


def test_a_probe_that_takes_too_long_leaves_nothing_behind(pods):
    slow = probe({"exec": {"command": ["sleep", "1234"]}}, timeoutSeconds=1, failureThreshold=100)
    box(pods, "slow", "sleep", "1000", container={"readinessProbe": slow})
    pods.until_event("slow", "Unhealthy", 'command timed out: "sleep" timed out after 1s')

    def failed_often():
        events = json.loads(pods.kubectl("get", "events", "-o", "json"))["items"]
        return any(e["reason"] == "Unhealthy" and e.get("count", 1) >= 3 for e in events)

    harness.until(failed_often, "it has failed three times")
    # One may be under way.
    assert pods.kubectl("exec", "slow", "--", "ps").count("sleep 1234") <= 1


def test_two_pods_have_their_own_port(pods):
    key = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 2 -subj /CN=x -config /dev/null 2>/dev/null"
    for name in ("one", "two"):
        serve = f"{key}; echo I am {name} > index.html; exec openssl s_server -accept 8443 -key k -cert c -WWW"
        box(
            pods,
            name,
            "sh",
            "-c",
            serve,
            container={
                "readinessProbe": probe({"tcpSocket": {"port": 8443}}),
                "workingDir": "/tmp",
            },
        )
    for name in ("one", "two"):
        ip = pods.ready(name)["status"]["podIP"]
        ask = f"printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect {ip}:8443 2>/dev/null"
        assert f"I am {name}" in pods.kubectl("exec", "one", "--", "sh", "-c", ask)


# --- commands in it ---------------------------------------------------------------------------------------------------


def test_exec_and_copies(pods, tmp_path):
    box(pods, "in", "sleep", "1000")
    pods.ready("in")
    assert pods.kubectl("exec", "in", "--", "sh", "-c", "echo $GREETING; pwd") == "hello\n/srv\n"
    assert pods.kubectl("exec", "-i", "in", "--", "cat", input="through\n") == "through\n"
    done = pods.kubectl.run("exec", "in", "--", "sh", "-c", "echo err >&2; exit 9")
    assert done.returncode == 9 and "err" in done.stderr
    data = bytes(range(256)) * 2000
    (tmp_path / "in").write_bytes(data)
    pods.kubectl("cp", str(tmp_path / "in"), "in:/tmp/there")
    pods.kubectl("cp", "in:/tmp/there", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == data


def test_attach_to_pipes_and_to_a_terminal(pods):
    box(
        pods,
        "pipes",
        "sh",
        "-c",
        "read x; echo got $x",
        container={"stdin": True, "stdinOnce": True},
    )
    box(
        pods,
        "screen",
        "sh",
        "-c",
        "tty; read x; echo got $x",
        container={"stdin": True, "tty": True},
    )
    for name in ("pipes", "screen"):
        pods.phase(name, "Running")
        assert "got this" in pods.kubectl("attach", "-i", name, input="this\n")
        pods.phase(name, "Succeeded")
    assert "/dev/pts/0" in pods.logs("screen")


# --- images -----------------------------------------------------------------------------------------------------------


def test_an_image_that_must_not_be_pulled(pods):
    pods.start(
        "never",
        image="localhost/millrace-test/none:1",
        container={"imagePullPolicy": "Never"},
    )
    message = 'Container image "localhost/millrace-test/none:1" is not present with pull policy of Never'
    waiting = pods.waiting("never", "ErrImageNeverPull")["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == message
    pods.until_event("never", "ErrImageNeverPull", message)
    pods.until_event("never", "Failed", "Error: ErrImageNeverPull")


def pods_of(platform, tmp_path):
    kubectl = Cli(
        find_program("kubectl", (1, 28)),
        platform.data_dir / "kubeconfig",
        "default",
        tmp_path / "home",
    )
    return Pods(kubectl)


def test_pulls_with_a_login_and_what_fails(tmp_path):
    registry = Registry(tmp_path / "registry", login="me:secret")
    registry.start()
    name = f"{registry.name}/team/box:2"
    env = {"CONTAINERS_REGISTRIES_CONF": str(registry.settings(tmp_path / "registries.conf"))}
    login = base64.b64encode(b"me:secret").decode()
    with harness.launch_platform(tmp_path / "data", env=env) as platform:
        pods = pods_of(platform, tmp_path)
        try:
            pods.start("unknown", image=name)
            pods.waiting("unknown", "ImagePullBackOff")
            # The engine's own words.
            assert "unauthorized" in pods.until_event("unknown", "Failed", "Failed to pull image").lower()
            reasons = [m for r, m in pods.events("unknown") if r == "Failed"]
            assert "Error: ErrImagePull" in reasons and "Error: ImagePullBackOff" in reasons
            pods.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "login"},
                    "type": "kubernetes.io/dockerconfigjson",
                    "stringData": {".dockerconfigjson": json.dumps({"auths": {registry.name: {"auth": login}}})},
                }
            )
            secrets = {"imagePullSecrets": [{"name": "login"}]}
            pods.start("wrong", image=f"{registry.name}/team/wrong:2", spec=secrets)
            assert "manifest unknown" in pods.until_event("wrong", "Failed", "Failed to pull image")
            pods.start("known", image=name, spec=secrets)
            assert terminated(pods, "known")["exitCode"] == 0
            assert pods.logs("known") == "hello from the image\n/srv\n0\n"
            pods.until_event("known", "Pulling", f'Pulling image "{name}"')
            pods.until_event("known", "Pulled", f'Successfully pulled image "{name}" in ')
            assert not list((tmp_path / "data").glob("pods/*/pull/config.json"))
            # It is here now: who need not ask does not, who always asks does.
            before = len(registry.asked)
            pods.start("here", image=name)
            assert terminated(pods, "here")["exitCode"] == 0
            assert len(registry.asked) == before
            pods.start(
                "always",
                image=name,
                container={"imagePullPolicy": "Always"},
                spec=secrets,
            )
            assert terminated(pods, "always")["exitCode"] == 0
            assert len(registry.asked) > before
        finally:
            podman("rmi", "--force", "--ignore", name)


def test_a_pull_that_hangs_is_given_up_with_its_pod(tmp_path):
    registry = socket.create_server(("127.0.0.1", 0))  # which takes connections and never says anything
    image = f"127.0.0.1:{registry.getsockname()[1]}/team/box:1"
    with registry, harness.launch_platform(tmp_path / "data") as platform:
        pods = pods_of(platform, tmp_path)
        for name in ("deleted", "left"):
            pods.start(name, image=image)
            pods.until_event(name, "Pulling", image)
        pods.kubectl("delete", "pod", "deleted", timeout=20)
        os.kill(platform.proc.pid, signal.SIGTERM)
        assert platform.proc.popen.wait(timeout=20) == 0
        assert "did not stop in time" not in platform.proc.stderr()


# --- the platform's end -----------------------------------------------------------------------------------------------


def test_containers_end_with_the_program_and_begin_again(tmp_path):
    data = tmp_path / "data"
    mine = f"millrace.dev/data={data}"
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        for name in ("one", "two"):
            box(pods, name, "sleep", "1000", restart="Always")
        for name in ("one", "two"):
            pods.ready(name)
        assert len(labelled(mine)) == 2
        os.kill(platform.proc.pid, signal.SIGKILL)
        platform.proc.popen.wait(timeout=20)
        harness.until(lambda: not labelled(mine), "the containers are gone")
    with harness.launch_platform(data) as platform:
        pods = pods_of(platform, tmp_path)
        for name in ("one", "two"):
            assert restarted(pods, name)["lastState"]["terminated"]["reason"] == "Unknown"
            pods.ready(name)
        assert len(labelled(mine)) == 2
        os.kill(platform.proc.pid, signal.SIGTERM)
        platform.proc.popen.wait(timeout=20)
        assert not labelled(mine)


def test_a_kill_while_containers_start_leaves_nothing(tmp_path):
    data = tmp_path / "data"
    prefix = f"millrace-{hashlib.sha256(str(data).encode()).hexdigest()[:8]}-"

    def left():
        """Containers, what podman calls external, and processes that have to do with either."""
        names = podman("ps", "--all", "--external", "--format", "{{.Names}}").split()
        commands = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
        return [n for n in names if n.startswith(prefix)] + [c for c in commands.splitlines() if prefix in c]

    def running(pods):
        return len(pods.kubectl("get", "pods", "--field-selector=status.phase=Running", "-o", "name").split())

    for started in (0, 1, 4):
        with harness.launch_platform(data) as platform:
            pods = pods_of(platform, tmp_path)
            pods.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
            pods.apply(
                *(
                    pods.pod(f"p{i}", "sleep", "1000", image=IMAGE, container={"imagePullPolicy": "Never"})
                    for i in range(8)
                )
            )
            while running(pods) < started:
                time.sleep(0.05)
            os.kill(platform.proc.pid, signal.SIGKILL)
            platform.proc.popen.wait(timeout=20)
            harness.until(lambda: not left(), "nothing is left", 40)


def test_names_for_containers_and_no_engine(tmp_path):
    with harness.launch_platform(tmp_path / "one", "--image", "busybox=container") as platform:
        tag = f"docker.io/library/busybox:millrace-test-{os.getpid()}"
        podman("tag", IMAGE, tag)
        try:
            pods = pods_of(platform, tmp_path)
            pods.start("real", image=tag.removeprefix("docker.io/library/"))
            assert terminated(pods, "real")["exitCode"] == 0
            assert pods.logs("real").startswith("hello from the image\n")
        finally:
            podman("rmi", tag)
    with harness.launch_platform(tmp_path / "two", "--container-engine", "none") as platform:
        pods = pods_of(platform, tmp_path)
        pods.start("refused", image=IMAGE, container={"imagePullPolicy": "Never"})
        said = pods.until_event("refused", "Failed", "Failed to pull image")
        assert "python:3.x" in said and "--container-engine none" in said


def test_doctor_names_the_engine(tmp_path):
    done = harness.run_once(["doctor", "--data", tmp_path])
    assert "containers: podman" in done.stdout
