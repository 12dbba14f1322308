"""Services on loopback: their addresses answer, their names resolve for commands run by `millrace exec`."""

import json
import os
import pathlib
import socket

import harness
import pytest
import requests
from harness import until

from .conftest import documents, service

pytestmark = pytest.mark.binary


def cluster_ip(kubectl, name):
    return kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")


def name_at(ip, port=80):
    try:
        return requests.get(f"http://{ip}:{port}/", timeout=10, headers={"Connection": "close"}).json()["name"]
    except requests.ConnectionError:
        return None


def run_in(millrace, *command, **more):
    return harness.run_once(["exec", "--data", millrace.data_dir, "--", *command], **more)


def test_connections_are_balanced_over_the_endpoints(kubectl, upstream):
    a, b = upstream("a"), upstream("b")
    kubectl("apply", "-f", "-", input=documents(*service("web", a, b, port=8080)))
    ip = cluster_ip(kubectl, "web")
    assert ip.startswith("127.")
    until(lambda: name_at(ip, 8080), "the address answers")
    assert {name_at(ip, 8080) for _ in range(10)} == {"a", "b"}


def test_endpoints_come_and_go(kubectl, upstream):
    a, b = upstream("a"), upstream("b")
    kubectl("apply", "-f", "-", input=documents(*service("web", a, port=8080)))
    ip = cluster_ip(kubectl, "web")
    until(lambda: name_at(ip, 8080) == "a", "the first answers")
    kubectl("apply", "-f", "-", input=documents(*service("web", b, port=8080)))
    until(lambda: name_at(ip, 8080) == "b", "the second answers")
    kubectl("delete", "endpoints", "web")
    until(lambda: name_at(ip, 8080) is None, "nobody answers")
    kubectl("delete", "service", "web")

    def closed():
        with socket.socket() as s:
            return s.connect_ex((ip, 8080)) != 0

    until(closed, "the address is closed")


def test_one_client_stays_with_one_endpoint(kubectl, upstream):
    spec = {"port": 8080, "sessionAffinity": "ClientIP"}
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(*service("web", upstream("a"), upstream("b"), **spec)),
    )
    ip = cluster_ip(kubectl, "web")
    first = until(lambda: name_at(ip, 8080), "the address answers")
    assert {name_at(ip, 8080) for _ in range(8)} == {first}


def test_an_open_connection_outlives_its_endpoint(kubectl, ns):
    with socket.create_server(("127.0.0.1", 0)) as server:
        upstream = type("U", (), {"port": server.getsockname()[1]})
        kubectl("apply", "-f", "-", input=documents(*service("raw", upstream, port=7000)))
        ip = cluster_ip(kubectl, "raw")

        def dial():
            try:
                return socket.create_connection((ip, 7000), timeout=10)
            except OSError:
                return None

        client = until(dial, "the address answers")
        far, _ = server.accept()
        kubectl("delete", "endpoints", "raw")
        client.sendall(b"still")
        assert far.recv(100) == b"still"
        far.sendall(b"here")
        assert client.recv(100) == b"here"
        client.close()
        far.close()


def test_a_node_port_answers_too(kubectl, upstream):
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(*service("web", upstream("a"), type="NodePort")),
    )
    port = kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    until(lambda: name_at("127.0.0.1", port) == "a", "the node port answers")


class TestNames:
    def test_of_the_platform(self, millrace):
        done = run_in(
            millrace,
            "curl",
            "-sS",
            "http://mlflow.kubeflow.svc.cluster.local:5000/health",
        )
        assert (done.returncode, done.stdout) == (0, "OK"), done.stderr
        done = run_in(
            millrace,
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "http://minio-service.kubeflow:9000/",
        )
        assert (done.returncode, done.stdout) == (0, "403"), done.stderr

    def test_of_every_kind_of_service(self, millrace, kubectl, upstream, ns):
        kubectl(
            "apply",
            "-f",
            "-",
            input=documents(
                *service("plain", upstream("a")),
                *service("bare", upstream("b"), clusterIP="None"),
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": "alias"},
                    "spec": {
                        "type": "ExternalName",
                        "externalName": f"plain.{ns}.svc.cluster.local",
                    },
                },
            ),
        )

        def address(name):
            return run_in(millrace, "getent", "ahostsv4", name).stdout.split(" ")[0]

        ip = cluster_ip(kubectl, "plain")
        for form in (f"plain.{ns}.svc.cluster.local", f"plain.{ns}.svc", f"plain.{ns}"):
            assert address(form) == ip
        assert address(f"bare.{ns}") == "127.0.0.1"
        assert address(f"alias.{ns}") == ip

    def test_kubectl_needs_no_kubeconfig(self, millrace, kubectl_program):
        done = run_in(
            millrace,
            kubectl_program,
            "get",
            "service",
            "mlflow",
            "-n",
            "kubeflow",
            "-o",
            "name",
        )
        assert done.stdout == "service/mlflow\n", done.stderr

    def test_the_command_is_run_as_it_is(self, millrace, tmp_path):
        done = run_in(millrace, "sh", "-c", "id -u; pwd; exit 7", cwd=tmp_path)
        assert done.returncode == 7
        assert done.stdout.split() == [str(os.getuid()), str(tmp_path)]
        assert run_in(millrace, "no-such-program").returncode == 127

    def test_outside_nothing_has_changed(self, millrace):
        before = pathlib.Path("/etc/hosts").read_text()
        run_in(millrace, "true")
        assert pathlib.Path("/etc/hosts").read_text() == before

    def test_without_a_platform_it_says_what_to_do(self, tmp_path):
        done = harness.run_once(["exec", "--data", tmp_path, "--", "true"])
        assert done.returncode == 2
        assert "millrace up" in done.stderr


