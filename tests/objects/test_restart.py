"""What was stored is there after a restart, and the well-known keys never leave the machine."""

import os

import harness
import pytest

from . import checksums
from .conftest import new_client

pytestmark = pytest.mark.binary

KEYS = ["plain", "a/b", "a//b", "a/../b", "ü/日本", "dir/", "x" * 1024]


def test_everything_survives_a_restart(tmp_path):
    large = os.urandom(6 * 2**20)
    with harness.launch_platform(tmp_path) as platform:
        s3 = new_client(platform.s3_url)
        s3.create_bucket(Bucket="kept")
        s3.create_bucket(Bucket="empty")
        for key in KEYS:
            s3.put_object(
                Bucket="kept",
                Key=key,
                Body=key.encode(),
                Metadata={"m": "v"},
                ContentType="text/plain",
                Tagging="t=1",
                ChecksumAlgorithm="SHA256",
            )
        s3.put_object(Bucket="kept", Key="gone", Body=b"x")
        s3.delete_object(Bucket="kept", Key="gone")
        before = s3.head_object(Bucket="kept", Key="plain")
        upload = s3.create_multipart_upload(Bucket="kept", Key="parts", Metadata={"m": "mp"})["UploadId"]
        first = s3.upload_part(Bucket="kept", Key="parts", UploadId=upload, PartNumber=1, Body=large)["ETag"]
        assert platform.proc.terminate() == 0

    with harness.launch_platform(tmp_path) as platform:
        s3 = new_client(platform.s3_url)
        names = [b["Name"] for b in s3.list_buckets()["Buckets"]]
        assert sorted(names) == sorted(["empty", "kept", harness.ARTIFACT_BUCKET, harness.PIPELINE_BUCKET])
        found = [o["Key"] for o in s3.list_objects_v2(Bucket="kept")["Contents"]]
        assert found == sorted(KEYS, key=str.encode)
        for key in KEYS:
            got = s3.get_object(Bucket="kept", Key=key, ChecksumMode="ENABLED")
            assert got["Body"].read() == key.encode()
            assert (got["Metadata"], got["ContentType"], got["TagCount"]) == ({"m": "v"}, "text/plain", 1)
            assert got["ChecksumSHA256"] == checksums.of("SHA256", key.encode())
            assert got["ETag"] == checksums.etag(key.encode())
        assert s3.head_object(Bucket="kept", Key="plain")["LastModified"] == before["LastModified"]
        # An upload that was under way goes on.
        second = s3.upload_part(Bucket="kept", Key="parts", UploadId=upload, PartNumber=2, Body=b"tail")["ETag"]
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate((first, second), 1)]
        s3.complete_multipart_upload(Bucket="kept", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
        got = s3.get_object(Bucket="kept", Key="parts")
        assert got["Body"].read() == large + b"tail"
        assert got["Metadata"] == {"m": "mp"}


def test_default_keys_are_for_loopback_only(tmp_path):
    args = ["up", "--data", tmp_path, "--port-offset", harness.free_port_offset(), "--listen", "0.0.0.0"]
    ended = harness.run_once(args, timeout=10)
    assert ended.returncode != 0
    said = (ended.stdout + ended.stderr).lower()
    assert "key" in said
    # A message that helps must not print the secret itself into a log.
    assert harness.S3_SECRET_KEY not in said
