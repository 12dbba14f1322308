"""An InferenceService whose model only Python can serve: it becomes ready, answers, and its log has the model's words."""

import time

import pytest
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401

from .isvc import Services, manifest
from .python_models import text_input

pytestmark = [pytest.mark.pods, pytest.mark.controllers]


@pytest.fixture
def isvc(kubectl, millrace, python_worker):  # noqa: F811
    # The environment that the other tests have made, so that this one need not make it again.
    environments = millrace.data_dir / "model-envs"
    if not environments.exists():
        environments.symlink_to(python_worker[0] / "model-envs")
    return Services(kubectl, millrace.gateway_url)


def test_a_python_model_as_an_inference_service(isvc, python_worker):
    model = python_worker[1]["answers"]
    isvc.apply(manifest("answers", f"file://{model}", resources={"limits": {"memory": "1536Mi"}}))
    isvc.wait("answers", ready, timeout=120)
    host = f"answers-{isvc.ns}.example.com"
    status, body = isvc.post("/v2/models/answers/infer", {"inputs": [text_input("table")]}, host=host)
    assert status == 200, body
    assert [o["name"] for o in body["outputs"]] == ["n", "x", "t", "b"]
    status, body = isvc.post("/v2/models/answers/infer", {"inputs": [text_input("raise")]}, host=host)
    assert status == 500 and "ZeroDivisionError" in body["error"]
    log = logs(isvc, "ZeroDivisionError")
    assert "no native engine serves it" in log and "worker 1 is ready" in log


def test_native_alone_is_refused_with_the_reason(isvc, python_worker):
    model = python_worker[1]["answers"]
    env = [{"name": "MILLRACE_ENGINE", "value": "native"}]
    isvc.apply(manifest("native", f"file://{model}", env=env))
    found = isvc.wait("native", lambda s: s.get("modelStatus", {}).get("lastFailureInfo"), timeout=60)
    assert "mlflow.pyfunc.model" in str(found["status"]["modelStatus"]["lastFailureInfo"])


def ready(status):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def logs(isvc, word):
    deadline = time.monotonic() + 60
    while True:
        text = isvc.kubectl("logs", "-l", "serving.kserve.io/inferenceservice=answers", "--tail=-1")
        if word in text:
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