def test_a_taken_address_is_told_and_tried_again(kubectl, upstream, ns):
    kubectl("apply", "-f", "-", input=documents(*service("web", upstream("a"), port=8080)))
    ip = cluster_ip(kubectl, "web")
    until(lambda: name_at(ip, 8080), "the address answers")
    with socket.create_server((ip, 8081)) as other:
        assert other
        kubectl(
            "apply",
            "-f",
            "-",
            input=documents(*service("web", upstream("a"), port=8081)),
        )

        def told():
            events = json.loads(kubectl("get", "events", "-o", "json"))["items"]
            return [e for e in events if e["reason"] == "ListenFailed" and f"{ip}:8081" in e["message"]]

        until(told, "an event tells it")
    until(
        lambda: name_at(ip, 8081) == "a",
        "the address answers once it is free",
        seconds=30,
    )


class TestPods:
    """Services that lead to pods, and the names that pods see."""

    @staticmethod
    def workload(kind, name, *command, replicas=2, **more):
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [
                            {
                                "name": "main",
                                "image": "python:3.11",
                                "command": list(command),
                                "readinessProbe": {
                                    "tcpSocket": {"port": 8000},
                                    "periodSeconds": 1,
                                },
                            }
                        ],
                    },
                },
                **more,
            },
        }

    @staticmethod
    def selecting(name, **spec):
        ports = [{"port": 8000}]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": ports, **spec},
        }

    SERVER = (
        "import http.server, json, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        text = json.dumps({'name': os.environ['HOSTNAME']}).encode()\n"
        "        self.send_response(200)\n"
        "        self.send_header('Content-Length', str(len(text)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(text)\n"
        "http.server.ThreadingHTTPServer(('', 8000), H).serve_forever()\n"
    )

    def test_replicas_share_and_a_restart_loses_no_request(self, kubectl):
        kubectl(
            "apply",
            "-f",
            "-",
            input=documents(
                self.workload("Deployment", "web", "python", "-c", self.SERVER),
                self.selecting("web"),
            ),
        )
        kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout=70)
        ip = cluster_ip(kubectl, "web")
        pods = set(kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.name}").split())
        assert len(pods) == 2
        until(lambda: {name_at(ip, 8000) for _ in range(6)} == pods, "both answer")
        kubectl("rollout", "restart", "deployment/web")
        rollout = kubectl.popen("rollout", "status", "deployment/web", "--timeout=60s")
        answered = 0
        while rollout.poll() is None:
            assert name_at(ip, 8000) is not None
            answered += 1
        assert rollout.returncode == 0
        assert answered > 0
        until(
            lambda: not {name_at(ip, 8000) for _ in range(6)} & pods,
            "the new ones answer",
        )

    def test_the_pods_of_a_stateful_set_find_each_other(self, kubectl, ns):
        kubectl(
            "apply",
            "-f",
            "-",
            input=documents(
                self.selecting("db", clusterIP="None"),
                self.workload("StatefulSet", "db", "python", "-c", self.SERVER, serviceName="db"),
            ),
        )
        kubectl("rollout", "status", "statefulset/db", "--timeout=60s", timeout=70)
        script = (
            "import json, urllib.request\n"
            f"print(json.load(urllib.request.urlopen('http://db-1.db.{ns}.svc.cluster.local:8000/'))['name'])\n"
        )
        until(
            lambda: kubectl.run("exec", "db-0", "--", "python", "-c", script).stdout == "db-1\n",
            "db-0 reaches db-1 by its name",
        )
