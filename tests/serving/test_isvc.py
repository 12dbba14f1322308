"""InferenceServices with the real kubectl: what the seed document does, revisions and canaries, failures."""

import base64
import io
import json
import shutil
import tarfile
import urllib.request

import boto3
import numpy as np
import pytest
import tritonclient.grpc as triton
from kube.conftest import api, kubeconfig, kubectl, kubectl_program, ns, tool_home  # noqa: F401
from tritonclient.utils import InferenceServerException

from . import support
from .isvc import Services, condition, manifest, traffic, v2_request

pytestmark = [pytest.mark.pods, pytest.mark.controllers]


@pytest.fixture
def isvc(kubectl, millrace):  # noqa: F811
    return Services(kubectl, millrace.gateway_url)


@pytest.fixture
def s3(millrace):
    return boto3.client(
        "s3", endpoint_url=millrace.s3_url, aws_access_key_id="minio", aws_secret_access_key="minio123",
        region_name="us-east-1",
    )  # fmt: skip


def upload(s3, folder, prefix, bucket="mlflow-artifacts"):
    for path in folder.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")


def secret(name, **keys):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "annotations": {
                "serving.kserve.io/s3-endpoint": "minio-service.kubeflow.svc.cluster.local:9000",
                "serving.kserve.io/s3-usehttps": "0",
                "serving.kserve.io/s3-useanoncredential": "false",
            },
        },
        "type": "Opaque",
        "stringData": {
            "AWS_ACCESS_KEY_ID": "minio",
            "AWS_SECRET_ACCESS_KEY": "minio123",
            **keys,
        },
    }


def account(name, of):
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name},
        "secrets": [{"name": of}],
    }


def from_bucket(isvc, s3, name, **keys):
    """The seed's three manifests, the model at a path of its own."""
    prefix = f"1/{isvc.ns}/artifacts/model"
    upload(s3, support.churn_model(), prefix)
    isvc.apply(
        secret("keys", **keys),
        account("sa", "keys"),
        manifest(
            name,
            f"s3://mlflow-artifacts/{prefix}/",
            predictor={"serviceAccountName": "sa"},
        ),
    )


