"""minio-py against the store."""

import datetime
import hashlib
import io
import os
import urllib.parse

import harness
import minio
import pytest
import requests
from minio.commonconfig import CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

MIB = 2**20


@pytest.fixture(scope="module")
def client(millrace):
    return minio.Minio(
        endpoint=urllib.parse.urlsplit(millrace.s3_url).netloc,
        access_key=harness.S3_ACCESS_KEY,
        secret_key=harness.S3_SECRET_KEY,
        secure=False,
    )


def put(client, bucket, name, body, **options):
    return client.put_object(bucket_name=bucket, object_name=name, data=io.BytesIO(body), length=len(body), **options)


def read(client, bucket, name, **options):
    answer = client.get_object(bucket_name=bucket, object_name=name, **options)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def test_buckets(client, bucket_name):
    name = bucket_name()
    assert not client.bucket_exists(bucket_name=name)
    client.make_bucket(bucket_name=name)
    assert client.bucket_exists(bucket_name=name)
    assert name in [b.name for b in client.list_buckets()]
    client.remove_bucket(bucket_name=name)
    assert not client.bucket_exists(bucket_name=name)


def test_objects(client, bucket):
    body = os.urandom(100_000)
    written = put(client, bucket, "a/ü b.bin", body, content_type="application/x-thing", metadata={"color": "red"})
    assert written.etag == hashlib.md5(body).hexdigest()
    assert read(client, bucket, "a/ü b.bin") == body
    assert read(client, bucket, "a/ü b.bin", offset=10, length=20) == body[10:30]
    stat = client.stat_object(bucket_name=bucket, object_name="a/ü b.bin")
    assert (stat.size, stat.content_type) == (len(body), "application/x-thing")
    assert stat.metadata["x-amz-meta-color"] == "red"
    client.remove_object(bucket_name=bucket, object_name="a/ü b.bin")
    with pytest.raises(S3Error) as caught:
        client.stat_object(bucket_name=bucket, object_name="a/ü b.bin")
    assert caught.value.code == "NoSuchKey"


def test_multipart_of_known_and_unknown_length(client, bucket):
    body = os.urandom(12 * MIB)
    put(client, bucket, "known", body, part_size=5 * MIB)
    client.put_object(bucket_name=bucket, object_name="unknown", data=io.BytesIO(body), length=-1, part_size=5 * MIB)
    for name in ("known", "unknown"):
        assert hashlib.sha256(read(client, bucket, name)).digest() == hashlib.sha256(body).digest()


def test_files(client, bucket, tmp_path):
    body = os.urandom(MIB)
    (tmp_path / "in").write_bytes(body)
    client.fput_object(bucket_name=bucket, object_name="k", file_path=str(tmp_path / "in"))
    client.fget_object(bucket_name=bucket, object_name="k", file_path=str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == body


def test_listing_and_removal(client, bucket):
    for name in ("a", "b/1", "b/2", "c&<d>"):
        put(client, bucket, name, b"x")
    # The client shows the keys of a page before its prefixes.
    assert sorted(o.object_name for o in client.list_objects(bucket_name=bucket)) == ["a", "b/", "c&<d>"]
    everything = [o.object_name for o in client.list_objects(bucket_name=bucket, recursive=True)]
    assert everything == ["a", "b/1", "b/2", "c&<d>"]
    versions = list(client.list_objects(bucket_name=bucket, recursive=True, include_version=True))
    assert [(o.object_name, o.version_id) for o in versions] == [(name, "null") for name in everything]
    errors = client.remove_objects(
        bucket_name=bucket, delete_object_list=[DeleteObject(name) for name in [*everything, "missing"]]
    )
    assert list(errors) == []
    assert list(client.list_objects(bucket_name=bucket, recursive=True)) == []


def test_copy_and_compose(client, bucket):
    from minio.commonconfig import ComposeSource

    head, tail = os.urandom(5 * MIB), b"tail"
    put(client, bucket, "head", head)
    put(client, bucket, "tail", tail)
    client.copy_object(
        bucket_name=bucket, object_name="copy", source=CopySource(bucket_name=bucket, object_name="tail")
    )
    assert read(client, bucket, "copy") == tail
    client.compose_object(
        bucket_name=bucket,
        object_name="both",
        sources=[ComposeSource(bucket_name=bucket, object_name=n) for n in ("head", "tail")],
    )
    assert read(client, bucket, "both") == head + tail


def test_presigned(client, bucket):
    url = client.presigned_put_object(bucket_name=bucket, object_name="k", expires=datetime.timedelta(minutes=5))
    assert requests.put(url, data=b"by url", timeout=10).status_code == 200
    url = client.presigned_get_object(bucket_name=bucket, object_name="k", expires=datetime.timedelta(minutes=5))
    assert requests.get(url, timeout=10).content == b"by url"


def test_tags(client, bucket):
    put(client, bucket, "k", b"x")
    tags = Tags(for_object=True)
    tags["stage"] = "prod"
    client.set_object_tags(bucket_name=bucket, object_name="k", tags=tags)
    assert dict(client.get_object_tags(bucket_name=bucket, object_name="k")) == {"stage": "prod"}
    client.delete_object_tags(bucket_name=bucket, object_name="k")
    assert not client.get_object_tags(bucket_name=bucket, object_name="k")
