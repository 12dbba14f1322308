"""Asks a served bank-churn model and compares its answers with the same model run here.

usage: predict.py [--url http://127.0.0.1:8080] [--name bankchurn-model] [--rows N]

First the request of request.json (one customer, ten FP64 inputs), then N rows of the test set in one request. The model
to compare with is models:/bankchurn-model@champion of the tracking server (the same environment as train.py). Exits
with 1 when an answer differs.
"""

import argparse
import io
import json
import pathlib
import sys

import mlflow
import numpy as np
import pandas as pd
import requests
import train

REQUEST = pathlib.Path(__file__).with_name("request.json")


def load_local():
    """The champion, as scikit-learn object in this process."""
    return mlflow.sklearn.load_model(f"models:/{train.MODEL_NAME}@{train.ALIAS}")


def infer(url: str, name: str, body: dict) -> dict:
    try:
        answer = requests.post(f"{url}/v2/models/{name}/infer", json=body, timeout=30)
    except requests.ConnectionError as error:
        raise SystemExit(f"error: nothing is served at {url}; the README beside this file says how") from error
    if answer.status_code != 200:
        raise SystemExit(f"error: {answer.url} answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()


def example_request() -> dict:
    return json.loads(REQUEST.read_text(encoding="utf-8"))


def frame_of(body: dict) -> pd.DataFrame:
    """The table that a V2 request with one input a column stands for."""
    return pd.DataFrame({column["name"]: np.asarray(column["data"], dtype="float64") for column in body["inputs"]})


def request_of(frame: pd.DataFrame) -> dict:
    return {
        "inputs": [
            {"name": name, "datatype": "FP64", "shape": [len(frame)], "data": frame[name].tolist()} for name in frame
        ]
    }


def expected_outputs(labels: list[int]) -> list[dict]:
    """What MLServer's MLflow runtime answers for these labels, and so what is expected here."""
    np_content = {"content_type": "np"}
    shape = [len(labels), 1]
    return [{"name": "output-1", "shape": shape, "datatype": "INT64", "parameters": np_content, "data": labels}]


def test_rows(count: int) -> pd.DataFrame:
    """Rows of the test set, from where train.py has put it."""
    blob = train.store().get_object(Bucket=train.BUCKET, Key=train.PREPARED_KEY)["Body"].read()
    with np.load(io.BytesIO(blob)) as data:
        return pd.DataFrame(data["x_test"][:count], columns=data["columns"].tolist())


def compare(url: str, name: str, model, body: dict) -> tuple[list[int], list[int]]:
    """Labels served and labels computed here. Raises SystemExit when the answer is not of the expected form."""
    local = model.predict(frame_of(body)).tolist()
    outputs = infer(url, name, body)["outputs"]
    served = outputs[0].get("data") if outputs else None
    if not isinstance(served, list) or outputs != expected_outputs(served):
        raise SystemExit(f"error: an answer of another form than MLServer's: {json.dumps(outputs)[:500]}")
    return served, local


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare a served bank-churn model with the same model run here.")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the model is served")
    parser.add_argument("--name", default=train.MODEL_NAME, help="the name it is served under")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the test set to compare (default 2000)")
    args = parser.parse_args()

    train.use_local_defaults()
    model = load_local()
    failed = False
    for title, body in [("one customer", example_request()), ("test set", request_of(test_rows(args.rows)))]:
        served, local = compare(args.url.rstrip("/"), args.name, model, body)
        differing = sum(a != b for a, b in zip(served, local, strict=False)) + abs(len(served) - len(local))
        print(f"{title}: {len(served)} served, {differing} differ from the local prediction; first {served[:5]}")
        failed = failed or differing > 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
