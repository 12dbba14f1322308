"""Models that are served natively: one row and a thousand, beside the libraries that trained them, in their own process.

The libraries' figures are without HTTP and JSON; ours are the whole request. What a request costs besides the model is
seen at the linear model.
"""

import http.client
import json
import struct
import subprocess
import time

import load
import peers
from servers import BenchError, Server, free_port, running

TITLE = "Models"
ROWS = 1000
MODELS = {
    "logistic": "logistic regression, 10 features",
    "forest": "forest of 100 trees, 20 features",
    "xgboost": "XGBoost, 500 trees of depth 6, 20 features",
    "lightgbm": "LightGBM, 500 trees of 31 leaves, 20 features",
}

# Runs in a process of its own. Prints one JSON document: versions, and the libraries' own times in microseconds.
TRAIN = """
import json, pathlib, statistics, sys, time, warnings
warnings.filterwarnings("ignore")
import joblib, lightgbm, numpy as np, sklearn, xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
out = pathlib.Path(sys.argv[1])
rows = int(sys.argv[2])
random = np.random.default_rng(7)
x = random.normal(size=(20000, 20))
y = (x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + x[:, 3] > random.normal(scale=0.5, size=len(x))).astype(int)
fresh = np.ascontiguousarray(random.normal(size=(rows, 20)))
models = {
    "logistic": (LogisticRegression().fit(x[:, :10], y), "model.joblib", 10),
    "forest": (RandomForestClassifier(100, n_jobs=1, random_state=0).fit(x, y), "model.joblib", 20),
    "xgboost": (xgboost.XGBClassifier(n_estimators=500, max_depth=6, n_jobs=1).fit(x, y), "model.json", 20),
    "lightgbm": (lightgbm.LGBMClassifier(n_estimators=500, num_leaves=31, n_jobs=1, verbose=-1).fit(x, y), "model.txt", 20),
}
report = {"versions": {"scikit-learn": sklearn.__version__, "xgboost": xgboost.__version__, "lightgbm": lightgbm.__version__}, "models": {}}
for name, (model, file, width) in models.items():
    folder = out / name
    folder.mkdir(parents=True)
    if name == "xgboost":
        model.save_model(folder / file)
        predict = lambda a: model.get_booster().inplace_predict(a)
    elif name == "lightgbm":
        model.booster_.save_model(folder / file)
        predict = lambda a: model.booster_.predict(a, num_threads=1)
    else:
        joblib.dump(model, folder / file)
        predict = model.predict
    data = np.ascontiguousarray(fresh[:, :width])
    # A file that XGBClassifier wrote is served as one: it answers labels. What is timed is the booster alone.
    answers = model.predict(data) if name == "xgboost" else predict(data)
    def microseconds(a):
        predict(a)
        times = []
        end = time.perf_counter() + 2
        while time.perf_counter() < end or len(times) < 5:
            begin = time.perf_counter()
            predict(a)
            times.append(time.perf_counter() - begin)
        return statistics.median(times) * 1e6
    report["models"][name] = {
        "file": file,
        "width": width,
        "bytes": (folder / file).stat().st_size,
        "one_us": microseconds(data[:1]),
        "row_us": microseconds(data) / rows,
        "expected": np.asarray(answers, dtype=float).tolist(),
    }
    data.tofile(folder / "rows.f64")
print(json.dumps(report))
"""

IMPLEMENTATIONS = {
    "logistic": "mlserver_sklearn.SKLearnModel",
    "forest": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
}


def path_of(name: str) -> str:
    return f"/v2/models/{name}/infer"