def test_the_seeds_service_is_ready_and_answers_on_its_private_port(isvc, s3):
    from_bucket(isvc, s3, "bankchurn-model")
    found = isvc.ready("bankchurn-model")
    status = found["status"]
    assert status["url"] == f"http://bankchurn-model-{isvc.ns}.example.com"
    assert status["address"]["url"] == f"http://bankchurn-model.{isvc.ns}.svc.cluster.local"
    assert [c["type"] for c in status["conditions"]] == sorted(c["type"] for c in status["conditions"])
    assert status["components"]["predictor"]["latestReadyRevision"] == "bankchurn-model-predictor-00001"
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "Loaded",
    }
    assert status["clusterServingRuntimeName"] == "kserve-mlserver"
    assert status["observedGeneration"] == found["metadata"]["generation"]
    row = isvc.kubectl("get", "inferenceservice").splitlines()
    assert row[0].split() == ["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION",
                              "LATESTREADYREVISION", "AGE"]  # fmt: skip
    assert row[1].split()[:5] == [
        "bankchurn-model",
        status["url"],
        "True",
        "100",
        "bankchurn-model-predictor-00001",
    ]
    with isvc.forward("svc/bankchurn-model-predictor-00001-private", 8012) as url:
        rq = urllib.request.Request(
            url + "/v2/models/bankchurn-model/infer",
            data=json.dumps(v2_request()).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(rq, timeout=20) as answer:
            got = json.load(answer)
    expected = json.loads(
        (support.harness.shared_dir() / "data/seed-manifests/13-infer-expected-response.json").read_text()
    )
    assert {**got, "id": ""} == {**expected, "id": ""}
    log = isvc.kubectl("logs", "-l", "serving.kserve.io/inferenceservice=bankchurn-model")
    assert "Loaded model 'bankchurn-model' successfully" in log
    assert "POST /v2/models/bankchurn-model/infer" in log
    assert "minio123" not in log


def test_host_and_path_at_the_gateway_and_v1(isvc):
    isvc.apply(manifest("churn", support.churn_model(), protocolVersion="v1"))
    found = isvc.ready("churn")
    assert found["status"]["clusterServingRuntimeName"] == "millrace-mlflow"
    host = found["status"]["url"].removeprefix("http://")
    status, got = isvc.post("/v2/models/churn/infer", v2_request(), host)
    assert (status, got["outputs"][0]["data"]) == (200, [1])
    status, got = isvc.post(f"/serving/{isvc.ns}/churn/v2/models/churn/infer", v2_request())
    assert (status, got["outputs"][0]["data"]) == (200, [1])
    row = list(support.CHURN.values())
    assert isvc.post("/v1/models/churn:predict", {"instances": [row, row]}, host) == (
        200,
        {"predictions": [1, 1]},
    )
    assert isvc.post("/v1/models/churn:predict", {"instances": [support.CHURN]}, host) == (200, {"predictions": [1]})
    status, got = isvc.post("/v1/models/churn:predict", {}, host)
    assert (status, list(got)) == (400, ["error"])
    status, got = isvc.post("/v1/models/nope:predict", {"instances": [row]}, host)
    assert (status, got) == (404, {"error": "Model with name nope does not exist."})


def test_grpc_of_a_predictor_and_of_the_platform(isvc, millrace):
    isvc.apply(manifest("churn", support.churn_model()))
    isvc.ready("churn")
    pods = json.loads(isvc.kubectl("get", "pods", "-l", "serving.kserve.io/inferenceservice=churn", "-o", "json"))
    inputs = []
    for name, value in support.CHURN.items():
        inputs.append(triton.InferInput(name, [1, 1], "FP64"))
        inputs[-1].set_data_from_numpy(np.array([[value]], dtype=np.float64))
    with triton.InferenceServerClient(f"{pods['items'][0]['status']['podIP']}:8081") as client:
        assert client.is_model_ready("churn")
        assert client.infer("churn", inputs).as_numpy("output-1").tolist() == [[1]]
    # By its host at the gateway, and by its names inside at the port that its Services have for it.
    gateway = isvc.gateway.removeprefix("http://")
    ip = isvc.kubectl("get", "service", "churn-predictor", "-o", "jsonpath={.spec.clusterIP}")
    for address, host in ((gateway, f"churn-{isvc.ns}.example.com"), (f"{ip}:8081", "churn")):
        with triton.InferenceServerClient(address, channel_args=[("grpc.default_authority", host)]) as client:
            assert client.is_server_ready() and client.is_model_ready("churn")
            assert client.infer("churn", inputs).as_numpy("output-1").tolist() == [[1]]
            with pytest.raises(InferenceServerException) as refused:
                client.infer("nope", inputs)
            assert refused.value.status() == "StatusCode.NOT_FOUND"
    args = [("grpc.default_authority", f"churn.{isvc.ns}.svc.cluster.local")]
    with triton.InferenceServerClient(gateway, channel_args=args) as client:
        assert client.infer("churn", inputs, timeout=30).as_numpy("output-1").tolist() == [[1]]
    with triton.InferenceServerClient(f"127.0.0.1:{8001 + millrace.port_offset}") as client:
        assert client.is_server_live() and client.is_server_ready()


def test_canary_promotion_and_rollback(isvc, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(support.churn_model(), second)
    isvc.apply(manifest("m", support.churn_model()))
    isvc.ready("m")
    isvc.patch(
        "m",
        {
            "spec": {
                "predictor": {
                    "canaryTrafficPercent": 30,
                    "model": {"storageUri": str(second)},
                }
            }
        },
    )
    found = isvc.wait("m", lambda s: len(s["components"]["predictor"].get("traffic", [])) == 2)
    assert traffic(found) == {2: 30, 1: 70}
    assert found["status"]["components"]["predictor"]["traffic"][1]["tag"] == "prev"
    assert isvc.kubectl("get", "isvc", "m").splitlines()[1].split()[2:5] == [
        "True",
        "70",
        "30",
    ]
    host = found["status"]["url"].removeprefix("http://")
    for _ in range(20):
        assert isvc.post("/v2/models/m/infer", v2_request(), host)[0] == 200
    # The name inside the cluster shares by weight as well.
    ip = isvc.kubectl("get", "service", "m", "-o", "jsonpath={.spec.clusterIP}")
    for _ in range(40):
        assert (
            isvc.post("/v2/models/m/infer", v2_request(), f"m.{isvc.ns}.svc.cluster.local", base=f"http://{ip}")[0]
            == 200
        )
    for revision in ("m-predictor-00001", "m-predictor-00002"):
        assert "POST" in isvc.kubectl("logs", "-l", f"serving.knative.dev/revision={revision}")
    # Taking the share away promotes; the old revision keeps no pod.
    isvc.patch("m", {"spec": {"predictor": {"canaryTrafficPercent": None}}})
    found = isvc.wait(
        "m",
        lambda s: s["components"]["predictor"]["latestRolledoutRevision"].endswith("2"),
    )
    assert traffic(found) == {2: 100}
    isvc.kubectl(
        "wait",
        "deployment/m-predictor-00001-deployment",
        "--for=jsonpath={.spec.replicas}=0",
        "--timeout=30s",
    )
    # A share of nothing takes it back to the one before, which is started again first.
    isvc.patch("m", {"spec": {"predictor": {"canaryTrafficPercent": 0}}})
    found = isvc.wait("m", lambda s: len(s["components"]["predictor"]["traffic"]) == 2)
    assert traffic(found) == {2: 0, 1: 100}
    assert isvc.post("/v2/models/m/infer", v2_request(), host)[0] == 200


def test_a_revision_that_fails_leaves_the_service_ready(isvc, tmp_path):
    isvc.apply(manifest("m", support.churn_model()))
    isvc.ready("m")
    isvc.patch(
        "m",
        {"spec": {"predictor": {"model": {"storageUri": str(tmp_path / "missing")}}}},
    )
    found = isvc.wait("m", lambda s: s["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad")
    info = found["status"]["modelStatus"]["lastFailureInfo"]
    assert info["reason"] == "ModelLoadFailed"
    assert info["message"] == f"Local path {tmp_path / 'missing'} does not exist."
    assert info["exitCode"] == 1
    assert info["modelRevisionName"] == "m-predictor-00002"
    assert condition(found["status"], "Ready") == "True"
    assert traffic(found) == {1: 100}
    host = found["status"]["url"].removeprefix("http://")
    assert isvc.post("/v2/models/m/infer", v2_request(), host)[0] == 200


@pytest.mark.parametrize(
    ("model", "reason", "text"),
    [
        ({"runtime": "nope"}, "RuntimeNotRecognized", "Waiting for runtime to become available"),
        ({"modelFormat": {"name": "xgboost"}}, "NoSupportingRuntime", "xgboost"),
    ],
)
def test_specs_that_cannot_be_served_say_why(isvc, model, reason, text):
    isvc.apply(manifest("m", support.churn_model(), **model))
    found = isvc.wait("m", lambda s: s.get("modelStatus", {}).get("transitionStatus") == "InvalidSpec")
    info = found["status"]["modelStatus"]["lastFailureInfo"]
    assert info["reason"] == reason
    assert text in info["message"]
    assert condition(found["status"], "Ready") == "False"


def test_a_storage_that_is_not_known_is_refused_at_once(isvc):
    text = isvc.kubectl.fails("apply", "-f", "-", input=json.dumps(manifest("m", "ftp://x/y")))
    assert "StorageUri [ftp://x/y] is not supported" in text


def test_a_bucket_without_the_model_and_a_wrong_key(isvc, s3):
    isvc.apply(
        secret("keys"),
        account("sa", "keys"),
        manifest(
            "empty",
            "s3://mlflow-artifacts/9/none/model",
            predictor={"serviceAccountName": "sa"},
        ),
    )
    found = isvc.wait("empty", lambda s: "lastFailureInfo" in s.get("modelStatus", {}))
    assert found["status"]["modelStatus"]["lastFailureInfo"]["message"] == (
        "Failed to fetch model. No model found in 9/none/model."
    )
    from_bucket(isvc, s3, "locked", AWS_SECRET_ACCESS_KEY="wrong")
    found = isvc.wait("locked", lambda s: "lastFailureInfo" in s.get("modelStatus", {}))
    assert condition(found["status"], "Ready") == "False"


def test_models_over_http_old_forms_and_named_runtimes(isvc, tmp_path, s3):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(support.churn_model(), arcname=".")
    key = f"packed/{isvc.ns}.tar.gz"
    s3.put_object(Bucket="mlflow-artifacts", Key=key, Body=packed.getvalue())
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "mlflow-artifacts", "Key": key})
    isvc.apply(manifest("packed", url, runtime="kserve-mlserver"))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "model.skops").write_bytes((support.churn_model() / "model.skops").read_bytes())
    old = manifest("old", "")
    old["spec"] = {"predictor": {"sklearn": {"storageUri": f"file://{bare}"}}}
    isvc.apply(old)
    isvc.ready("packed")
    found = isvc.ready("old")
    assert found["status"]["clusterServingRuntimeName"] == "kserve-sklearnserver"
    host = found["status"]["url"].removeprefix("http://")
    rows = [list(support.CHURN.values())]
    assert isvc.post("/v1/models/old:predict", {"instances": rows}, host) == (
        200,
        {"predictions": [1]},
    )


