"""ListObjectVersions and version ids where nobody turned versioning on: every object is its version `null`."""

import pytest

from . import checksums
from .wire import NAMESPACE, path


@pytest.fixture
def filled(s3, bucket):
    for key in ("a", "b/1", "b/2", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def test_every_object_is_version_null(s3, filled):
    s3.put_object(Bucket=filled, Key="a", Body=b"again")
    answer = s3.list_object_versions(Bucket=filled)
    assert [v["Key"] for v in answer["Versions"]] == ["a", "b/1", "b/2", "c"]
    for version in answer["Versions"]:
        assert (version["VersionId"], version["IsLatest"]) == ("null", True)
        assert version["Owner"]["ID"]
        assert version["StorageClass"] == "STANDARD"
    assert answer["Versions"][0]["ETag"] == checksums.etag(b"again")
    assert answer["Versions"][0]["Size"] == 5
    assert "DeleteMarkers" not in answer
    assert answer["IsTruncated"] is False


def test_document(wire, filled):
    answer = wire.request("GET", path(filled), {"versions": ""})
    assert answer.xml.tag == "ListVersionsResult"
    assert NAMESPACE.encode() in answer.body
    assert [v.findtext("Key") for v in answer.xml.iter("Version")] == ["a", "b/1", "b/2", "c"]


def test_prefix_and_delimiter(s3, filled):
    answer = s3.list_object_versions(Bucket=filled, Delimiter="/")
    assert [v["Key"] for v in answer["Versions"]] == ["a", "c"]
    assert [p["Prefix"] for p in answer["CommonPrefixes"]] == ["b/"]
    answer = s3.list_object_versions(Bucket=filled, Prefix="b/")
    assert [v["Key"] for v in answer["Versions"]] == ["b/1", "b/2"]


def test_pages(s3, filled):
    first = s3.list_object_versions(Bucket=filled, MaxKeys=2)
    assert [v["Key"] for v in first["Versions"]] == ["a", "b/1"]
    assert first["IsTruncated"] is True
    assert (first["NextKeyMarker"], first["NextVersionIdMarker"]) == ("b/1", "null")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=filled, PaginationConfig={"PageSize": 1})
    assert [v["Key"] for p in pages for v in p["Versions"]] == ["a", "b/1", "b/2", "c"]
    answer = s3.list_object_versions(Bucket=filled, KeyMarker="b/1")
    assert [v["Key"] for v in answer["Versions"]] == ["b/2", "c"]


def test_deleted_objects_leave_no_marker(s3, filled):
    s3.delete_object(Bucket=filled, Key="a")
    answer = s3.list_object_versions(Bucket=filled)
    assert [v["Key"] for v in answer["Versions"]] == ["b/1", "b/2", "c"]
    assert "DeleteMarkers" not in answer


def test_empty_bucket(s3, bucket):
    answer = s3.list_object_versions(Bucket=bucket)
    assert "Versions" not in answer
    assert answer["IsTruncated"] is False


def test_read_and_delete_by_version_null(s3, filled, refused):
    assert s3.get_object(Bucket=filled, Key="a", VersionId="null")["Body"].read() == b"a"
    assert s3.head_object(Bucket=filled, Key="a", VersionId="null")["ContentLength"] == 1
    answer = s3.delete_object(Bucket=filled, Key="a", VersionId="null")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=filled, Key="a")


def test_another_version_id(s3, filled, refused):
    # 404 for an id that could exist, 400 for one that never can: which of the two depends on the store's own form.
    with pytest.raises(s3.exceptions.ClientError) as caught:
        s3.get_object(Bucket=filled, Key="a", VersionId="3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")
    error = caught.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) in (
        (404, "NoSuchVersion"),
        (400, "InvalidArgument"),
    )
    # Above all, a delete of a version that is not there must not take the one that is.
    try:
        s3.delete_object(Bucket=filled, Key="a", VersionId="3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")
    except s3.exceptions.ClientError as failed:
        assert failed.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 404)
    assert s3.get_object(Bucket=filled, Key="a")["Body"].read() == b"a"


def test_writes_name_no_version(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "VersionId" not in put
    assert "VersionId" not in s3.head_object(Bucket=bucket, Key="k")
    assert "DeleteMarker" not in s3.delete_object(Bucket=bucket, Key="k")
