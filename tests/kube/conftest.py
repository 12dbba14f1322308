"""The server under test and its clients.

Normally that is the session's `millrace up`. MILLRACE_TEST_KUBECONFIG names another one, a real API server for
instance: so the tests themselves are tested (deselect what needs a node there: -m "not pods and not binary").
MILLRACE_TEST_KUBECTL and MILLRACE_TEST_HELM name other programs than those found.
"""

import os
import pathlib
import re
import secrets
import shutil
import subprocess
import time

import harness
import pytest

from . import wire

TOOLS = harness.REPO_ROOT / "build" / "tools" / "bin"


def _version(program):
    done = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=False)
    found = re.search(r"v(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_program(name, at_least):
    """The program that scripts/setup.sh made sure of: a recent one on PATH, else the one it built."""
    given = os.environ.get("MILLRACE_TEST_" + name.upper())
    for one in [given] if given else [shutil.which(name), str(TOOLS / name)]:
        if one and os.access(one, os.X_OK) and _version(one) >= at_least:
            return one
    raise FileNotFoundError(f"no {name} of version {at_least} or newer; run scripts/setup.sh --test")


class Cli:
    """kubectl or helm, for one server and namespace, with caches and settings of its own."""

    def __init__(self, program, kubeconfig, namespace, home):
        self.program = program
        self.namespace = namespace
        self.home = pathlib.Path(home)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(self.home / "cache"),
            "HELM_CACHE_HOME": str(self.home / "helm-cache"),
            "HELM_CONFIG_HOME": str(self.home / "helm-config"),
            "HELM_DATA_HOME": str(self.home / "helm-data"),
        }

    def _args(self, *args):
        return [self.program, "--namespace", self.namespace, *map(str, args)]

    def _run(self, args, input=None, timeout=60, env=None):
        return subprocess.run(
            args,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**self.env, **(env or {})},
        )

    def run(self, *args, **more):
        """The finished process, whatever its exit code."""
        return self._run(self._args(*args), **more)

    def __call__(self, *args, **more):
        """What it printed; it has to succeed."""
        done = self.run(*args, **more)
        assert done.returncode == 0, f"{' '.join(map(str, args))}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def fails(self, *args, **more):
        """What it printed on stderr; it must not succeed."""
        done = self.run(*args, **more)
        assert done.returncode != 0, f"{' '.join(map(str, args))} succeeded:\n{done.stdout}"
        return done.stderr

    def popen(self, *args, **more):
        return subprocess.Popen(
            self._args(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            **more,
        )


class Own(Cli):
    """The program itself in kubectl's place: its options stand behind the command."""

    def _args(self, verb, *args):
        return [self.program, verb, "--namespace", self.namespace, *map(str, args)]

    def bare(self, *args, **more):
        """Without a namespace."""
        return self._run([self.program, *map(str, args)], **more)


@pytest.fixture(scope="session")
def kubeconfig(request):
    given = os.environ.get("MILLRACE_TEST_KUBECONFIG")
    if given:
        return pathlib.Path(given)
    return request.getfixturevalue("millrace").data_dir / "kubeconfig"


@pytest.fixture(scope="session")
def api(kubeconfig):
    api = wire.Api(kubeconfig)
    deadline = time.monotonic() + harness.START_TIMEOUT
    while (answer := api.call("GET", "/readyz")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    return api


@pytest.fixture
def ns(api):
    """A fresh namespace, gone afterwards."""
    name = "test-" + secrets.token_hex(4)
    api.make_namespace(name)
    yield name
    api.remove_namespace(name)


@pytest.fixture(scope="session")
def kubectl_program():
    return find_program("kubectl", (1, 28))


@pytest.fixture(scope="session")
def tool_home(tmp_path_factory):
    return tmp_path_factory.mktemp("kube-tools")


@pytest.fixture
def kubectl(kubectl_program, kubeconfig, ns, tool_home):
    return Cli(kubectl_program, kubeconfig, ns, tool_home)


@pytest.fixture
def helm(kubeconfig, ns, tool_home):
    return Cli(find_program("helm", (3, 14)), kubeconfig, ns, tool_home)


@pytest.fixture
def own(kubeconfig, ns, tool_home):
    return Own(str(harness.binary_path()), kubeconfig, ns, tool_home)
