"""`millrace port-forward`."""

import os
import re
import signal
import socket
import time
import urllib.request

import pytest

from .pods import pod, running, text

# Answers with what it got, only once the client has said that no more comes.
ECHO = """
import socket, threading
def serve(c):
    got = b""
    while piece := c.recv(65536):
        got += piece
    c.sendall(got)
    c.close()
s = socket.create_server(("", 7000), backlog=64)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


class Forward:
    def __init__(self, process):
        self.process = process
        self.port = 0
        line = process.stdout.readline()
        found = re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)\n", line)
        assert found, (line, process.stderr.read() if process.poll() is not None else "")
        self.port, self.remote = int(found[1]), int(found[2])


@pytest.fixture
def echo(own, api):
    """A pod behind a Service of another port, and forwards to them."""
    p = pod("echo", "python3", "-c", ECHO)
    p["spec"]["containers"][0]["ports"] = [{"containerPort": 7000, "name": "talk"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"selector": {"app": "echo"}, "ports": [{"name": "main", "port": 70, "targetPort": "talk"}]},
    }
    own("apply", "-f", "-", input=text(p, service))
    running(api, own.namespace, "echo")
    started = []

    def forward(*args):
        process = own.popen("port-forward", *args)
        started.append(process)
        return Forward(process)

    yield forward
    for process in started:
        process.kill()
        process.communicate()


def talk(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while piece := s.recv(65536):
            got += piece
        return got


def talk_until_listening(port, data):
    """The pod runs before its server listens: a connection until then is closed without an answer."""
    deadline = time.monotonic() + 20
    while True:
        try:
            got = talk(port, data)
        except OSError:
            got = b""
        if got or time.monotonic() > deadline:
            return got
        time.sleep(0.05)


@pytest.mark.pods
def test_forward_to_pods_and_services(own, echo):
    f = echo("echo", ":7000")
    assert f.remote == 7000
    assert talk_until_listening(f.port, b"hello") == b"hello"
    big = os.urandom(5_000_000)
    assert talk(f.port, big) == big
    for args in (("svc/echo", ":70"), ("svc/echo", ":main"), ("pod/echo", ":talk")):
        f = echo(*args)
        assert f.remote == 7000
        assert talk(f.port, b"again") == b"again"
    f.process.send_signal(signal.SIGINT)
    assert f.process.wait(10) == 0


@pytest.mark.pods
def test_many_connections_at_once(own, echo):
    f = echo("echo", ":7000")
    assert talk_until_listening(f.port, b"x") == b"x"
    sockets = [socket.create_connection(("127.0.0.1", f.port), timeout=20) for _ in range(20)]
    for i, s in enumerate(sockets):
        s.sendall(f"number {i}".encode())
    for i, s in reversed(list(enumerate(sockets))):  # none waits for another
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == f"number {i}".encode()
        s.close()


@pytest.mark.pods
def test_forward_says_what_is_wrong(own, echo, api):
    f = echo("echo", ":7001")  # nobody listens there
    assert talk(f.port, b"") == b""
    assert "7001" in f.process.stderr.readline()
    assert f.process.poll() is None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = own.fails("port-forward", "echo", f"{port}:7000")
        assert str(port) in message and "another local port" in message
    assert "does not have a port 71; it has 70 (main)" in own.fails("port-forward", "svc/echo", "71")
    assert "neither a port number" in own.fails("port-forward", "echo", "chat")
    assert "not a local port" in own.fails("port-forward", "echo", "x:7000")
    assert 'pods "nope" not found' in own.fails("port-forward", "nope", "1")
    assert "8080:80" in own.fails("port-forward", "echo")
    # A pod that goes away ends it, at the latest with the next connection.
    own("delete", "pod", "echo")
    assert "has no pods" in own.fails("port-forward", "svc/echo", ":70")
    talk(f.port, b"")
    assert f.process.wait(20) == 1
    assert "cannot be reached" in f.process.stderr.read()


def test_forward_of_the_platforms_own_services(own):
    """The seed's `port-forward` of parts that are no pods."""
    with own.popen("port-forward", "svc/mlflow", ":5000", "-n", "kubeflow") as process:
        try:
            f = Forward(process)
            with urllib.request.urlopen(f"http://127.0.0.1:{f.port}/health", timeout=20) as answer:
                assert answer.read() == b"OK"
        finally:
            process.kill()