def test_stop_and_delete(isvc):
    isvc.apply(manifest("m", support.churn_model()))
    isvc.ready("m")
    isvc.kubectl("annotate", "inferenceservice", "m", "serving.kserve.io/stop=true")
    found = isvc.wait("m", lambda s: condition(s, "Stopped") == "True")
    assert condition(found["status"], "Ready") == "False"
    isvc.kubectl("annotate", "inferenceservice", "m", "serving.kserve.io/stop-")
    isvc.ready("m")
    isvc.kubectl("delete", "inferenceservice", "m", "--timeout=30s")
    isvc.kubectl(
        "wait",
        "pod,svc,deployment",
        "-l",
        "serving.kserve.io/inferenceservice=m",
        "--for=delete",
        "--timeout=30s",
    )


def test_a_graph_of_two_models(isvc):
    isvc.apply(manifest("one", support.churn_model()), manifest("two", support.churn_model()))
    steps = [
        {"serviceName": "one", "name": "one"},
        {"serviceName": "two", "name": "two"},
    ]
    graph = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": "both"},
        "spec": {"nodes": {"root": {"routerType": "Ensemble", "steps": steps}}},
    }
    isvc.apply(graph)
    found = isvc.ready("both", kind="inferencegraph")
    host = found["status"]["url"].removeprefix("http://")
    assert host == f"both-{isvc.ns}.example.com"
    status, got = isvc.post("/", v2_request(), host)
    assert status == 200
    assert {k: v["outputs"][0]["data"] for k, v in got.items()} == {
        "one": [1],
        "two": [1],
    }
    graph["metadata"]["name"] = "broken"
    steps[0]["condition"] = "@reverse"
    isvc.apply(graph)
    found = isvc.wait("broken", lambda s: condition(s, "Ready") == "False", kind="inferencegraph")


