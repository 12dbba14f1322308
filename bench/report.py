"""RESULTS.md from the figures of a run. Nothing in it is written by hand."""

import report_models
import report_ui
from tables import NAMES
from tables import met as _met
from tables import mib as _mib
from tables import number as _number
from tables import table as _table
from tables import times as _times
from tables import wrap as _wrap

# ---- targets ---------------------------------------------------------------------------------------------------------


def targets(results: dict) -> list[dict]:
    """Each goal of the project with what this run says of it. Only goals whose measurement took place."""
    found = []
    parts = results["parts"]
    for case in parts.get("start", {}).get("cases", []):
        ours = case["sides"]["millrace"]
        found.append(
            _met(f"{case['name']}: ready", ours["ready_ms"], 100, f"{ours['ready_ms']:.0f} ms", "under 100 ms", True)
        )
        if "rss" in ours:
            found.append(
                _met("idle memory (resident)", ours["rss"], 40e6, f"{ours['rss'] / 1e6:.1f} MB", "under 40 MB", True)
            )
    for case in parts.get("tracking", {}).get("cases", []):
        if case["connections"] != 8:
            continue
        name = f"{case['name']}, 8 connections"
        if "mlflow" in case["ratios"]:
            ratio = case["ratios"]["mlflow"]
            found.append(_met(f"{name}: requests/s", ratio["rps"], 200, _times(ratio["rps"]), "200x mlflow server"))
            found.append(
                _met(f"{name}: CPU a request", ratio["cpu"], 150, f"1/{ratio['cpu']:,.0f}", "1/150 of mlflow server")
            )
        if case["name"] == "log-metric":
            cpu = case["sides"]["millrace"]["cpu_us"]
            found.append(_met(f"{name}: CPU a request", cpu, 50, f"{cpu:.0f} us", "under 50 us", True))
    for case in parts.get("inference", {}).get("cases", []):
        name = f"inference, {case['connections']} connection{'s' if case['connections'] > 1 else ''}: requests/s"
        for peer, wanted in (("mlserver", 100), ("nginx", 0.8)):
            if peer in case["ratios"]:
                ratio = case["ratios"][peer]["rps"]
                found.append(_met(name, ratio, wanted, _times(ratio, 3), f"{wanted:g}x {NAMES[peer]}"))
                if peer == "mlserver" and not found[-1]["ok"] and "nginx" in case["ratios"]:
                    ceiling = ratio / case["ratios"]["nginx"]["rps"]
                    if ceiling < wanted:
                        found[-1]["why"] = f"nginx with a fixed body reaches {_times(ceiling)} there"
    if "models" in parts:
        found += report_models.targets(parts["models"])
    if "ui" in parts:
        found += report_ui.targets(parts["ui"])
    for case in parts.get("s3", {}).get("cases", []):
        wanted = {"PUT 1 KiB": 8000, "GET 1 KiB": 40000}.get(case["name"])
        if wanted and case["connections"] == 8:
            rps = case["sides"]["millrace"]["rps"]
            found.append(_met(f"S3 {case['name']}, 8 connections", rps, wanted, f"{rps:,.0f}/s", f"{wanted:,}/s"))
    return found


def _kube_targets(results: dict) -> list[dict]:
    part = results["parts"].get("kube")
    if not part:
        return []
    rss = part["memory"]["millrace"]["rss"]
    what = "memory with 10,000 Kubernetes objects (resident)"
    found = [_met(what, rss, 200e6, f"{rss / 1e6:.0f} MB", "under 200 MB", True)]
    for pod in part["pods"]:
        what = f"pod start to running, {pod['name']} in {pod['image']}"
        found.append(_met(what, pod["running_ms"], 30, f"{pod['running_ms']:.0f} ms", "under 30 ms", True))
    return found


def _pipeline_targets(results: dict) -> list[dict]:
    part = results["parts"].get("pipelines")
    if not part:
        return []
    found = []
    wanted = {
        "python": ("trivial Python step, warm interpreter", 20),
        "first": ("trivial Python step, no warm interpreter yet", 70),
        "cached": ("a step inside the engine (from the cache)", 2),
    }
    for case in part["cases"]:
        if case["key"] in wanted:
            what, bound = wanted[case["key"]]
            ms = case["sides"]["millrace"]["ms"]
            found.append(_met(what, ms, bound, f"{_number(ms)} ms", f"under {bound} ms", True))
    plan = part["plan"]
    what = f"plan of {plan['tasks']:,} tasks"
    post, peak = plan["post_s"], plan["peak"] / 1e6
    found.append(_met(f"{what}: compiled and kept", post, 1, f"{post:.2f} s", "under 1 s", True))
    found.append(_met(f"{what}: memory (resident)", peak, 300, f"{peak:.0f} MB", "under 300 MB", True))
    return found


