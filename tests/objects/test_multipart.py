"""Multipart uploads."""

import concurrent.futures
import io
import os
import random

import pytest

from . import checksums
from .wire import NAMESPACE, path

MIB = 2**20
PART = 5 * MIB  # the smallest part that may be followed by another


def start(s3, bucket, key="k", **options):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]


def put_part(s3, bucket, upload, number, body, key="k"):
    return s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]


def complete(s3, bucket, upload, etags, key="k"):
    """etags: {part number: ETag} in the order in which they are to be named."""
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in etags.items()]
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def uploads_of(s3, bucket, **options):
    answer = s3.list_multipart_uploads(Bucket=bucket, **options)
    return [(u["Key"], u["UploadId"]) for u in answer.get("Uploads", [])]


@pytest.fixture(scope="module")
def two_parts():
    return [random.Random(1).randbytes(PART), b"the tail"]


def test_three_parts(s3, bucket):
    parts = [os.urandom(PART), os.urandom(PART + 1), b"tail"]
    upload = start(s3, bucket, ContentType="text/plain", Metadata={"m": "v"}, CacheControl="no-cache")
    etags = {n: put_part(s3, bucket, upload, n, body) for n, body in enumerate(parts, 1)}
    assert list(etags.values()) == [checksums.etag(p) for p in parts]
    done = complete(s3, bucket, upload, etags)
    assert (done["Bucket"], done["Key"]) == (bucket, "k")
    assert done["Location"].endswith(f"/{bucket}/k")
    assert done["ETag"] == checksums.multipart_etag(parts)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(parts)
    assert got["ETag"] == done["ETag"]
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/plain", "no-cache", {"m": "v"})
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == sum(map(len, parts))


def test_upload_fileobj_of_20_mib(s3, bucket):
    # boto3's transfer manager: 8 MiB parts from a pool of threads.
    body = os.urandom(20 * MIB)
    s3.upload_fileobj(io.BytesIO(body), bucket, "k", ExtraArgs={"Metadata": {"m": "v"}})
    head = s3.head_object(Bucket=bucket, Key="k")
    pieces = [body[i : i + 8 * MIB] for i in range(0, len(body), 8 * MIB)]
    assert head["ETag"] == checksums.multipart_etag(pieces)
    assert (head["ContentLength"], head["Metadata"]) == (len(body), {"m": "v"})
    into = io.BytesIO()
    s3.download_fileobj(bucket, "k", into)
    assert into.getvalue() == body
    assert uploads_of(s3, bucket) == []


def test_parts_in_any_order_and_at_once(s3, bucket):
    parts = {n: bytes([n]) * PART for n in range(1, 5)}
    parts[5] = b"end"
    upload = start(s3, bucket)
    order = random.Random(3).sample(list(parts), len(parts))
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        found = dict(zip(order, pool.map(lambda n: put_part(s3, bucket, upload, n, parts[n]), order)))
    complete(s3, bucket, upload, {n: found[n] for n in sorted(found)})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(parts[n] for n in sorted(parts))


def test_numbers_may_have_gaps(s3, bucket, two_parts):
    upload = start(s3, bucket)
    etags = {7: put_part(s3, bucket, upload, 7, two_parts[0]), 10000: put_part(s3, bucket, upload, 10000, two_parts[1])}
    assert complete(s3, bucket, upload, etags)["ETag"] == checksums.multipart_etag(two_parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(two_parts)


def test_a_part_sent_again_replaces_the_first(s3, bucket):
    upload = start(s3, bucket)
    old = put_part(s3, bucket, upload, 1, b"old")
    new = put_part(s3, bucket, upload, 1, b"new")
    assert old != new
    complete(s3, bucket, upload, {1: new})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_a_replaced_part_cannot_be_named(s3, bucket, refused):
    upload = start(s3, bucket)
    old = put_part(s3, bucket, upload, 1, b"old")
    put_part(s3, bucket, upload, 1, b"new")
    with refused(400, "InvalidPart"):
        complete(s3, bucket, upload, {1: old})


def test_parts_that_are_not_named_are_left_out(s3, bucket):
    upload = start(s3, bucket)
    put_part(s3, bucket, upload, 1, b"dropped")
    etag = put_part(s3, bucket, upload, 2, b"kept")
    complete(s3, bucket, upload, {2: etag})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_one_empty_part(s3, bucket):
    # pyarrow writes an empty file so.
    upload = start(s3, bucket)
    complete(s3, bucket, upload, {1: put_part(s3, bucket, upload, 1, b"")})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ContentLength"], got["ETag"]) == (0, checksums.multipart_etag([b""]))


def test_nothing_shows_before_completion(s3, bucket, refused):
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"x")
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)
    complete(s3, bucket, upload, {1: etag})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_an_existing_object_stays_until_completion(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old", Metadata={"old": "1"})
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"new")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    complete(s3, bucket, upload, {1: etag})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"new", {})


