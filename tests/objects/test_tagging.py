"""Object tags."""

import pytest

from .wire import path


def tags_of(s3, bucket, key="k"):
    return {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}


def tag_set(**tags):
    return {"TagSet": [{"Key": k, "Value": v} for k, v in tags.items()]}


@pytest.fixture
def tagged(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="stage=prod&owner=a%20b")
    return bucket


def test_tags_in_the_header_of_put(s3, tagged):
    assert tags_of(s3, tagged) == {"stage": "prod", "owner": "a b"}
    assert s3.get_object(Bucket=tagged, Key="k")["TagCount"] == 2
    assert s3.head_object(Bucket=tagged, Key="k")["TagCount"] == 2


def test_put_get_delete(s3, tagged):
    before = s3.head_object(Bucket=tagged, Key="k")
    s3.put_object_tagging(Bucket=tagged, Key="k", Tagging=tag_set(new="ü +-=._:/@", empty=""))
    assert tags_of(s3, tagged) == {"new": "ü +-=._:/@", "empty": ""}
    answer = s3.delete_object_tagging(Bucket=tagged, Key="k")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags_of(s3, tagged) == {}
    after = s3.head_object(Bucket=tagged, Key="k")
    assert "TagCount" not in after
    assert after["ETag"] == before["ETag"]
    assert s3.get_object(Bucket=tagged, Key="k")["Body"].read() == b"x"


def test_no_tags_is_an_empty_set(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert tags_of(s3, bucket) == {}
    assert "TagCount" not in s3.head_object(Bucket=bucket, Key="k")


def test_an_overwrite_drops_the_tags(s3, tagged):
    s3.put_object(Bucket=tagged, Key="k", Body=b"y")
    assert tags_of(s3, tagged) == {}


def test_missing_object(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.get_object_tagging(Bucket=bucket, Key="none")
    with refused(404, "NoSuchKey"):
        s3.put_object_tagging(Bucket=bucket, Key="none", Tagging=tag_set(a="1"))


def test_limits(s3, tagged, refused):
    fits = {f"{n}{'k' * 127}": "v" * 256 for n in range(10)}
    s3.put_object_tagging(Bucket=tagged, Key="k", Tagging=tag_set(**fits))
    assert tags_of(s3, tagged) == fits
    bad = [
        {f"t{n}": "v" for n in range(11)},
        {"k" * 129: "v"},
        {"k": "v" * 257},
    ]
    for tags in bad:
        with refused(400, "InvalidTag", "BadRequest"):
            s3.put_object_tagging(Bucket=tagged, Key="k", Tagging=tag_set(**tags))
    assert tags_of(s3, tagged) == fits


def test_limits_in_the_header(s3, bucket, refused):
    for text in ("&".join(f"t{n}=v" for n in range(11)), "k" * 129 + "=v", "a=1&a=2"):
        with refused(400, "InvalidTag", "InvalidArgument", "BadRequest"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=text)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_the_same_key_twice(s3, tagged, refused):
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    with refused(400, "InvalidTag"):
        s3.put_object_tagging(Bucket=tagged, Key="k", Tagging=twice)
    assert tags_of(s3, tagged) == {"stage": "prod", "owner": "a b"}


@pytest.mark.parametrize(
    "body", [b"", b"<Tagging>", b"<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>"]
)
def test_malformed_documents(wire, s3, tagged, body):
    answer = wire.request("PUT", path(tagged, "k"), {"tagging": ""}, body=body)
    assert answer.status == 400
    # S3 has a code of its own for no body at all, and a tag without a key may count as a bad tag.
    allowed = {b"": "MissingRequestBodyError"}.get(body, "InvalidTag" if b"<Tag>" in body else "MalformedXML")
    assert answer.code in ("MalformedXML", allowed)
    assert tags_of(s3, tagged) == {"stage": "prod", "owner": "a b"}


def test_copy_takes_the_tags_along(s3, tagged):
    source = {"Bucket": tagged, "Key": "k"}
    s3.copy_object(Bucket=tagged, Key="copied", CopySource=source)
    assert tags_of(s3, tagged, "copied") == {"stage": "prod", "owner": "a b"}
    s3.copy_object(Bucket=tagged, Key="replaced", CopySource=source, TaggingDirective="REPLACE", Tagging="x=y")
    assert tags_of(s3, tagged, "replaced") == {"x": "y"}
    s3.copy_object(Bucket=tagged, Key="bare", CopySource=source, TaggingDirective="REPLACE")
    assert tags_of(s3, tagged, "bare") == {}


def test_multipart_with_tags(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", Tagging="a=1")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    assert tags_of(s3, bucket) == {"a": "1"}
