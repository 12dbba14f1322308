"""Plays the recorded cases against a server and tells where its answers differ; see corpus/kube/README.md.

usage: python -m kube.replay KUBECONFIG [PART]... [--only=PART_OF_NAME] [--brief]   (in tests/)
"""

import re
import secrets
import sys

from . import wire

PARTS = ("errors", "pods", "kinds", "custom", "defaults", "tables", "sequences")

# Marks the end of a text of which no more is compared.
CUT = " ..."

# Where a text shows a value as Go prints it, nothing after it is compared: no client reads that.
_DUMP = re.compile(
    r'\{pointer\}|\b\w+\.\w+\{|\[\]\w+(\.\w+)?\{|map\[|Invalid value: "(\{|map\[)|'
    r"json parse error|error converting YAML|yaml: (line|unmarshal)|error parsing regexp|invalid character"
)
_LOOSE = (
    (re.compile(r' in scheme "[^"]*"'), ""),
    # The names of Go's types are not the wire's.
    (re.compile(r"Go struct field (?:\w+\.)?(\S+) of type \S+( \{.*\})?"), r"field \1"),
    (re.compile(r"Go value of type .*"), "Go value"),
    (re.compile(r"of type \[\]handlers\.\w+"), "of a list"),
)


def text(message):
    """A message as far as it is compared."""
    if not isinstance(message, str):
        return message
    for pattern, with_ in _LOOSE:
        message = pattern.sub(with_, message)
    dump = _DUMP.search(message)
    return message[: dump.start()].rstrip() + CUT if dump else message


def same_text(want, got):
    """Equal, or equal as far as the recorded text is compared."""
    return want == got or (want.endswith(CUT) and got.startswith(want.removesuffix(CUT)))


def comparable(answer):
    """A Status in the form that is compared; anything else as it is."""
    if not isinstance(answer, dict) or answer.get("kind") != "Status" or answer.get("status") != "Failure":
        return answer
    out = {key: answer.get(key) for key in ("code", "reason")}
    details = dict(answer.get("details") or {})
    causes = details.pop("causes", None)
    if causes:
        # The order in which faults are found is no promise. The message only lists them once more.
        shape = [(c.get("field", ""), c.get("reason", ""), text(c.get("message", ""))) for c in causes]
        out["causes"] = [" | ".join(one) for one in sorted(shape)]
        out["message"] = text(answer.get("message", "")).split(" is invalid:")[0].split("Apply failed with")[0]
    else:
        out["message"] = text(answer.get("message"))
    out["details"] = details
    return out


def unordered(want, got):
    """Causes that only one side has."""
    out = []
    left = list(got)
    for one in want:
        match = next((other for other in left if same_text(one, other)), None)
        if match is None:
            out.append(f"missing {one}")
        else:
            left.remove(match)
    return out + [f"too much {one}" for one in left]


def same_managers(want, got):
    """`got` without the field managers that only controllers are."""
    if not isinstance(want, dict) or "managedFields" not in (want.get("metadata") or {}):
        return got
    known = {one.get("manager") for one in want["metadata"]["managedFields"]}
    if not isinstance(got, dict) or "managedFields" not in (got.get("metadata") or {}):
        return got
    mine = [one for one in got["metadata"]["managedFields"] if one.get("manager") in known]
    return {**got, "metadata": {**got["metadata"], "managedFields": mine}}


OUR_NODE = "millrace"
ACTED_ON = ("Pod", "Deployment", "ReplicaSet", "StatefulSet", "Job", "PersistentVolumeClaim")


def without_controllers(want, got, case, step):
    """Both answers without what a controller or a node may have written since the object was made.

    The recorded server has no node. Here there is one, and a pod may be bound to it at once.
    """
    if isinstance(want, list) and isinstance(got, list):
        for event, mine in zip(want, got, strict=False):
            without_controllers(event.get("object"), mine.get("object"), case, step)
        return want, got
    if isinstance(want, dict) and want.get("kind") == "Table":
        for row in (got or {}).get("rows", []) if isinstance(got, dict) else []:
            row["cells"] = ["<none>" if cell == OUR_NODE else cell for cell in row.get("cells", [])]
        return want, got
    if not isinstance(want, dict) or not isinstance(got, dict) or want.get("kind") not in ACTED_ON:
        return want, got
    if want["kind"] == "Pod" and (got.get("spec") or {}).get("nodeName") == OUR_NODE:
        got["spec"].pop("nodeName")
        if step["method"] == "POST":
            (got.get("status") or {}).pop("conditions", None)
    if step["method"] != "POST" and not any(one["path"].endswith("/status") for one in case["steps"]):
        want, got = dict(want), dict(got)
        want.pop("status", None)
        got.pop("status", None)
    return want, got