def test_two_uploads_of_one_key(s3, bucket):
    first, second = start(s3, bucket), start(s3, bucket)
    assert first != second
    one, two = put_part(s3, bucket, first, 1, b"one"), put_part(s3, bucket, second, 1, b"two")
    complete(s3, bucket, second, {1: two})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"
    complete(s3, bucket, first, {1: one})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"


def test_abort(s3, bucket, refused):
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"x")
    answer = s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert uploads_of(s3, bucket) == []
    with refused(404, "NoSuchUpload"):
        put_part(s3, bucket, upload, 2, b"y")
    with refused(404, "NoSuchUpload"):
        complete(s3, bucket, upload, {1: etag})
    with refused(404, "NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    with refused(404, "NoSuchUpload"):
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")


@pytest.mark.parametrize("upload", ["no-such-upload", "../../../etc/passwd", "%00", "x" * 2000, "ü", " "])
def test_unknown_upload_ids(s3, bucket, upload, refused):
    with refused(404, "NoSuchUpload"):
        put_part(s3, bucket, upload, 1, b"x")
    with refused(404, "NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    with refused(404, "NoSuchUpload"):
        complete(s3, bucket, upload, {1: checksums.etag(b"x")})
    with refused(404, "NoSuchUpload"):
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)


def test_an_upload_belongs_to_its_key_and_bucket(s3, bucket, bucket_name, refused):
    other = bucket_name()
    s3.create_bucket(Bucket=other)
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"x")
    for where in ({"bucket": bucket, "key": "another"}, {"bucket": other, "key": "k"}):
        with refused(404, "NoSuchUpload"):
            put_part(s3, upload=upload, number=1, body=b"y", **where)
        with refused(404, "NoSuchUpload"):
            complete(s3, upload=upload, etags={1: etag}, **where)
    complete(s3, bucket, upload, {1: etag})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_small_parts(s3, bucket, refused):
    upload = start(s3, bucket)
    etags = {n: put_part(s3, bucket, upload, n, b"small") for n in (1, 2)}
    with refused(400, "EntityTooSmall"):
        complete(s3, bucket, upload, etags)
    # The upload lives on: what is wrong can be put right.
    etags[1] = put_part(s3, bucket, upload, 1, bytes(PART))
    complete(s3, bucket, upload, etags)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == PART + 5


def test_a_part_one_byte_too_small(s3, bucket, refused):
    upload = start(s3, bucket)
    etags = {1: put_part(s3, bucket, upload, 1, bytes(PART - 1)), 2: put_part(s3, bucket, upload, 2, b"x")}
    with refused(400, "EntityTooSmall"):
        complete(s3, bucket, upload, etags)


def test_invalid_parts(s3, bucket, refused):
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"x")
    with refused(400, "InvalidPart"):
        complete(s3, bucket, upload, {1: checksums.etag(b"other")})
    with refused(400, "InvalidPart"):
        complete(s3, bucket, upload, {2: etag})
    with refused(400, "InvalidPart"):
        complete(s3, bucket, upload, {1: "not an etag"})
    complete(s3, bucket, upload, {1: etag})


def test_part_order(s3, wire, bucket, refused):
    upload = start(s3, bucket)
    # Both of full size, so that nothing but their order is wrong.
    etags = {n: put_part(s3, bucket, upload, n, bytes(PART)) for n in (1, 2)}
    with refused(400, "InvalidPartOrder"):
        complete(s3, bucket, upload, {2: etags[2], 1: etags[1]})
    twice = f"<Part><PartNumber>1</PartNumber><ETag>{etags[1]}</ETag></Part>" * 2
    body = f"<CompleteMultipartUpload>{twice}</CompleteMultipartUpload>".encode()
    answer = wire.request("POST", path(bucket, "k"), {"uploadId": upload}, body=body)
    assert answer.failure == (400, "InvalidPartOrder")
    complete(s3, bucket, upload, etags)


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", "99999999999999999999"])
def test_part_numbers_out_of_range(s3, wire, bucket, number):
    upload = start(s3, bucket)
    query = {"partNumber": number, "uploadId": upload}
    assert wire.request("PUT", path(bucket, "k"), query, body=b"x").failure == (400, "InvalidArgument")
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<CompleteMultipartUpload>",
        b"<CompleteMultipartUpload></CompleteMultipartUpload>",
        b"<Other><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></Other>",
        b"<CompleteMultipartUpload><Part><PartNumber>one</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><ETag>x</ETag></Part></CompleteMultipartUpload>",
    ],
)
def test_malformed_completion(s3, wire, bucket, body):
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"x")
    answer = wire.request("POST", path(bucket, "k"), {"uploadId": upload}, body=body)
    assert answer.status == 400
    # S3 has a code of its own for no body at all.
    assert answer.code in ("MalformedXML", "InvalidRequest" if body == b"" else "MalformedXML")
    complete(s3, bucket, upload, {1: etag})


