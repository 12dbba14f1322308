"""Servers that several files of serving tests share."""

import shutil

import harness
import pytest

from . import python_models, support
from .hostile import TENSOR, with_marker

# The linear models among the recorded ones; `versioned` gets its version from its model-settings.json.
VECTOR_MODELS = ("bankchurn-model", "versioned", "tensor", "proba", "nosig", "mixed")


@pytest.fixture(scope="session", params=["vector-models", "vector-models-2.10"], ids=["mlflow3", "mlflow2"])
def vector_server(request, tmp_path_factory):
    """The models behind v2-vectors.jsonl, as one MLServer model repository."""
    root = tmp_path_factory.mktemp("repository")
    for name in VECTOR_MODELS:
        shutil.copytree(harness.shared_dir() / "data" / "models" / request.param / name, root / name)
    with support.serve(None, "--model-repository", root) as running:
        yield running


@pytest.fixture(scope="session")
def churn_typed(tmp_path_factory):
    """The churn model under the signature that MLflow infers from the raw table: long and double columns."""
    doubles = ("Balance", "EstimatedSalary")
    signature = support.columns([(n, "double" if n in doubles else "long") for n in support.CHURN])
    return support.write_model(
        tmp_path_factory.mktemp("m_int") / "model",
        support.churn_model() / "model.skops",
        inputs=signature,
        outputs=support.tensor("int64", [-1]),
    )


@pytest.fixture(scope="session")
def churn_server(churn_typed):
    """The models of section C of the public cases: m_int, and one with text labels."""
    models = {"m_int": churn_typed, "bankchurn-model": support.churn_model()}
    for name in ("logreg_text", "logreg_text_object", "ridge_classifier", "linear_svc_three"):
        path = next((support.GOLDEN / "1.9.1").glob(f"{name}.*"))
        models[name] = support.write_model(churn_typed.parent / name, path, inputs=support.tensor("float64", [-1, 4]))
    with support.serve(models) as running:
        yield running


@pytest.fixture
def refuse(tmp_path):
    """Serves a hostile file and answers how that ended; the marker that a payload would leave must be absent."""
    marker = tmp_path / "pwned"

    def run(data, file_name="model.pkl"):
        if not file_name.endswith(".skops"):  # a zip would not fit any more
            data = with_marker(data, marker)
        folder = support.write_model(tmp_path / "model", data, inputs=TENSOR, file_name=file_name)
        ended = support.refused(folder)
        assert not marker.exists(), "the payload ran"
        return ended

    return run


@pytest.fixture(scope="session")
def python_worker(tmp_path_factory):
    """The data folder with the environment of all Python models, these models, and what the first of them predicted."""
    root = tmp_path_factory.mktemp("python")
    models = python_models.make_models(root)
    data = root / "data"
    return data, models, python_models.environment(data, models["double"])
