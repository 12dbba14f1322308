"""Buckets: create, head, list, delete, location, names, and the sub-resources that have no settings yet."""

import datetime
import re

import pytest

from . import sigv4
from .wire import NAMESPACE, path


def names(s3):
    return [b["Name"] for b in s3.list_buckets()["Buckets"]]


def test_create_head_list_delete(s3, bucket_name, refused):
    name = bucket_name()
    made = s3.create_bucket(Bucket=name)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert made["Location"].endswith(f"/{name}")
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert name in names(s3)
    assert s3.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert name not in names(s3)
    with refused(404):
        s3.head_bucket(Bucket=name)


def test_the_artifact_bucket_exists_from_the_start(s3):
    assert "mlflow-artifacts" in names(s3)


def test_list_buckets_document(wire, s3, bucket):
    answer = wire.request("GET", "/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert NAMESPACE.encode() in answer.body
    root = answer.xml
    assert root.tag == "ListAllMyBucketsResult"
    assert root.findtext("Owner/ID")
    found = {b.findtext("Name"): b.findtext("CreationDate") for b in root.iter("Bucket")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[bucket])
    assert list(found) == sorted(found)
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(found[bucket])
    assert abs(age.total_seconds()) < 60


def test_head_bucket_tells_the_region(wire, bucket):
    answer = wire.request("HEAD", path(bucket))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-amz-bucket-region"] == "us-east-1"


def test_head_of_unknown_bucket_has_no_body(wire, bucket_name):
    answer = wire.request("HEAD", path(bucket_name()))
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("suffix", ["", "/"])
def test_location_of_the_default_region_is_an_empty_element(wire, bucket, suffix):
    answer = wire.request("GET", path(bucket) + suffix, {"location": ""})
    assert answer.status == 200
    assert answer.xml.tag == "LocationConstraint"
    assert not answer.xml.text
    assert NAMESPACE.encode() in answer.body


def test_location_of_unknown_bucket(s3, bucket_name, refused):
    # `mc alias set` does just this, and takes NoSuchBucket as the sign of a working server.
    with refused(404, "NoSuchBucket"):
        s3.get_bucket_location(Bucket=bucket_name())


def test_create_with_location_constraint(wire, bucket_name):
    name = bucket_name()
    body = (
        f'<CreateBucketConfiguration xmlns="{NAMESPACE}">'
        "<LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>"
    ).encode()
    signer = sigv4.Signer(wire.signer.access_key, wire.signer.secret_key, region="eu-central-1")
    assert wire.request("PUT", path(name), body=body, signer=signer).status == 200
    assert wire.request("HEAD", path(name)).status == 200


def test_create_with_trailing_slash(wire, bucket_name):
    name = bucket_name()
    assert wire.request("PUT", path(name) + "/").status == 200
    assert wire.request("HEAD", path(name)).status == 200


@pytest.mark.parametrize("body", [b"<CreateBucketConfiguration>", b"{}", b"<Other/>"])
def test_create_with_malformed_document(wire, bucket_name, body):
    name = bucket_name()
    assert wire.request("PUT", path(name), body=body).failure == (400, "MalformedXML")
    assert wire.request("HEAD", path(name)).status == 404


def test_create_again_is_accepted_and_keeps_the_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    assert s3.create_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_delete_unknown_bucket(s3, bucket_name, refused):
    with refused(404, "NoSuchBucket"):
        s3.delete_bucket(Bucket=bucket_name())


def test_delete_needs_an_empty_bucket(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="deep/down", Body=b"x")
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="deep/down")["Body"].read() == b"x"
    s3.delete_object(Bucket=bucket, Key="deep/down")
    s3.delete_bucket(Bucket=bucket)


def test_a_bucket_made_anew_is_empty(s3, bucket):
    s3.put_object(Bucket=bucket, Key="old", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="old")
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "UPPER-case",
        "under_score",
        "a..b",
        ".abc",
        "abc.",
        "-abc",
        "abc-",
        "192.168.5.4",
        "spa ce",
        "ünï",
        "..",
    ],
)
def test_invalid_bucket_names(wire, name):
    answer = wire.request("PUT", path(name))
    assert answer.failure == (400, "InvalidBucketName")


