"""Serves models of every flavour with Millrace and compares the answers with MLflow's own.

    .venv/bin/python -m tests.serving.flavours.run [FLAVOUR ...]      make test-flavours

Each flavour has an environment of its own, with the packages of PACKAGES below, in which its models are made and asked
by MLflow's own scoring code; Millrace makes the environment that it serves them in by itself, from the models' files.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.serving import support

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = {
    "small": ["mlflow", "pydantic"],
    "prophet_models": ["mlflow", "prophet"],
    "spacy_models": ["mlflow", "spacy"],
    "keras_models": ["mlflow", "tensorflow-cpu"],
    "torch_models": ["mlflow", "torch", "transformers"],
}
"""What each flavour's models are made with."""


def made(root, flavour):
    """The flavour's models and cases, made once."""
    folder, env = root / flavour, root / "envs" / flavour
    if not (folder / "cases.json").exists():
        if not (env / "made").exists():
            subprocess.run(
                ["uv", "venv", "-q", "--no-project", "--python", sys.executable, env],
                check=True,
            )
            subprocess.run(
                [
                    "uv",
                    "pip",
                    "install",
                    "-q",
                    "--python",
                    env / "bin/python",
                    *PACKAGES[flavour],
                ],
                check=True,
            )
            (env / "made").touch()
        with open(root / f"{flavour}.log", "w") as log:
            subprocess.run(
                [env / "bin/python", HERE / "reference.py", flavour, folder],
                check=True,
                stdout=log,
                stderr=log,
            )
    cases = {}
    for case in json.loads((folder / "cases.json").read_text()):
        cases.setdefault(case["model"], []).append(case)
    return folder, cases


def same(a, b, within=1e-6):
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float, list, dict)):
        return a == b or {str(a), str(b)} <= {"None", "nan"}
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or math.isclose(a, b, rel_tol=within, abs_tol=within) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a is b


def difference(case, status, answer):
    want = support.as_json(case["answer"].encode())
    if status != case["status"]:
        # What MLflow fails at with a 500 although the request is at fault is a 400 here.
        if case["status"] == 500 and status == 400:
            return None
        return f"status {status}, {case['status']} wanted"
    if status == 200:
        return None if same(answer, want) else "another answer"
    if isinstance(want, dict) and (not isinstance(answer, dict) or answer.get("error_code") != want["error_code"]):
        return "another error"
    return None


def compare(folder, cases, data, verbose):
    """The number of cases and of those that differ, which are printed."""
    count = wrong = 0
    for name, mine in cases.items():
        with support.serve({name: folder / name}, "--data", data, "--check", "off", timeout=900) as server:
            for case in mine:
                body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])
                status, _, raw = server.call(
                    "POST",
                    "/invocations",
                    body,
                    {"Content-Type": case["type"]},
                    timeout=120,
                )
                answer = support.as_json(raw)
                differs = difference(case, status, answer)
                count += 1
                wrong += differs is not None
                if differs or verbose:
                    print(f"--- {name}: {differs or 'same'}\n  asked  {case['type']} {body[:300]}")
                    print(
                        f"  wanted {case['status']} {case['answer'][:600]}\n  got    {status} {raw.decode()[:600]}",
                        flush=True,
                    )
    return count, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flavours", nargs="*", default=[])
    parser.add_argument("--root", type=pathlib.Path, default=HERE.parents[2] / "build" / "flavours")
    parser.add_argument("--model", action="append", help="only this one")
    parser.add_argument("--verbose", action="store_true", help="print what is the same too")
    args = parser.parse_args()
    args.root.mkdir(parents=True, exist_ok=True)
    failed = 0
    for flavour in args.flavours or PACKAGES:
        folder, cases = made(args.root.resolve(), flavour)
        if args.model:
            cases = {k: v for k, v in cases.items() if k in args.model}
        count, wrong = compare(folder, cases, args.root / "data", args.verbose)
        print(f"{flavour}: {count - wrong} passed, {wrong} failed", flush=True)
        failed += wrong
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
