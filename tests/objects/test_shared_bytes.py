"""Bytes are stored once: an MLflow artifact and the S3 object of the same path are one thing under two names."""

import os
import pathlib

import harness
import pytest
import requests

from . import checksums
from .conftest import new_client

BUCKET = harness.ARTIFACT_BUCKET


@pytest.fixture(scope="module")
def platform(millrace, tmp_path_factory):
    """Tracking and objects of one process; the session's, or one of our own when that has only one of them."""
    if millrace.tracking_url and millrace.s3_url:
        yield millrace
        return
    with harness.launch_platform(tmp_path_factory.mktemp("shared")) as own:
        yield own


@pytest.fixture(scope="module")
def objects(platform):
    return new_client(platform.s3_url)


@pytest.fixture(scope="module")
def mlflow_client(platform):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        from mlflow import MlflowClient

        yield MlflowClient(platform.tracking_url)


@pytest.fixture
def run(mlflow_client):
    """A run in an experiment of its own, and the S3 prefix at which its artifacts must stand."""
    experiment = mlflow_client.create_experiment(f"shared-{os.urandom(4).hex()}")
    made = mlflow_client.create_run(experiment)
    uri = f"mlflow-artifacts:/{experiment}/{made.info.run_id}/artifacts"
    assert made.info.artifact_uri == uri
    made.prefix = f"{experiment}/{made.info.run_id}/artifacts"
    return made


def proxied(platform, run, name):
    return f"{platform.tracking_url}/api/2.0/mlflow-artifacts/artifacts/{run.prefix}/{name}"


def test_a_logged_artifact_is_an_object(mlflow_client, objects, run, tmp_path):
    body = os.urandom(50_000)
    (tmp_path / "data.bin").write_bytes(body)
    mlflow_client.log_artifact(run.info.run_id, tmp_path / "data.bin", "deep/er")
    got = objects.get_object(Bucket=BUCKET, Key=f"{run.prefix}/deep/er/data.bin")
    assert got["Body"].read() == body
    assert got["ETag"] == checksums.etag(body)
    keys = [o["Key"] for o in objects.list_objects_v2(Bucket=BUCKET, Prefix=run.prefix)["Contents"]]
    assert keys == [f"{run.prefix}/deep/er/data.bin"]
    # The checksum that S3 clients ask for is there too, whichever door the bytes came through.
    head = objects.head_object(Bucket=BUCKET, Key=keys[0], ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == checksums.of("CRC64NVME", body)


def test_an_object_is_an_artifact(mlflow_client, objects, run, tmp_path):
    body = os.urandom(50_000)
    objects.put_object(Bucket=BUCKET, Key=f"{run.prefix}/model/weights.bin", Body=body)
    top = mlflow_client.list_artifacts(run.info.run_id)
    assert [(f.path, f.is_dir) for f in top] == [("model", True)]
    below = mlflow_client.list_artifacts(run.info.run_id, "model")
    assert [(f.path, f.is_dir, f.file_size) for f in below] == [("model/weights.bin", False, len(body))]
    local = mlflow_client.download_artifacts(run.info.run_id, "model", tmp_path)
    assert (pathlib.Path(local) / "weights.bin").read_bytes() == body


def test_the_default_experiment(mlflow_client, objects):
    run = mlflow_client.create_run("0")
    mlflow_client.log_text(run.info.run_id, "hello", "note.txt")
    got = objects.get_object(Bucket=BUCKET, Key=f"0/{run.info.run_id}/artifacts/note.txt")
    assert got["Body"].read() == b"hello"


def test_overwriting_through_either_door(platform, mlflow_client, objects, run):
    key = f"{run.prefix}/note.txt"
    mlflow_client.log_text(run.info.run_id, "by mlflow", "note.txt")
    objects.put_object(Bucket=BUCKET, Key=key, Body=b"by boto3, and longer")
    answer = requests.get(proxied(platform, run, "note.txt"), timeout=10)
    assert answer.content == b"by boto3, and longer"
    mlflow_client.log_text(run.info.run_id, "again", "note.txt")
    assert objects.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"again"
    assert objects.list_objects_v2(Bucket=BUCKET, Prefix=run.prefix)["KeyCount"] == 1


def test_deleting_through_either_door(platform, mlflow_client, objects, run, refused):
    for name in ("one.txt", "two.txt"):
        mlflow_client.log_text(run.info.run_id, name, name)
    objects.delete_object(Bucket=BUCKET, Key=f"{run.prefix}/one.txt")
    assert [f.path for f in mlflow_client.list_artifacts(run.info.run_id)] == ["two.txt"]
    assert requests.get(proxied(platform, run, "one.txt"), timeout=10).status_code == 404
    assert requests.delete(proxied(platform, run, "two.txt"), timeout=10).status_code in (200, 204)
    with refused(404, "NoSuchKey"):
        objects.get_object(Bucket=BUCKET, Key=f"{run.prefix}/two.txt")
    assert mlflow_client.list_artifacts(run.info.run_id) == []


@pytest.mark.parametrize(
    "name",
    [
        "with space.txt",
        "plus+sign.txt",
        "ü/日本.bin",
        "x=1&y=2.txt",
        "dir/.hidden",
        "semi;colon.txt",
        "quote'\".txt",
    ],
)
def test_names_are_the_same_through_both_doors(mlflow_client, objects, run, tmp_path, name):
    key = f"{run.prefix}/{name}"
    objects.put_object(Bucket=BUCKET, Key=key, Body=name.encode())
    folder = name.rpartition("/")[0]
    found = [f.path for f in mlflow_client.list_artifacts(run.info.run_id, folder or None)]
    assert found == [name]
    local = mlflow_client.download_artifacts(run.info.run_id, name, tmp_path)
    assert pathlib.Path(local).read_bytes() == name.encode()
    objects.delete_object(Bucket=BUCKET, Key=key)

    (tmp_path / "up").mkdir()
    file = tmp_path / "up" / name.rpartition("/")[2]
    file.write_bytes(b"logged")
    mlflow_client.log_artifact(run.info.run_id, file, folder or None)
    assert objects.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"logged"


def test_a_percent_sign_is_part_of_the_name(platform, objects, run):
    # Without the client here: it decodes the names in a listing once more.
    listing = f"{platform.tracking_url}/api/2.0/mlflow-artifacts/artifacts"
    objects.put_object(Bucket=BUCKET, Key=f"{run.prefix}/a%20b.txt", Body=b"percent")
    names = [f["path"] for f in requests.get(listing, params={"path": run.prefix}, timeout=10).json()["files"]]
    assert names == ["a%20b.txt"]
    assert requests.get(proxied(platform, run, "a%2520b.txt"), timeout=10).content == b"percent"
    assert requests.put(proxied(platform, run, "c%2520d.txt"), data=b"put", timeout=10).status_code == 200
    assert objects.get_object(Bucket=BUCKET, Key=f"{run.prefix}/c%20d.txt")["Body"].read() == b"put"


def test_a_folder_logged_at_once(mlflow_client, objects, run, tmp_path):
    files = {"a.txt": b"1", "sub/b.bin": os.urandom(1000), "sub/deeper/empty": b""}
    for name, body in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(body)
    mlflow_client.log_artifacts(run.info.run_id, tmp_path / "in", "tree")
    for name, body in files.items():
        got = objects.get_object(Bucket=BUCKET, Key=f"{run.prefix}/tree/{name}")["Body"].read()
        assert got == body, name


def test_a_multipart_object_is_an_artifact(mlflow_client, objects, run, tmp_path):
    import io

    body = os.urandom(9 * 2**20)
    objects.upload_fileobj(io.BytesIO(body), BUCKET, f"{run.prefix}/large.bin")
    assert [(f.path, f.file_size) for f in mlflow_client.list_artifacts(run.info.run_id)] == [("large.bin", len(body))]
    local = mlflow_client.download_artifacts(run.info.run_id, "large.bin", tmp_path)
    assert pathlib.Path(local).read_bytes() == body


def test_a_multipart_artifact_is_an_object(platform, mlflow_client, objects, run, tmp_path, monkeypatch):
    # The client asks the server for addresses of parts, and sends the parts there.
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 * 2**20))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * 2**20))
    body = os.urandom(11 * 2**20)
    (tmp_path / "large.bin").write_bytes(body)
    mlflow_client.log_artifact(run.info.run_id, tmp_path / "large.bin")
    got = objects.get_object(Bucket=BUCKET, Key=f"{run.prefix}/large.bin")
    assert got["Body"].read() == body
    assert "Uploads" not in objects.list_multipart_uploads(Bucket=BUCKET, Prefix=run.prefix)