@pytest.mark.parametrize("namespace", [f' xmlns="{NAMESPACE}"', ""])
@pytest.mark.parametrize("quote", ['"', "&quot;", "&#34;", ""])
def test_forms_of_the_completion(s3, wire, bucket, namespace, quote):
    upload = start(s3, bucket)
    etag = put_part(s3, bucket, upload, 1, b"x").strip('"')
    body = (
        f"<CompleteMultipartUpload{namespace}>\n <Part>\n  <ETag>{quote}{etag}{quote}</ETag>\n"
        "  <PartNumber>1</PartNumber>\n </Part>\n</CompleteMultipartUpload>"
    ).encode()
    answer = wire.request("POST", path(bucket, "k"), {"uploadId": upload}, body=body)
    assert (answer.status, answer.code) == (200, None)
    assert answer.xml.tag == "CompleteMultipartUploadResult"
    assert answer.xml.findtext("ETag") == checksums.multipart_etag([b"x"])
    assert NAMESPACE.encode() in answer.body


def test_query_order_and_trailing_equals(wire, bucket):
    # minio-py sends `uploads=`, boto3 `uploads`; parameters come in any order.
    headers = wire.signed_headers("POST", path(bucket, "k"), {"uploads": ""})
    ids = [
        wire.plain("POST", f"/{bucket}/k?{query}", headers).xml.findtext("UploadId")
        for query in ("uploads", "uploads=")
    ]
    assert len(set(ids)) == 2
    assert all(ids)
    query = [("uploadId", ids[0]), ("partNumber", "1")]
    answer = wire.request("PUT", path(bucket, "k"), query, body=b"x")
    assert (answer.status, answer.headers["ETag"]) == (200, checksums.etag(b"x"))


def test_create_document(wire, bucket):
    answer = wire.request("POST", path(bucket, "a b"), {"uploads": ""})
    root = answer.xml
    assert (answer.status, root.tag) == (200, "InitiateMultipartUploadResult")
    assert (root.findtext("Bucket"), root.findtext("Key")) == (bucket, "a b")
    assert root.findtext("UploadId")


def test_list_parts(s3, bucket):
    upload = start(s3, bucket)
    sizes = {1: 3, 2: 0, 5: 10, 9: 1}
    etags = {n: put_part(s3, bucket, upload, n, bytes(size)) for n, size in sizes.items()}
    answer = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in answer["Parts"]] == [
        (n, size, etags[n]) for n, size in sizes.items()
    ]
    assert (answer["Bucket"], answer["Key"], answer["UploadId"]) == (bucket, "k", upload)
    assert (answer["IsTruncated"], answer["MaxParts"], answer["StorageClass"]) == (False, 1000, "STANDARD")
    assert answer["Owner"]["ID"]
    assert answer["Initiator"]["ID"]
    assert all(p["LastModified"] for p in answer["Parts"])

    first = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=2)
    assert [p["PartNumber"] for p in first["Parts"]] == [1, 2]
    assert (first["IsTruncated"], first["NextPartNumberMarker"]) == (True, 2)
    rest = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, PartNumberMarker=2)
    assert [p["PartNumber"] for p in rest["Parts"]] == [5, 9]
    pages = s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="k", UploadId=upload, PaginationConfig={"PageSize": 1}
    )
    assert [p["PartNumber"] for page in pages for p in page["Parts"]] == [1, 2, 5, 9]


