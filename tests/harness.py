"""Starting and stopping the real binary for tests of every room.

`launch` is the only place that starts a process: it waits until the given addresses answer 200, shows the end of
stderr when they do not, and kills the whole process group when the block ends, however it ends.
"""

import contextlib
import ctypes
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

REPO_ROOT = pathlib.Path(__file__).resolve().parent.parent

# Default ports of the program; every one is moved by the same --port-offset.
PORT_TRACKING = 5000
PORT_GATEWAY = 8080
PORT_S3 = 9000
PORT_PIPELINES = 8888
PORT_MESH = 8001
PORT_KUBE = 6443
PORT_MYSQL = 3306
BASE_PORTS = (PORT_TRACKING, PORT_GATEWAY, PORT_PIPELINES, PORT_S3, PORT_MESH, PORT_KUBE, PORT_MYSQL)

# Longer for builds with sanitizers or a machine under load.
START_TIMEOUT = float(os.environ.get("MILLRACE_TEST_START_TIMEOUT") or 20)
STOP_TIMEOUT = 15.0

# Access to the object store that `millrace up` gives out on loopback.
S3_ACCESS_KEY = "minio"
S3_SECRET_KEY = "minio123"
ARTIFACT_BUCKET = "mlflow-artifacts"
PIPELINE_BUCKET = "mlpipeline"


def binary_path() -> pathlib.Path:
    """The program under test: MILLRACE_BIN, else build/release/millrace of this checkout."""
    given = os.environ.get("MILLRACE_BIN")
    path = pathlib.Path(given).resolve() if given else REPO_ROOT / "build" / "release" / "millrace"
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"no executable at {path}; build it or set MILLRACE_BIN")
    return path


def shared_dir() -> pathlib.Path:
    """The folder of reference files and data that stands beside the checkout."""
    return pathlib.Path(os.environ.get("MILLRACE_SHARED") or REPO_ROOT.parent / "shared").resolve()


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a server does: ports that only linger in TIME_WAIT count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port_offset() -> int:
    """An offset N with which every default port is free.

    The range keeps all ports below 32768, where the kernel starts to hand out client ports, so that no outgoing
    connection of a test can take a port between this search and the start of the server.
    """
    pick = random.SystemRandom()
    for _ in range(500):
        offset = pick.randrange(11000, 23000)
        if all(_is_free(base + offset) for base in BASE_PORTS):
            return offset
    raise RuntimeError("found no port offset with all default ports free")


def free_port() -> int:
    """One free port of loopback, for a part that is started alone."""
    pick = random.SystemRandom()
    for _ in range(500):
        port = pick.randrange(10500, 32000)
        if _is_free(port):
            return port
    raise RuntimeError("found no free port")