def compare(want, got):
    want, got = comparable(want), comparable(got)
    if isinstance(want, dict) and isinstance(got, dict) and str(want.get("message")).startswith("."):
        # The recorded server forgets the kind of a review that it refuses.
        want, got = ({k: v for k, v in one.items() if k not in ("message", "details")} for one in (want, got))
    got = same_managers(want, got)
    if isinstance(want, dict) and isinstance(got, dict) and ("causes" in want or "causes" in got):
        lines = unordered(want.pop("causes", []), got.pop("causes", []))
        want["message"], got["message"] = (str(one.get("message")).removesuffix(CUT) for one in (want, got))
        return wire.difference(want, got) + lines
    said = want.get("message") if isinstance(want, dict) else None
    if isinstance(said, str) and isinstance(got, dict) and same_text(said, str(got.get("message"))):
        got = {**got, "message": said}
    if isinstance(want, list) and isinstance(got, list):
        want, got = ([{**e, "object": comparable(e.get("object"))} for e in events] for events in (want, got))
    return wire.difference(want, got)


def play(api, case, managed=False):
    """Lines that say where the answers differ from the recorded ones; none when all is well.

    The cases were recorded without controllers. Where a case writes a status itself, a controller may write another
    one before the case reads it; that race is run again.
    """
    tries = 5 if any(step["path"].endswith("/status") for step in case["steps"]) else 1
    for _ in range(tries):
        lines = _play(api, case, managed)
        if not lines:
            break
    return lines


def _play(api, case, managed):
    namespace = "rep-" + secrets.token_hex(4)
    api.make_namespace(namespace)
    out = []
    try:
        run = wire.Run(api, namespace)
        for number, step in enumerate(case["steps"]):
            status, answer, plain, warnings = run.play(step, managed)
            head = f"step {number} {step['method']} {step['path'].split('{ns}/')[-1]}: "
            if step.get("setup"):
                if status >= 400 and step["status"] < 400:
                    out.append(f"{head}preparing failed with {status}: {(answer or {}).get('message', plain)}")
                    break
                continue
            lines = []
            if status != step["status"]:
                lines.append(f"status: want {step['status']}, got {status}")
            if "answer" in step:
                answer = answer if plain is None else {"plain": plain}
                lines += compare(*without_controllers(step["answer"], answer, case, step))
            elif step.get("plain", "") != (plain or "") and step["status"] < 400:
                lines.append(f"text: want {step['plain']!r}, got {(plain if plain is not None else answer)!r}")
            # That something is stored and not yet enforced is said by a warning of our own.
            warnings = [one for one in warnings if "not enforced yet" not in one]
            if warnings != step.get("warnings", []):
                lines.append(f"warnings: want {step.get('warnings', [])}, got {warnings}")
            out += [head + line for line in lines]
    finally:
        api.remove_namespace(namespace)
    return out


def main():
    flags = [one for one in sys.argv[2:] if one.startswith("--")]
    only = next((one.removeprefix("--only=") for one in flags if one.startswith("--only=")), "")
    api = wire.Api(sys.argv[1])
    for part in [one for one in sys.argv[2:] if not one.startswith("--")] or PARTS:
        good, cases = 0, [case for case in wire.load(part + ".jsonl") if only in case["case"]]
        for case in cases:
            try:
                lines = play(api, case, managed=part == "sequences")
            except Exception as error:  # whatever one case does to the server, the others are worth knowing
                lines = [f"{type(error).__name__}: {error}"]
            good += not lines
            if lines:
                print(f"{case['case']}:")
                for line in lines[: 3 if "--brief" in flags else 40]:
                    print("    " + line[: 260 if "--brief" in flags else 1200])
        print(f"== {part}: {good} of {len(cases)} as recorded\n", flush=True)


if __name__ == "__main__":
    main()
