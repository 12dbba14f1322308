"""Load by wrk with generated Lua scripts, and what one round of it cost the server."""

import dataclasses
import itertools
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

from servers import BenchError, Server

CORES = os.cpu_count() or 1
# Every run of wrk gets its own range of numbers, every thread its own part of it: no two requests are the same, and
# all numbers have ten digits, so that the length of a body does not change.
_runs = itertools.count()
RANGE, THREAD_RANGE, FIRST = 20_000_000, 10_000_000, 1_000_000_000

_SCRIPT = """
local threads = 0
function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end
%s
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %%d, "duration_us": %%d, "bytes": %%d, "status": %%d, "broken": %%d, "p50_us": %%d, "p99_us": %%d}\\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def _quote(text: str) -> str:
    """A Lua string literal. (A long bracket would not do: Lua turns a CR LF in one into a LF.)"""
    escaped = "".join(
        c if " " <= c <= "~" and c not in '"\\' else "".join(f"\\{b:03d}" for b in c.encode()) for c in text
    )
    return f'"{escaped}"'


def _head(method: str, path: str, port: int, length: int | None, content_type: str | None) -> str:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines) + "\r\n\r\n"


def fixed(port: int, method: str, path: str, body: str | None = None, content_type: str | None = None) -> str:
    """The same request again and again. wrk sends it from one buffer and does not come back to Lua."""
    lines = [f"wrk.method = {_quote(method)}", f"wrk.path = {_quote(path)}"]
    if body is not None:
        lines.append(f"wrk.body = {_quote(body)}")
    if content_type:
        lines.append(f'wrk.headers["Content-Type"] = {_quote(content_type)}')
    return _SCRIPT % "\n".join(lines)


def fixed_file(path: str, body_file: pathlib.Path, headers: dict[str, str]) -> str:
    """As fixed(), with a body of any bytes from a file."""
    lines = ['wrk.method = "POST"', f"wrk.path = {_quote(path)}"]
    lines.append(f'wrk.body = io.open({_quote(str(body_file))}, "rb"):read("*a")')
    lines += [f"wrk.headers[{_quote(name)}] = {_quote(value)}" for name, value in headers.items()]
    return _SCRIPT % "\n".join(lines)


def numbered(port: int, path: str, bodies: list[str]) -> str:
    """POSTs the JSON bodies in turn; every `@` in one becomes a number that no other request has."""
    requests = []
    for body in bodies:
        length = len(body.encode()) + body.count("@") * 9
        requests.append(_quote(_head("POST", path, port, length, "application/json") + body))
    return _SCRIPT % (
        "local requests = {" + ", ".join(requests) + "}\n"
        "local number = 0\n"
        f"function init(args) number = {FIRST} + tonumber(args[1]) * {RANGE} + id * {THREAD_RANGE} end\n"
        "function request()\n"
        "  number = number + 1\n"
        '  return (string.gsub(requests[number % #requests + 1], "@", string.format("%d", number)))\n'
        "end"
    )


def listed(port: int, method: str, list_file: pathlib.Path, threads: int, body_file: pathlib.Path | None = None) -> str:
    """Takes the paths of the file (one a line) in turn; each thread has its own part of them."""
    length = body_file.stat().st_size if body_file else None
    tail = _head("", "", port, length, None).lstrip()
    body = f'io.open({_quote(str(body_file))}, "rb"):read("*a")' if body_file else '""'
    return _SCRIPT % (
        "local paths, ready, at = {}, {}, 0\n"
        "local tail\n"
        "function init(args)\n"
        "  local n = 0\n"
        f"  tail = {_quote(' ' + tail)} .. {body}\n"
        f"  for path in io.lines({_quote(str(list_file))}) do\n"
        f"    if n % {threads} == id then paths[#paths + 1] = {_quote(method + ' ')} .. path end\n"
        "    n = n + 1\n"
        "  end\n"
        # Few paths: whole requests, for joining a large body to its head costs the generator more than sending it.
        "  if #paths <= 32 then for i = 1, #paths do ready[i] = paths[i] .. tail end end\n"
        # Each round begins where the one before it cannot have been: new keys stay new.
        "  at = math.floor(#paths * tonumber(args[2]))\n"
        "end\n"
        "function request()\n"
        "  at = at % #paths + 1\n"
        "  return ready[at] or paths[at] .. tail\n"
        "end"
    )


def threads_for(connections: int) -> int:
    return min(CORES, connections, 2)


def _busy() -> float:
    """CPU seconds that the machine has been busy, stolen time included."""
    fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def wrk(server: Server, port: int, script: pathlib.Path, connections: int, seconds: int, at: float = 0.0) -> dict:
    """One round: requests a second, CPU microseconds of the server a request, latency. `at`: how far through the case
    this round is, from 0 to 1."""
    command = ["wrk", "-t", threads_for(connections), "-c", connections, "-d", f"{seconds}s", "--timeout", "60s"]
    command += ["-s", script, f"http://127.0.0.1:{port}/", "--", next(_runs), at]
    cpu, busy, begin = server.cpu(), _busy(), time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cpu, wall, busy = server.cpu() - cpu, time.perf_counter() - begin, _busy() - busy
    match = re.search(r"^RESULT (.*)$", output, re.M)
    if process.returncode or not match:
        raise BenchError(f"wrk failed against {server.name}: {output.strip()[-400:]}")
    if server.popen.poll() is not None:
        raise server.fail("ended under load")
    raw = json.loads(match[1])
    good = raw["requests"] - raw["status"]
    if good <= 0:
        raise BenchError(f"{server.name} gave no good answer to {script.name} in {seconds} s ({raw})")
    # At the cut every connection has a request under way, half done on average. Without that half a server that
    # answers once in a round would look up to twice as dear as it is.
    done = good + connections / 2
    generator = usage.ru_utime + usage.ru_stime
    return {
        "rps": done / (raw["duration_us"] / 1e6),
        "cpu_us": cpu / done * 1e6,
        "p50_ms": raw["p50_us"] / 1e3,
        "p99_ms": raw["p99_us"] / 1e3,
        "good": good,
        "bad_status": raw["status"],
        "broken": raw["broken"],
        "generator_us": generator / done * 1e6,
        "cores_used": cpu / wall,
        # Of the whole machine, taken by neither the server nor the generator.
        "others": max(0.0, (busy - cpu - generator) / (wall * CORES)),
    }


def paced(settings, side, request: bytes, connections: int, rate: int) -> dict:
    """Latency under a load that does not wait for the answers: `rate` requests a second at random moments, by
    paced.cpp. The rounds' medians."""
    program = settings.work / "paced"
    if not program.exists():
        compiler = shutil.which("clang++-19") or shutil.which("clang++") or "c++"
        source = pathlib.Path(__file__).parent / "paced.cpp"
        subprocess.run([compiler, "-std=c++20", "-O2", "-o", program, source], check=True)
    file = settings.work / "paced.request"
    file.write_bytes(request)
    rounds = []
    for number in range(-1, settings.rounds):
        quiet([side])
        seconds = settings.seconds if number >= 0 else 0.3
        command = [program, side.port, connections, rate, seconds, file]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the paced load failed against {side.server.name}: {done.stderr.strip()[-300:]}")
        if number >= 0:
            rounds.append(json.loads(done.stdout))
    found = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(f"  {side.key}, {rate:,}/s at random: p50 {found['p50_ms']:.3f} p99 {found['p99_ms']:.3f} ms", flush=True)
    return {"rate": rate, **found, "rounds": rounds}


