"""Conditional reads, writes and deletes (public case 56)."""

import concurrent.futures
import datetime
import email.utils
import threading

import pytest

from . import checksums
from .wire import path

OTHER = '"00000000000000000000000000000000"'
WRITERS = 32


def http_date(when):
    return email.utils.format_datetime(when, usegmt=True)


@pytest.fixture(scope="module")
def stored(wire, module_bucket):
    """An object with the conditions that hold for it and those that do not."""
    target = path(module_bucket, "read")
    wire.request("PUT", target, body=b"content")
    head = wire.request("HEAD", target)
    modified = email.utils.parsedate_to_datetime(head.headers["Last-Modified"])
    return {
        "target": target,
        "etag": head.headers["ETag"],
        "modified": head.headers["Last-Modified"],
        "before": http_date(modified - datetime.timedelta(days=1)),
        # A date in the future is no condition at all, so "later" must not lie there.
        "later": head.headers["Last-Modified"],
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": "etag"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": OTHER}, 412),
        ({"If-None-Match": "etag"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": OTHER}, 200),
        ({"If-Modified-Since": "before"}, 200),
        ({"If-Modified-Since": "modified"}, 304),
        ({"If-Unmodified-Since": "modified"}, 200),
        ({"If-Unmodified-Since": "before"}, 412),
        # A match of the ETag outweighs the date, both ways.
        ({"If-Match": "etag", "If-Unmodified-Since": "before"}, 200),
        ({"If-Match": OTHER, "If-Unmodified-Since": "modified"}, 412),
        ({"If-None-Match": "etag", "If-Modified-Since": "before"}, 304),
        ({"If-None-Match": OTHER, "If-Modified-Since": "modified"}, 200),
        ({"If-Modified-Since": "not a date"}, 200),
        ({"If-Unmodified-Since": "not a date"}, 200),
    ],
    ids=str,
)
def test_read(wire, stored, method, conditions, status):
    headers = {name: stored.get(value, value) for name, value in conditions.items()}
    answer = wire.request(method, stored["target"], headers=headers)
    assert answer.status == status
    if status == 200:
        assert answer.body == (b"content" if method == "GET" else b"")
    if status == 304:
        assert answer.body == b""
        assert answer.headers["ETag"] == stored["etag"]
    if status == 412:
        assert answer.code == ("PreconditionFailed" if method == "GET" else None)


def test_etag_without_quotes(wire, stored):
    bare = stored["etag"].strip('"')
    assert wire.request("GET", stored["target"], headers={"If-Match": bare}).status == 200
    assert wire.request("GET", stored["target"], headers={"If-None-Match": bare}).status == 304


def test_condition_on_a_missing_object(wire, module_bucket):
    for headers in ({"If-Match": OTHER}, {"If-None-Match": "*"}):
        answer = wire.request("GET", path(module_bucket, "none"), headers=headers)
        assert answer.failure == (404, "NoSuchKey")


def test_boto3_sees_304_and_412(s3, module_bucket, stored, refused):
    with refused(304):
        s3.get_object(Bucket=module_bucket, Key="read", IfNoneMatch=stored["etag"])
    with refused(412, "PreconditionFailed"):
        s3.get_object(Bucket=module_bucket, Key="read", IfMatch=OTHER)