def test_list_uploads(s3, bucket):
    keys = ["a", "b/1", "b/2", "b/2", "c"]
    made = [(key, start(s3, bucket, key)) for key in keys]
    found = uploads_of(s3, bucket)
    assert [k for k, _ in found] == keys
    assert sorted(found) == sorted(made)
    assert uploads_of(s3, bucket, Prefix="b/2") == [f for f in found if f[0] == "b/2"]

    answer = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [u["Key"] for u in answer["Uploads"]] == ["a", "c"]
    assert [p["Prefix"] for p in answer["CommonPrefixes"]] == ["b/"]
    assert answer["Uploads"][0]["Initiated"]
    assert answer["Uploads"][0]["Owner"]["ID"]

    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [(u["Key"], u["UploadId"]) for page in pages for u in page["Uploads"]] == found
    assert [k for k, _ in uploads_of(s3, bucket, KeyMarker="b/1")] == ["b/2", "b/2", "c"]

    for key, upload in made:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert uploads_of(s3, bucket) == []


def test_a_completed_upload_is_no_longer_listed(s3, bucket):
    upload = start(s3, bucket)
    assert uploads_of(s3, bucket) == [("k", upload)]
    complete(s3, bucket, upload, {1: put_part(s3, bucket, upload, 1, b"x")})
    assert uploads_of(s3, bucket) == []


def test_get_by_part_number(s3, bucket, two_parts, refused):
    upload = start(s3, bucket)
    complete(s3, bucket, upload, {n: put_part(s3, bucket, upload, n, p) for n, p in enumerate(two_parts, 1)})
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["Body"].read() == two_parts[1]
    assert got["PartsCount"] == 2
    total = sum(map(len, two_parts))
    assert got["ContentRange"] == f"bytes {PART}-{total - 1}/{total}"
    head = s3.head_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (head["ContentLength"], head["PartsCount"]) == (PART, 2)
    with refused(416):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=3)
    with refused(400):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")


def test_upload_part_copy(s3, bucket):
    source = os.urandom(PART + 1000)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    upload = start(s3, bucket)
    from_source = {"Bucket": bucket, "Key": "source"}
    parts = {}
    for number, range_ in ((1, f"bytes=0-{PART - 1}"), (2, "bytes=10-19")):
        answer = s3.upload_part_copy(
            Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, CopySource=from_source, CopySourceRange=range_
        )["CopyPartResult"]
        parts[number] = answer["ETag"]
        assert answer["LastModified"]
    assert parts[2] == checksums.etag(source[10:20])
    complete(s3, bucket, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == source[:PART] + source[10:20]


def test_upload_part_copy_of_a_whole_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"whole")
    upload = start(s3, bucket)
    answer = s3.upload_part_copy(
        Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, CopySource={"Bucket": bucket, "Key": "source"}
    )
    complete(s3, bucket, upload, {1: answer["CopyPartResult"]["ETag"]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"whole"


def test_upload_part_copy_that_cannot_be(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="source", Body=b"01234")
    upload = start(s3, bucket)
    target = {"Bucket": bucket, "Key": "k", "UploadId": upload, "PartNumber": 1}
    source = {"Bucket": bucket, "Key": "source"}
    for bad in ("bytes=0-", "bytes=-2", "0-2", "bytes=a-b"):
        with refused(400, "InvalidArgument"):
            s3.upload_part_copy(CopySource=source, CopySourceRange=bad, **target)
    for beyond in ("bytes=0-5", "bytes=9-10", "bytes=3-1"):
        with pytest.raises(s3.exceptions.ClientError) as caught:
            s3.upload_part_copy(CopySource=source, CopySourceRange=beyond, **target)
        got = caught.value.response
        assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Error"]["Code"]) in (
            (400, "InvalidArgument"),
            (416, "InvalidRange"),
        )
    with refused(404, "NoSuchKey"):
        s3.upload_part_copy(CopySource={"Bucket": bucket, "Key": "none"}, **target)
    with refused(412, "PreconditionFailed"):
        s3.upload_part_copy(CopySource=source, CopySourceIfMatch='"0"', **target)
    with refused(404, "NoSuchUpload"):
        s3.upload_part_copy(CopySource=source, **{**target, "UploadId": "none"})
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


def test_aborted_parts_give_their_room_back(millrace, s3, bucket, disk_use):
    before = disk_use()
    upload = start(s3, bucket)
    put_part(s3, bucket, upload, 1, os.urandom(8 * MIB))
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert disk_use.falls_to(before + MIB)


def test_many_parts(s3, wire, bucket):
    # 300 tiny parts cannot be completed together, but are kept, listed and dropped without fuss.
    upload = start(s3, bucket)
    for number in range(1, 301):
        query = {"partNumber": str(number), "uploadId": upload}
        assert wire.request("PUT", path(bucket, "k"), query, body=b"p%d" % number).status == 200
    parts = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert [p["PartNumber"] for p in parts] == list(range(1, 301))
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