def test_bucket_name_with_nul(wire):
    assert wire.request("PUT", path("a\x00bc")).status == 400
    assert wire.request("HEAD", path("a")).status in (400, 404)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "1a2", "dots.are.fine", "a-b-c", "999", "1.2.3.4.5"])
def test_valid_bucket_names(wire, name):
    assert wire.request("PUT", path(name)).status == 200
    assert wire.request("DELETE", path(name)).status == 204


UNKNOWN_BUCKET_REQUESTS = [
    ("GET", None, {}),
    ("GET", None, {"list-type": "2"}),
    ("GET", None, {"versions": ""}),
    ("GET", None, {"uploads": ""}),
    ("GET", None, {"versioning": ""}),
    ("DELETE", None, {}),
    ("GET", "k", {}),
    ("PUT", "k", {}),
    ("DELETE", "k", {}),
    ("POST", "k", {"uploads": ""}),
    ("GET", "k", {"tagging": ""}),
    ("PUT", "k", {"partNumber": "1", "uploadId": "none"}),
]


@pytest.mark.parametrize(("method", "key", "query"), UNKNOWN_BUCKET_REQUESTS)
def test_every_operation_on_an_unknown_bucket(wire, bucket_name, method, key, query):
    name = bucket_name()
    answer = wire.request(method, path(name, key), query)
    assert answer.failure == (404, "NoSuchBucket")
    assert answer.xml.findtext("BucketName") == name


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ("policy", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("cors", "NoSuchCORSConfiguration"),
        ("tagging", "NoSuchTagSet"),
        # What mc asks for before each copy.
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
    ],
)
def test_settings_that_nobody_made(wire, bucket, resource, code):
    assert wire.request("GET", path(bucket), {resource: ""}).failure == (404, code)


def test_versioning_was_never_turned_on(s3, wire, bucket):
    answer = wire.request("GET", path(bucket), {"versioning": ""})
    assert (answer.status, answer.xml.tag) == (200, "VersioningConfiguration")
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


def test_acl_is_full_control_of_the_owner(s3, bucket):
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert [g["Permission"] for g in acl["Grants"]] == ["FULL_CONTROL"]
    assert acl["Grants"][0]["Grantee"]["ID"] == acl["Owner"]["ID"]


SUB_RESOURCES = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
]


@pytest.mark.parametrize("resource", SUB_RESOURCES)
def test_a_sub_resource_is_never_taken_for_the_bucket(wire, s3, bucket_name, resource):
    # A server that ignores an unknown query would create, list or delete the bucket instead.
    missing = bucket_name()
    wire.request("PUT", path(missing), {resource: ""}, body=b"<x/>")
    assert wire.request("HEAD", path(missing)).status == 404

    name = bucket_name()
    s3.create_bucket(Bucket=name)
    listing = wire.request("GET", path(name), {resource: ""})
    assert b"<ListBucketResult" not in listing.body
    answer = wire.request("DELETE", path(name), {resource: ""})
    assert answer.status in (204, 400, 404, 405, 501)
    assert wire.request("HEAD", path(name)).status == 200


def test_what_is_not_offered_is_said_to_be_so(wire, bucket):
    body = (
        f'<WebsiteConfiguration xmlns="{NAMESPACE}"><IndexDocument><Suffix>index.html</Suffix></IndexDocument>'
        "</WebsiteConfiguration>"
    ).encode()
    assert wire.request("PUT", path(bucket), {"website": ""}, body=body).failure == (501, "NotImplemented")


def test_expected_owner_must_match(wire, bucket):
    header = {"x-amz-expected-bucket-owner": "111122223333"}
    assert wire.request("GET", path(bucket), headers=header).failure == (403, "AccessDenied")
    assert wire.request("PUT", path(bucket, "k"), headers=header, body=b"x").failure == (403, "AccessDenied")
    assert wire.request("HEAD", path(bucket, "k")).status == 404


def test_a_new_region_of_the_client_is_no_other_bucket(make_client, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    other = make_client(region="ap-southeast-2")
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
