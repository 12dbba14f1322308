"""Millrace beside the real peers, in one run: what `make bench` runs.

usage: run.py [--only NAME]... [--update] [--quick] [--rounds N] [--seconds N] [--out DIR] [--keep]

  --only NAME   start, tracking, inference, models, s3, kube, pipelines or ui; may be repeated
  --update      put the parts named into the results that are there, each with its own date and commit
  --quick       rounds of one second, two of them: to try the benchmark, not to quote it
  --rounds N    rounds of each server in each case (default 3); the servers take turns
  --seconds N   seconds of a round (default 2)
  --out DIR     where RESULTS.md and results.json go (default: bench/ for a full run, else build/bench/)
  --keep        leave the servers' folders and logs in build/bench/work

It measures and asserts nothing about speed; it fails when a server gives wrong answers or loses a write. A peer that
cannot be had on this machine is reported as missing. The peers' environments are kept in ~/.cache/millrace-bench (or
MILLRACE_BENCH_CACHE). MILLRACE_BIN names another program to measure than build/release/millrace.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback

import load
import part_inference
import part_kube
import part_models
import part_pipelines
import part_s3
import part_start
import part_tracking
import part_ui
import report
from servers import BenchError

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = {
    "start": part_start,
    "tracking": part_tracking,
    "inference": part_inference,
    "models": part_models,
    "s3": part_s3,
    "kube": part_kube,
    "pipelines": part_pipelines,
    "ui": part_ui,
}


@dataclasses.dataclass
class Context:
    settings: load.Settings
    binary: str
    quick: bool = False
    peers: dict = dataclasses.field(default_factory=dict)


def _first(command: list[str]) -> str:
    try:
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return ""
    return out.strip().split("\n")[0].strip()


def _field(path: str, key: str) -> str:
    for line in pathlib.Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _filesystem(path: pathlib.Path) -> str:
    """Type of the file system below path: the mount with the longest name that path begins with."""
    best = ("", "unknown")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, kind = line.split()[:3]
        if path.is_relative_to(where) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def _sync_ms(folder: pathlib.Path) -> float:
    """Median time to make 4 KiB durable there: the floor of every durable write with one request in flight."""
    path = folder / "sync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    path.unlink()
    return statistics.median(times) * 1e3


def machine(work: pathlib.Path) -> dict:
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": load.CORES,
        "memory_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "system": _release(),
        "kernel": platform.release(),
        "filesystem": _filesystem(work),
        "sync_ms": _sync_ms(work),
        "load_at_start": os.getloadavg()[0],
    }


def sources() -> str:
    """The commit that was measured; "modified" when the tree, this benchmark and its results aside, is not that commit."""
    commit = _first(["git", "rev-parse", "--short=12", "HEAD"])
    if not commit:
        return "unknown"
    changed = _first(["git", "status", "--porcelain", "--untracked-files=no", "--", "src", "cmake", "CMakeLists.txt"])
    return commit + (" with modified sources" if changed else "")


def _rounded(value):
    """Without the digits that are only noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def updated(old: dict, new: dict) -> dict:
    """The old results with the parts of the new ones, which say when and of what they were measured."""
    for name, part in new["parts"].items():
        old["parts"][name] = part
        old.setdefault("apart", {})[name] = {"date": new["date"], "commit": new["millrace"]["commit"]}
    old["peers"].update(new["peers"])
    old["failures"] = {name: why for name, why in old["failures"].items() if name not in new["parts"]}
    return old


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure Millrace beside the real peers.")
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="two rounds of one second: to try, not to quote")
    parser.add_argument("--rounds", type=int, help="rounds of each server in each case (default 3)")
    parser.add_argument("--seconds", type=int, help="seconds of a round (default 2)")
    parser.add_argument("--out", type=pathlib.Path, help="folder for RESULTS.md and results.json")
    parser.add_argument(
        "--update",
        action="store_true",
        help="put the parts named by --only into the results that are there, each with its own date and commit",
    )
    parser.add_argument("--keep", action="store_true", help="leave the servers' folders and logs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    home = ROOT / "build" / "bench"
    # On the disk of the checkout: a temporary folder may be in memory, where durable writes cost nothing.
    work = home / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    complete = not args.quick and (not args.only or args.update)
    out = (args.out or (ROOT / "bench" if complete else home)).resolve()
    settings = load.Settings(args.rounds or (2 if args.quick else 3), args.seconds or (1 if args.quick else 2), work)
    binary = str(pathlib.Path(os.environ.get("MILLRACE_BIN") or ROOT / "build" / "release" / "millrace").resolve())
    context = Context(settings, binary, args.quick)
    begin = time.monotonic()
    failures = {}
    try:
        generator = load.require_wrk()
        if not os.access(binary, os.X_OK):
            raise BenchError(f"there is no program at {binary}; run: make build")
        # A copy: a build that ends in the middle of the run must not change what is measured.
        context.binary = shutil.copy(binary, work / "millrace")
        results = {
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "quick": args.quick,
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "machine": machine(work),
            "millrace": {"version": _first([binary, "version"]), "commit": sources()},
            "generator": f"wrk {generator}",
            "parts": {},
        }
        for name in args.only or PARTS:
            part = PARTS[name]
            print(f"{part.TITLE}", flush=True)
            try:
                results["parts"][name] = part.run(context)
            except BenchError as error:
                failures[name] = str(error)
            except Exception as error:  # whatever a part stumbles over, the others are still worth having
                traceback.print_exc()
                failures[name] = f"{type(error).__name__}: {error}"
            if name in failures:
                print(f"error: {part.TITLE}: {failures[name]}", file=sys.stderr, flush=True)
        results["failures"] = failures
        results["peers"] = {key: dataclasses.asdict(peer) for key, peer in context.peers.items()}
        for peer in results["peers"].values():
            del peer["program"]
        results["minutes"] = round((time.monotonic() - begin) / 60, 1)
        out.mkdir(parents=True, exist_ok=True)
        if args.update and not failures:
            results = updated(json.loads((ROOT / "bench" / "results.json").read_text()), results)
        (out / "results.json").write_text(json.dumps(_rounded(results), indent=1) + "\n")
        text = report.render(results)
        (out / "RESULTS.md").write_text(text)
        print(f"\n{text}\nwritten: {out / 'RESULTS.md'} and results.json, after {results['minutes']} minutes")
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    finally:
        if not args.keep and not failures:
            shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
