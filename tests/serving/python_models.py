"""Models that only Python can serve, as MLflow logs them, all with one small list of requirements."""

import importlib.metadata
import json
import pathlib
import shutil

import harness

from . import support

# The newest that can be installed from the registries everywhere; it loads what newer ones have written.
MLFLOW = "mlflow-skinny==3.17.2"


def requirements():
    packages = ("cloudpickle", "numpy", "pandas", "scikit-learn")
    return [MLFLOW, *(f"{p}=={importlib.metadata.version(p)}" for p in packages)]


MODEL_FROM_CODE = """
import mlflow
import pandas as pd


class Weekdays(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        days = model_input["when"].dt.day_name()
        return pd.DataFrame({"day": days, "number": model_input["when"].dt.dayofweek})


mlflow.models.set_model(Weekdays())
"""

CUSTOM_STEPS = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Ratio(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.mean_ = np.asarray(X).mean(axis=0)
        return self

    def transform(self, X):
        return np.asarray(X) / self.mean_
"""


def make_models(folder):
    """Folders of logged models by name."""
    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature

    class Double(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            factor = (params or {}).get("factor", 2.0)
            return (model_input["a"] * factor + model_input["b"]).to_numpy()

    class Answers(mlflow.pyfunc.PythonModel):
        """Whatever its one text column asks for."""

        def predict(self, context, model_input, params=None):
            import numpy as np
            import pandas as pd

            wanted = model_input["what"].iloc[0]
            n = len(model_input)
            return {
                "texts": lambda: ["ä" * i for i in range(n)],
                "table": lambda: pd.DataFrame({"n": range(n), "x": [0.5] * n, "t": ["q"] * n, "b": [True] * n}),
                "dict": lambda: {
                    "a": np.arange(4).reshape(2, 2),
                    "b": np.array([1.5, 2.5]),
                },
                "objects": lambda: [{"k": [1, None], "é": "x"}] * n,
                "value": lambda: {"n": 1, "list": ["a", 2]},
                "big": lambda: np.array([2**60 + 1] * n),
                "nan": lambda: np.array([np.nan, 1.0]),
                "cube": lambda: np.arange(8.0).reshape(2, 2, 2),
                "scalar": lambda: 3,
                "summary": lambda: np.array([float(n)]),
                "rows": lambda: np.full(n, float(n)),
                "nothing": lambda: None,
                "raise": lambda: 1 / 0,
            }[wanted]()

    folder = pathlib.Path(folder)
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    texts = pd.DataFrame({"what": ["texts"]})
    code = folder / "weekdays.py"
    code.write_text(MODEL_FROM_CODE)
    when = pd.DataFrame({"when": pd.to_datetime(["2024-02-29"])})
    logged = {
        "double": {
            "python_model": Double(),
            "signature": infer_signature(table, np.array([1.0]), {"factor": 2.0}),
            "input_example": table,
        },
        "answers": {
            "python_model": Answers(),
            "signature": infer_signature(texts, ["x"]),
        },
        "weekdays": {
            "python_model": str(code),
            "signature": infer_signature(when, None),
        },
    }
    for name, arguments in logged.items():
        mlflow.pyfunc.save_model(folder / name, pip_requirements=requirements(), **arguments)
    return {name: folder / name for name in logged}


def custom_pipeline(folder):
    """A scikit-learn pipeline with a step of the user's own code, and rows with what the library predicts for them."""
    import sys

    import mlflow
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    folder = pathlib.Path(folder)
    (folder / "own_steps.py").write_text(CUSTOM_STEPS)
    sys.path.insert(0, str(folder))
    try:
        from own_steps import Ratio

        rows = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]])
        model = make_pipeline(Ratio(), LinearRegression()).fit(rows, [1.0, 2.0, 0.5])
        mlflow.sklearn.save_model(
            model,
            folder / "model",
            serialization_format="cloudpickle",
            code_paths=[str(folder / "own_steps.py")],
            signature=infer_signature(rows, model.predict(rows)),
            pip_requirements=requirements(),
        )
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("own_steps", None)
    return folder / "model", rows.tolist(), model.predict(rows).tolist()


def recorded(folder, names=("describe", "tdict", "fail")):
    """The recorded models that are Python code, with the small list of requirements."""
    out = {}
    for name in names:
        target = pathlib.Path(folder) / name
        shutil.copytree(
            harness.shared_dir() / "data" / "models" / "vector-models" / name / "model",
            target,
        )
        target.chmod(0o755)
        (target / "requirements.txt").chmod(0o644)
        (target / "requirements.txt").write_text("\n".join(requirements()))
        out[name] = target
    return out


def environment(data, folder):
    """Makes the environment of the model, so that servers start at once; answers what its example gives."""
    rows = pathlib.Path(data).parent / "rows.json"
    rows.write_text(json.dumps({"dataframe_split": {"columns": ["b", "a"], "data": [[3, 1], [4, 2.5]]}}))
    done = harness.run_once(["model", "predict", folder, "--input", rows, "--data", data], timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def text_input(*values, name="what"):
    return {
        "name": name,
        "datatype": "BYTES",
        "shape": [len(values)],
        "data": list(values),
    }


def ask(server, what, rows=1, model="answers"):
    status, _, body = server.infer(model, [text_input(*[what] * rows)])
    return status, body


__all__ = [
    "ask",
    "custom_pipeline",
    "environment",
    "make_models",
    "recorded",
    "support",
    "text_input",
]
