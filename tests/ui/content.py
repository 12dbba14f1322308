"""Real work, logged through the mlflow client, for the pages to show."""

import dataclasses
import secrets
import time

import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

NOTE_LINES = ("# Field notes", "the second bearing ran hot on Tuesday")
STEPS = 40


@dataclasses.dataclass
class Content:
    suffix: str
    experiment_id: str = ""
    experiment: str = ""
    other_experiment_id: str = ""
    other_experiment: str = ""
    parent: str = ""
    child: str = ""
    second: str = ""
    model_id: str = ""
    model: str = ""


def fill(url) -> Content:
    """Two experiments, three runs, a model with two versions; names carry a suffix so that a server may be used again."""
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    c = Content(secrets.token_hex(3))
    c.experiment, c.other_experiment, c.model = f"mill-{c.suffix}", f"weir-{c.suffix}", f"wheel-{c.suffix}"
    c.other_experiment_id = mlflow.create_experiment(c.other_experiment, tags={"place": "downstream"})
    c.experiment_id = mlflow.create_experiment(c.experiment)
    mlflow.set_experiment(experiment_id=c.experiment_id)

    frame = pd.DataFrame({"flow": np.linspace(1, 5, 30), "head": np.linspace(2, 4, 30) ** 2})
    frame["power"] = 3 * frame["flow"] + 0.5 * frame["head"]
    client = mlflow.MlflowClient()

    with mlflow.start_run(
        run_name="breastshot", tags={"miller": "agnes"}, description="A wheel fed at half height."
    ) as run:
        c.parent = run.info.run_id
        mlflow.log_params({"paddles": 36, "timber": "elm"})
        mlflow.log_input(mlflow.data.from_pandas(frame, name="gauge-readings", targets="power"), context="training")
        now = int(time.time() * 1000)
        history = [mlflow.entities.Metric("rmse", 2.0 / (1 + s), now - 1000 * (STEPS - s), s) for s in range(STEPS)]
        client.log_batch(c.parent, metrics=history)
        mlflow.log_metric("efficiency", 0.8125)
        mlflow.log_text("\n".join(NOTE_LINES), "notes/field.txt")
        mlflow.log_dict({"sluice": {"height_mm": 417}}, "settings/sluice.json")
        mlflow.log_image(np.full((40, 60, 3), (200, 60, 20), dtype=np.uint8), "pictures/wheel.png")
        fitted = LinearRegression().fit(frame[["flow", "head"]], frame["power"])
        info = mlflow.sklearn.log_model(
            fitted,
            name="regressor",
            signature=mlflow.models.infer_signature(frame[["flow", "head"]], fitted.predict(frame[["flow", "head"]])),
            # Named, so that no time goes into finding them out.
            pip_requirements=["scikit-learn"],
            registered_model_name=c.model,
        )
        c.model_id = info.model_id
        mlflow.log_metric("r2", 0.9990234375, model_id=c.model_id)
        with mlflow.start_run(run_name="breastshot-fold", nested=True) as child:
            c.child = child.info.run_id
            mlflow.log_metric("rmse", 0.375)
    with mlflow.start_run(run_name="overshot", tags={"miller": "ulric"}) as run:
        c.second = run.info.run_id
        mlflow.log_params({"paddles": 48, "timber": "oak"})
        mlflow.log_metric("rmse", 0.25)
        mlflow.log_metric("efficiency", 0.90625)

    second = mlflow.register_model(f"models:/{c.model_id}", c.model)
    client.update_model_version(c.model, second.version, description="Balanced again.")
    client.set_model_version_tag(c.model, second.version, "reviewed", "by-ulric")
    client.update_registered_model(c.model, description="Predicts the power of a wheel.")
    client.set_registered_model_alias(c.model, "champion", second.version)
    return c
