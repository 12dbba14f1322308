"""Every kind of storageUri, from where its model lies to a prediction through the InferenceService."""

import functools
import hashlib
import http.server
import shutil
import tarfile
import threading

import pytest
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401
from mlflow.tracking import MlflowClient

from . import support
from .isvc import Services, manifest, v2_request

pytestmark = [pytest.mark.pods, pytest.mark.controllers]


@pytest.fixture
def isvc(kubectl, millrace):  # noqa: F811
    return Services(kubectl, millrace.gateway_url)


@pytest.fixture
def logged(millrace, ns):  # noqa: F811
    """A run with the model among its artifacts, registered under the test's own name: (run's id, name)."""
    client = MlflowClient(millrace.tracking_url)
    run = client.create_run(client.create_experiment(f"sources-{ns}"))
    client.log_artifacts(run.info.run_id, str(support.churn_model()), "model")
    client.create_registered_model(f"model-{ns}")
    client.create_model_version(f"model-{ns}", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(f"model-{ns}", "champion", "1")
    client.set_terminated(run.info.run_id)
    return run.info, f"model-{ns}"


def predicts(isvc, name):
    isvc.ready(name)
    status, answer = isvc.post(f"/serving/{isvc.ns}/{name}/v2/models/{name}/infer", v2_request())
    assert status == 200, answer
    return answer["outputs"][0]["data"]


@pytest.mark.parametrize(
    "form", ["models:/{name}/1", "models:/{name}@champion", "runs:/{run}/model", "{artifacts}/model"]
)
def test_what_tracking_knows(isvc, logged, form):
    info, name = logged
    uri = form.format(name=name, run=info.run_id, artifacts=info.artifact_uri)
    isvc.apply(manifest("one", uri))
    assert predicts(isvc, "one") == [1]


def test_services_of_one_model_keep_it_once(isvc, millrace, ns):  # noqa: F811
    """Two names of the same artifacts: fetched once, on disk once."""
    content = f"a file of the model of {ns}".encode()
    client = MlflowClient(millrace.tracking_url)
    run = client.create_run(client.create_experiment(f"once-{ns}"))
    client.log_artifacts(run.info.run_id, str(support.churn_model()), "model")
    client.log_text(run.info.run_id, content.decode(), "model/notes.txt")
    client.create_registered_model(f"once-{ns}")
    client.create_model_version(f"once-{ns}", f"{run.info.artifact_uri}/model", run.info.run_id)
    isvc.apply(manifest("one", f"models:/once-{ns}/1"))
    assert predicts(isvc, "one") == [1]
    isvc.apply(manifest("two", f"runs:/{run.info.run_id}/model"))
    assert predicts(isvc, "two") == [1]
    digest = hashlib.sha256(content).hexdigest()
    blob = millrace.data_dir / "model-cache" / "blobs" / digest[:2] / digest
    assert blob.read_bytes() == content
    assert blob.stat().st_nlink == 2, "the blob and one tree"
    assert blob.stat().st_mode & 0o222 == 0


def test_a_folder_of_this_machine(isvc, tmp_path):
    shutil.copytree(support.churn_model(), tmp_path / "model")
    isvc.apply(manifest("one", f"file://{tmp_path}/model"))
    assert predicts(isvc, "one") == [1]


def test_a_claim(isvc, millrace):
    """pvc://CLAIM/PATH, filled as a user would: by kubectl cp into a pod that mounts it."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "filler"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox",
                    "command": ["sleep", "300"],
                    "volumeMounts": [{"name": "v", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "models"}}],
        },
    }
    isvc.apply(claim, pod)
    isvc.kubectl("wait", "--for=condition=Ready", "pod/filler", "--timeout=30s")
    isvc.kubectl("cp", str(support.churn_model()), "filler:/models/churn")
    isvc.apply(manifest("one", "pvc://models/churn"))
    assert predicts(isvc, "one") == [1]


def test_an_archive_by_http(isvc, tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(support.churn_model(), arcname=".")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        isvc.apply(manifest("one", f"http://127.0.0.1:{server.server_port}/model.tar.gz"))
        assert predicts(isvc, "one") == [1]
        server.shutdown()


def test_a_name_that_tracking_does_not_know(isvc):
    isvc.apply(manifest("one", "models:/nobody-of-this-name/1"))
    found = isvc.wait("one", lambda s: s.get("modelStatus", {}).get("lastFailureInfo"))
    assert "nobody-of-this-name" in found["status"]["modelStatus"]["lastFailureInfo"]["message"]