TRANSFORMER = """
import argparse, http.server, json, urllib.request
p = argparse.ArgumentParser()
p.add_argument("--model_name"); p.add_argument("--predictor_host"); p.add_argument("--http_port", type=int)
a = p.parse_args()
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = f"http://{a.predictor_host}/v2/models/{a.model_name}/infer"
        rq = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(rq))
        answer["transformed"] = True
        out = json.dumps(answer).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(out))); self.end_headers(); self.wfile.write(out)
http.server.HTTPServer(("0.0.0.0", a.http_port), H).serve_forever()
"""


@pytest.mark.slow
def test_a_transformer_stands_before_its_predictor(isvc):
    code = base64.b64encode(TRANSFORMER.encode()).decode()
    m = manifest("m", support.churn_model())
    m["spec"]["transformer"] = {
        "containers": [
            {
                "name": "kserve-container",
                "image": "python:3.11-slim",
                "command": [
                    "python",
                    "-c",
                    f"import base64; exec(base64.b64decode('{code}'))",
                ],
            }
        ]
    }
    isvc.apply(m)
    found = isvc.wait("m", lambda s: condition(s, "Ready") == "True", timeout=60)
    assert condition(found["status"], "TransformerReady") == "True"
    host = found["status"]["url"].removeprefix("http://")
    status, got = isvc.post("/v2/models/m/infer", v2_request(), host)
    assert (status, got["transformed"], got["outputs"][0]["data"]) == (200, True, [1])
