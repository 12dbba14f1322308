"""Byte ranges (public case 54)."""

import io
import os

import pytest

from . import checksums
from .wire import path

FIVE = b"01234"


@pytest.fixture(scope="module")
def objects(wire, module_bucket):
    wire.request("PUT", path(module_bucket, "five"), headers={"x-amz-meta-m": "v"}, body=FIVE)
    wire.request("PUT", path(module_bucket, "empty"))
    return module_bucket


PARTIAL = [
    ("bytes=1-3", "1-3", b"123"),
    ("bytes=0-0", "0-0", b"0"),
    ("bytes=4-4", "4-4", b"4"),
    ("bytes=3-99", "3-4", b"34"),
    ("bytes=0-4", "0-4", FIVE),
    ("bytes=0-", "0-4", FIVE),
    ("bytes=4-", "4-4", b"4"),
    ("bytes=-2", "3-4", b"34"),
    ("bytes=-5", "0-4", FIVE),
    ("bytes=-99", "0-4", FIVE),
    ("bytes=1-9223372036854775807", "1-4", b"1234"),
]


@pytest.mark.parametrize(("range_", "content_range", "body"), PARTIAL)
def test_partial(wire, objects, range_, content_range, body):
    for method in ("GET", "HEAD"):
        answer = wire.request(method, path(objects, "five"), headers={"Range": range_})
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {content_range}/5"
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["ETag"] == checksums.etag(FIVE)
        assert answer.headers["x-amz-meta-m"] == "v"
        assert answer.body == (body if method == "GET" else b"")


@pytest.mark.parametrize("range_", ["bytes=5-", "bytes=5-9", "bytes=-0"])
def test_not_satisfiable(wire, objects, range_):
    answer = wire.request("GET", path(objects, "five"), headers={"Range": range_})
    assert answer.failure == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == "bytes */5"
    head = wire.request("HEAD", path(objects, "five"), headers={"Range": range_})
    assert (head.status, head.body) == (416, b"")


@pytest.mark.parametrize(
    "range_",
    ["bytes=3-1", "bytes=0-0,2-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "lines=0-1", "0-1", "bytes=1-3x"],
)
def test_ignored(wire, objects, range_):
    answer = wire.request("GET", path(objects, "five"), headers={"Range": range_})
    assert (answer.status, answer.body) == (200, FIVE)
    assert answer.headers["Content-Range"] is None


@pytest.mark.parametrize(
    ("range_", "statuses"),
    [
        ("bytes=0-99999999999999999999999", (200, 206)),
        ("bytes=-99999999999999999999999", (200, 206)),
        ("bytes=99999999999999999999999-", (200, 416)),
        ("bytes=18446744073709551616-18446744073709551617", (200, 416)),
        ("bytes=18446744073709551617-18446744073709551618", (200, 416)),
    ],
)
def test_numbers_beyond_64_bits(wire, objects, range_, statuses):
    # Taken as very large or as no range at all, but never wrapped around.
    answer = wire.request("GET", path(objects, "five"), headers={"Range": range_})
    assert answer.status in statuses
    assert answer.status == 416 or answer.body == FIVE


def test_ranges_of_an_empty_object(wire, objects):
    for range_ in ("bytes=0-", "bytes=0-0", "bytes=1-"):
        answer = wire.request("GET", path(objects, "empty"), headers={"Range": range_})
        assert answer.failure == (416, "InvalidRange"), range_
        assert answer.headers["Content-Range"] == "bytes */0"
    answer = wire.request("GET", path(objects, "empty"), headers={"Range": "bytes=-1"})
    assert (answer.status, answer.body) == (200, b"")


def test_boto3_sees_416(s3, objects, refused):
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=objects, Key="five", Range="bytes=5-")


def test_range_of_missing_object(s3, objects, refused):
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=objects, Key="none", Range="bytes=0-1")


def test_a_range_carries_no_checksum_of_the_whole(wire, s3, objects):
    s3.put_object(Bucket=objects, Key="summed", Body=FIVE, ChecksumAlgorithm="CRC32")
    headers = {"Range": "bytes=1-3", "x-amz-checksum-mode": "ENABLED"}
    answer = wire.request("GET", path(objects, "summed"), headers=headers)
    assert answer.status == 206
    assert not [h for h in answer.headers if h.lower() in map(checksums.header, checksums.NAMES)]
    # boto3 would fail here otherwise.
    assert s3.get_object(Bucket=objects, Key="summed", Range="bytes=1-3")["Body"].read() == b"123"


def test_range_with_condition(wire, objects):
    headers = {"Range": "bytes=1-3", "If-Match": checksums.etag(FIVE)}
    assert wire.request("GET", path(objects, "five"), headers=headers).body == b"123"
    headers["If-Match"] = '"00000000000000000000000000000000"'
    assert wire.request("GET", path(objects, "five"), headers=headers).failure == (412, "PreconditionFailed")


def test_every_range_of_a_large_object_agrees(s3, wire, bucket):
    body = os.urandom(300_000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for first, last in [(0, 65535), (65535, 65536), (65536, 131071), (99_999, 200_001), (299_999, 299_999)]:
        answer = wire.request("GET", path(bucket, "k"), headers={"Range": f"bytes={first}-{last}"})
        assert answer.body == body[first : last + 1]


def test_download_in_parallel_ranges(s3, bucket):
    # boto3 takes 8 MiB ranges with If-Match of the ETag that HEAD gave.
    body = os.urandom(20 * 2**20)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    into = io.BytesIO()
    s3.download_fileobj(bucket, "k", into)
    assert into.getvalue() == body
