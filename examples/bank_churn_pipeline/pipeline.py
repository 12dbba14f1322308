"""The bank-churn model as a pipeline: read, prepare, train, evaluate, register.

usage: pipeline.py [--host URL] [--data CSV] [--compile FILE]

Each step is a lightweight Python component with the packages it needs; the first run makes their environments, later
ones find them. The addresses inside the steps are the cluster's: a step resolves mlflow and minio-service of namespace
kubeflow wherever it runs. The packages are current ones; a pipeline that pins those of scikit-learn 1.3 and mlflow 2.10
runs as well, as long as they install on the interpreter of this machine.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from kfp import compiler, dsl

IMAGE = "python:3.11"
S3 = "http://minio-service.kubeflow.svc.cluster.local:9000"
TRACKING = "http://mlflow.kubeflow.svc.cluster.local:5000"
BUCKET, KEY = "mlflow-artifacts", "churn/churn.csv"
FEATURES = [
    "CreditScore",
    "Age",
    "Tenure",
    "Balance",
    "NumOfProducts",
    "HasCrCard",
    "IsActiveMember",
    "EstimatedSalary",
]
MODEL = "bank-churn-pipeline"


@dsl.component(base_image=IMAGE, packages_to_install=["boto3==1.43.1", "pandas==2.3.3"])
def read_table(endpoint: str, bucket: str, key: str, table: dsl.Output[dsl.Dataset]) -> int:
    """The customers' table out of the object store."""
    import io

    import boto3
    import pandas

    store = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="minio",
        aws_secret_access_key="minio123",
        region_name="us-east-1",
    )
    frame = pandas.read_csv(io.BytesIO(store.get_object(Bucket=bucket, Key=key)["Body"].read()))
    frame.to_csv(table.path, index=False)
    table.metadata["rows"] = len(frame)
    return len(frame)


@dsl.component(base_image=IMAGE, packages_to_install=["pandas==2.3.3", "scikit-learn==1.7.2"])
def split_table(
    table: dsl.Input[dsl.Dataset],
    features: list,
    train: dsl.Output[dsl.Dataset],
    test: dsl.Output[dsl.Dataset],
    share: float = 0.2,
):
    """A part for training and a part that it never sees."""
    import pandas
    from sklearn.model_selection import train_test_split

    frame = pandas.read_csv(table.path)[[*features, "Exited"]].astype(float)
    one, other = train_test_split(frame, test_size=share, random_state=7, stratify=frame["Exited"])
    one.to_csv(train.path, index=False)
    other.to_csv(test.path, index=False)


@dsl.component(
    base_image=IMAGE,
    packages_to_install=["mlflow-skinny==3.17.2", "pandas==2.3.3", "scikit-learn==1.7.2", "skops==0.13.0"],
)
def train_model(train: dsl.Input[dsl.Dataset], tracking: str, model_name: str, strength: float = 1.0) -> str:
    """Fits the model, logs it to tracking and registers it; its version is what comes out."""
    import mlflow
    import pandas
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pandas.read_csv(train.path)
    x, y = frame.drop(columns="Exited"), frame["Exited"].astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(x, y)
    mlflow.set_tracking_uri(tracking)
    mlflow.set_experiment(model_name)
    with mlflow.start_run():
        mlflow.log_param("strength", strength)
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=model_name,
            signature=infer_signature(x, model.predict(x)),
            input_example=x.head(1),
        )
    return str(logged.registered_model_version)


@dsl.component(
    base_image=IMAGE,
    packages_to_install=["mlflow-skinny==3.17.2", "pandas==2.3.3", "scikit-learn==1.7.2", "skops==0.13.0"],
)
def evaluate_model(
    test: dsl.Input[dsl.Dataset], tracking: str, model_name: str, version: str, metrics: dsl.Output[dsl.Metrics]
) -> float:
    """What the model says of customers that it has not seen."""
    import mlflow
    import pandas
    from sklearn.metrics import accuracy_score, f1_score

    mlflow.set_tracking_uri(tracking)
    frame = pandas.read_csv(test.path)
    x, y = frame.drop(columns="Exited"), frame["Exited"].astype(int)
    guess = mlflow.sklearn.load_model(f"models:/{model_name}/{version}").predict(x)
    metrics.log_metric("accuracy", float(accuracy_score(y, guess)))
    metrics.log_metric("f1", float(f1_score(y, guess)))
    return float(accuracy_score(y, guess))


@dsl.component(base_image=IMAGE, packages_to_install=["mlflow-skinny==3.17.2"])
def promote_model(tracking: str, model_name: str, version: str):
    """Gives the version the alias that users ask for."""
    from mlflow import MlflowClient

    MlflowClient(tracking).set_registered_model_alias(model_name, "champion", version)


@dsl.pipeline(name="bank-churn", description="Reads, trains, evaluates and promotes the bank-churn model")
def bank_churn(strength: float = 1.0, wanted: float = 0.7):
    table = read_table(endpoint=S3, bucket=BUCKET, key=KEY)
    parts = split_table(table=table.outputs["table"], features=FEATURES)
    version = train_model(
        train=parts.outputs["train"], tracking=TRACKING, model_name=MODEL, strength=strength
    ).set_caching_options(False)
    score = evaluate_model(test=parts.outputs["test"], tracking=TRACKING, model_name=MODEL, version=version.output)
    with dsl.If(score.outputs["Output"] >= wanted, name="good enough"):
        promote_model(tracking=TRACKING, model_name=MODEL, version=version.output).set_caching_options(False)


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def upload(host: str, path: pathlib.Path) -> None:
    """To the S3 port that stands as far from 9000 as the gateway's from 8080."""
    import boto3

    offset = (urllib.parse.urlsplit(host).port or 8080) - 8080
    boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{9000 + offset}",
        aws_access_key_id="minio",
        aws_secret_access_key="minio123",
        region_name="us-east-1",
    ).upload_file(str(path), BUCKET, KEY)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="http://127.0.0.1:8080", help="the platform's gateway")
    parser.add_argument("--data", type=pathlib.Path, help="a table of customers (default: one is generated)")
    parser.add_argument("--compile", type=pathlib.Path, metavar="FILE", help="only write the compiled pipeline")
    args = parser.parse_args()
    if args.compile:
        compiler.Compiler().compile(bank_churn, str(args.compile))
        return 0
    import kfp

    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if data is None:
            data = pathlib.Path(folder) / "churn.csv"
            generator = pathlib.Path(__file__).parent.parent / "bank_churn" / "generate_data.py"
            subprocess.run([sys.executable, str(generator), str(data)], check=True)
        upload(args.host, data)
    run = kfp.Client(host=args.host).create_run_from_pipeline_func(bank_churn, arguments={})
    url = f"{args.host}/apis/v2beta1/runs/{run.run_id}"
    seen: dict[str, str] = {}
    while True:
        found = get(url)
        for task in found["run_details"]["task_details"]:
            if seen.get(task["task_id"]) != task["state"]:
                seen[task["task_id"]] = task["state"]
                print(f"{task['state']:>10}  {task['display_name']}", flush=True)
        if found["state"] in ("SUCCEEDED", "FAILED", "CANCELED"):
            break
        time.sleep(0.3)
    print(found["state"], found.get("error", {}).get("message", ""))
    return 0 if found["state"] == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main())
