"""Fixtures of the tracking tests."""

import pytest

from .api import Api


@pytest.fixture(scope="session")
def api(millrace):
    return Api(millrace.tracking_url)


@pytest.fixture
def experiment(api):
    """Id of an experiment of this test alone."""
    return api.new_experiment()


@pytest.fixture
def run(api, experiment):
    """Id of a run of this test alone."""
    return api.new_run(experiment)


@pytest.fixture
def model(api):
    """Name of a registered model of this test alone."""
    return api.new_model()


@pytest.fixture(scope="session")
def mlflow(millrace):
    """The real Python client, pointed at the server under test."""
    patch = pytest.MonkeyPatch()
    # A refused request must fail the test at once instead of after minutes of retries.
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    patch.setenv("MLFLOW_TRACKING_URI", millrace.tracking_url)
    # Imported late: it takes seconds, which runs of the REST tests alone should not pay.
    import mlflow

    mlflow.set_tracking_uri(millrace.tracking_url)
    mlflow.set_registry_uri(millrace.tracking_url)
    yield mlflow
    patch.undo()


@pytest.fixture
def client(mlflow, millrace):
    return mlflow.MlflowClient(millrace.tracking_url)