def test_put_if_none_match(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"
    s3.delete_object(Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"third", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"third"


def test_put_if_match(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", IfMatch=OTHER)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"no", IfMatch=OTHER)
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"second", IfMatch=first)["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"stale", IfMatch=first)
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=second)["Body"].read() == b"second"


def test_a_failed_condition_keeps_a_missing_key_missing(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", IfMatch=OTHER)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def race(attempt):
    """Run attempt(0..31) at the same moment; answers the numbers that won, all others were refused properly."""
    barrier = threading.Barrier(WRITERS)

    def one(number):
        barrier.wait()
        return attempt(number)

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(one, range(WRITERS)))
    for answer in answers:
        assert answer.status == 200 or answer.failure in (
            (412, "PreconditionFailed"),
            (409, "ConditionalRequestConflict"),
        )
    return [n for n, answer in enumerate(answers) if answer.status == 200]


@pytest.mark.parametrize("round_", range(4))
def test_one_of_32_writers_creates(wire, bucket, round_):
    target = path(bucket, f"k{round_}")
    winners = race(lambda n: wire.request("PUT", target, headers={"If-None-Match": "*"}, body=b"writer %d" % n))
    assert len(winners) == 1
    assert wire.request("GET", target).body == b"writer %d" % winners[0]


def test_one_of_32_writers_creates_through_boto3(s3, bucket):
    from botocore.exceptions import ClientError

    barrier = threading.Barrier(WRITERS)

    def write(number):
        barrier.wait()
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % number, IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            return None

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        winners = [n for n in pool.map(write, range(WRITERS)) if n is not None]
    assert len(winners) == 1
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"%d" % winners[0]


def test_one_of_32_writers_replaces(wire, bucket):
    target = path(bucket, "k")
    etag = wire.request("PUT", target, body=b"base").headers["ETag"]
    winners = race(lambda n: wire.request("PUT", target, headers={"If-Match": etag}, body=b"writer %d" % n))
    assert len(winners) == 1
    assert wire.request("GET", target).body == b"writer %d" % winners[0]


def test_counters_by_compare_and_swap_lose_nothing(wire, bucket):
    target = path(bucket, "counter")
    wire.request("PUT", target, body=b"0")

    def count(_):
        for _ in range(5):
            while True:
                seen = wire.request("GET", target)
                headers = {"If-Match": seen.headers["ETag"]}
                if wire.request("PUT", target, headers=headers, body=b"%d" % (int(seen.body) + 1)).status == 200:
                    break

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert wire.request("GET", target).body == b"20"


def start_multipart(s3, bucket, body):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=body)["ETag"]
    return {
        "Bucket": bucket,
        "Key": "k",
        "UploadId": upload,
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]},
    }


def test_complete_if_none_match(s3, bucket, refused):
    late = start_multipart(s3, bucket, b"late")
    s3.complete_multipart_upload(IfNoneMatch="*", **start_multipart(s3, bucket, b"first"))
    with refused(412, "PreconditionFailed"):
        s3.complete_multipart_upload(IfNoneMatch="*", **late)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"


def test_complete_if_match(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.complete_multipart_upload(IfMatch=OTHER, **start_multipart(s3, bucket, b"none"))
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"base")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.complete_multipart_upload(IfMatch=OTHER, **start_multipart(s3, bucket, b"stale"))
    s3.complete_multipart_upload(IfMatch=etag, **start_multipart(s3, bucket, b"next"))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"next"


def test_one_of_many_completes_creates(s3, wire, bucket):
    starts = [start_multipart(s3, bucket, b"writer %d" % n) for n in range(WRITERS)]

    def complete(number):
        part = starts[number]["MultipartUpload"]["Parts"][0]
        body = (
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
            f"<ETag>{part['ETag']}</ETag></Part></CompleteMultipartUpload>"
        ).encode()
        query = {"uploadId": starts[number]["UploadId"]}
        return wire.request("POST", path(bucket, "k"), query, headers={"If-None-Match": "*"}, body=body)

    winners = race(complete)
    assert len(winners) == 1
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"writer %d" % winners[0]


def test_delete_if_match(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=OTHER)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")


def test_copy_source_conditions(wire, bucket):
    wire.request("PUT", path(bucket, "source"), body=b"content")
    etag = checksums.etag(b"content")
    cases = [
        ({"x-amz-copy-source-if-match": etag}, 200),
        ({"x-amz-copy-source-if-match": OTHER}, 412),
        ({"x-amz-copy-source-if-none-match": OTHER}, 200),
        ({"x-amz-copy-source-if-none-match": etag}, 412),
        ({"x-amz-copy-source-if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"x-amz-copy-source-if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
        (
            {
                "x-amz-copy-source-if-match": etag,
                "x-amz-copy-source-if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT",
            },
            200,
        ),
    ]
    for number, (headers, status) in enumerate(cases):
        target = path(bucket, f"copy{number}")
        answer = wire.request("PUT", target, headers={"x-amz-copy-source": f"/{bucket}/source", **headers})
        assert answer.status == status, headers
        assert answer.code == (None if status == 200 else "PreconditionFailed"), headers
        assert wire.request("HEAD", target).status == (200 if status == 200 else 404), headers
