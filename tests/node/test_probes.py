"""Readiness, liveness and startup probes."""

import socket
import subprocess

import pytest

from .conftest import SERVE, condition, probe


@pytest.mark.parametrize(
    "action",
    [
        {"httpGet": {"path": "/", "port": "web"}},
        {"tcpSocket": {"port": 8080}},
        {
            "exec": {
                "command": [
                    "python",
                    "-c",
                    "import socket; socket.create_connection(('localhost', 8080))",
                ]
            }
        },
    ],
    ids=["http", "tcp", "exec"],
)
def test_readiness(pods, action):
    pods.start(
        "ready",
        "python",
        "-c",
        "import time; time.sleep(1)\n" + SERVE,
        "8080",
        container={
            "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": probe(action, timeoutSeconds=5),
        },
    )
    pod = pods.phase("ready", "Running")
    assert condition(pod, "Ready") == "False"
    pod = pods.ready("ready")
    assert pod["status"]["containerStatuses"][0]["ready"] is True


def test_https_believes_any_certificate(pods, tmp_path):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=elsewhere.example"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    secure = SERVE.replace(
        "http.server.ThreadingHTTPServer(('0.0.0.0',int(sys.argv[1])),h).serve_forever()",
        "import ssl;open('/tmp/both','w').write(os.environ['PEM']);"
        "c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER);c.load_cert_chain('/tmp/both');"
        "s=http.server.ThreadingHTTPServer(('0.0.0.0',int(sys.argv[1])),h);"
        "s.socket=c.wrap_socket(s.socket,server_side=True);s.serve_forever()",
    )
    assert secure != SERVE
    env = [{"name": "PEM", "value": key.read_text() + certificate.read_text()}]
    silent = "import socket,time;s=socket.create_server(('0.0.0.0',8443));time.sleep(1000)"

    def start(name, program, path):
        action = {"httpGet": {"scheme": "HTTPS", "path": path, "port": 8443}}
        more = {"env": env, "readinessProbe": probe(action)}
        pods.start(name, "python", "-c", program, "8443", container=more)

    start("good", secure, "/")
    start("bad", secure, "/bad")
    start("plain", SERVE, "/")
    start("silent", silent, "/")
    pods.ready("good")
    pods.until_event("bad", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500")
    pods.until_event("plain", "Unhealthy", 'Readiness probe failed: Get "https://')
    pods.until_event("silent", "Unhealthy", "context deadline exceeded")
    for name in ("bad", "plain", "silent"):
        assert condition(pods.get(name), "Ready") == "False"


def test_liveness_restarts(pods):
    pods.start(
        "live",
        "python",
        "-c",
        SERVE,
        "8080",
        restart="Always",
        container={"livenessProbe": probe({"httpGet": {"path": "/bad", "port": 8080}}, failureThreshold=2)},
    )
    pods.until(
        "live",
        lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= 1,
        "was restarted",
    )
    pods.until_event(
        "live",
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
    )
    pods.until_event("live", "Killing", "Container main failed liveness probe, will be restarted")


def test_startup_probe_holds_the_others_back(pods):
    pods.start(
        "startup",
        "sh",
        "-c",
        "sleep 1; touch /tmp/up; sleep 1000",
        image="busybox",
        container={
            "startupProbe": probe({"exec": {"command": ["test", "-e", "/tmp/up"]}}, failureThreshold=30),
            "livenessProbe": probe({"exec": {"command": ["test", "-e", "/tmp/up"]}}, failureThreshold=1),
        },
    )
    pod = pods.ready("startup")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert pod["status"]["containerStatuses"][0]["started"] is True


def test_two_pods_listen_on_the_same_port(pods):
    for name in ("one", "two"):
        pods.apply(pods.server(name))
    addresses = [pods.ready(name)["status"]["podIP"] for name in ("one", "two")]
    for name, ip in zip(("one", "two"), addresses, strict=True):
        with socket.create_connection((ip, 8080), timeout=5) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert s.makefile("rb").read().endswith(name.encode())
