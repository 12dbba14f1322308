"""What RESULTS.md says of part_ui.py."""

from tables import NAMES, met, number, table, times, wrap

LIMITS = {"first rows, nothing cached": 300, "slowest answer to a click or a key": 100}


def _text(ms: float | None) -> str:
    return f"{number(ms)} ms" if ms else "not within 30 s"


def targets(part: dict) -> list[dict]:
    found = []
    for case in part["cases"]:
        ms = case["sides"]["millrace"]["ms"]
        for what, limit in LIMITS.items():
            if case["name"].endswith(what):
                name = f"web UI, {case['name']}"
                found.append(met(name, ms or float("inf"), limit, _text(ms), f"under {limit} ms", True))
    return found


def render(part: dict) -> list[str]:
    sides = max((list(case["sides"]) for case in part["cases"]), key=len)
    rows = []
    for case in part["cases"]:
        got = case["sides"]
        row = [case["name"], *(_text(got[side]["ms"]) for side in sides)]
        own = got["millrace"]["ms"]
        row += [times(got[side]["ms"] / own) if got[side]["ms"] and own else "" for side in sides[1:]]
        rows.append(row)
    names = ["Millrace's dashboard" if side == "millrace" else f"UI of {NAMES[side]}" for side in sides]
    text = (
        f"{part['browser']}, headless. Both servers have the same runs ({' and '.join(f'{n:,}' for n in part['sizes'])}; the"
        " peer opens a copy of the database that Millrace wrote). Each time is taken in the page, from the start of the"
        " navigation or from the click or change of address, to the first frame that has what was asked for: the row that"
        " must come first, the table of the compared runs, the drawn curves; ours is the median of the rounds, the peer is"
        " measured once. The answer to clicks and keys is the browser's"
        " own measure (Event Timing, 16 ms at least) of five rows chosen and a filter typed; the wheel then turns over the"
        " table."
    )
    return [*wrap(text), *table(["", *names, *(["faster"] * (len(sides) - 1))], rows)]
