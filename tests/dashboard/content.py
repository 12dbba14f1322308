"""Real work for the dashboard's pages to show: experiments, a registered model, a pipeline with a loop and a condition."""

import dataclasses
import json
import pathlib
import secrets
import subprocess
import sys
import time
import urllib.request

# A name with everything that would be markup, were it not shown as text.
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>&amp;\''


@dataclasses.dataclass
class Content:
    suffix: str
    experiment_id: str = ""
    experiment: str = ""
    best: str = ""
    runs: list = dataclasses.field(default_factory=list)
    odd: str = ""
    model: str = ""
    pipeline_id: str = ""
    version_id: str = ""
    pipeline_run: str = ""
    failed_run: str = ""
    recurring: str = ""
    endpoint: str = ""


def post(base, path, body, method="POST"):
    request = urllib.request.Request(
        base + path, data=json.dumps(body).encode(), method=method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def get(base, path):
    with urllib.request.urlopen(base + path, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def track(url, c):
    """Runs with metrics, files to preview, values that are no numbers, and names that look like markup."""
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    client = mlflow.MlflowClient()
    c.experiment, c.model = f"churn-{c.suffix}", f"churn-model-{c.suffix}"
    c.experiment_id = mlflow.create_experiment(c.experiment)
    mlflow.set_experiment(experiment_id=c.experiment_id)
    now = int(time.time() * 1000)
    for i in range(8):
        with mlflow.start_run(run_name=f"trial-{i}") as run:
            rate, depth = 0.001 * 3**i, 2 + i % 4
            mlflow.log_params({"learning_rate": rate, "depth": depth, "optimizer": ("adam", "sgd")[i % 2]})
            history = [
                mlflow.entities.Metric("loss", float(np.exp(-s / (4 + i)) + 0.02 * i), now - 1000 * (40 - s), s)
                for s in range(40)
            ]
            history.append(mlflow.entities.Metric("accuracy", 0.7 + 0.03 * i, now, 0))
            client.log_batch(run.info.run_id, metrics=history)
            c.runs.append(run.info.run_id)
    c.best = c.runs[-1]
    with mlflow.start_run(run_id=c.best):
        mlflow.log_text("# Notes\n\nThe **best** trial so far.\n\n- item one\n- item two\n", "notes.md")
        mlflow.log_dict({"threshold": 0.5, "classes": ["stays", "leaves"]}, "report.json")
        mlflow.log_text("feature,weight\nage,0.31\nbalance,-0.12\n", "weights.csv")
        mlflow.log_text(
            "<h1>Report</h1><p id=p>plain</p><script>document.getElementById('p').textContent='drawn';"
            "try { parent.hacked = 1 } catch (e) {}</script>",
            "report.html",
        )
        mlflow.log_image(np.full((40, 60, 3), (40, 90, 200), dtype=np.uint8), "picture.png")
        frame = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "balance": [1.0, 0.5, 2.0, 3.0]})
        fitted = LogisticRegression().fit(frame, [0, 0, 1, 1])
        mlflow.sklearn.log_model(
            fitted,
            name="model",
            signature=mlflow.models.infer_signature(frame, fitted.predict(frame)),
            input_example=frame.head(2),
            pip_requirements=["scikit-learn"],
            registered_model_name=c.model,
        )
    client.set_registered_model_alias(c.model, "champion", "1")
    with mlflow.start_run(run_name=HOSTILE, tags={"note": HOSTILE}) as odd:
        c.odd = odd.info.run_id
        mlflow.log_param("long", "x" * 5000)
        mlflow.log_metric("accuracy", float("nan"))
        mlflow.log_metric("loss", float("inf"))


def spec(folder):
    """The package of a pipeline with a loop, a condition, a nested pipeline and a metric, as the SDK compiles it."""
    import yaml
    from kfp import compiler, dsl

    @dsl.component(base_image="python:3.11")
    def split(rows: int):
        print(f"splitting {rows} rows")

    @dsl.component(base_image="python:3.11")
    def train(depth: int, score: dsl.Output[dsl.Metrics]) -> float:
        print(f"training with depth {depth}")
        score.log_metric("accuracy", 0.8 + depth / 100)
        return 0.8 + depth / 100

    @dsl.component(base_image="python:3.11")
    def pick(least: float) -> str:
        return "good" if least > 0.5 else "bad"

    @dsl.component(base_image="python:3.11")
    def publish(verdict: str):
        print(f"publishing a {verdict} model")

    @dsl.component(base_image="python:3.11")
    def alarm(verdict: str):
        print(f"the model is {verdict}")

    @dsl.pipeline(name="inner")
    def check(least: float) -> str:
        return pick(least=least).output

    @dsl.pipeline(name="churn-training", description="Trains, compares and publishes")
    def pipeline(rows: int = 100, least: float = 0.7):
        parts = split(rows=rows)
        with dsl.ParallelFor([2, 4, 8], name="each depth") as depth:
            train(depth=depth).after(parts)
        verdict = check(least=least)
        with dsl.If(verdict.output == "good", name="good enough"):
            publish(verdict=verdict.output)
        with dsl.If(verdict.output == "bad", name="not good enough"):
            alarm(verdict=verdict.output)

    path = folder / "churn.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return path, yaml.safe_load(path.read_text())


