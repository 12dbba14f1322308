"""Where a model may come from: folders, the registry, runs, the object store; served alone and inside `millrace up`."""

import os
import types
import uuid

import harness
import pytest

from . import support

ROWS = [[0.5, -1.25, 3.0, 0.0625], [1.0, 2.0, -3.0, 4.0]]
INPUTS = [{"name": "x", "datatype": "FP64", "shape": [2, 4], "data": [v for row in ROWS for v in row]}]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": harness.S3_ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": harness.S3_SECRET_KEY}


def fitted(sign):
    """Two models that answer every row differently, so that the right version can be told from the wrong one."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    X = np.random.RandomState(3).randn(30, 4)
    return LinearRegression().fit(X, sign * (X @ [1.0, 2.0, 3.0, 4.0] + 10))


def s3_client(platform):
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=platform.s3_url,
        region_name="us-east-1",
        aws_access_key_id=harness.S3_ACCESS_KEY,
        aws_secret_access_key=harness.S3_SECRET_KEY,
    )


def put_folder(platform, folder, bucket, prefix):
    client = s3_client(platform)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())


def predicts(server, name, model):
    status, _, body = server.infer(name, INPUTS)
    assert status == 200, body
    data = support.only_output(body)["data"]
    assert data == pytest.approx(model.predict(ROWS).tolist(), abs=1e-12)
    return body


@pytest.fixture(scope="module")
def logged(millrace, tmp_path_factory):
    """Two versions of a registered model, logged by the real client, and older forms of the same."""
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    import mlflow

    name = f"uris-{uuid.uuid4().hex[:8]}"
    mlflow.set_tracking_uri(millrace.tracking_url)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment(name)
    models = {"1": fitted(1.0), "2": fitted(-1.0)}
    for model in models.values():
        with mlflow.start_run(experiment_id=experiment) as run:
            mlflow.sklearn.log_model(
                model,
                name="model",
                registered_model_name=name,
                signature=mlflow.models.infer_signature(_frame(), model.predict(ROWS)),
                pip_requirements=["scikit-learn"],
                await_registration_for=0,
            )
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "Challenger", "2")

    # As MLflow 2 left them: model files among the artifacts of a run, and a version whose source is that place.
    folder = support.write_model(
        tmp_path_factory.mktemp("old") / "model", _pickled(models["1"]), inputs=support.tensor("float64", [-1, 4])
    )
    old_run = client.create_run(experiment)
    client.log_artifacts(old_run.info.run_id, str(folder), "deep/model")
    version = client.create_model_version(name, f"{old_run.info.artifact_uri}/deep/model", old_run.info.run_id)
    return types.SimpleNamespace(
        name=name,
        models=models,
        last_run=run.info.run_id,
        old_run=old_run.info.run_id,
        old_version=version.version,
        artifact_uri=old_run.info.artifact_uri,
        folder=folder,
    )


def _frame():
    import numpy as np

    return np.array(ROWS)


def _pickled(model):
    import pickle

    return pickle.dumps(model, protocol=4)


def serve_from(millrace, uri, **env):
    return support.serve(
        {"m": uri},
        "--tracking-uri",
        millrace.tracking_url,
        "--s3-endpoint",
        millrace.s3_url,
        env={**CREDENTIALS, **env},
    )


# ---- alone, against a running platform ----


def test_version(millrace, logged):
    for version in ("1", "2"):
        with serve_from(millrace, f"models:/{logged.name}/{version}") as server:
            predicts(server, "m", logged.models[version])


def test_alias(millrace, logged):
    for alias, version in (("champion", "1"), ("Challenger", "2")):
        with serve_from(millrace, f"models:/{logged.name}@{alias}") as server:
            predicts(server, "m", logged.models[version])


def test_version_of_mlflow_2(millrace, logged):
    with serve_from(millrace, f"models:/{logged.name}/{logged.old_version}") as server:
        predicts(server, "m", logged.models["1"])


def test_run_with_a_logged_model(millrace, logged):
    """MLflow 3 keeps the model beside the run, not among its artifacts: the name leads to it."""
    with serve_from(millrace, f"runs:/{logged.last_run}/model") as server:
        predicts(server, "m", logged.models["2"])


def test_run_with_artifacts(millrace, logged):
    for slash in ("", "/"):
        with serve_from(millrace, f"runs:/{logged.old_run}/deep/model{slash}") as server:
            predicts(server, "m", logged.models["1"])


@pytest.mark.parametrize("slash", ["", "/"])
def test_object_store(millrace, logged, slash):
    bucket, prefix = f"models-{uuid.uuid4().hex[:8]}", "team a/größe/model"
    s3_client(millrace).create_bucket(Bucket=bucket)
    put_folder(millrace, logged.folder, bucket, prefix)
    # A neighbour whose key begins the same way is another folder.
    s3_client(millrace).put_object(Bucket=bucket, Key=prefix + "-old/MLmodel", Body=b"not a model")
    with serve_from(millrace, f"s3://{bucket}/{prefix}{slash}") as server:
        predicts(server, "m", logged.models["1"])


def test_what_was_fetched_stays_on_the_machine(millrace, logged, tmp_path):
    """Another program with the same cache finds the model there, until the bucket has another one."""
    bucket = f"models-{uuid.uuid4().hex[:8]}"
    client = s3_client(millrace)
    client.create_bucket(Bucket=bucket)
    put_folder(millrace, logged.folder, bucket, "m")
    file = next(p for p in logged.folder.iterdir() if p.suffix in (".pkl", ".skops"))

    def answers(model, hits, misses):
        with support.serve(
            {"m": f"s3://{bucket}/m"},
            "--model-cache-dir",
            tmp_path / "cache",
            "--s3-endpoint",
            millrace.s3_url,
            env=CREDENTIALS,
        ) as server:
            predicts(server, "m", model)
            said = metrics(server)
        assert said.get("millrace_model_cache_hits_total", 0) == hits
        assert said.get("millrace_model_cache_misses_total", 0) == misses

    first = logged.models["1"]
    answers(first, 0, 1)
    answers(first, 1, 0)
    client.put_object(Bucket=bucket, Key=f"m/{file.name}", Body=_pickled(logged.models["2"]))
    answers(logged.models["2"], 0, 1)
    blobs = [p for p in (tmp_path / "cache" / "blobs").rglob("*") if p.is_file()]
    assert len(blobs) == len([p for p in logged.folder.rglob("*") if p.is_file()]) + 1, "MLmodel is there once"
    # A damaged file is not served.
    for blob in blobs:
        blob.chmod(0o644)
        blob.write_bytes(b"not this")
    answers(logged.models["2"], 0, 1)


def test_a_local_model_needs_no_place_to_write(logged):
    with support.serve({"m": logged.folder}, "--data", "/proc/nowhere") as server:
        predicts(server, "m", logged.models["1"])


def metrics(server):
    text = server.call("GET", "/metrics")[2]
    text = text.decode() if isinstance(text, bytes) else text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("millrace_model")]
    return {name: float(value) for name, value in lines}


def test_artifacts_by_their_s3_name(millrace, logged):
    """mlflow-artifacts:/X and s3://mlflow-artifacts/X are the same bytes: the address of the seed's manifest works."""
    path = logged.artifact_uri.split(":", 1)[1].lstrip("/")
    if logged.artifact_uri.startswith("s3://"):
        path = path.split("/", 1)[1]
    with serve_from(millrace, f"s3://{harness.ARTIFACT_BUCKET}/{path}/deep/model/") as server:
        predicts(server, "m", logged.models["1"])


