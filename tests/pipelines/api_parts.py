"""What the tests of the API share: small pipelines, names of their own, filters, errors."""

import json
import secrets

import pytest
from kfp import compiler, dsl
from kfp_server_api import ApiException

from pipelines.steps import say


@dsl.pipeline(name="greeting")
def greeting(text: str = "hello"):
    say(text=text)


@dsl.pipeline(name="demanding")
def demanding(text: str, times: int = 1):
    say(text=text)


def named(prefix):
    return f"{prefix}-{secrets.token_hex(4)}"


def where(key, operation, **value):
    """A filter of one predicate, as text."""
    return json.dumps({"predicates": [{"operation": operation, "key": key, **value}]})


def refused(status, call, *args, **kwargs):
    """The body of the error with which the call is refused."""
    with pytest.raises(ApiException) as caught:
        call(*args, **kwargs)
    assert caught.value.status == status, caught.value.body
    return json.loads(caught.value.body)


@pytest.fixture
def experiment(kfp_client):
    return kfp_client.create_experiment(named("exp"), description="of a test")


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The greeting, compiled."""
    path = tmp_path_factory.mktemp("package") / "pipeline.yaml"
    compiler.Compiler().compile(greeting, str(path))
    return path


@pytest.fixture
def pipeline(kfp_client, package):
    return kfp_client.upload_pipeline(str(package), pipeline_name=named("greeting"))


def only_version(kfp_client, pipeline):
    (version,) = kfp_client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    return version


def finished(kfp_client, run):
    """The run once it is over."""
    return kfp_client.wait_for_run_completion(run.run_id, timeout=60, sleep_duration=0.1)