def answers_ok(url: str, timeout: float = 1.0) -> bool:
    """True when GET url answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False


class StartFailed(AssertionError):
    """The process ended or stayed silent before it was ready."""


class Process:
    """A started program with its captured output."""

    def __init__(self, popen, args, log_dir):
        self.popen = popen
        self.args = args
        self.log_dir = pathlib.Path(log_dir)
        self.stdout_path = self.log_dir / "stdout"
        self.stderr_path = self.log_dir / "stderr"

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def returncode(self):
        return self.popen.poll()

    def stdout(self) -> str:
        return self.stdout_path.read_text(errors="replace")

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def stderr_tail(self, lines: int = 40) -> str:
        return "\n".join(self.stderr().splitlines()[-lines:])

    def describe(self) -> str:
        return (
            f"command: {' '.join(map(str, self.args))}\n"
            f"exit code: {self.returncode}\n"
            f"--- end of stderr ---\n{self.stderr_tail()}\n"
            f"--- stdout ---\n{self.stdout()[-2000:]}"
        )

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        return self.popen.wait(timeout)

    def terminate(self, timeout: float = STOP_TIMEOUT) -> int:
        """Ask for a graceful stop and answer the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout)

    def kill(self) -> None:
        """End the process and whatever it started, at once (a crash, as far as the program can tell)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(STOP_TIMEOUT)


def _die_with_parent():
    # Linux only: PR_SET_PDEATHSIG, so that a killed pytest leaves no server behind.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def spawn(args, *, env=None, cwd=None, log_dir) -> Process:
    """Start a command with its output in files of log_dir; the caller ends it (prefer `launch`)."""
    log_dir = pathlib.Path(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    full_env = {**os.environ, **{k: str(v) for k, v in (env or {}).items()}}
    args = [str(a) for a in args]
    # The signal is bound to the starting thread, so it is asked for in the main thread only.
    in_main = threading.current_thread() is threading.main_thread()
    with open(log_dir / "stdout", "wb") as out, open(log_dir / "stderr", "wb") as err:
        popen = subprocess.Popen(
            args,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env=full_env,
            start_new_session=True,
            preexec_fn=_die_with_parent if in_main else None,
        )
    return Process(popen, args, log_dir)


@contextlib.contextmanager
def launch(args, ready_url=(), *, timeout=START_TIMEOUT, env=None, cwd=None, command=None):
    """Run `millrace ARGS...` for the length of the block.

    ready_url: one address or several that must all answer 200 before the block starts; none means do not wait.
    command:   another executable than the program under test.
    Leaving the block asks for a graceful stop and kills what does not obey.
    """
    urls = [ready_url] if isinstance(ready_url, str) else list(ready_url)
    log_dir = tempfile.mkdtemp(prefix="millrace-log-")
    process = spawn([command or binary_path(), *args], env=env, cwd=cwd, log_dir=log_dir)
    try:
        deadline = time.monotonic() + timeout
        pause = 0.01
        while urls:
            if process.returncode is not None:
                raise StartFailed(f"ended before it was ready\n{process.describe()}")
            urls = [u for u in urls if not answers_ok(u)]
            if urls and time.monotonic() > deadline:
                raise StartFailed(f"not ready after {timeout:g} s: {urls}\n{process.describe()}")
            if urls:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.2)
        yield process
    finally:
        if process.popen.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.terminate()
        process.kill()
        shutil.rmtree(log_dir, ignore_errors=True)


def run_once(args, *, timeout=START_TIMEOUT, env=None, cwd=None):
    """Run `millrace ARGS...` to its end; answers subprocess.CompletedProcess with text output."""
    full_env = {**os.environ, **{k: str(v) for k, v in (env or {}).items()}}
    return subprocess.run(
        [str(binary_path()), *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=full_env,
        cwd=cwd,
        check=False,
    )


class Platform:
    """The addresses of a running `millrace up` (or of servers that were already there)."""

    def __init__(self, *, tracking_url, s3_url, gateway_url, data_dir, proc, port_offset):
        self.tracking_url = tracking_url
        self.s3_url = s3_url
        self.gateway_url = gateway_url
        self.data_dir = data_dir
        self.proc = proc
        self.port_offset = port_offset


def platform_from_environment():
    """Servers named by MILLRACE_TEST_TRACKING, MILLRACE_TEST_S3 and MILLRACE_TEST_GATEWAY, else None.

    This is how the tests themselves are tested: against the real products.
    """
    found = {
        name: (os.environ.get(f"MILLRACE_TEST_{name}") or "").rstrip("/") or None
        for name in ("TRACKING", "S3", "GATEWAY")
    }
    if not any(found.values()):
        return None
    return Platform(
        tracking_url=found["TRACKING"],
        s3_url=found["S3"],
        gateway_url=found["GATEWAY"],
        data_dir=None,
        proc=None,
        port_offset=None,
    )


def until(predicate, what, seconds=20):
    """The first true value of predicate(); `what` says in a failure what never came."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def launch_platform(data_dir, *extra_args, env=None, timeout=START_TIMEOUT):
    """`millrace up` on free ports with its data in data_dir."""
    offset = free_port_offset()
    urls = {
        name: f"http://127.0.0.1:{base + offset}"
        for name, base in (("tracking", PORT_TRACKING), ("gateway", PORT_GATEWAY), ("s3", PORT_S3))
    }
    args = ["up", "--data", data_dir, "--port-offset", offset, *extra_args]
    with launch(args, [u + "/readyz" for u in urls.values()], env=env, timeout=timeout) as proc:
        yield Platform(
            tracking_url=urls["tracking"],
            s3_url=urls["s3"],
            gateway_url=urls["gateway"],
            data_dir=pathlib.Path(data_dir),
            proc=proc,
            port_offset=offset,
        )


@contextlib.contextmanager
def launch_tracking(folder, *extra_args, port=None, env=None, static_prefix="", timeout=START_TIMEOUT, backend=None):
    """`millrace tracking` alone with database and artifacts in folder; the process gets attribute `url`."""
    folder = pathlib.Path(folder)
    port = port or free_port()
    args = [
        "tracking",
        "--backend-store-uri",
        backend or f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        folder / "artifacts",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--data",
        folder / "data",
        *extra_args,
    ]
    if static_prefix:
        args += ["--static-prefix", static_prefix]
    with launch(args, f"http://127.0.0.1:{port}/readyz", env=env, timeout=timeout) as proc:
        proc.url = f"http://127.0.0.1:{port}{static_prefix}"
        yield proc