def test_ranges_of_an_artifact(platform, objects, run):
    objects.put_object(Bucket=BUCKET, Key=f"{run.prefix}/page.html", Body=b"<html>0123456789</html>")
    answer = requests.get(proxied(platform, run, "page.html"), headers={"Range": "bytes=6-8"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, b"012")
    assert answer.headers["Content-Range"] == "bytes 6-8/23"


def test_an_unfinished_upload_is_no_artifact(mlflow_client, objects, run):
    key = f"{run.prefix}/part.bin"
    upload = objects.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    objects.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    assert mlflow_client.list_artifacts(run.info.run_id) == []
    objects.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)


def test_bytes_are_stored_once(platform, mlflow_client, objects, run, tmp_path):
    size = 16 * 2**20

    def used():
        return sum(f.stat().st_size for f in pathlib.Path(platform.data_dir).rglob("*") if f.is_file())

    before = used()
    (tmp_path / "big.bin").write_bytes(os.urandom(size))
    mlflow_client.log_artifact(run.info.run_id, tmp_path / "big.bin")
    head = objects.head_object(Bucket=BUCKET, Key=f"{run.prefix}/big.bin")
    assert head["ContentLength"] == size
    assert size <= used() - before < size + 2**20


def test_other_buckets_are_no_artifacts(platform, mlflow_client, objects, run):
    name = f"other-{os.urandom(4).hex()}"
    objects.create_bucket(Bucket=name)
    objects.put_object(Bucket=name, Key=f"{run.prefix}/x", Body=b"elsewhere")
    assert mlflow_client.list_artifacts(run.info.run_id) == []
    assert requests.get(proxied(platform, run, "x"), timeout=10).status_code == 404


def test_mlflow_with_an_s3_root(platform, objects, mlflow_client, tmp_path, monkeypatch):
    # The other way to use it: the client writes to S3 by itself and only tells the server where.
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", platform.s3_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", harness.S3_ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", harness.S3_SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    root = f"s3://{BUCKET}/direct/{os.urandom(4).hex()}"
    experiment = mlflow_client.create_experiment(f"direct-{os.urandom(4).hex()}", artifact_location=root)
    run = mlflow_client.create_run(experiment)
    mlflow_client.log_text(run.info.run_id, "direct", "sub/note.txt")
    assert [f.path for f in mlflow_client.list_artifacts(run.info.run_id, "sub")] == ["sub/note.txt"]
    local = mlflow_client.download_artifacts(run.info.run_id, "sub/note.txt", tmp_path)
    assert pathlib.Path(local).read_text() == "direct"
    key = f"{root.partition(BUCKET + '/')[2]}/{run.info.run_id}/artifacts/sub/note.txt"
    assert objects.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"direct"
