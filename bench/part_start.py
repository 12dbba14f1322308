"""From exec to the first 200 on /health, and what the server holds when it is idle: millrace up beside mlflow server."""

import shutil
import statistics

import peers
from servers import MILLRACE_PORTS, Server, free_offset, free_port, running

TITLE = "Start and idle memory"


def _start(context, kind: str, folder, settle: bool) -> dict:
    if kind == "millrace":
        offset = free_offset()
        port = MILLRACE_PORTS["tracking"] + offset
        args = [context.binary, "up", "--data", folder / "data", "--port-offset", offset]
    else:
        port = free_port()
        args = [context.peers["mlflow"].program, "server", "--host", "127.0.0.1", "--port", port]
        args += [
            "--backend-store-uri",
            f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination",
            folder / "artifacts",
        ]
    server = Server(kind, args, folder)
    with running([server]):
        seconds = server.wait_ready(port, "/health")
        result = {"ready_ms": seconds * 1e3, "cpu_ms": server.cpu() * 1e3}
        if settle:
            result["idle_cpu_cores"] = server.settle()
            result["settled_cpu_ms"] = server.cpu() * 1e3
            result.update(server.memory())
    return result


def run(context) -> dict:
    sides = ["millrace"]
    context.peers["mlflow"] = peers.mlflow()
    if not context.peers["mlflow"].missing:
        sides.append("mlflow")
    cases = []
    results: dict = {}
    for number in range(context.settings.rounds):
        for side in sides:
            folder = context.settings.work / f"start-{side}-{number}"
            # On an empty folder the server makes its tables first; then the same folder once more.
            for when in ("first", "again"):
                # Memory is the same every time and waiting for mlflow's job consumers is long: once is enough.
                settle = when == "again" and (side == "millrace" or number == 0)
                results.setdefault((when, side), []).append(_start(context, side, folder, settle))
                last = results[when, side][-1]
                print(
                    f"  {when:<5} {side:<9} ready in {last['ready_ms']:,.0f} ms (CPU {last['cpu_ms']:,.0f} ms)",
                    flush=True,
                )
            shutil.rmtree(folder, ignore_errors=True)
    for when, name in (("first", "first start, empty folder"), ("again", "start on an existing database")):
        case = {"name": name, "sides": {}, "ratios": {}}
        for side in sides:
            rounds = results[when, side]
            case["sides"][side] = {
                "ready_ms": statistics.median(r["ready_ms"] for r in rounds),
                "cpu_ms": statistics.median(r["cpu_ms"] for r in rounds),
                "rounds": rounds,
            }
            settled = [r for r in rounds if "rss" in r]
            for key in ("rss", "pss", "processes", "idle_cpu_cores", "settled_cpu_ms"):
                if settled:
                    case["sides"][side][key] = statistics.median(r[key] for r in settled)
        if len(sides) > 1:
            ours, theirs = results[when, "millrace"], results[when, "mlflow"]
            case["ratios"]["mlflow"] = {
                "ready": statistics.median(b["ready_ms"] / a["ready_ms"] for a, b in zip(ours, theirs, strict=True)),
                "cpu": statistics.median(b["cpu_ms"] / a["cpu_ms"] for a, b in zip(ours, theirs, strict=True)),
            }
        cases.append(case)
    return {"cases": cases}
