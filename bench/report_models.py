"""What RESULTS.md says of part_models.py."""

from tables import NAMES, met, mib, number, table, times, wrap

# Microseconds: of a row alone beyond the request itself, and of a row in a batch.
BOUNDS = {"xgboost": (8, 2), "lightgbm": (8, 3), "forest": (8, 4)}


def _case(part: dict, model: str, kind: str, connections: int) -> dict:
    wanted = (model, kind, connections)
    return next(one for one in part["cases"] if (one["model"], one["kind"], one["connections"]) == wanted)


def _per_row(case: dict, side: str = "millrace") -> float:
    return case["sides"][side]["cpu_us"] / case["rows"]


def _best(ways: dict, field: str) -> tuple[str, float]:
    known = {way: one[field] for way, one in ways.items() if field in one}
    way = min(known, key=known.get)
    return way, known[way]


def _one_row(part: dict, model: str) -> list[dict]:
    found = []
    for connections in (1, 8, 64):
        case = _case(part, model, "one row, JSON", connections)
        name = f"{model}, one row, {connections} connection{'s' if connections > 1 else ''}: requests/s"
        for peer, wanted in (("mlserver", 100), ("nginx", 1)):
            if peer not in case["ratios"]:
                continue
            ratio = case["ratios"][peer]["rps"]
            found.append(met(name, ratio, wanted, times(ratio), f"{wanted}x {NAMES[peer]}"))
            top = _case(part, "logistic", "one row, JSON", connections)["sides"]
            if peer == "mlserver" and not found[-1]["ok"] and "nginx" in top:
                ceiling = top["nginx"]["rps"] / case["sides"]["mlserver"]["rps"]
                if ceiling < wanted:
                    found[-1]["why"] = f"nginx with a fixed body reaches {times(ceiling)} there"
    return found


def targets(part: dict) -> list[dict]:
    found = []
    if "paced" not in part:
        return found
    plain = _case(part, "logistic", "one row, JSON", 8)["sides"]["millrace"]["cpu_us"]
    for model in part["models"]:
        found += _one_row(part, model)
        for one in part["paced"]:
            if one["model"] == model and one["side"] == "millrace":
                what = f"{model}, one row, 8 connections at half of what they can: p99"
                found.append(met(what, one["p99_ms"], 1, f"{number(one['p99_ms'])} ms", "under 1 ms", True))
        if model not in BOUNDS:
            continue
        single, batch = BOUNDS[model]
        # What the request itself costs is the linear model's: its own multiplications are nothing beside it.
        beyond = _case(part, model, "one row, JSON", 8)["sides"]["millrace"]["cpu_us"] - plain
        what = f"{model}, one row: CPU beyond that of the linear model's request"
        found.append(met(what, beyond, single, f"{number(beyond)} us", f"under {single} us", True))
        kind = f"{part['rows']} rows, binary"
        cpu = _per_row(_case(part, model, kind, 1))
        what = f"{model}, {kind}: CPU a row, with HTTP"
        found.append(met(what, cpu, batch, f"{number(cpu)} us", f"under {batch} us", True))
        way, theirs = _best(part["models"][model]["ways"], "row_us")
        what = f"{model}, {kind}: beside the fastest library in process, {way}"
        found.append(met(what, theirs / cpu, 1, times(theirs / cpu), "as fast"))
    loaded = part["load"]
    what = f"forest of {loaded['bytes'] / 1e6:.0f} MB: loaded"
    found.append(met(what, loaded["ms"], 300, f"{loaded['ms']:.0f} ms", "under 300 ms", True))
    share = loaded["grown"] / loaded["compact"]
    what = f"forest of {loaded['bytes'] / 1e6:.0f} MB: memory beside the compact model"
    found.append(met(what, share, 1.5, times(share), "at most 1.5x", True))
    return found


