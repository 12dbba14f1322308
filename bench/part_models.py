"""Models of tables: millrace serve beside MLServer and `mlflow models serve` on the same files, a fixed body by nginx as
the ceiling, and the libraries that compute them, each in a process of its own without HTTP."""

import http.client
import json
import pathlib
import struct
import subprocess
import time

import load
import part_inference
import peers
from servers import BenchError, Server, clean_environment, free_port, running

TITLE = "Models"
ROWS = 1000
BINARY = "application/octet-stream"
MODELS = {
    "logistic": "logistic regression, 10 features",
    "forest": "forest of 100 trees, 20 features",
    "xgboost": "XGBoost, 500 trees of depth 6, 20 features",
    "lightgbm": "LightGBM, 500 trees of 31 leaves, 20 features",
}
IMPLEMENTATIONS = {
    "logistic": "mlserver_sklearn.SKLearnModel",
    "forest": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "big": "mlserver_sklearn.SKLearnModel",
}
# Of the most that a side answers at 8 connections: the load of the latencies that a target speaks of.
PACE = 0.5


def path_of(name: str) -> str:
    return f"/v2/models/{name}/infer"


def json_body(values: list[float], rows: int, width: int) -> bytes:
    tensor = {"name": "x", "shape": [rows, width], "datatype": "FP64", "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


def scoring_body(values: list[float], rows: int, width: int) -> bytes:
    return json.dumps({"inputs": [values[i * width : (i + 1) * width] for i in range(rows)]}).encode()


def binary_body(values: list[float], rows: int, width: int) -> tuple[bytes, int]:
    raw = struct.pack(f"<{len(values)}d", *values)
    parameters = {"binary_data_size": len(raw)}
    tensor = {"name": "x", "shape": [rows, width], "datatype": "FP64", "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + raw, len(head)


def ask(port: int, path: str, body: bytes, headers: dict | None = None) -> bytes:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    link.request("POST", path, body, headers or {"Content-Type": "application/json"})
    answer = link.getresponse()
    raw = answer.read()
    link.close()
    if answer.status != 200:
        raise BenchError(f"{path} was answered {answer.status}: {raw[:300].decode(errors='replace')}")
    return raw


def check(key: str, name: str, got: list[float], expected: list[float]) -> None:
    """The answers are the library's before they are timed."""
    worst = max(abs(a - b) for a, b in zip(got, expected, strict=True))
    if worst > 1e-6:
        raise BenchError(f"{key}: {name} differs from its library by {worst}")


class Requests:
    """The requests to one model, in files, and what each server is to be asked."""

    def __init__(self, folder: pathlib.Path, name: str, model: dict):
        self.folder, self.name, self.width = folder, name, model["width"]
        raw = (folder / "tree" / name / "rows.f64").read_bytes()
        self.values = list(struct.unpack(f"<{len(raw) // 8}d", raw))

    def of(self, key: str, kind: str) -> tuple[str, bytes, dict]:
        """Path, body and headers for a side."""
        rows = 1 if kind == "one" else ROWS
        values = self.values[: rows * self.width]
        if kind == "binary":
            body, size = binary_body(values, rows, self.width)
            return path_of(self.name), body, {"Content-Type": BINARY, "Inference-Header-Content-Length": str(size)}
        headers = {"Content-Type": "application/json"}
        if key == "mlflow-serve":
            return "/invocations", scoring_body(values, rows, self.width), headers
        return path_of(self.name), json_body(values, rows, self.width), headers

    def script(self, side: load.Side, kind: str) -> str:
        path, body, headers = self.of(side.key, kind)
        file = self.folder / f"{self.name}-{kind}-{side.key}.body"
        file.write_bytes(body)
        return load.fixed_file(path, file, headers)

    def raw(self, side: load.Side, kind: str) -> bytes:
        """The whole request, for the load of a fixed rate."""
        path, body, headers = self.of(side.key, kind)
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{side.port}", f"Content-Length: {len(body)}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def checked(side: load.Side, requests: Requests, model: dict) -> load.Side:
    """The side, once its answer to the batch is right."""
    path, body, headers = requests.of(side.key, "json")
    answer = json.loads(ask(side.port, path, body, headers))
    got = answer["predictions"] if side.key == "mlflow-serve" else answer["outputs"][0]["data"]
    # LightGBM's own format gives the probability, its MLflow model the label.
    check(side.key, requests.name, got, model["labels" if side.key == "mlflow-serve" else "expected"])
    return side


def takes_binary(side: load.Side, requests: Requests) -> bool:
    path, body, headers = requests.of(side.key, "binary")
    try:
        ask(side.port, path, body, headers)
    except (BenchError, OSError):
        return False
    return True


def loading(context, port: int, server: Server, big: dict) -> dict:
    """The forest of 100 MB, loaded and unloaded again: time to the answer, and what the process grew by."""
    before = server.memory()["pss"]
    times = []
    for _ in range(max(3, context.settings.rounds)):
        begin = time.perf_counter()
        ask(port, "/v2/repository/models/big/load", b"{}")
        times.append((time.perf_counter() - begin) * 1e3)
        grown = server.memory()["pss"] - before
        ask(port, "/v2/repository/models/big/unload", b"{}")
    return {**big, "ms": sorted(times)[len(times) // 2], "times": times, "grown": grown}


def train(context, work: pathlib.Path) -> dict:
    peer = context.peers["libraries"] = peers.libraries()
    if peer.missing:
        raise BenchError(peer.missing)
    print("  training the models, and timing their libraries ...", flush=True)
    script = pathlib.Path(__file__).parent / "models_train.py"
    trained = subprocess.run(
        [peer.program, script, work / "tree", str(ROWS)],
        cwd=work,
        env={**clean_environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if trained.returncode:
        raise BenchError("training failed: " + trained.stderr.strip()[-500:])
    report = json.loads(trained.stdout.splitlines()[-1])
    for name, model in [*report["models"].items(), ("big", report["big"])]:
        settings = {
            "name": name,
            "implementation": IMPLEMENTATIONS[name],
            "parameters": {"uri": f"./{model['file']}"},
        }
        (work / "tree" / name / "model-settings.json").write_text(json.dumps(settings))
    return report


def start_python(context, work: pathlib.Path, servers: list) -> dict[str, dict[str, load.Side]]:
    """The peers that serve with Python: key -> model -> side. One MLServer has all models, `mlflow models serve` one
    each. They start together, for each takes many seconds to."""
    peer = context.peers["mlserver"]
    if peer.missing:
        return {}
    port = free_port()
    env = {"HOST": "127.0.0.1", "HTTP_PORT": port, "GRPC_PORT": free_port(), "METRICS_PORT": free_port()}
    env = {f"MLSERVER_{key}": str(value) for key, value in env.items()}
    env["PATH"] = f"{pathlib.Path(peer.program).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    small = work / "tree-of-mlserver"
    small.mkdir()
    for name in MODELS:
        (small / name).symlink_to(work / "tree" / name)
    servers.append(Server("mlserver", [peer.program, "start", small], work / "mlserver", env))
    found = {"mlserver": {name: load.Side("mlserver", servers[-1], port) for name in MODELS}, "mlflow-serve": {}}
    program = pathlib.Path(peer.program).parent / "mlflow"
    for name in MODELS:
        port = free_port()
        args = [program, "models", "serve", "-m", work / "mlflow" / name, "--env-manager", "local"]
        servers.append(Server(f"mlflow-{name}", [*args, "-h", "127.0.0.1", "-p", port], work / "serve", env))
        found["mlflow-serve"][name] = load.Side("mlflow-serve", servers[-1], port)
    for name, side in found["mlserver"].items():
        side.server.wait_ready(side.port, f"/v2/models/{name}/ready")
    for side in found["mlflow-serve"].values():
        side.server.wait_ready(side.port, "/ping")
    return found


def run(context) -> dict:
    work = context.settings.work / "models"
    work.mkdir()
    report = train(context, work)
    context.peers["mlserver"] = peers.mlserver(peers.SCIKIT_LEARN, peers.SKOPS)
    context.peers["nginx"] = peers.nginx()
    port = free_port()
    args = [context.binary, "serve", work / "tree", "--port", port, "--grpc-port", 0, "--data", work / "data"]
    server = Server("millrace", args, work)
    ours = load.Side("millrace", server, port)
    servers = [server]
    result = {"cases": [], "paced": [], "rows": ROWS, "models": {}, "memory": {}}
    with running(servers):
        server.wait_ready(port, "/v2/health/ready")
        ask(port, "/v2/repository/models/big/unload", b"{}")
        requests = {name: Requests(work, name, model) for name, model in report["models"].items()}
        try:
            others = start_python(context, work, servers)
        except BenchError as error:
            context.peers["mlserver"].missing = f"it does not start here: {error}"
            others = {}
        for side in {id(s.server): s for sides in others.values() for s in sides.values()}.values():
            side.server.settle(30)
        ceiling = []
        path, body, headers = requests["logistic"].of("millrace", "one")
        if not context.peers["nginx"].missing:
            peer, peer_port = part_inference.start_nginx(context, work / "nginx", ask(port, path, body, headers))
            servers.append(peer)
            peer.wait_ready(peer_port, "/")
            ceiling = [load.Side("nginx", peer, peer_port)]

        def measure(name: str, kind: str, title: str, connections: int, sides: list) -> dict:
            case = load.compare(
                context.settings,
                f"{name}, {title}",
                connections,
                sides,
                lambda side, _: requests[name].script(side, kind),
            )
            case.update(model=name, kind=title, rows=1 if kind == "one" else ROWS)
            result["cases"].append(case)
            return case

        for name, model in report["models"].items():
            result["models"][name] = {"title": MODELS[name], "ways": model["ways"]}
            sides = [checked(ours, requests[name], model)]
            sides += [checked(one[name], requests[name], model) for one in others.values()]
            served = [side for side in sides if side.key != "mlflow-serve"]
            top = ceiling if name == "logistic" else []
            for connections in (1, 8, 64):
                case = measure(name, "one", "one row, JSON", connections, (sides if connections == 8 else served) + top)
                if connections == 8:
                    for side in served + top:
                        rate = max(1, round(case["sides"][side.key]["rps"] * PACE))
                        paced = load.paced(context.settings, side, requests[name].raw(side, "one"), connections, rate)
                        result["paced"].append({"model": name, "side": side.key, "connections": connections, **paced})
            measure(name, "json", f"{ROWS} rows, JSON", 1, sides)
            measure(name, "binary", f"{ROWS} rows, binary", 1, [s for s in served if takes_binary(s, requests[name])])
        result["memory"] = {one: sides["logistic"].server.memory() for one, sides in others.items()}
        result["memory"]["millrace"] = server.memory()
        result["load"] = loading(context, port, server, report["big"])
    return result
