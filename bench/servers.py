"""Servers under measurement: starting them, waiting for them, and what their whole process tree costs."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))

import ports

TICK = os.sysconf("SC_CLK_TCK")
free_port, free_offset, MILLRACE_PORTS = ports.port, ports.offset, ports.MILLRACE


class BenchError(Exception):
    """Something that makes a part impossible and can be told in a sentence."""


# ---- one request without a client library ----------------------------------------------------------------------------


def get_status(port: int, path: str, timeout: float = 5.0) -> int:
    """Status of GET path, 0 when nothing answers. As cheap as can be: it runs while a server starts on the same cores."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            head = link.recv(64)
    except OSError:
        return 0
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


# ---- process trees ---------------------------------------------------------------------------------------------------


def _stat(pid: int):
    """(parent, session, seconds of CPU of reaped children), or None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name may hold blanks and brackets: everything counts from the last ')'.
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] == "Z":
        return None
    return int(fields[1]), int(fields[3]), (int(fields[13]) + int(fields[14])) / TICK


class Server:
    """A started server: the process, all its descendants, its log file."""

    def __init__(self, name: str, args: list, folder: pathlib.Path, env: dict | None = None):
        self.name = name
        self.args = [str(arg) for arg in args]
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        self.started = time.perf_counter()
        with self.log.open("ab") as out:
            # A session of its own makes its processes findable even when a parent in between has gone.
            self.popen = subprocess.Popen(
                self.args,
                cwd=folder,
                env={**clean_environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def fail(self, what: str) -> BenchError:
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        return BenchError(f"{self.name} {what}; the end of its log:\n" + "\n".join("    " + line for line in lines))

    def wait_ready(self, port: int, path: str, timeout: float = 180.0, any_status: bool = False) -> float:
        """Polls until 200 (or any answer); returns the seconds since the exec."""
        while True:
            status = get_status(port, path)
            now = time.perf_counter()
            if status == 200 or (any_status and status):
                return now - self.started
            if self.popen.poll() is not None:
                raise self.fail(f"ended with exit code {self.popen.returncode} before it was ready")
            if now - self.started > timeout:
                raise self.fail(f"did not answer {path} within {timeout:.0f} s")
            # Fine steps while they matter; coarse ones later, so that the poll takes nothing from a slow starter.
            time.sleep(0.001 if now - self.started < 1 else 0.02)

    def tree(self) -> dict[int, float]:
        """Every living process of the server with the CPU seconds of its reaped children."""
        stats = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                found = _stat(int(entry))
                if found:
                    stats[int(entry)] = found
        members = {pid for pid, (_, session, _) in stats.items() if session == self.popen.pid}
        members |= {self.popen.pid} & stats.keys()
        while True:
            more = {pid for pid, (parent, _, _) in stats.items() if parent in members} - members
            if not more:
                return {pid: stats[pid][2] for pid in members}
            members |= more

    def cpu(self) -> float:
        """CPU seconds, user and system, of the whole tree since it began.

        /proc/PID/stat counts in ticks of 10 ms, too coarse for a round of a cheap server; the CPU clock that the kernel
        keeps for the same process is the same sum in nanoseconds. Reaped children come from /proc.
        """
        total = 0.0
        for pid, reaped in self.tree().items():
            with contextlib.suppress(OSError):
                total += time.clock_gettime((~pid << 3) | 2)
            total += reaped
        return total

    def memory(self) -> dict:
        """Bytes of the tree: rss counts a page shared by two processes twice, pss divides it among them."""
        totals = {"Rss": 0, "Pss": 0}
        pids = self.tree()
        for pid in pids:
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            for line in text.splitlines():
                key, _, rest = line.partition(":")
                if key in totals:
                    totals[key] += int(rest.split()[0]) * 1024
        return {"rss": totals["Rss"], "pss": totals["Pss"], "processes": len(pids)}

    def settle(self, limit: float = 90.0) -> float:
        """Waits until the server uses under 3 % of a core for two seconds; returns what it used in the last of them.

        Some servers go on working long after they answer (mlflow's job consumers import half of Python then).
        """
        deadline = time.monotonic() + limit
        calm = 0
        while True:
            before, begin = self.cpu(), time.monotonic()
            time.sleep(1)
            used = (self.cpu() - before) / (time.monotonic() - begin)
            calm = calm + 1 if used < 0.03 else 0
            if calm == 2 or time.monotonic() > deadline:
                return used

    def stop(self) -> None:
        """SIGTERM to the server, then SIGKILL to whatever of its own tree is left."""
        members = set(self.tree())
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout=5)
        for pid in members | set(self.tree()):
            # A number may have gone to somebody else by now: only what still is of this session is ours.
            found = _stat(pid)
            if found and (found[1] == self.popen.pid or pid == self.popen.pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self.popen.wait()


@contextlib.contextmanager
def running(servers: list[Server]):
    """Stops the servers when the block ends, however it ends. The list may grow inside the block."""
    try:
        yield
    finally:
        for server in reversed(servers):
            server.stop()


def clean_environment() -> dict[str, str]:
    """The environment without settings that would change a server or send a client elsewhere."""
    foreign = ("MILLRACE_", "MLFLOW_", "MLSERVER_", "AWS_", "VGW_", "_MLFLOW_", "http_proxy", "HTTP_PROXY", "all_proxy")
    # Such as PYTHONDONTWRITEBYTECODE, which makes every start of a Python server compile all of its sources again.
    foreign += ("PYTHON",)
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["MLFLOW_DISABLE_TELEMETRY"] = "true"
    return env