def _served(part: dict) -> list[str]:
    sides = ["millrace", "mlserver", "mlflow-serve", "nginx"]
    sides = [side for side in sides if any(side in case["sides"] for case in part["cases"])]
    rows, cpu = [], []
    for case in part["cases"]:
        row = [case["model"], case["kind"], str(case["connections"])]
        got = case["sides"]
        ratios = [times(case["ratios"][s]["rps"]) if s in case["ratios"] else "" for s in sides[1:]]
        rows.append(row + [number(got[s]["rps"]) if s in got else "" for s in sides] + ratios)
        cpu.append(row + [number(_per_row(case, s)) if s in got else "" for s in sides])
        cpu[-1] += [f"{number(got[s]['p50_ms'])} / {number(got[s]['p99_ms'])}" if s in got else "" for s in sides[:2]]
    head = ["model", "request", "conn."]
    names = [NAMES[s] for s in sides]
    return [
        *table(head + [f"{n} req/s" for n in names] + [f"ratio to {n}" for n in names[1:]], rows),
        "CPU time of the server's processes, microseconds a row; and latency in milliseconds, median / 99th percentile:",
        "",
        *table(head + [f"{n}, us a row" for n in names] + [f"{n}, ms" for n in names[:2]], cpu),
    ]


def _paced(part: dict) -> list[str]:
    rows = []
    for one in part["paced"]:
        most = _case(part, one["model"], "one row, JSON", one["connections"])["sides"][one["side"]]
        row = [one["model"], NAMES[one["side"]], f"{one['rate']:,}"]
        row += [number(one[key]) for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms")] + [number(most["p99_ms"])]
        rows.append(row)
    text = (
        "The 99th percentile above is that of a machine with nothing left: the generator and the server fight for the same"
        " cores, and what it shows is how long the system lets one of them wait. The targets speak of the following: one"
        " row at 8 connections, requests that fall due at random moments (a Poisson process) at half of the rate that the"
        " same server reached above, each timed from the moment it was due, whether a connection was free or not."
    )
    head = ["model", "server", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "p99 ms at the most"]
    return [*wrap(text), *table(head, rows)]


def _libraries(part: dict) -> list[str]:
    rows, missing = [], []
    for model, one in part["models"].items():
        rows.append([one["title"], "Millrace, with HTTP and JSON or binary data"])
        for kind, connections in (("one row, JSON", 8), (f"{part['rows']} rows, binary", 1)):
            rows[-1].append(number(_per_row(_case(part, model, kind, connections))))
        for way, figures in one["ways"].items():
            if "missing" in figures:
                missing.append(f"{way} for {model}: {figures['missing']}.")
            else:
                rows.append(["", way, number(figures["one_us"]), number(figures["row_us"])])
    text = (
        "The same models computed by libraries inside one Python process and one thread, by the clock, the call from Python"
        " included; ours is the CPU time of the whole request. ONNX Runtime and treelite take float32. The compiled form of"
        " treelite is its C by tl2cgen at -O1; that of the deep forest is not made, it compiles for many minutes."
    )
    head = ["model", "computed by", "one row, us", f"of {part['rows']:,} rows, us a row"]
    return [*wrap(text), *table(head, rows), *(wrap("Not measured: " + " ".join(missing)) if missing else [])]


def render(part: dict) -> list[str]:
    if "paced" not in part:
        return ["What is there was measured by an earlier form of this part: run it again.", ""]
    loaded = part["load"]
    memory = ", ".join(
        f"{NAMES[key]} {mib(one['pss'])} in {one['processes']} process{'es' if one['processes'] > 1 else ''}"
        for key, one in part["memory"].items()
    )
    return [
        *wrap(
            f"Random rows that the models have not seen, {part['rows']:,} of them in a batch. Millrace and MLServer (its"
            " defaults: one inference worker) serve the same folder by V2 over HTTP; `mlflow models serve` has the same"
            " models in MLflow's format, a process for each, and is measured at 8 connections. All gave the libraries'"
            " answers before the measurement. nginx returns the linear model's answer from its configuration."
        ),
        *_served(part),
        *_paced(part),
        *_libraries(part),
        *wrap(
            f"A forest of {loaded['trees']} trees and {loaded['nodes']:,} nodes, a file of {mib(loaded['bytes'])}: loaded in"
            f" {loaded['ms']:.0f} ms, after which the process has {mib(loaded['grown'])} more. Eight bytes a node and each"
            f" different vector of shares once are {mib(loaded['compact'])}: the compact model of the target. Memory of the"
            f" servers afterwards, shared pages divided: {memory} (mlflow models serve: one of its four)."
        ),
    ]
