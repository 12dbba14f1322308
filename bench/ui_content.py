"""Fills a tracking server with many runs in a short time: many kept connections from one thread."""

import itertools
import json
import selectors
import socket

from servers import BenchError

CONNECTIONS = 128
CURVES = 500
STEPS = 100
FIRST = 1_700_000_000_000


class _Link:
    """One connection that works through its part: `steps` yields (path, body) and is sent the answer."""

    def __init__(self, port: int, steps):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.steps = steps
        self.buffer = b""

    def ask(self, answer) -> bool:
        try:
            path, body = self.steps.send(answer)
        except StopIteration:
            self.socket.close()
            return False
        raw = json.dumps(body).encode()
        head = f"POST /api/2.0/mlflow/{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self.socket.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        return True

    def take(self):
        """The answer once it is whole, else None."""
        piece = self.socket.recv(65536)
        if not piece:
            raise BenchError("the server closed a connection while it was filled")
        self.buffer += piece
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.lower().split(b"\r\n")
        length = next(int(one[15:]) for one in lines if one.startswith(b"content-length:"))
        if len(body) < length:
            return None
        if b" 200 " not in lines[0] + b" ":
            raise BenchError(f"filling: {lines[0].decode()} {body[:200].decode(errors='replace')}")
        self.buffer = b""
        return json.loads(body)


def all_of(port: int, parts: list) -> None:
    """Runs the generators of requests side by side, each on a connection of its own."""
    with selectors.DefaultSelector() as ready:
        for steps in parts:
            link = _Link(port, steps)
            if link.ask(None):
                ready.register(link.socket, selectors.EVENT_READ, link)
        while ready.get_map():
            for key, _ in ready.select():
                answer = key.data.take()
                if answer is not None:
                    ready.unregister(key.fileobj)
                    if key.data.ask(answer):
                        ready.register(key.fileobj, selectors.EVENT_READ, key.data)


def accuracy(number: int, runs: int) -> float:
    """Spread without a random generator: every value from 0 to 1 once, in no order."""
    return number * 7919 % runs / runs


def learning_rate(number: int) -> str:
    return f"0.{number % 10}"


def name_of(number: int) -> str:
    return f"run-{number:06}"


def _metric(key: str, value: float, step: int = 0) -> dict:
    return {"key": key, "value": value, "timestamp": FIRST + step, "step": step}


def fill(port: int, name: str, runs: int) -> tuple[str, list[str]]:
    """An experiment with so many runs. Returns its id and the ids of the runs that came last, the newest first."""
    found = {}

    def first():
        found["experiment"] = (yield "experiments/create", {"name": name})["experiment_id"]

    all_of(port, [first()])
    numbers = itertools.count()
    ids = {}

    def make():
        for number in numbers:
            if number >= runs:
                return
            start = {"experiment_id": found["experiment"], "run_name": name_of(number), "start_time": FIRST + number}
            run = (yield "runs/create", start)["run"]["info"]["run_id"]
            metrics = [_metric("accuracy", accuracy(number, runs)), _metric("loss", 1 / (number + 1))]
            if number >= runs - CURVES:
                ids[number] = run
                metrics += [_metric("curve", (1 + number % 7) / (step + 1), step) for step in range(STEPS)]
            params = [{"key": "lr", "value": learning_rate(number)}, {"key": "depth", "value": str(number % 7)}]
            tags = [{"key": "team", "value": f"team-{number % 3}"}]
            yield "runs/log-batch", {"run_id": run, "metrics": metrics, "params": params, "tags": tags}

    all_of(port, [make() for _ in range(CONNECTIONS)])
    return found["experiment"], [ids[number] for number in sorted(ids, reverse=True)]