def test_several_sources_at_once(millrace, logged):
    models = {
        "a": f"models:/{logged.name}/1",
        "b": f"models:/{logged.name}@Challenger",
        "c": f"runs:/{logged.old_run}/deep/model",
        "d": logged.folder,
    }
    with support.serve(
        models, "--tracking-uri", millrace.tracking_url, "--s3-endpoint", millrace.s3_url, env=CREDENTIALS
    ) as server:
        for name, version in zip("abcd", "1211", strict=True):
            predicts(server, name, logged.models[version])


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("models:/{name}/99", "99"),
        ("models:/{name}@nobody", "nobody"),
        ("models:/no-such-model/1", "no-such-model"),
        ("runs:/ffffffffffffffffffffffffffffffff/model", "ffffffffffffffffffffffffffffffff"),
        ("runs:/{old_run}/nothing/here", "nothing/here"),
        ("s3://mlflow-artifacts/nothing/here/", "nothing/here"),
        ("s3://no-such-bucket-here/model/", "no-such-bucket-here"),
    ],
)
def test_sources_that_are_not_there(millrace, logged, uri, says):
    uri = uri.format(**vars(logged))
    ended = support.run_to_end(
        "serve",
        "--model",
        uri,
        "--name",
        "m",
        "--port",
        harness.free_port(),
        "--tracking-uri",
        millrace.tracking_url,
        "--s3-endpoint",
        millrace.s3_url,
        env=CREDENTIALS,
    )
    assert ended.code == 1, ended
    assert says in ended.text


