"""Plays the cases on a real API server and writes down what it answers.

usage: python -m kube.record.record KUBECONFIG [errors|pods|kinds|custom|defaults|tables|discovery|sequences]... [--only=PART_OF_NAME]
(in tests/; with --only the other cases of the file stay as they are, and new ones are added)

The server wants no controllers beside it: they would change objects between the steps. `oracle.sh` starts such a one.
The files it writes, tests/corpus/kube/*.jsonl, are what the tests compare this program's answers with.
"""

import json
import secrets
import sys

from .. import wire


def play(api, name, steps, managed=False):
    namespace = "rec-" + secrets.token_hex(4)
    api.make_namespace(namespace)
    run = wire.Run(api, namespace)
    out = []
    for step in steps:
        status, answer, plain, warnings = run.play(step, managed)
        line = dict(step)
        line["status"] = status
        if step.get("setup"):
            if status >= 400 and "until" not in step:
                print(f"{name}: preparing failed: {status} {json.dumps(answer)[:500]}", file=sys.stderr)
        elif plain is not None:
            line["plain"] = plain
        else:
            line["answer"] = answer
        if warnings and not step.get("setup"):
            line["warnings"] = warnings
        out.append(line)
    api.remove_namespace(namespace)
    return {"case": name, "steps": shorten(out)}


def shorten(value):
    """Long runs of one character, which some cases need, as {"repeat": [character, count]}; see `wire.widen`."""
    if isinstance(value, dict):
        return {key: shorten(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shorten(one) for one in value]
    if isinstance(value, str) and len(value) > 300 and value == value[0] * len(value):
        return {"repeat": [value[0], len(value)]}
    return value


def write(file, cases, api, managed=False, only=""):
    path = wire.CORPUS / file
    kept = {}
    if only:
        kept = {json.loads(line)["case"]: line for line in path.read_text().splitlines(keepends=True)}
    with path.open("w") as out:
        for name, steps in cases.items():
            if only and only not in name and name in kept:
                out.write(kept[name])
                continue
            try:
                line = play(api, name, steps, managed)
            except Exception as error:  # one broken case must not cost the recording of the others
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            out.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")
    print(f"{path}: {len(cases)} cases")


def main():
    api = wire.Api(sys.argv[1])
    parts = [one for one in sys.argv[2:] if not one.startswith("--only=")]
    only = next((one.removeprefix("--only=") for one in sys.argv if one.startswith("--only=")), "")
    for part in parts or ["errors", "pods", "kinds", "custom", "defaults", "tables", "discovery", "sequences"]:
        if part == "discovery":
            from . import discovery

            discovery.write(api)
            continue
        module = __import__(f"{__package__}.cases_{part}", fromlist=["CASES"])
        write(part + ".jsonl", module.CASES, api, managed=getattr(module, "MANAGED", False), only=only)


if __name__ == "__main__":
    main()
