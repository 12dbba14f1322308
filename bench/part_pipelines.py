"""Pipelines: what a step costs, a wide fan-out, cached steps, a large plan; millrace up beside kfp.local.

Everything on our side goes through the pipelines API, as a client sees it: from the POST of the run until its state
is final. kfp.local runs the same Python component in a process of its own. Its SubprocessRunner takes Python
components only, so the cases with container steps have no peer.
"""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import urllib.parse

import peers
from servers import MILLRACE_PORTS, BenchError, Server, clean_environment, free_offset, running

TITLE = "Pipelines"
PYTHON_CHAIN = 20
CHAIN = 100
PLAN = 10_000
LOCAL_CHAIN = 5
FINAL = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
LONGEST = 900.0


class Platform:
    """A running `millrace up` and its pipelines API over one kept connection."""

    def __init__(self, context, folder: pathlib.Path):
        offset = free_offset()
        reaper = pathlib.Path(__file__).resolve().parent / "reaper.py"
        args = [sys.executable, "-IS", reaper, context.binary, "up", "--data", folder / "data", "--port-offset", offset]
        self.server = Server("millrace", args, folder)
        self.port = MILLRACE_PORTS["pipelines"] + offset
        self.server.wait_ready(MILLRACE_PORTS["tracking"] + offset, "/readyz")
        self.pid = self._program(context.binary)
        self.link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def _program(self, binary: str) -> int:
        """The server itself, below the process that adopts what its pods leave."""
        for pid in self.server.tree():
            with contextlib.suppress(OSError):
                if os.path.samefile(f"/proc/{pid}/exe", binary):
                    return pid
        raise self.server.fail("has no process")

    def call(self, method: str, path: str, body: bytes | None = None) -> dict:
        headers = {"Content-Type": "application/json"} if body else {}
        self.link.request(method, "/apis/v2beta1" + path, body, headers)
        answer = self.link.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise BenchError(f"{method} {path} was answered {answer.status}: {data[:300].decode(errors='replace')}")
        return json.loads(data or b"{}")

    def find(self, name: str) -> dict:
        """A run by its name: in a list it comes without its tasks, which costs the server next to nothing."""
        wanted = {"predicates": [{"operation": "EQUALS", "key": "name", "string_value": name}]}
        path = f"/runs?page_size=1&filter={urllib.parse.quote(json.dumps(wanted))}"
        return self.call("GET", path)["runs"][0]

    def wait(self, name: str, states: tuple) -> str:
        begin = time.perf_counter()
        while (state := self.find(name)["state"]) not in states:
            passed = time.perf_counter() - begin
            if state in FINAL or passed > LONGEST:
                raise self.server.fail(f"has run {name} in state {state} after {passed:.0f} s")
            # Never late by more than a hundredth of the whole, nor asking more often than every 3 ms.
            time.sleep(min(max(0.003, passed / 100), 0.25))
        return state

    def memory(self, field: str) -> int:
        """VmHWM (the most since reset_peak) or VmRSS of the server process itself, in bytes."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise BenchError(f"the kernel does not tell {field}")

    def reset_peak(self) -> None:
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")


# ---- our side --------------------------------------------------------------------------------------------------------


def body(document: dict, name: str, parameters: dict) -> bytes:
    return json.dumps(
        {"display_name": name, "pipeline_spec": document, "runtime_config": {"parameters": parameters}}
    ).encode()


def submit(platform: Platform, document: dict, name: str, parameters: dict, steps: int, cached: bool = False) -> dict:
    """Runs a pipeline to its end and checks that its steps ran, or that none did."""
    request = body(document, name, parameters)
    platform.reset_peak()
    cpu, begin = platform.server.cpu(), time.perf_counter()
    run = platform.call("POST", "/runs", request)
    posted = time.perf_counter() - begin
    platform.wait(name, ("SUCCEEDED",))
    seconds = time.perf_counter() - begin
    found = {
        "seconds": seconds,
        "post_s": posted,
        "cpu_s": platform.server.cpu() - cpu,
        "peak": platform.memory("VmHWM"),
        "steps": steps,
    }
    tasks = [one for one in tasks_of(platform, run["run_id"]) if one["more"].get("attempts")]
    hits = sum(one["more"].get("cache", "").startswith("hit") for one in tasks)
    if len(tasks) != steps or hits != (steps if cached else 0):
        raise BenchError(f"run {name} has {len(tasks)} steps, {hits} of them from the cache; it should have {steps}")
    return found


def tasks_of(platform: Platform, run_id: str) -> list[dict]:
    return platform.call("GET", f"/runs/{run_id}/tasks")["tasks"]


def check_chain(platform: Platform, name: str, wanted: int) -> None:
    """The last step's outcome says whether each one before it really added."""
    run_id = platform.find(name)["run_id"]
    tasks = {one["more"].get("path"): one["task_id"] for one in tasks_of(platform, run_id)}
    last = platform.call("GET", f"/runs/{run_id}/tasks/{tasks[f'add-one-{PYTHON_CHAIN}']}")
    got = last["more"].get("output_parameters", {}).get("Output")
    if got != wanted:
        raise BenchError(f"run {name} came to {got}, not {wanted}")