def test_wrong_keys_of_the_object_store(millrace, logged):
    ended = support.run_to_end(
        "serve",
        "--model",
        "s3://mlflow-artifacts/x/",
        "--name",
        "m",
        "--port",
        harness.free_port(),
        "--s3-endpoint",
        millrace.s3_url,
        env={"AWS_ACCESS_KEY_ID": "minio", "AWS_SECRET_ACCESS_KEY": "wrong-secret-1"},
    )
    assert ended.code == 1, ended
    assert "wrong-secret-1" not in ended.text


def test_a_served_model_outlives_its_source(millrace, logged, tmp_path):
    """What was loaded is served on, whatever happens to the place it came from."""
    bucket = f"gone-{uuid.uuid4().hex[:8]}"
    client = s3_client(millrace)
    client.create_bucket(Bucket=bucket)
    put_folder(millrace, logged.folder, bucket, "m")
    with serve_from(millrace, f"s3://{bucket}/m/") as server:
        for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
            client.delete_object(Bucket=bucket, Key=item["Key"])
        predicts(server, "m", logged.models["1"])


# ---- inside `millrace up` ----


def test_inside_the_platform(tmp_path):
    """A first run of the platform stores models, a second one serves them from its own registry and store."""
    import mlflow

    model = fitted(1.0)
    folder = support.write_model(tmp_path / "local", _pickled(model), inputs=support.tensor("float64", [-1, 4]))
    with harness.launch_platform(tmp_path / "data") as platform:
        put_folder(platform, folder, harness.ARTIFACT_BUCKET, "hand/model")
        client = mlflow.MlflowClient(platform.tracking_url, platform.tracking_url)
        client.create_registered_model("inside")
        client.create_model_version("inside", f"s3://{harness.ARTIFACT_BUCKET}/hand/model")
        client.set_registered_model_alias("inside", "champion", "1")
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(folder), "model")
        # Nothing is served yet.
        server = support.Server(platform.gateway_url, platform.proc)
        assert server.infer("a", INPUTS)[0] == 404
        server.close()
    uris = {
        "a": "models:/inside/1",
        "b": "models:/inside@champion",
        "c": f"runs:/{run.info.run_id}/model",
        "d": f"s3://{harness.ARTIFACT_BUCKET}/hand/model/",
        "e": folder,
        "bankchurn-model": support.churn_model(),
    }
    args = [part for name, uri in uris.items() for part in ("--model", uri, "--name", name)]
    with harness.launch_platform(tmp_path / "data", *args) as platform:
        server = support.Server(platform.gateway_url, platform.proc)
        for name in "abcde":
            predicts(server, name, model)
            assert server.call("GET", f"/v2/models/{name}/ready")[0] == 200
        body = server.infer("bankchurn-model", support.churn_inputs())[2]
        assert support.only_output(body)["data"] == [1]
        assert server.infer("nope", INPUTS)[0] == 404
        server.close()
        assert platform.proc.terminate() == 0


def test_inside_the_platform_a_bad_model_stops_the_start(tmp_path):
    bad = support.write_model(
        tmp_path / "bad", b"\x80\x04cposix\nsystem\nVtouch pwned\n\x85R.", inputs=support.tensor("float64", [-1, 4])
    )
    with pytest.raises(harness.StartFailed) as failure:
        with harness.launch_platform(tmp_path / "data", "--model", bad, "--name", "bad"):
            pass
    assert "exit code: 1" in str(failure.value)
    assert "posix.system" in str(failure.value)
