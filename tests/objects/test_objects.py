"""Single objects: what is put is what is got, with its headers."""

import datetime
import email.utils
import gzip
import hashlib
import os

import pytest

from . import checksums
from .wire import path


def test_put_get_head_delete(s3, bucket, refused):
    body = os.urandom(100_000)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == checksums.etag(body)

    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    head = s3.head_object(Bucket=bucket, Key="k")
    for answer in (got, head):
        assert answer["ETag"] == put["ETag"]
        assert answer["ContentLength"] == len(body)
        assert answer["AcceptRanges"] == "bytes"
        assert answer["ContentType"] == "binary/octet-stream"
        assert answer["Metadata"] == {}
        assert "StorageClass" not in answer
        assert "ContentEncoding" not in answer
        age = datetime.datetime.now(datetime.UTC) - answer["LastModified"]
        assert abs(age.total_seconds()) < 60

    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")


def test_delete_of_what_is_not_there(s3, bucket):
    assert s3.delete_object(Bucket=bucket, Key="never")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_empty_object(s3, bucket):
    assert s3.put_object(Bucket=bucket, Key="k")["ETag"] == checksums.etag(b"")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ContentLength"], got["Body"].read()) == (0, b"")


def test_overwrite(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"the first and longer", ContentType="text/plain", Metadata={"a": "1"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"second", Metadata={"b": "2"})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"second"
    # Nothing of the first is left, its headers neither.
    assert got["Metadata"] == {"b": "2"}
    assert got["ContentType"] == "binary/octet-stream"


@pytest.mark.parametrize("size", [1, 4095, 4096, 65_536, 65_537, 1_048_576, 3_000_001])
def test_sizes(s3, bucket, size):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    got = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()


def test_system_headers(s3, bucket):
    expires = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    sent = {
        "ContentType": "text/html; charset=utf-8",
        "CacheControl": "max-age=60, private",
        "ContentDisposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%BC",
        "ContentEncoding": "zstd",
        "ContentLanguage": "de, en",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Expires=expires, **sent)
    for answer in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert {name: answer[name] for name in sent} == sent
        assert answer["ExpiresString"] == email.utils.format_datetime(expires, usegmt=True)


def test_metadata_names_are_lower_cased_and_values_kept(wire, bucket):
    headers = {"x-amz-meta-Mixed-Case": "Value  With  Spaces", "X-AMZ-META-N": "1", "x-amz-meta-empty": ""}
    assert wire.request("PUT", path(bucket, "k"), headers=headers, body=b"x").status == 200
    for method in ("GET", "HEAD"):
        answer = wire.request(method, path(bucket, "k"))
        found = {k.lower(): v for k, v in answer.headers.items() if k.lower().startswith("x-amz-meta-")}
        assert found == {"x-amz-meta-mixed-case": "Value  With  Spaces", "x-amz-meta-n": "1", "x-amz-meta-empty": ""}


def test_metadata_in_utf8_survives(wire, bucket):
    headers = {"x-amz-meta-city": "Zürich"}
    assert wire.request("PUT", path(bucket, "k"), headers=headers, body=b"x").status == 200
    value = wire.request("HEAD", path(bucket, "k")).headers["x-amz-meta-city"]
    # The header comes as bytes; http.client shows them as Latin-1. AWS answers such values as RFC 2047 words.
    raw = value.encode("latin-1")
    assert raw == "Zürich".encode() or raw.lower().startswith(b"=?utf-8?")


def test_metadata_limit(wire, bucket):
    fits = {"x-amz-meta-a": "v" * (2048 - 1)}
    assert wire.request("PUT", path(bucket, "k"), headers=fits, body=b"x").status == 200
    over = {"x-amz-meta-a": "v" * 1500, "x-amz-meta-b": "v" * 600}
    answer = wire.request("PUT", path(bucket, "over"), headers=over, body=b"x")
    assert answer.failure == (400, "MetadataTooLarge")
    assert wire.request("HEAD", path(bucket, "over")).status == 404


def test_response_header_overrides(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
    expires = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    sent = {
        "ContentType": "application/json",
        "ContentDisposition": 'attachment; filename="n.json"',
        "ContentLanguage": "fr",
        "CacheControl": "no-store",
        "ContentEncoding": "identity",
    }
    overrides = {f"Response{name}": value for name, value in sent.items()}
    got = s3.get_object(Bucket=bucket, Key="k", ResponseExpires=expires, **overrides)
    assert {name: got[name] for name in sent} == sent
    assert got["ExpiresString"] == email.utils.format_datetime(expires, usegmt=True)
    assert s3.get_object(Bucket=bucket, Key="k")["ContentType"] == "text/plain"


def test_last_modified_forms(wire, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    text = wire.request("HEAD", path(bucket, "k")).headers["Last-Modified"]
    when = email.utils.parsedate_to_datetime(text)
    assert email.utils.format_datetime(when, usegmt=True) == text
    listed = wire.request("GET", path(bucket)).xml.findtext("Contents/LastModified")
    in_listing = datetime.datetime.fromisoformat(listed)
    assert (len(listed), listed[-1], listed[-5]) == (24, "Z", ".")
    assert abs((in_listing - when).total_seconds()) <= 1


def test_a_compressed_body_is_not_ours_to_open(wire, bucket):
    # The bytes are the user's: neither taken apart on the way in nor packed on the way out.
    packed = gzip.compress(b"0123456789" * 1000)
    answer = wire.request("PUT", path(bucket, "packed"), headers={"Content-Encoding": "gzip"}, body=packed)
    assert answer.headers["ETag"] == checksums.etag(packed)
    for headers in ({}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}):
        got = wire.request("GET", path(bucket, "packed"), headers=headers)
        assert got.body == packed
        assert got.headers["Content-Encoding"] == "gzip"
        assert got.headers["Content-Length"] == str(len(packed))


def test_a_plain_body_is_never_compressed_on_the_way_out(wire, bucket):
    body = b"text that packs well " * 5000
    wire.request("PUT", path(bucket, "k.txt"), headers={"Content-Type": "text/plain"}, body=body)
    for method in ("GET", "HEAD"):
        got = wire.request(method, path(bucket, "k.txt"), headers={"Accept-Encoding": "gzip, deflate, br"})
        assert got.headers["Content-Encoding"] is None
        assert got.headers["Content-Length"] == str(len(body))
        assert got.body == (body if method == "GET" else b"")


def test_server_side_encryption_header_is_echoed(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    assert put["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"


def test_put_without_any_length(wire, bucket):
    headers = wire.signed_headers("PUT", path(bucket, "k"), payload_hash="UNSIGNED-PAYLOAD")
    with wire.connect() as connection:
        connection.send_head("PUT", path(bucket, "k"), headers)
        assert connection.read_answer("PUT").failure == (411, "MissingContentLength")
    assert wire.request("HEAD", path(bucket, "k")).status == 404


def test_put_with_transfer_encoding_chunked(wire, bucket):
    # S3 wants a length; accepting plain chunks is more than it does, and then all bytes must be there.
    headers = wire.signed_headers(
        "PUT", path(bucket, "k"), headers={"Transfer-Encoding": "chunked"}, payload_hash="UNSIGNED-PAYLOAD"
    )
    answer = wire.plain("PUT", path(bucket, "k"), headers, b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    if answer.status == 200:
        assert wire.request("GET", path(bucket, "k")).body == b"abcdefg"
    else:
        assert answer.failure in ((411, "MissingContentLength"), (501, "NotImplemented"))
        assert wire.request("HEAD", path(bucket, "k")).status == 404


def test_a_declared_size_over_every_limit(wire, bucket):
    target = path(bucket, "k")
    headers = wire.signed_headers(
        "PUT", target, headers={"Content-Length": str(6 * 2**40)}, payload_hash="UNSIGNED-PAYLOAD"
    )
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**headers, "Expect": "100-continue"})
        assert connection.read_answer("PUT").failure == (400, "EntityTooLarge")


def test_wrong_content_md5(wire, bucket):
    target = path(bucket, "k")
    answer = wire.request("PUT", target, headers={"Content-MD5": checksums.md5(b"other")}, body=b"body")
    assert answer.failure == (400, "BadDigest")
    for malformed in ("not base64!", "YWJj", ""):
        answer = wire.request("PUT", target, headers={"Content-MD5": malformed}, body=b"body")
        assert answer.failure == (400, "InvalidDigest"), malformed
    assert wire.request("HEAD", target).status == 404
    good = wire.request("PUT", target, headers={"Content-MD5": checksums.md5(b"body")}, body=b"body")
    assert good.status == 200


def test_a_failed_overwrite_keeps_the_old_object(wire, bucket):
    target = path(bucket, "k")
    wire.request("PUT", target, headers={"x-amz-meta-v": "old"}, body=b"old")
    answer = wire.request("PUT", target, headers={"Content-MD5": checksums.md5(b"other")}, body=b"new")
    assert answer.failure == (400, "BadDigest")
    got = wire.request("GET", target)
    assert (got.body, got.headers["x-amz-meta-v"]) == (b"old", "old")


OBJECT_SUB_RESOURCES = ["acl", "attributes", "legal-hold", "restore", "retention", "select", "tagging", "torrent"]


@pytest.mark.parametrize("resource", OBJECT_SUB_RESOURCES)
def test_a_sub_resource_is_never_taken_for_the_object(wire, bucket, resource):
    # A server that ignores an unknown query would overwrite or delete the object instead.
    target = path(bucket, "k")
    wire.request("PUT", target, body=b"precious")
    for method in ("PUT", "POST", "DELETE"):
        wire.request(method, target, {resource: ""}, body=b"" if method == "DELETE" else b"<x/>")
    got = wire.request("GET", target, {resource: ""})
    assert got.body != b"precious"
    assert wire.request("GET", target).body == b"precious"


def test_get_while_it_is_overwritten_is_never_mixed(s3, bucket):
    # A reader that has begun goes on with what it began with.
    old, new = b"o" * 4_000_000, b"n" * 4_000_000
    s3.put_object(Bucket=bucket, Key="k", Body=old)
    stream = s3.get_object(Bucket=bucket, Key="k")["Body"]
    first = stream.read(1000)
    s3.put_object(Bucket=bucket, Key="k", Body=new)
    assert first + stream.read() == old
    stream = s3.get_object(Bucket=bucket, Key="k")["Body"]
    first = stream.read(1000)
    s3.delete_object(Bucket=bucket, Key="k")
    assert first + stream.read() == new
