"""Readiness, liveness and startup probes."""

import socket

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