def failing_spec(folder):
    import yaml
    from kfp import compiler, dsl

    @dsl.component(base_image="python:3.11")
    def breaks():
        raise ValueError("the oven is cold")

    @dsl.component(base_image="python:3.11")
    def after():
        print("never")

    @dsl.pipeline(name="breaks")
    def pipeline():
        after().after(breaks())

    path = folder / "breaks.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return yaml.safe_load(path.read_text())


def run_pipelines(platform, c, folder):
    base = platform.gateway_url + "/apis/v2beta1"
    package, _ = spec(folder)
    boundary = "part-" + secrets.token_hex(8)
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="uploadfile"; filename="churn.yaml"\r\n'
        f"Content-Type: application/yaml\r\n\r\n{package.read_text()}\r\n--{boundary}--\r\n"
    ).encode()
    request = urllib.request.Request(
        f"{base}/pipelines/upload?name=churn-training-{c.suffix}",
        data=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        c.pipeline_id = json.loads(answer.read())["pipeline_id"]
    c.version_id = get(base, f"/pipelines/{c.pipeline_id}/versions")["pipeline_versions"][0]["pipeline_version_id"]
    reference = {"pipeline_id": c.pipeline_id, "pipeline_version_id": c.version_id}
    c.pipeline_run = post(
        base,
        "/runs",
        {
            "display_name": f"nightly-{c.suffix}",
            "pipeline_version_reference": reference,
            "runtime_config": {"parameters": {"rows": 250}},
        },
    )["run_id"]
    c.failed_run = post(base, "/runs", {"display_name": f"breaks-{c.suffix}", "pipeline_spec": failing_spec(folder)})[
        "run_id"
    ]


def schedule(platform, c):
    """The pipeline at the turn of each year: it does not run while tests do."""
    c.recurring = post(
        platform.gateway_url + "/apis/v2beta1",
        "/recurringruns",
        {
            "display_name": f"yearly-{c.suffix}",
            "pipeline_version_reference": {"pipeline_id": c.pipeline_id, "pipeline_version_id": c.version_id},
            "runtime_config": {"parameters": {"rows": 500}},
            "trigger": {"cron_schedule": {"cron": "0 0 0 1 1 *"}},
            "mode": "ENABLE",
            "max_concurrency": "1",
        },
    )["recurring_run_id"]


SERVICES = "/dashboard/kube/apis/serving.kserve.io/v1beta1/namespaces/kubeflow-user-example-com/inferenceservices"


def service(name, uri):
    model = {"modelFormat": {"name": "mlflow"}, "protocolVersion": "v2", "storageUri": uri}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model}},
    }


def serve(platform, c):
    c.endpoint = f"churn-{c.suffix}"
    post(platform.gateway_url, SERVICES, service(c.endpoint, f"models:/{c.model}/1"))


def wait_for_service(platform, name, seconds=120):
    end = time.monotonic() + seconds
    while True:
        told = get(platform.gateway_url, f"{SERVICES}/{name}").get("status", {}).get("conditions", [])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in told):
            return
        assert time.monotonic() < end, f"never ready: {told}"
        time.sleep(0.1)


def wait_for_run(platform, run_id, seconds=120):
    base = platform.gateway_url + "/apis/v2beta1"
    end = time.monotonic() + seconds
    while True:
        run = get(base, f"/runs/{run_id}")
        if run["state"] in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"):
            return run
        assert time.monotonic() < end, f"never over: {run}"
        time.sleep(0.2)


def fill(platform, folder) -> Content:
    c = Content(secrets.token_hex(3))
    run_pipelines(platform, c, folder)  # they run while the rest is logged
    # In a process of its own: which servers mlflow speaks to is a matter of the whole process, and other tests have theirs.
    done = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__)), platform.tracking_url, json.dumps(dataclasses.asdict(c))],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    c = Content(**json.loads(done.stdout.splitlines()[-1]))
    schedule(platform, c)
    serve(platform, c)
    wait_for_run(platform, c.pipeline_run)
    wait_for_run(platform, c.failed_run)
    wait_for_service(platform, c.endpoint)
    return c


if __name__ == "__main__":
    filled = Content(**json.loads(sys.argv[2]))
    track(sys.argv[1], filled)
    print(json.dumps(dataclasses.asdict(filled)))