def _targets(results: dict) -> list[str]:
    goals = targets(results) + _kube_targets(results) + _pipeline_targets(results)
    if not goals:
        return []
    missed = [goal for goal in goals if not goal["ok"]]
    lines = ["## Targets", "", f"{len(goals) - len(missed)} of {len(goals)} met.", ""]
    if missed:
        for goal in missed:
            why = f" ({goal['why']})" if "why" in goal else ""
            lines.append(f"- **Missed**: {goal['what']}: {goal['got']} where {goal['wanted']} was wanted{why}.")
        lines.append("")
    rows = [[goal["what"], goal["wanted"], goal["got"], "met" if goal["ok"] else "**missed**"] for goal in goals]
    return lines + _table(["target", "wanted", "measured", ""], rows)


# ---- parts -----------------------------------------------------------------------------------------------------------


def _start(part: dict) -> list[str]:
    sides = list(part["cases"][0]["sides"])
    rows = []
    for case in part["cases"]:
        row = [case["name"]]
        row += [f"{case['sides'][side]['ready_ms']:,.0f} ms" for side in sides]
        row += [f"{case['sides'][side]['cpu_ms']:,.0f} ms" for side in sides]
        row += [_times(ratio["ready"]) for ratio in case["ratios"].values()]
        rows.append(row)
    head = [""] + [f"{NAMES[s]} ready" for s in sides] + [f"{NAMES[s]} CPU" for s in sides]
    lines = ["From exec to the first 200 on `/health`, and the CPU time used until then.", ""]
    lines += _table(head + ["faster"] * (len(sides) - 1), rows)
    again = part["cases"][-1]["sides"]
    rows = []
    for side in sides:
        s = again[side]
        rows.append(
            [NAMES[side], _mib(s["rss"]), _mib(s["pss"]), f"{s['processes']:.0f}", f"{s['settled_cpu_ms'] / 1e3:.2f} s"]
        )
    lines += ["Idle, after the start's own work has ended:", ""]
    return lines + _table(
        ["", "resident, summed", "resident, shared pages divided", "processes", "CPU until idle"], rows
    )


def _load(part: dict, throughput: bool = False) -> list[str]:
    sides = max((list(case["sides"]) for case in part["cases"]), key=len)
    peers = sides[1:]
    head = ["", "conn."] + [f"{NAMES[s]} req/s" for s in sides] + [f"ratio to {NAMES[p]}" for p in peers]
    head += [f"{NAMES[s]} CPU us/req" for s in sides] + [f"{NAMES[p]} CPU / ours" for p in peers]
    rows = []
    for case in part["cases"]:
        row = [case["name"], str(case["connections"])]
        for side in sides:
            rps = case["sides"][side]["rps"]
            rate = f" ({rps * case['bytes'] / 2**20:,.0f} MiB/s)" if throughput and case["bytes"] >= 1 << 20 else ""
            row.append(_number(rps) + rate)
        row += [_times(case["ratios"][peer]["rps"]) for peer in peers]
        row += [_number(case["sides"][side]["cpu_us"]) for side in sides]
        row += [_times(case["ratios"][peer]["cpu"]) for peer in peers]
        rows.append(row)
    lines = _table(head, rows)
    rows = []
    for case in part["cases"]:
        row = [case["name"], str(case["connections"])]
        row += [f"{_number(case['sides'][s]['p50_ms'])} / {_number(case['sides'][s]['p99_ms'])}" for s in sides]
        rows.append(row)
    lines += ["Latency seen by the generator, milliseconds, median / 99th percentile:", ""]
    lines += _table(["", "conn."] + [NAMES[s] for s in sides], rows)
    bad = [
        f"{NAMES[key]} gave {side['bad_status']} answers of status 400 or more and {side['broken']} broken or late ones "
        f"in {case['name']}, {case['connections']} connections ({side['good']} good)."
        for case in part["cases"]
        for key, side in case["sides"].items()
        if side["bad_status"] + side["broken"]
    ]
    return lines + (["Not all answers were good: " + " ".join(bad), ""] if bad else [])


