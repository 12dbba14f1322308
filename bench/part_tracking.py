"""MLflow's REST calls: millrace tracking beside mlflow server, each on a SQLite file with the same content.

Both answer after the write is durable: millrace commits with synchronous=FULL, mlflow leaves SQLite at its default,
which is FULL with a rollback journal.
"""

import concurrent.futures
import contextlib
import http.client
import json
import sqlite3
import threading

import load
import peers
from servers import BenchError, Server, free_port, running

TITLE = "Tracking"
RUNS = 10_000
POINTS = 10_000
# Runs that the writes go to in turn, as from several training jobs.
WRITERS = 8
API = "/api/2.0/mlflow/"
# Rounds of the peer that are longer than the others, for it answers a few times a second there.
SECONDS = {
    ("runs/search of 10,000", 1): 3,
    ("runs/search of 10,000", 8): 6,
    ("get-history of 10,000", 1): 3,
    ("get-history of 10,000", 8): 6,
    ("log-batch of 100 metrics", 1): 3,
    ("log-batch of 100 metrics", 8): 4,
}


class Client:
    """Just enough of a client to fill a store: one kept connection for each thread."""

    def __init__(self, port: int):
        self.port = port
        self.local = threading.local()

    def call(self, path: str, body: dict | None = None) -> dict:
        link = getattr(self.local, "link", None)
        if link is None:
            link = self.local.link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if body is None:
            link.request("GET", API + path)
        else:
            link.request("POST", API + path, json.dumps(body), {"Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise BenchError(f"{path} answered {answer.status}: {text[:300].decode(errors='replace')}")
        return json.loads(text)


def _metric(key: str, value: float, step: int) -> dict:
    return {"key": key, "value": value, "timestamp": 1_700_000_000_000 + step, "step": step}


def fill(port: int) -> dict:
    """What every case needs, written through the API. Returns the ids."""
    client = Client(port)
    searched = client.call("experiments/create", {"name": "searched"})["experiment_id"]
    written = client.call("experiments/create", {"name": "written"})["experiment_id"]

    def make_run(number: int) -> None:
        run = client.call(
            "runs/create",
            {"experiment_id": searched, "run_name": f"run-{number}", "start_time": 1_700_000_000_000 + number},
        )["run"]["info"]["run_id"]
        client.call(
            "runs/log-batch",
            {
                "run_id": run,
                # Spread without a random generator: every value from 0 to 1 once, in no order.
                "metrics": [_metric("accuracy", number * 7919 % RUNS / RUNS, 0), _metric("loss", 1 / (number + 1), 0)],
                "params": [{"key": "lr", "value": f"0.{number % 10}"}, {"key": "depth", "value": str(number % 7)}],
                "tags": [{"key": "team", "value": f"team-{number % 3}"}],
            },
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(make_run, range(RUNS)))
    history = client.call("runs/create", {"experiment_id": written, "start_time": 1})["run"]["info"]["run_id"]
    for first in range(0, POINTS, 1000):
        points = [_metric("curve", 1 / (step + 1), step) for step in range(first, first + 1000)]
        client.call("runs/log-batch", {"run_id": history, "metrics": points})
    writers = [
        client.call("runs/create", {"experiment_id": written, "start_time": 1})["run"]["info"]["run_id"]
        for _ in range(WRITERS)
    ]
    return {"searched": searched, "written": written, "history": history, "writers": writers}


SEARCH = {
    "filter": "metrics.accuracy > 0.5 and params.lr = '0.3'",
    "order_by": ["metrics.accuracy DESC"],
    "max_results": 100,
}


def scripts(ids: dict) -> dict:
    """Name of the case -> function (side, threads) that gives the Lua text."""
    search = json.dumps({"experiment_ids": [ids["searched"]], **SEARCH})
    create = json.dumps({"experiment_id": ids["written"], "run_name": "bench", "start_time": 1_700_000_000_000})
    history = f"{API}metrics/get-history?run_id={ids['history']}&metric_key=curve"
    # `@` stands for a number that no other request has: the same point twice would be another path in both servers.
    one = [
        f'{{"run_id":"{run}","key":"loss","value":0.25,"timestamp":1700000000000,"step":@}}' for run in ids["writers"]
    ]
    points = ",".join(f'{{"key":"m{i}","value":{i}.5,"timestamp":1700000000000,"step":@}}' for i in range(100))
    batch = [f'{{"run_id":"{run}","metrics":[{points}],"params":[],"tags":[]}}' for run in ids["writers"]]
    post = "application/json"
    return {
        "runs/search of 10,000": lambda s, t: load.fixed(s.port, "POST", API + "runs/search", search, post),
        "get-history of 10,000": lambda s, t: load.fixed(s.port, "GET", history),
        "log-metric": lambda s, t: load.numbered(s.port, API + "runs/log-metric", one),
        "runs/create": lambda s, t: load.fixed(s.port, "POST", API + "runs/create", create, post),
        "log-batch of 100 metrics": lambda s, t: load.numbered(s.port, API + "runs/log-batch", batch),
    }


def _millrace(context, folder) -> tuple[Server, int]:
    port = free_port()
    args = [context.binary, "tracking", "--backend-store-uri", f"sqlite:///{folder}/tracking.db", "--host", "127.0.0.1"]
    args += ["--artifacts-destination", folder / "artifacts", "--port", port, "--data", folder / "data"]
    server = Server("millrace", args, folder)
    return server, port


def _mlflow(context, folder) -> tuple[Server, int]:
    port = free_port()
    args = [context.peers["mlflow"].program, "server", "--backend-store-uri", f"sqlite:///{folder}/tracking.db"]
    args += ["--host", "127.0.0.1", "--port", port, "--artifacts-destination", folder / "artifacts"]
    return Server("mlflow", args, folder), port


def _counts(database) -> dict:
    with contextlib.closing(sqlite3.connect(database)) as link:
        return {
            "points": link.execute("select count(*) from metrics").fetchone()[0],
            "runs": link.execute("select count(*) from runs").fetchone()[0],
        }


def _check_same(sides: list, ids: dict) -> None:
    """Both servers must mean the same before it is of interest how fast they say it."""
    answers = []
    for side in sides:
        client = Client(side.port)
        found = client.call("runs/search", {"experiment_ids": [ids["searched"]], **SEARCH})["runs"]
        points = client.call(f"metrics/get-history?run_id={ids['history']}&metric_key=curve")["metrics"]
        if len(found) != SEARCH["max_results"] or len(points) != POINTS:
            raise BenchError(f"{side.key} found {len(found)} runs and {len(points)} points")
        answers.append(([run["info"]["run_id"] for run in found], points))
    if any(answer != answers[0] for answer in answers[1:]):
        raise BenchError("the two servers answer the search or the history differently")


def run(context) -> dict:
    settings = context.settings
    ours, theirs = settings.work / "tracking-millrace", settings.work / "tracking-mlflow"
    context.peers["mlflow"] = peers.mlflow()
    server, port = _millrace(context, ours)
    with running([server]):
        server.wait_ready(port, "/health")
        print(f"  writing {RUNS:,} runs and {POINTS:,} points ...", flush=True)
        ids = fill(port)
    theirs.mkdir(parents=True)
    # The peer opens a copy of the file that millrace made (the schema is MLflow's own), in the peer's own journal mode.
    with contextlib.closing(sqlite3.connect(ours / "tracking.db")) as source:
        with contextlib.closing(sqlite3.connect(theirs / "tracking.db")) as target:
            source.backup(target)
            target.execute("pragma journal_mode = delete")
    start = _counts(ours / "tracking.db")

    server, port = _millrace(context, ours)
    servers, sides = [server], [load.Side("millrace", server, port)]
    result: dict = {"cases": []}
    with running(servers):
        if not context.peers["mlflow"].missing:
            peer, peer_port = _mlflow(context, theirs)
            servers.append(peer)
            sides.append(load.Side("mlflow", peer, peer_port))
        for side in sides:
            side.server.wait_ready(side.port, "/health")
        _check_same(sides, ids)
        if len(sides) > 1:
            result["mlflow_idle_cores"] = peer.settle()
        acknowledged = {side.key: {"points": 0, "runs": 0} for side in sides}
        # Reading first: the writes make the database grow.
        for name, make in scripts(ids).items():
            for connections in (1, 8):
                longer = SECONDS.get((name, connections), 1)
                case = load.compare(settings, name, connections, sides, make, {"mlflow": max(settings.seconds, longer)})
                result["cases"].append(case)
                for key, side in case["sides"].items():
                    if name.startswith("log-"):
                        acknowledged[key]["points"] += side["good"] * (100 if "batch" in name else 1)
                    elif name == "runs/create":
                        acknowledged[key]["runs"] += side["good"]
    # What was counted must be there: fast answers to writes that are lost are worth nothing.
    for side, folder in zip(sides, (ours, theirs), strict=False):
        end = _counts(folder / "tracking.db")
        for what, wanted in acknowledged[side.key].items():
            if end[what] - start[what] < wanted:
                raise BenchError(f"{side.key} acknowledged {wanted} {what} but stored {end[what] - start[what]}")
    result["acknowledged"] = acknowledged
    return result
