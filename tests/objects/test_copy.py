"""CopyObject."""

import os

import pytest

from . import checksums
from .wire import NAMESPACE, path


@pytest.fixture
def source(s3, bucket):
    s3.put_object(
        Bucket=bucket,
        Key="source",
        Body=b"content",
        ContentType="text/plain",
        CacheControl="no-cache",
        Metadata={"color": "red"},
    )
    return {"Bucket": bucket, "Key": "source"}


def test_copy_keeps_bytes_and_headers(s3, bucket, source):
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)["CopyObjectResult"]
    assert answer["ETag"] == checksums.etag(b"content")
    assert answer["LastModified"].tzinfo is not None
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert got["Body"].read() == b"content"
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/plain", "no-cache", {"color": "red"})


def test_document(wire, bucket, source):
    answer = wire.request("PUT", path(bucket, "copy"), headers={"x-amz-copy-source": f"{bucket}/source"})
    assert (answer.status, answer.xml.tag) == (200, "CopyObjectResult")
    assert NAMESPACE.encode() in answer.body
    assert answer.xml.findtext("ETag") == checksums.etag(b"content")
    assert answer.xml.findtext("LastModified").endswith("Z")


def test_copy_is_independent_of_its_source(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    s3.put_object(Bucket=bucket, Key="source", Body=b"changed")
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"content"
    s3.delete_object(Bucket=bucket, Key="source")
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"content"


def test_replace(s3, bucket, source):
    s3.copy_object(
        Bucket=bucket,
        Key="copy",
        CopySource=source,
        MetadataDirective="REPLACE",
        ContentType="application/json",
        Metadata={"shape": "round"},
    )
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["ContentType"], got["Metadata"]) == ("application/json", {"shape": "round"})
    assert "CacheControl" not in got
    assert got["Body"].read() == b"content"


def test_headers_of_the_request_do_not_count_without_replace(s3, bucket, source):
    s3.copy_object(
        Bucket=bucket, Key="copy", CopySource=source, ContentType="application/json", Metadata={"shape": "round"}
    )
    head = s3.head_object(Bucket=bucket, Key="copy")
    assert (head["ContentType"], head["Metadata"]) == ("text/plain", {"color": "red"})


def test_onto_itself(s3, bucket, source, refused):
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=bucket, Key="source", CopySource=source)
    s3.copy_object(
        Bucket=bucket, Key="source", CopySource=source, MetadataDirective="REPLACE", Metadata={"color": "blue"}
    )
    got = s3.get_object(Bucket=bucket, Key="source")
    assert (got["Metadata"], got["Body"].read()) == ({"color": "blue"}, b"content")


def test_between_buckets(s3, bucket, source, bucket_name):
    other = bucket_name()
    s3.create_bucket(Bucket=other)
    s3.copy_object(Bucket=other, Key="source", CopySource=source)
    assert s3.get_object(Bucket=other, Key="source")["Body"].read() == b"content"


def test_over_an_existing_object(s3, bucket, source):
    s3.put_object(Bucket=bucket, Key="copy", Body=b"old", Metadata={"old": "1"})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Metadata"], got["Body"].read()) == ({"color": "red"}, b"content")


@pytest.mark.parametrize("form", ["{b}/source", "/{b}/source", "{b}/s%6Furce", "/{b}/source?versionId=null"])
def test_forms_of_the_source_header(wire, bucket, source, form):
    answer = wire.request("PUT", path(bucket, "copy"), headers={"x-amz-copy-source": form.format(b=bucket)})
    assert (answer.status, answer.code) == (200, None)
    assert wire.request("GET", path(bucket, "copy")).body == b"content"


def test_source_names_that_need_encoding(wire, bucket):
    wire.request("PUT", path(bucket, "a b?c+d%/ü"), body=b"odd")
    headers = {"x-amz-copy-source": f"/{bucket}/a%20b%3Fc%2Bd%25/%C3%BC"}
    assert wire.request("PUT", path(bucket, "copy"), headers=headers).status == 200
    assert wire.request("GET", path(bucket, "copy")).body == b"odd"


def test_missing_sources(s3, bucket, source, bucket_name, refused):
    with refused(404, "NoSuchKey"):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "none"})
    with refused(404, "NoSuchBucket"):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket_name(), "Key": "k"})
    with refused(404, "NoSuchBucket"):
        s3.copy_object(Bucket=bucket_name(), Key="copy", CopySource=source)
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["source"]


@pytest.mark.parametrize("value", ["nothing", "/", "//"])
def test_malformed_source(wire, bucket, value):
    answer = wire.request("PUT", path(bucket, "copy"), headers={"x-amz-copy-source": value})
    assert answer.failure == (400, "InvalidArgument")
    assert wire.request("HEAD", path(bucket, "copy")).status == 404


@pytest.mark.parametrize("header", ["x-amz-metadata-directive", "x-amz-tagging-directive"])
def test_unknown_directive(wire, bucket, source, header):
    headers = {"x-amz-copy-source": f"{bucket}/source", header: "KEEP"}
    assert wire.request("PUT", path(bucket, "copy"), headers=headers).failure == (400, "InvalidArgument")


def test_a_copy_of_a_multipart_object_has_a_plain_etag(s3, bucket):
    parts = [os.urandom(5 * 2**20), b"tail"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    etags = [
        s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=n + 1, Body=body)["ETag"]
        for n, body in enumerate(parts)
    ]
    done = [{"PartNumber": n + 1, "ETag": etag} for n, etag in enumerate(etags)]
    s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": done})
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "big"})
    assert answer["CopyObjectResult"]["ETag"] == checksums.etag(b"".join(parts))
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert got["Body"].read() == b"".join(parts)


def test_managed_copy(s3, bucket, source):
    # boto3 asks for the size first, and copies in parts above 8 MiB.
    body = os.urandom(17 * 2**20)
    s3.put_object(Bucket=bucket, Key="large", Body=body)
    for key, content in (("source", b"content"), ("large", body)):
        s3.copy({"Bucket": bucket, "Key": key}, bucket, f"copy-of-{key}")
        assert s3.get_object(Bucket=bucket, Key=f"copy-of-{key}")["Body"].read() == content
    assert s3.head_object(Bucket=bucket, Key="copy-of-large")["ETag"].endswith('-3"')


def test_a_copy_keeps_its_checksum(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"content", ChecksumAlgorithm="SHA256")
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "source"})
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == checksums.of("SHA256", b"content")
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == checksums.of("SHA256", b"content")


def test_a_copy_can_get_another_checksum(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ChecksumAlgorithm="SHA1")
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumSHA1"] == checksums.of("SHA1", b"content")