def _tracking(part: dict) -> list[str]:
    return [
        *_wrap(
            "SQLite on both sides, durable on both: Millrace commits with `synchronous=FULL` in WAL mode, mlflow server"
            " leaves SQLite at its default (`FULL`, rollback journal). Both files hold the same 10,000 runs and 10,000"
            " points (the peer opens a copy of the file that Millrace wrote), and both servers gave the same answers before"
            " the measurement. mlflow server runs with its default of 4 workers, after its job consumers have come to rest."
            " runs/search has a filter on a metric and a parameter, an order by the metric, and a page of 100. Writes go to"
            " 8 runs in turn. After the last round the database was asked: every acknowledged point and run was there."
        ),
        *_wrap(
            "Beware of the peer's requests/s on few connections: its kept connections wait about 40 ms for a delayed TCP"
            " acknowledgement where an answer goes out in two pieces. Its CPU a request has no such floor."
        ),
        *_load(part),
    ]


def _inference(part: dict) -> list[str]:
    memory = ", ".join(
        f"{NAMES[key]} {_mib(value['pss'])} in {value['processes']} process{'es' if value['processes'] > 1 else ''}"
        for key, value in part["memory"].items()
    )
    return [
        *_wrap(
            f"The request of {part['request']} ({part['request_bytes']} bytes) to a logistic regression trained by the"
            f" bench; the answer has {part['answer_bytes']} bytes. The same model folder is served by all, and they gave"
            " the same label before the measurement. nginx does no work: it returns those bytes from its configuration,"
            " one worker a core. MLServer runs with its defaults (one inference worker). Memory afterwards, shared pages"
            f" divided: {memory}."
        ),
        *_load(part),
    ]


def _s3(part: dict) -> list[str]:
    return [
        *_wrap(
            "Presigned V4 URLs, made before the round; both servers verify one signature a request, and neither has to hash"
            " the body for it. Millrace writes to a temporary file, syncs, renames and commits its index before it answers"
            " a PUT; versitygw never syncs, so its PUTs are not durable: the comparison flatters it. PUTs of 1 KiB go to"
            " new keys, larger ones replace a few objects in turn."
        ),
        *_load(part, throughput=True),
    ]


def _kube(part: dict) -> list[str]:
    sides = list(part["memory"])
    rows = []
    for case in part["cases"]:
        row = [case["name"]]
        row += [f"{_number(case['sides'][side]['ms'])} ms" for side in sides]
        row += [f"{_number(case['sides'][side]['cpu_ms'])} ms" for side in sides]
        row += [_times(case["ratios"][side]["time"]) for side in sides[1:]]
        row += [_times(case["ratios"][side]["cpu"]) for side in sides[1:]]
        rows.append(row)
    head = [""] + [NAMES[side] for side in sides] + [f"{NAMES[side]} CPU" for side in sides]
    head += ["faster", "CPU / ours"] if len(sides) > 1 else []
    used = ", ".join(f"{NAMES[side]} {_mib(part['memory'][side]['rss'])}" for side in sides)
    return [
        *_wrap(
            "The time until the client is done, kubectl's own work included, and the CPU time of the servers. Both sides"
            " make each write durable before they answer. The API server runs without controllers, Millrace with all of"
            f" its parts. Resident memory with 10,000 ConfigMaps of about 500 bytes, processes summed: {used}."
        ),
        *_table(head, rows),
        *_pods(part["pods"]),
    ]


def _pods(pods: list[dict]) -> list[str]:
    rows = []
    for pod in pods:
        over = pod["ended_ms"] - pod["own_ms"]
        row = [f"`{pod['name']}` in {pod['image']}"]
        rows.append(
            row + [f"{_number(value)} ms" for value in (pod["running_ms"], pod["ended_ms"], pod["own_ms"], over)]
        )
    head = [
        "",
        "until Running is seen",
        "until its end is seen",
        "the program alone",
        "until its end, less the program",
    ]
    return [
        *_wrap(
            "Pods that run as processes, one after another in a warm environment: from the POST of the pod until an open"
            " watch tells of it. The program alone is the same one started on this machine without a pod. There is no peer:"
            " an API server without a kubelet runs no pods."
        ),
        *_table(head, rows),
    ]


