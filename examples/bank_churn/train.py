"""Trains the bank-churn model with the plain clients: boto3 for the data, scikit-learn, mlflow for everything else.

usage: train.py [--csv FILE] [--scaler-inside]

It uploads the table to S3, reads it back, preprocesses, trains, evaluates, logs parameters, metrics and the model
(with its signature and an input example), registers it as `bankchurn-model` and gives the version the alias `champion`.

environment:
  MLFLOW_TRACKING_URI      default http://127.0.0.1:5000
  MLFLOW_S3_ENDPOINT_URL   default http://127.0.0.1:9000
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY   default minio, minio123
  CHURN_CSV                a real table with the same columns; without it one is generated
"""

import argparse
import dataclasses
import io
import os
import pathlib
import tempfile

import boto3
import generate_data
import mlflow
import numpy as np
import pandas as pd
import sklearn
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

BUCKET = "mlflow-artifacts"
DATA_KEY = "bank-churn/churn.csv"
PREPARED_KEY = "bank-churn/prepared.npz"
EXPERIMENT = "bank-churn-prediction"
MODEL_NAME = "bankchurn-model"
ALIAS = "champion"
TARGET = "Exited"
# Identifiers say nothing about the next customer.
IDENTIFIERS = ["RowNumber", "CustomerId", "Surname"]
PARAMS = {"max_iter": 1000, "solver": "lbfgs"}


def use_local_defaults() -> None:
    """Lets mlflow and boto3 find a platform on this machine, unless the environment names another."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9000")
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "minio")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "minio123")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


def store():
    """An S3 client. mlflow makes its own, from the same variables."""
    return boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])


def find_table(csv: str | None = None) -> tuple[pathlib.Path, str]:
    """The file to train on and where it came from: --csv, else CHURN_CSV, else a generated one."""
    given = csv or os.environ.get("CHURN_CSV")
    if given:
        path = pathlib.Path(given)
        if not path.is_file():
            raise SystemExit(f"error: there is no file {path} (from --csv or CHURN_CSV)")
        return path, str(path)
    path = pathlib.Path(tempfile.mkdtemp(prefix="bank-churn-")) / "churn.csv"
    return generate_data.write(path), "generated"


def upload(path: pathlib.Path) -> str:
    client = store()
    # On MLflow's own bucket this changes nothing; on an empty store it makes the bucket.
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    client.upload_file(str(path), BUCKET, DATA_KEY)
    return f"s3://{BUCKET}/{DATA_KEY}"


@dataclasses.dataclass
class Prepared:
    """What the training works on. Every column is a float, so that a V2 request with FP64 inputs fits the signature."""

    x_train: pd.DataFrame
    x_test: pd.DataFrame
    y_train: np.ndarray
    y_test: np.ndarray
    # Mean and scale of each column as they were taken out of the data, or None when the model does that itself.
    scaler: StandardScaler | None


def preprocess(scaler_inside: bool = False) -> Prepared:
    """Reads the table from S3, codes the two text columns, scales and splits; puts the result beside the table."""
    client = store()
    table = pd.read_csv(client.get_object(Bucket=BUCKET, Key=DATA_KEY)["Body"]).drop(columns=IDENTIFIERS)
    for column in ("Geography", "Gender"):
        table[column] = LabelEncoder().fit_transform(table[column])
    target = table.pop(TARGET).to_numpy()
    features = table.astype("float64")

    scaler = None
    if not scaler_inside:
        scaler = StandardScaler().fit(features)
        features = pd.DataFrame(scaler.transform(features), columns=features.columns)
    parts = train_test_split(features, target, test_size=0.2, random_state=42)
    prepared = Prepared(*parts, scaler=scaler)

    blob = io.BytesIO()
    np.savez_compressed(
        blob,
        columns=features.columns.to_numpy(dtype=str),
        x_train=prepared.x_train,
        x_test=prepared.x_test,
        y_train=prepared.y_train,
        y_test=prepared.y_test,
    )
    blob.seek(0)
    client.upload_fileobj(blob, BUCKET, PREPARED_KEY)
    return prepared


def train(prepared: Prepared):
    model = LogisticRegression(**PARAMS)
    if prepared.scaler is None:
        model = make_pipeline(StandardScaler(), model)
    return model.fit(prepared.x_train, prepared.y_train)


def evaluate(model, prepared: Prepared) -> dict[str, float]:
    guess = model.predict(prepared.x_test)
    scores = {"accuracy": accuracy_score, "precision": precision_score, "recall": recall_score, "f1": f1_score}
    return {name: float(score(prepared.y_test, guess)) for name, score in scores.items()}


def log(model, prepared: Prepared, metrics: dict[str, float]):
    """One run with everything about the model. Returns the run's id and what mlflow says of the logged model."""
    mlflow.set_experiment(EXPERIMENT)
    columns = prepared.x_train.columns.tolist()
    linear = model if prepared.scaler is not None else model[-1]
    with mlflow.start_run() as run:
        mlflow.log_params({**PARAMS, "scaler_inside": prepared.scaler is None, "train_rows": len(prepared.x_train)})
        data = mlflow.data.from_pandas(prepared.x_train, source=f"s3://{BUCKET}/{DATA_KEY}", name="bank-churn")
        mlflow.log_input(data, context="training")
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(prepared.x_train, model.predict(prepared.x_train)),
            input_example=prepared.x_train.iloc[:1],
            # Named here, because finding them out means loading the model once more in another process.
            pip_requirements=[
                f"scikit-learn=={sklearn.__version__}",
                f"numpy=={np.__version__}",
                f"pandas=={pd.__version__}",
            ],
        )
        mlflow.log_metrics(metrics, model_id=logged.model_id)
        mlflow.log_dict(dict(zip(columns, linear.coef_[0].tolist(), strict=True)), "feature_importance.json")
        if prepared.scaler is not None:
            scaling = zip(columns, prepared.scaler.mean_.tolist(), prepared.scaler.scale_.tolist(), strict=True)
            mlflow.log_dict({name: {"mean": mean, "scale": scale} for name, mean, scale in scaling}, "scaler.json")
    return run.info.run_id, logged


def register(logged) -> str:
    """Registers the logged model and makes it the champion. Returns the version."""
    version = mlflow.register_model(logged.model_uri, MODEL_NAME).version
    mlflow.MlflowClient().set_registered_model_alias(MODEL_NAME, ALIAS, version)
    return str(version)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train, log and register the bank-churn model.")
    parser.add_argument("--csv", help="table to train on (default: $CHURN_CSV, else a generated one)")
    parser.add_argument(
        "--scaler-inside",
        action="store_true",
        help="make the scaler a part of the model, which then takes customers as they are",
    )
    args = parser.parse_args()

    use_local_defaults()
    path, origin = find_table(args.csv)
    print(f"table: {origin}")
    print(f"uploaded to {upload(path)}")
    prepared = preprocess(args.scaler_inside)
    print(f"preprocessed: {len(prepared.x_train)} rows to train, {len(prepared.x_test)} to test")
    model = train(prepared)
    metrics = evaluate(model, prepared)
    print("trained: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    run_id, logged = log(model, prepared, metrics)
    print(f"logged run {run_id}, model {logged.model_uri}")
    print(f"registered {MODEL_NAME} version {register(logged)}, alias {ALIAS}")


if __name__ == "__main__":
    main()
