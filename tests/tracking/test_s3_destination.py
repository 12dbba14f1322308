"""`millrace tracking` with its artifacts in another S3 server (here: another Millrace), through the proxy and past it."""

import contextlib
import os
import time
import types

import boto3
import harness
import pytest
import requests

from .api import PROXY, Api

pytestmark = pytest.mark.binary

MIB = 1 << 20
BUCKET = "elsewhere"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tracking server whose artifacts go to s3://elsewhere/root, and a client of that S3."""
    with contextlib.ExitStack() as stack:
        platform = stack.enter_context(harness.launch_platform(tmp_path_factory.mktemp("s3")))
        keys = {"aws_access_key_id": "minio", "aws_secret_access_key": "minio123", "region_name": "us-east-1"}
        s3 = boto3.client("s3", endpoint_url=platform.s3_url, **keys)
        s3.create_bucket(Bucket=BUCKET)
        env = {
            **os.environ,
            "MLFLOW_S3_ENDPOINT_URL": platform.s3_url,
            "AWS_ACCESS_KEY_ID": "minio",
            "AWS_SECRET_ACCESS_KEY": "minio123",
        }
        flags = ["--artifacts-destination", f"s3://{BUCKET}/root"]
        folder = tmp_path_factory.mktemp("tracking")
        server = stack.enter_context(harness.launch_tracking(folder, *flags, env=env))
        yield types.SimpleNamespace(api=Api(server.url), s3=s3, proc=server, folder=folder)


def uploads(place):
    return place.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def keys(place, prefix):
    found = place.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"root/{prefix}")
    return [o["Key"].removeprefix("root/") for o in found.get("Contents", [])]


@pytest.mark.parametrize("size", [0, 5, 8 * MIB, 20 * MIB + 3])
def test_bytes_go_there_and_come_back(place, size):
    url = f"{place.api.url}{PROXY}/sizes/{size}.bin"
    content = os.urandom(size)
    assert place.api.http.put(url, data=content).status_code == 200
    assert place.s3.get_object(Bucket=BUCKET, Key=f"root/sizes/{size}.bin")["Body"].read() == content
    got = place.api.http.get(url)
    assert (got.status_code, got.headers["Content-Length"]) == (200, str(size))
    assert got.content == content
    assert uploads(place) == []


def test_a_body_of_unknown_length(place):
    content = os.urandom(9 * MIB)
    url = f"{place.api.url}{PROXY}/chunked.bin"
    assert place.api.http.put(url, data=iter([content[: 5 * MIB], content[5 * MIB :]])).status_code == 200
    assert place.api.http.get(url).content == content