def json_body(values: list[float], rows: int, width: int) -> bytes:
    tensor = {"name": "x", "shape": [rows, width], "datatype": "FP64", "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


def binary_body(values: list[float], rows: int, width: int) -> tuple[bytes, int]:
    raw = struct.pack(f"<{len(values)}d", *values)
    tensor = {
        "name": "x",
        "shape": [rows, width],
        "datatype": "FP64",
        "parameters": {"binary_data_size": len(raw)},
    }
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


def check(port: int, name: str, values: list[float], model: dict) -> None:
    """The answers are the library's before they are timed."""
    answer = json.loads(ask(port, path_of(name), json_body(values, ROWS, model["width"])))
    got = answer["outputs"][0]["data"]
    expected = model["expected"]
    worst = max(abs(a - b) for a, b in zip(got, expected, strict=True))
    if worst > 1e-6:
        raise BenchError(f"{name} differs from its library by {worst}")


def loading(context, port: int, server: Server, model: dict) -> dict:
    """The forest, unloaded and loaded again: time to the answer, and what the process grew by."""
    ask(port, "/v2/repository/models/forest/unload", b"{}")
    before = server.memory()["pss"]
    times = []
    for _ in range(context.settings.rounds):
        begin = time.perf_counter()
        ask(port, "/v2/repository/models/forest/load", b"{}")
        times.append((time.perf_counter() - begin) * 1e3)
        grown = server.memory()["pss"] - before
        ask(port, "/v2/repository/models/forest/unload", b"{}")
    ask(port, "/v2/repository/models/forest/load", b"{}")
    times.sort()
    return {"ms": times[len(times) // 2], "bytes": model["bytes"], "grown": grown}


def run(context) -> dict:
    work = context.settings.work / "models"
    work.mkdir()
    print("  training the models, and timing their libraries ...", flush=True)
    context.peers["libraries"] = peers.libraries()
    if context.peers["libraries"].missing:
        raise BenchError(context.peers["libraries"].missing)
    trained = subprocess.run(
        [context.peers["libraries"].program, "-c", TRAIN, str(work / "tree"), str(ROWS)],
        capture_output=True,
        text=True,
        check=False,
    )
    if trained.returncode:
        raise BenchError("training failed: " + trained.stderr.strip()[-500:])
    report = json.loads(trained.stdout.splitlines()[-1])
    for name, model in report["models"].items():
        settings = {
            "name": name,
            "implementation": IMPLEMENTATIONS[name],
            "parameters": {"uri": f"./{model['file']}"},
        }
        (work / "tree" / name / "model-settings.json").write_text(json.dumps(settings))
    port = free_port()
    server = Server(
        "millrace",
        [
            context.binary,
            "serve",
            work / "tree",
            "--port",
            port,
            "--data",
            work / "data",
        ],
        work,
    )
    side = load.Side("millrace", server, port)
    result = {"cases": [], "rows": ROWS, "models": {}}
    with running([server]):
        server.wait_ready(port, "/v2/health/ready")
        for name, model in report["models"].items():
            raw = (work / "tree" / name / "rows.f64").read_bytes()
            values = list(struct.unpack(f"<{len(raw) // 8}d", raw))
            check(port, name, values, model)
            width = model["width"]
            result["models"][name] = {
                "title": MODELS[name],
                "one_us": model["one_us"],
                "row_us": model["row_us"],
            }
            one, many = (
                json_body(values[:width], 1, width),
                json_body(values, ROWS, width),
            )
            binary, head = binary_body(values, ROWS, width)
            kinds = [("one row, JSON", c, 1, one, None) for c in (1, 8, 64)]
            kinds += [
                (f"{ROWS} rows, JSON", 1, ROWS, many, None),
                (f"{ROWS} rows, binary", 1, ROWS, binary, head),
            ]
            for kind, connections, rows, body, json_size in kinds:
                file = work / f"{name}-{rows}-{'binary' if json_size else 'json'}.body"
                file.write_bytes(body)
                headers = {"Content-Type": "application/json"}
                if json_size:
                    headers = {
                        "Content-Type": "application/octet-stream",
                        "Inference-Header-Content-Length": str(json_size),
                    }
                case = load.compare(
                    context.settings,
                    f"{name}, {kind}",
                    connections,
                    [side],
                    lambda _, __, file=file, headers=headers, name=name: load.fixed_file(path_of(name), file, headers),
                )
                case.update(model=name, kind=kind, rows=rows)
                result["cases"].append(case)
        result["load"] = loading(context, port, server, report["models"]["forest"])
    return result