def _pipelines(part: dict) -> list[str]:
    sides = ["millrace", "kfp-local", "kfp-local-venv"]
    rows = []
    for case in part["cases"]:
        row = [case["name"]]
        for field in ("ms", "cpu_ms"):
            row += [f"{_number(case['sides'][s][field])} ms" if s in case["sides"] else "" for s in sides]
        row += [_times(case["ratios"][s]["time"]) if s in case["ratios"] else "" for s in sides[1:]]
        rows.append(row)
    head = (
        [""]
        + [NAMES[s] for s in sides]
        + [f"{NAMES[s]} CPU" for s in sides]
        + [f"faster than {NAMES[s]}" for s in sides[1:]]
    )
    plan, fan = part["plan"], part["fan_out"]
    return [
        *_wrap(
            "A step: the time from the POST of a run until the API says that the run is over, divided by its steps; CPU"
            " is that of the server and all of its pods. Steps that run are each a pod, and every change of state is"
            " durable. The Python component is the same on both sides, as the SDK compiles it, and its environment is"
            " there before. kfp.local runs a chain of 5 of it in the SDK's own environment, or 1 with an environment made"
            " for the step; it keeps no record of runs, and what it knows of cached steps is in files that it does not sync"
            " (its cached steps are Python ones). Its SubprocessRunner takes no container components, so those cases have"
            " no peer."
        ),
        *_table(head, rows),
        *_wrap(
            f"The fan-out of {fan['width']:,}: {fan['s']:.1f} s, {fan['cpu_s']:.1f} s of CPU, at most {_mib(fan['peak'])}"
            f" resident in the server process. A plan of {plan['tasks']:,} tasks ({_mib(plan['bytes'])} of JSON), all waiting"
            f" for one step that sleeps: compiled, durable and answered after {plan['post_s']:.2f} s, under way after"
            f" {plan['running_s']:.2f} s, {plan['cpu_s']:.2f} s of CPU, at most {_mib(plan['peak'])} resident in the server"
            f" process; ended with all of its tasks {plan['terminate_s']:.2f} s after the request to."
        ),
    ]


RENDER = {
    "start": ("Start and idle memory", _start),
    "tracking": ("Tracking", _tracking),
    "inference": ("Inference", _inference),
    "models": ("Models", report_models.render),
    "ui": ("Web UI", report_ui.render),
    "s3": ("S3", _s3),
    "kube": ("Kubernetes API", _kube),
    "pipelines": ("Pipelines", _pipelines),
}


def _others(results: dict) -> str:
    """What other programs took, where a part counts it."""
    shares = [
        one["others"]
        for name, part in results["parts"].items()
        if name not in ("start", "kube", "pipelines", "ui")
        for case in part["cases"]
        for side in case["sides"].values()
        for one in side["rounds"]
    ]
    shares.sort()
    if not shares:
        return ""
    return (
        " Programs that have nothing to do with the benchmark took"
        f" {shares[len(shares) // 2]:.0%} of the machine in the median round and {shares[-1]:.0%} in the worst."
    )


def render(results: dict) -> str:
    m = results["machine"]
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench` (`bench/run.py`); every figure, with each round, is in `results.json`.",
        "",
    ]
    if results["quick"]:
        lines += ["**A quick run: short rounds on a busy machine. It shows the benchmark works; do not quote it.**", ""]
    lines += [
        f"- {results['date']}, {results['minutes']:.0f} minutes, commit {results['millrace']['commit']},"
        f" {results['millrace']['version']}.",
        f"- {m['cores']} cores ({m['cpu']}), {m['memory_gib']} GiB, {m['system']}, Linux {m['kernel']}.",
        f"- {m['filesystem']}; writing 4 KiB and making it durable took {m['sync_ms']:.2f} ms (median) before the run.",
    ]
    for name, apart in results.get("apart", {}).items():
        lines.append(f"- {RENDER[name][0]}, measured apart: {apart['date']}, commit {apart['commit']}.")
    for peer in results["peers"].values():
        if peer["missing"]:
            lines.append(f"- **{peer['name']} is missing**: {peer['missing'].splitlines()[0]}")
        else:
            notes = f" ({peer['notes']})" if peer["notes"] else ""
            lines.append(f"- Peer: {peer['name']} {peer['version']}{notes}.")
    lines += [
        "",
        *_wrap(
            f"Figures are medians of {results['rounds']} rounds of {results['seconds']} s (longer where a peer answers"
            " seldom); the servers take turns within each case, and a ratio is the median of the ratios of neighbouring"
            f" rounds. The load generator ({results['generator']}) and the server under load share the same"
            f" {m['cores']} cores, so requests/s of the fast servers are bounded by the generator's share too; CPU us/req"
            " is the server's user and system time (its whole process tree) for one request, and the figure to trust. A"
            " request under way when a round is cut counts as half." + _others(results)
        ),
    ]
    lines += _targets(results)
    for name, (title, part_lines) in RENDER.items():
        if name in results["failures"]:
            first = results["failures"][name].splitlines()[0]
            lines += [f"## {title}", "", f"**This part failed**: {first}", ""]
        elif name in results["parts"]:
            lines += [f"## {title}", "", *part_lines(results["parts"][name])]
    return "\n".join(lines).rstrip() + "\n"