def test_ranges_and_conditions(place):
    url = f"{place.api.url}{PROXY}/ranged.bin"
    content = os.urandom(9 * MIB)
    place.api.http.put(url, data=content)
    part = place.api.http.get(url, headers={"Range": f"bytes={8 * MIB - 2}-{8 * MIB + 1}"})
    assert (part.status_code, part.content) == (206, content[8 * MIB - 2 : 8 * MIB + 2])
    again = place.api.http.get(url, headers={"If-None-Match": part.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert place.api.http.head(url).status_code in (200, 405)


def test_a_cut_upload_leaves_nothing(place):
    def pieces():
        yield os.urandom(10 * MIB)
        raise ConnectionError("the client goes away")

    def open_connections():
        text = place.api.http.get(f"{place.api.url}/metrics").text
        return sum(
            float(line.split()[-1]) for line in text.splitlines() if line.startswith("millrace_http_connections{")
        )

    before = open_connections()
    with pytest.raises(requests.exceptions.RequestException):
        place.api.http.put(f"{place.api.url}{PROXY}/cut.bin", data=pieces())
    # Right after the cut the upload may not even have begun: the server is done once the connection is gone.
    end = time.monotonic() + 20
    while open_connections() > before and time.monotonic() < end:
        time.sleep(0.05)
    assert uploads(place) == []
    assert keys(place, "cut.bin") == []


def test_nothing_is_spooled_and_memory_stays_flat(place):
    def resident():
        with open(f"/proc/{place.proc.pid}/status") as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM"))

    url = f"{place.api.url}{PROXY}/large.bin"
    block = os.urandom(MIB)
    before = resident()
    assert place.api.http.put(url, data=(block for _ in range(200))).status_code == 200
    with place.api.http.get(url, stream=True) as got:
        assert sum(len(piece) for piece in got.iter_content(MIB)) == 200 * MIB
    assert resident() - before < 100 * MIB
    assert not any(path.is_file() for path in (place.folder / "data" / "tmp").glob("*"))


def test_uploads_in_parts(place):
    info = place.api.http.get(place.api.url + "/api/3.0/mlflow/server-info").json()
    assert info["multipart_uploads_enabled"] and info["multipart_downloads_enabled"]
    base = f"{place.api.url}/api/2.0/mlflow-artifacts/mpu"
    begun = place.api.http.post(f"{base}/create/parts", json={"path": "big.bin", "num_parts": 2}).json()
    content = [os.urandom(5 * MIB), b"the end"]
    done = []
    for at, data in zip(begun["credentials"], content, strict=True):
        stored = requests.put(at["url"], data=data)
        assert stored.status_code == 200, stored.text
        done.append({"part_number": at["part_number"], "etag": stored.headers["ETag"], "url": at["url"]})
    assert keys(place, "parts/") == []
    ended = place.api.http.post(
        f"{base}/complete/parts", json={"path": "big.bin", "upload_id": begun["upload_id"], "parts": done}
    )
    assert (ended.status_code, ended.text) == (200, "{}")
    assert place.api.http.get(f"{place.api.url}{PROXY}/parts/big.bin").content == b"".join(content)
    begun = place.api.http.post(f"{base}/create/parts", json={"path": "gone.bin", "num_parts": 1}).json()
    ended = place.api.http.post(f"{base}/abort/parts", json={"path": "gone.bin", "upload_id": begun["upload_id"]})
    assert ended.status_code == 200 and uploads(place) == []


def test_presigned_downloads_of_the_proxy(place):
    url = f"{place.api.url}{PROXY}/signed/a b+é.txt"
    place.api.http.put(url, data=b"signed")
    answer = place.api.http.get(url.replace("mlflow-artifacts/artifacts/", "mlflow-artifacts/presigned/")).json()
    assert list(answer) == ["url", "headers", "file_size"] and answer["file_size"] == 6
    got = requests.get(answer["url"], headers=answer["headers"])
    assert got.content == b"signed"
    assert got.headers["Content-Disposition"].startswith("attachment; filename=")
    missing = place.api.http.get(f"{place.api.url}/api/2.0/mlflow-artifacts/presigned/signed/nope")
    assert missing.status_code == 404


def test_presigned_urls_of_runs(place):
    api = place.api
    proxied = api.new_run("0")
    for kind, text in (
        ("upload", "Presigned upload is not supported for proxied artifact storage (artifact URI scheme: "),
        (
            "download",
            "Presigned download is not supported for runs with proxied artifact storage (artifact URI scheme: ",
        ),
    ):
        answer = api.http.post(
            f"{api.url}/api/2.0/mlflow/artifacts/presigned-{kind}-url", json={"run_id": proxied, "path": "a"}
        )
        assert answer.status_code == 400 and answer.json()["message"].startswith(text), answer.text
    experiment = api.post("/experiments/create", name="direct", artifact_location=f"s3://{BUCKET}/direct")
    run = api.post("/runs/create", experiment_id=experiment["experiment_id"])["run"]["info"]["run_id"]
    up = api.post("/artifacts/presigned-upload-url", run_id=run, path="d/x.txt")
    assert list(up["headers"]) == ["Content-Type"]
    assert requests.put(up["presigned_url"], data=b"direct", headers=up["headers"]).status_code == 200
    down = api.post("/artifacts/presigned-download-url", run_id=run, path="d/x.txt", expiration=60)
    assert down["file_size"] == 6
    assert requests.get(down["presigned_url"]).content == b"direct"
    for wrong in (0, 604801):
        answer = api.http.post(
            f"{api.url}/api/2.0/mlflow/artifacts/presigned-download-url",
            json={"run_id": run, "path": "d/x.txt", "expiration": wrong},
        )
        assert answer.json()["message"] == f"expiration must be between 1 and 604800 seconds (got {wrong})."
    both = api.http.post(
        f"{api.url}/api/2.0/mlflow/artifacts/presigned-upload-url", json={"run_id": run, "model_id": "m", "path": "a"}
    )
    assert both.json()["message"] == "Exactly one of run_id and model_id must be provided."