@dataclasses.dataclass
class Side:
    """One of the servers that a case is measured on."""

    key: str
    server: Server
    port: int


@dataclasses.dataclass
class Settings:
    rounds: int
    seconds: int
    work: pathlib.Path

    @property
    def warm_up(self) -> int:
        return 1


def quiet(sides: list, limit: float = 20.0) -> None:
    """Waits until no server works any more: the requests that the last round's cut abandoned are not the next one's
    business, and a slow server goes on with them for seconds."""
    deadline = time.monotonic() + limit
    last, at = sum(side.server.cpu() for side in sides), time.monotonic()
    while at < deadline:
        time.sleep(0.15)
        now, then = sum(side.server.cpu() for side in sides), time.monotonic()
        if (now - last) / (then - at) < 0.08:
            return
        last, at = now, then


def compare(
    settings: Settings, name: str, connections: int, sides: list, make_script, seconds=None, before=None
) -> dict:
    """Rounds in turn: first side, second side, ..., first side, ... `make_script(side, threads)` gives the Lua text.

    `seconds` may name longer rounds for a side that answers too seldom. `before(side)` runs ahead of each round.
    """
    folder = settings.work / "scripts"
    folder.mkdir(exist_ok=True)
    scripts = {}
    for side in sides:
        scripts[side.key] = folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{connections}-{side.key}.lua"
        scripts[side.key].write_text(make_script(side, threads_for(connections)))
    rounds = {side.key: [] for side in sides}
    lengths = {side.key: (seconds or {}).get(side.key, settings.seconds) for side in sides}
    for number in range(-1, settings.rounds):
        for side in sides:
            quiet(sides)
            if before:
                before(side)
            length = settings.warm_up if number < 0 else lengths[side.key]
            try:
                at = (number + 1) / (settings.rounds + 1)
                result = wrk(side.server, side.port, scripts[side.key], connections, length, at)
            except BenchError:
                if number < 0:
                    # A server that answers less than once in a second has been warmed all the same.
                    continue
                raise
            if number >= 0:
                rounds[side.key].append(result)
    case = {"name": name, "connections": connections, "sides": {}}
    for key, results in rounds.items():
        case["sides"][key] = {
            **{field: statistics.median(result[field] for result in results) for field in results[0]},
            "good": sum(result["good"] for result in results),
            "bad_status": sum(result["bad_status"] for result in results),
            "broken": sum(result["broken"] for result in results),
            "seconds_each": lengths[key],
            "rounds": results,
        }
    # Pair by pair: a ratio then holds even when the machine's speed drifts between the first round and the last.
    first = sides[0].key
    case["ratios"] = {
        side.key: {
            "rps": statistics.median(a["rps"] / b["rps"] for a, b in zip(rounds[first], rounds[side.key], strict=True)),
            "cpu": statistics.median(
                b["cpu_us"] / a["cpu_us"] for a, b in zip(rounds[first], rounds[side.key], strict=True)
            ),
        }
        for side in sides[1:]
    }
    show(case)
    return case


def show(case: dict) -> None:
    sides = ", ".join(f"{key} {side['rps']:,.0f}/s {side['cpu_us']:,.1f} us" for key, side in case["sides"].items())
    ratios = ", ".join(f"{r['rps']:.2f}x {key} (CPU {r['cpu']:.2f}x)" for key, r in case["ratios"].items())
    bad = sum(side["bad_status"] + side["broken"] for side in case["sides"].values())
    print(
        f"  {case['name']:<28} {case['connections']:>2} conn  {sides}  {ratios}"
        + (f"  BAD ANSWERS {bad}" if bad else ""),
        flush=True,
    )


def require_wrk() -> str:
    if not shutil.which("wrk"):
        raise BenchError("there is no wrk, the load generator; run: scripts/setup.sh --bench (or apt-get install wrk)")
    first = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    match = re.search(r"wrk (\S+)", first.stdout + first.stderr)
    return match[1] if match else "unknown"
