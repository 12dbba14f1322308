"""The Kubernetes tests' server and kubectl, and small upstream servers behind hand-made Endpoints."""

import contextlib
import http.server
import json
import threading
import time

import pytest
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401


class Upstream(http.server.ThreadingHTTPServer):
    """Says its name and what it was asked."""

    daemon_threads = True

    def __init__(self, name):
        self.name = name
        super().__init__(("127.0.0.1", 0), Answers)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/slow"):
            time.sleep(3)
        text = json.dumps(
            {
                "name": self.server.name,
                "method": self.command,
                "path": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body.decode(),
            }
        ).encode()
        with contextlib.suppress(BrokenPipeError):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *args):
        pass


@pytest.fixture
def upstream():
    """upstream(name): a server that runs until the test ends."""
    started = []

    def start(name):
        started.append(Upstream(name))
        return started[-1]

    yield start
    for one in started:
        one.shutdown()
        one.server_close()


def documents(*all_of_them):
    return "\n".join(json.dumps(one) for one in all_of_them)


def service(name, *upstreams, port=80, **spec):
    """A Service and the Endpoints that someone made by hand for it."""
    ports = [{"name": "http", "port": port}]
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": ports, **spec},
    }
    yield {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": name},
        "subsets": [
            {
                "addresses": [{"ip": "127.0.0.1"}],
                "ports": [{"name": "http", "port": u.port}],
            }
            for u in upstreams
        ],
    }
