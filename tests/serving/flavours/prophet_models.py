"""Prophet: a table with dates in, a table with dates out."""

import pathlib

import numpy as np
import pandas as pd


def make(folder):
    import mlflow
    from mlflow.models import infer_signature
    from prophet import Prophet

    days = pd.date_range("2024-01-01", periods=120)
    rng = np.random.default_rng(3)
    past = pd.DataFrame(
        {
            "ds": days,
            "y": np.arange(120) * 0.5 + np.sin(np.arange(120) / 7 * 2 * np.pi) + rng.normal(0, 0.1, 120),
        }
    )
    model = Prophet(uncertainty_samples=0).fit(past)
    future = pd.DataFrame({"ds": pd.to_datetime(["2024-05-01", "2024-05-02"])})
    mlflow.prophet.save_model(
        model,
        pathlib.Path(folder) / "prophet",
        signature=infer_signature(future, model.predict(future)),
        input_example=future,
    )
    js = "application/json"
    return {
        "prophet": [
            (
                js,
                {
                    "dataframe_split": {
                        "columns": ["ds"],
                        "data": [["2024-05-01"], ["2024-05-02"]],
                    }
                },
            ),
            (js, {"dataframe_records": [{"ds": "2024-05-01T12:00:00"}]}),
            (js, {"inputs": {"ds": ["2024-05-03"]}}),
            (js, {"instances": [{"ds": "2024-05-03"}]}),
            (js, {"dataframe_records": [{"ds": "no date"}]}),
            (js, {"dataframe_records": [{"x": 1}]}),
            ("text/csv", "ds\n2024-05-01\n2024-05-02\n"),
        ]
    }