def plan(platform: Platform, document: dict, name: str) -> dict:
    """A run of very many tasks that all wait for one that sleeps: submitted, under way, ended."""
    request = body(document, name, {"salt": 0})
    platform.reset_peak()
    cpu, begin = platform.server.cpu(), time.perf_counter()
    run = platform.call("POST", "/runs", request)
    posted = time.perf_counter() - begin
    platform.wait(name, ("RUNNING",))
    running_s = time.perf_counter() - begin
    time.sleep(2)  # whatever it does with the tasks that cannot start yet, it has done by then
    found = {
        "seconds": posted,
        "running_s": running_s,
        "cpu_s": platform.server.cpu() - cpu,
        "peak": platform.memory("VmHWM"),
        "resident": platform.memory("VmRSS"),
        "bytes": len(request),
    }
    # Asked for after the memory was read: the answer has all the tasks.
    first = [one["state"] for one in tasks_of(platform, run["run_id"]) if one["more"].get("path") == "sleep"]
    if first != ["RUNNING"]:
        raise BenchError(f"the first step of the plan of {PLAN:,} tasks is not running: {first}")
    begin = time.perf_counter()
    platform.call("POST", f"/runs/{run['run_id']}:terminate")
    platform.wait(name, ("CANCELED",))
    return {**found, "terminate_s": time.perf_counter() - begin}


def measure(context, folder: pathlib.Path, documents: dict, number: int) -> dict:
    """Every case once. The data folder stays from round to round: the steps' environment is made once."""
    found = {}
    width = documents["width"]
    salt = 1000 * (number + 1)
    platform = Platform(context, folder)
    with running([platform.server]):
        # What a platform does at its first pod of all is no part of a Python step.
        submit(platform, documents["one container"], f"first-{number}", {"salt": salt + 1}, 1)
        found["first"] = submit(platform, documents["one python"], f"python-first-{number}", {"start": salt}, 1)
        found["python"] = submit(
            platform, documents["python chain"], f"python-{number}", {"start": salt + 1}, PYTHON_CHAIN
        )
        check_chain(platform, f"python-{number}", salt + 1 + PYTHON_CHAIN)
        parameters = {"salt": salt}
        found["chain"] = submit(platform, documents["chain"], f"chain-{number}", parameters, CHAIN)
        found["cached"] = submit(platform, documents["chain"], f"cached-{number}", parameters, CHAIN, cached=True)
        found["fan-out"] = submit(platform, documents["fan-out"], f"fan-out-{number}", {"salt": salt + 3}, width)
    # A server of its own: its memory shall not hold what the cases before needed.
    platform = Platform(context, folder)
    with running([platform.server]):
        submit(platform, documents["one container"], f"again-{number}", {"salt": salt + 2}, 1)
        found["plan"] = plan(platform, documents["plan"], f"plan-{number}")
    return found


# ---- kfp.local -------------------------------------------------------------------------------------------------------


