"""One chain of trivial Python steps in kfp.local, in a process of its own: prints what each of its runs took, as JSON.

usage: local_pipeline.py STEPS [--venv] [--runs N] [--cache]     (the current folder takes what it leaves)

Only the runs are measured: imports and the compiling of the pipeline are over by then. The chain is the one that Millrace runs.
"""

import argparse
import json
import logging
import pathlib
import resource
import sys
import time

import pipeline_specs
from kfp import local


def cpu() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", type=int)
    parser.add_argument("--venv", action="store_true")
    parser.add_argument("--cache", action="store_true")
    parser.add_argument("--runs", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    local.init(
        runner=local.SubprocessRunner(use_venv=args.venv),
        pipeline_root=str(pathlib.Path.cwd() / "outputs"),
        enable_caching=args.cache,
    )
    chain = pipeline_specs.python_chain(args.steps)
    results = []
    for _ in range(args.runs):
        begin, before = time.perf_counter(), cpu()
        output = chain(start=1).output
        results.append({"seconds": time.perf_counter() - begin, "cpu_s": cpu() - before, "output": output})
    # The steps' own lines are on standard output too: the figures are the last one.
    print("\n" + json.dumps(results), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
