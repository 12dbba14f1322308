"""The seed's request to the bank-churn model: millrace serve beside MLServer and nginx (a fixed body: the ceiling)."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys

import load
import peers
from servers import BenchError, Server, free_port, running

TITLE = "Inference"
ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "bank_churn"
NAME = "bankchurn-model"
PATH = f"/v2/models/{NAME}/infer"

# Runs in a process of its own: importing mlflow into the measuring one would only make it large.
TRAIN = """
import sys, warnings, logging
warnings.filterwarnings("ignore")
sys.path.insert(0, sys.argv[1])
import generate_data, mlflow, pathlib
import numpy as np, pandas as pd, sklearn, skops
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import LabelEncoder, StandardScaler
logging.getLogger("mlflow").setLevel(logging.ERROR)
out = pathlib.Path(sys.argv[2])
table = pd.read_csv(generate_data.write(out / "churn.csv")).drop(columns=["RowNumber", "CustomerId", "Surname"])
for column in ("Geography", "Gender"):
    table[column] = LabelEncoder().fit_transform(table[column])
target = table.pop("Exited").to_numpy()
features = table.astype("float64")
features = pd.DataFrame(StandardScaler().fit_transform(features), columns=features.columns)
model = LogisticRegression(max_iter=1000).fit(features, target)
signature = mlflow.models.infer_signature(features, model.predict(features))
mlflow.sklearn.save_model(model, out / "model", signature=signature, pip_requirements=["scikit-learn"])
print(sklearn.__version__, skops.__version__)
"""


def request() -> tuple[str, str]:
    """The body as the seed document prints it, where that document is; else the same request from the example."""
    shared = pathlib.Path(os.environ.get("MILLRACE_SHARED") or ROOT.parent / "shared")
    seed = shared / "data" / "seed.md"
    if seed.is_file():
        text = seed.read_text(encoding="utf-8")
        section = text[text.find("### Model Inference Testing") :]
        match = re.search(r"-d '(\{.*?\})'", section, re.S)
        if match and len(json.loads(match[1])["inputs"]) == 10:
            return match[1], "the seed document"
    return (EXAMPLE / "request.json").read_text(encoding="utf-8").strip(), "examples/bank_churn/request.json"


def ask(port: int, body: str) -> tuple[dict, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    link.request("POST", PATH, body, {"Content-Type": "application/json"})
    answer = link.getresponse()
    raw = answer.read()
    link.close()
    if answer.status != 200:
        raise BenchError(f"the request was answered {answer.status}: {raw[:300].decode(errors='replace')}")
    return json.loads(raw), raw


def start_mlserver(context, folder: pathlib.Path, model: pathlib.Path) -> tuple[Server, int]:
    port = free_port()
    tree = folder / "models"
    tree.mkdir(parents=True)
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (tree / "settings.json").write_text(json.dumps(settings))
    (tree / "model-settings.json").write_text(
        json.dumps({"name": NAME, "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(model)}})
    )
    return Server("mlserver", [context.peers["mlserver"].program, "start", tree], folder), port


def start_nginx(context, folder: pathlib.Path, body: bytes) -> tuple[Server, int]:
    port = free_port()
    folder.mkdir(parents=True)
    quoted = body.decode().replace("\\", "\\\\").replace("'", "\\'").replace("$", "")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"""{user}
daemon off;
worker_processes {load.CORES};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport;
    default_type application/json;
    location / {{ return 200 '{quoted}'; }}
  }}
}}
"""
    )
    args = [context.peers["nginx"].program, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
    return Server("nginx", args, folder), port


def run(context) -> dict:
    work = context.settings.work / "inference"
    work.mkdir()
    print("  training the model ...", flush=True)
    env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{work}/scratch.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    trained = subprocess.run(
        [sys.executable, "-c", TRAIN, str(EXAMPLE), str(work)],
        env=env,
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    if trained.returncode:
        raise BenchError("training failed: " + trained.stderr.strip()[-500:])
    context.peers["mlserver"] = peers.mlserver(*trained.stdout.split()[-2:])
    context.peers["nginx"] = peers.nginx()
    model = work / "model"
    body, origin = request()

    port = free_port()
    args = [context.binary, "serve", "--model", model, "--name", NAME, "--port", port, "--data", work / "data"]
    server = Server("millrace", args, work)
    servers, sides = [server], [load.Side("millrace", server, port)]
    with running(servers):
        server.wait_ready(port, f"/v2/models/{NAME}/ready")
        if not context.peers["mlserver"].missing:
            peer, peer_port = start_mlserver(context, work / "mlserver", model)
            servers.append(peer)
            try:
                peer.wait_ready(peer_port, f"/v2/models/{NAME}/ready")
                sides.append(load.Side("mlserver", peer, peer_port))
            except BenchError as error:
                context.peers["mlserver"].missing = f"it does not start here: {error}"
        answer, raw = ask(port, body)
        if not context.peers["nginx"].missing:
            ceiling, ceiling_port = start_nginx(context, work / "nginx", raw)
            servers.append(ceiling)
            ceiling.wait_ready(ceiling_port, "/")
            sides.append(load.Side("nginx", ceiling, ceiling_port))
        for side in sides:
            other, other_raw = ask(side.port, body)
            if other["outputs"] != answer["outputs"]:
                raise BenchError(f"{side.key} answers {other['outputs']}, millrace {answer['outputs']}")
            if side.key == "nginx" and len(other_raw) != len(raw):
                raise BenchError("nginx's body has another size")
        result = {
            "cases": [],
            "request": origin,
            "request_bytes": len(body),
            "answer_bytes": len(raw),
            "memory": {},
        }
        for side in sides:
            side.server.settle(60)
        for connections in (1, 8, 64):
            result["cases"].append(
                load.compare(
                    context.settings,
                    "seed's request",
                    connections,
                    sides,
                    lambda side, threads: load.fixed(side.port, "POST", PATH, body, "application/json"),
                )
            )
        result["memory"] = {side.key: side.server.memory() for side in sides}
    return result