def local(context, folder: pathlib.Path, *, venv: bool = False, cached: bool = False) -> dict:
    """A chain in kfp.local; with cached the second run of it, which takes each step from its cache."""
    folder.mkdir(parents=True)
    steps = 1 if venv else LOCAL_CHAIN
    script = pathlib.Path(__file__).resolve().parent / "local_pipeline.py"
    command = [context.peers["kfp-local"].program, str(script), str(steps)]
    command += ["--venv"] if venv else []
    command += ["--cache", "--runs", "2"] if cached else []
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False, timeout=LONGEST
    )
    shutil.rmtree(folder, ignore_errors=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise BenchError(f"kfp.local: {(done.stderr or done.stdout).strip()[-300:]}")
    results = json.loads(lines[-1])
    if any(one["output"] != 1 + steps for one in results):
        raise BenchError(f"kfp.local came to {results[-1]['output']}, not {1 + steps}")
    return {"seconds": results[-1]["seconds"], "cpu_s": results[-1]["cpu_s"], "steps": steps}


# ---- all of it -------------------------------------------------------------------------------------------------------


def specs(width: int) -> dict:
    import pipeline_specs as made

    return {
        "width": width,
        "one container": made.compiled(made.container_chain(1)),
        "one python": made.compiled(made.python_chain(1)),
        "python chain": made.compiled(made.python_chain(PYTHON_CHAIN)),
        "chain": made.compiled(made.container_chain(CHAIN)),
        "fan-out": made.compiled(made.fan_out(width)),
        "plan": made.large_plan(PLAN),
    }


def run(context) -> dict:
    context.peers["kfp-local"] = peers.kfp_local()
    if context.peers["kfp-local"].missing:
        raise BenchError(context.peers["kfp-local"].missing)  # its compiler makes the pipelines of both sides
    documents = specs(200 if context.quick else 1000)
    folder = context.settings.work / "pipelines"
    platform = Platform(context, folder)
    with running([platform.server]):
        begin = time.perf_counter()
        submit(platform, documents["one python"], "warm-up", {"start": 0}, 1)
        print(f"  the steps' environment is there after {time.perf_counter() - begin:.1f} s", flush=True)
    ours: list[dict] = []
    theirs: dict[str, list[dict]] = {"kfp-local": [], "kfp-local-venv": [], "cached": []}
    for number in range(context.settings.rounds):
        ours.append(measure(context, folder, documents, number))
        print(f"  round {number + 1} of millrace: {said(ours[-1])}", flush=True)
        theirs["kfp-local"].append(local(context, folder / "local"))
        theirs["cached"].append(local(context, folder / "local", cached=True))
        theirs["kfp-local-venv"].append(local(context, folder / "local", venv=True))
        print(f"  round {number + 1} of kfp.local: {said({k: v[-1] for k, v in theirs.items()})}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return assembled(ours, theirs, documents["width"])


def said(found: dict) -> str:
    return ", ".join(f"{key} {one['seconds'] / one.get('steps', 1) * 1e3:,.1f} ms" for key, one in found.items())


def assembled(ours: list[dict], theirs: dict[str, list[dict]], width: int) -> dict:
    python = {"kfp-local": theirs["kfp-local"], "kfp-local-venv": theirs["kfp-local-venv"]}
    rows = (
        ("first", "trivial Python step, the first after a start of the server", python),
        ("python", f"trivial Python step, chain of {PYTHON_CHAIN}", python),
        ("chain", f"container step that runs true, chain of {CHAIN}", {}),
        ("fan-out", f"container step that runs true, fan-out of {width:,}", {}),
        ("cached", f"cached step, chain of {CHAIN}", {"kfp-local": theirs["cached"]}),
    )
    cases = []
    for key, name, others in rows:
        sides = {"millrace": [one[key] for one in ours], **others}
        case = {"key": key, "name": name, "sides": {}, "ratios": {}}
        for side, rounds in sides.items():
            case["sides"][side] = {
                "ms": statistics.median(one["seconds"] / one["steps"] for one in rounds) * 1e3,
                "cpu_ms": statistics.median(one["cpu_s"] / one["steps"] for one in rounds) * 1e3,
                "rounds": rounds,
            }
        for side, rounds in others.items():
            pairs = list(zip(sides["millrace"], rounds, strict=True))
            case["ratios"][side] = {
                "time": statistics.median((b["seconds"] / b["steps"]) / (a["seconds"] / a["steps"]) for a, b in pairs),
                "cpu": statistics.median((b["cpu_s"] / b["steps"]) / (a["cpu_s"] / a["steps"]) for a, b in pairs),
            }
        cases.append(case)
    plans = [one["plan"] for one in ours]
    fans = [one["fan-out"] for one in ours]
    return {
        "cases": cases,
        "fan_out": {
            "width": width,
            "s": statistics.median(one["seconds"] for one in fans),
            "cpu_s": statistics.median(one["cpu_s"] for one in fans),
            "peak": statistics.median(one["peak"] for one in fans),
        },
        "plan": {
            "tasks": PLAN,
            "bytes": plans[0]["bytes"],
            "post_s": statistics.median(one["seconds"] for one in plans),
            "running_s": statistics.median(one["running_s"] for one in plans),
            "cpu_s": statistics.median(one["cpu_s"] for one in plans),
            "terminate_s": statistics.median(one["terminate_s"] for one in plans),
            "peak": statistics.median(one["peak"] for one in plans),
            "rounds": plans,
        },
    }
