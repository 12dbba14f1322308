"""Requests whose signature is in the URL: Signature Version 4, and Version 2 as boto3 makes it by default."""

import dataclasses
import datetime
import time
import urllib.parse

import pytest
import requests

from . import checksums, sigv4
from .wire import path

HOUR = datetime.timedelta(hours=1)
VERSIONS = ["s3v4", "s3"]


@pytest.fixture(params=VERSIONS)
def signing(request, make_client):
    """A client that presigns with Version 4 and one with Version 2."""
    return make_client(signature_version=request.param)


@pytest.fixture
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ContentType="text/plain")
    return bucket


def url_of(client, operation, bucket, key="k", expires=600, **params):
    return client.generate_presigned_url(operation, {"Bucket": bucket, "Key": key, **params}, ExpiresIn=expires)


def error_code(answer):
    from xml.etree import ElementTree

    return answer.status_code, ElementTree.fromstring(answer.content).findtext("Code")


def altered(url, **changes):
    """The URL with query parameters changed, or taken out where the value is None."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    for name, value in changes.items():
        query.pop(name.replace("_", "-"), None)
        if value is not None:
            query[name.replace("_", "-")] = value
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query, quote_via=urllib.parse.quote)))


def test_boto3_uses_version_2_unless_told_otherwise(make_client, stored):
    # The premise of half of this file.
    url = url_of(make_client(), "get_object", stored)
    assert "AWSAccessKeyId=" in url
    assert requests.get(url, timeout=10).content == b"content"


def test_get(signing, stored):
    answer = requests.get(url_of(signing, "get_object", stored), timeout=10)
    assert (answer.status_code, answer.content) == (200, b"content")
    assert answer.headers["Content-Type"] == "text/plain"


def test_head(signing, stored):
    answer = requests.head(url_of(signing, "head_object", stored), timeout=10)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "7")


def test_put(signing, s3, bucket):
    answer = requests.put(url_of(signing, "put_object", bucket), data=b"uploaded", timeout=10)
    assert (answer.status_code, answer.headers["ETag"]) == (200, checksums.etag(b"uploaded"))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"uploaded"


def test_put_with_signed_content_type(signing, s3, bucket):
    url = url_of(signing, "put_object", bucket, ContentType="text/csv")
    answer = requests.put(url, data=b"a,b", headers={"Content-Type": "text/csv"}, timeout=10)
    assert answer.status_code == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "text/csv"
    wrong = requests.put(url, data=b"x", headers={"Content-Type": "text/html"}, timeout=10)
    assert error_code(wrong) == (403, "SignatureDoesNotMatch")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"a,b"


def test_put_with_signed_metadata(make_client, s3, bucket):
    client = make_client(signature_version="s3v4")
    url = url_of(client, "put_object", bucket, Metadata={"m": "v"})
    answer = requests.put(url, data=b"x", headers={"x-amz-meta-m": "v"}, timeout=10)
    assert answer.status_code == 200
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"m": "v"}
    without = requests.put(url, data=b"x", timeout=10)
    assert without.status_code == 403


def test_put_of_nothing(signing, s3, bucket):
    assert requests.put(url_of(signing, "put_object", bucket), timeout=10).status_code == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_delete(signing, s3, stored, refused):
    assert requests.delete(url_of(signing, "delete_object", stored), timeout=10).status_code == 204
    with refused(404):
        s3.head_object(Bucket=stored, Key="k")


def test_upload_part(signing, s3, bucket):
    # How an mlflow client sends parts when the server hands out the addresses.
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    url = url_of(signing, "upload_part", bucket, UploadId=upload, PartNumber=1)
    etag = requests.put(url, data=b"part", timeout=10).headers["ETag"]
    done = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=done)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"part"


def test_list(signing, stored):
    url = signing.generate_presigned_url("list_objects_v2", {"Bucket": stored, "Prefix": "k", "Delimiter": "/"})
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    assert b"<Key>k</Key>" in answer.content


def test_response_headers(signing, stored):
    url = url_of(
        signing,
        "get_object",
        stored,
        ResponseContentDisposition='attachment; filename="n ü.txt"',
        ResponseContentType="application/x-thing",
    )
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-thing"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")


def test_range(signing, stored):
    answer = requests.get(url_of(signing, "get_object", stored), headers={"Range": "bytes=1-3"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, b"ont")


def test_missing_object(signing, bucket):
    assert error_code(requests.get(url_of(signing, "get_object", bucket), timeout=10)) == (404, "NoSuchKey")


def test_another_method(signing, s3, stored):
    answer = requests.delete(url_of(signing, "get_object", stored), timeout=10)
    assert error_code(answer) == (403, "SignatureDoesNotMatch")
    answer = requests.put(url_of(signing, "get_object", stored), data=b"x", timeout=10)
    assert error_code(answer) == (403, "SignatureDoesNotMatch")
    assert s3.get_object(Bucket=stored, Key="k")["Body"].read() == b"content"


def test_another_key(signing, s3, stored):
    s3.put_object(Bucket=stored, Key="secret", Body=b"secret")
    url = url_of(signing, "get_object", stored).replace(f"/{stored}/k?", f"/{stored}/secret?")
    assert error_code(requests.get(url, timeout=10)) == (403, "SignatureDoesNotMatch")


def test_wrong_secret_and_unknown_key(make_client, stored):
    for version in VERSIONS:
        url = url_of(make_client(signature_version=version, secret_key="other"), "get_object", stored)
        assert error_code(requests.get(url, timeout=10)) == (403, "SignatureDoesNotMatch")
        url = url_of(make_client(signature_version=version, access_key="nobody"), "get_object", stored)
        assert error_code(requests.get(url, timeout=10)) == (403, "InvalidAccessKeyId")


def test_expires_while_it_is_used(make_client, stored):
    # Two seconds, as the signature's date is cut to whole seconds: one could be over before the first use.
    urls = [url_of(make_client(signature_version=v), "get_object", stored, expires=2) for v in VERSIONS]
    assert [requests.get(url, timeout=10).status_code for url in urls] == [200, 200]
    time.sleep(3.1)
    assert [error_code(requests.get(url, timeout=10)) for url in urls] == [(403, "AccessDenied")] * 2


# ---- Version 4 by hand ---------------------------------------------------------------------------------------------


def get_v4(wire, target, change=None, signer=None, **options):
    query = (signer or wire.signer).presign("GET", wire.host, target, **options)
    if change:
        query = change(query)
    return wire.plain("GET", wire.target(target, query))


@pytest.fixture
def target(stored):
    return path(stored, "k")


def test_v4_by_hand(wire, target):
    assert get_v4(wire, target).body == b"content"


def test_v4_expired(wire, target):
    assert get_v4(wire, target, when=sigv4.now() - HOUR, expires=3599).failure == (403, "AccessDenied")
    assert get_v4(wire, target, when=sigv4.now() - HOUR, expires=3700).status == 200
    assert get_v4(wire, target, when=sigv4.now() - 24 * 6 * HOUR, expires=604800).status == 200


def test_v4_expired_upload_stores_nothing(wire, bucket):
    target = path(bucket, "late")
    query = wire.signer.presign("PUT", wire.host, target, when=sigv4.now() - HOUR, expires=60)
    assert wire.plain("PUT", wire.target(target, query), body=b"x").failure == (403, "AccessDenied")
    assert wire.request("HEAD", target).status == 404


def test_v4_not_yet_valid(wire, target):
    assert get_v4(wire, target, when=sigv4.now() + HOUR).failure == (403, "AccessDenied")


@pytest.mark.parametrize("expires", [604801, -1, "soon", "", "99999999999999999999", "1.5"])
def test_v4_expiry_out_of_range(wire, target, expires):
    assert get_v4(wire, target, expires=expires).failure == (400, "AuthorizationQueryParametersError")


@pytest.mark.parametrize(
    "name", ["X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"]
)
def test_v4_missing_parameter(wire, target, name):
    answer = get_v4(wire, target, lambda query: [(k, v) for k, v in query if k != name])
    assert answer.failure == (400, "AuthorizationQueryParametersError")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA1"),
        ("X-Amz-Credential", "minio"),
        ("X-Amz-Credential", "minio/20260101/us-east-1/s3/other"),
        ("X-Amz-Credential", "minio/20260101/us-east-1/ec2/aws4_request"),
        ("X-Amz-Date", "today"),
    ],
)
def test_v4_malformed_parameter(wire, target, name, value):
    answer = get_v4(wire, target, lambda query: [(k, value if k == name else v) for k, v in query])
    assert answer.failure == (400, "AuthorizationQueryParametersError")


@pytest.mark.parametrize(
    "change",
    [
        lambda query: [*query, ("response-content-type", "text/html")],
        lambda query: [(k, "599" if k == "X-Amz-Expires" else v) for k, v in query],
        lambda query: [(k, "0" * 64 if k == "X-Amz-Signature" else v) for k, v in query],
        lambda query: [(k, v[:-1] if k == "X-Amz-Signature" else v) for k, v in query],
    ],
    ids=["added parameter", "longer life", "zeros", "short"],
)
def test_v4_tampered(wire, target, change):
    assert get_v4(wire, target, change).failure == (403, "SignatureDoesNotMatch")


def test_v4_any_region(wire, target):
    signer = dataclasses.replace(wire.signer, region="eu-west-3")
    assert get_v4(wire, target, signer=signer).status == 200


def test_v4_query_in_another_order(wire, target):
    query = wire.signer.presign("GET", wire.host, target, [("response-content-type", "text/x-y")])
    answer = wire.plain("GET", wire.target(target, query[::-1]))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/x-y")


def test_v4_signed_header_must_come(wire, target):
    query = wire.signer.presign("GET", wire.host, target, headers={"Range": "bytes=0-2"})
    assert wire.plain("GET", wire.target(target, query), {"Range": "bytes=0-2"}).body == b"con"
    assert wire.plain("GET", wire.target(target, query), {"Range": "bytes=0-6"}).failure == (
        403,
        "SignatureDoesNotMatch",
    )
    assert wire.plain("GET", wire.target(target, query)).status == 403


def test_v4_checksum_of_a_presigned_upload(wire, bucket):
    target, name = path(bucket, "sum"), checksums.header("CRC32")
    good, bad = checksums.of("CRC32", b"body"), checksums.of("CRC32", b"x")
    for value, failure in ((bad, (400, "BadDigest")), (good, (200, None))):
        query = wire.signer.presign("PUT", wire.host, target, headers={name: value})
        assert wire.plain("PUT", wire.target(target, query), {name: value}, b"body").failure == failure
    assert wire.request("GET", target).body == b"body"


# ---- Version 2 by hand ---------------------------------------------------------------------------------------------


@pytest.fixture
def v2_url(make_client, stored):
    return url_of(make_client(signature_version="s3"), "get_object", stored)


def test_v2_expired(v2_url):
    past = str(int(time.time()) - 5)
    assert error_code(requests.get(altered(v2_url, Expires=past), timeout=10)) == (403, "AccessDenied")


def test_v2_longer_life(v2_url):
    later = str(int(time.time()) + 100_000)
    assert error_code(requests.get(altered(v2_url, Expires=later), timeout=10)) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("name", ["Expires", "Signature", "AWSAccessKeyId"])
def test_v2_missing_parameter(v2_url, name):
    answer = requests.get(altered(v2_url, **{name: None}), timeout=10)
    assert error_code(answer) == (403, "AccessDenied")


@pytest.mark.parametrize("value", ["soon", "", "-1", "1e99"])
def test_v2_malformed_expiry(v2_url, value):
    assert error_code(requests.get(altered(v2_url, Expires=value), timeout=10)) == (403, "AccessDenied")


def test_v2_tampered(v2_url):
    for value in ("", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not base64!"):
        answer = requests.get(altered(v2_url, Signature=value), timeout=10)
        assert answer.status_code == 403
    # Sub-resources are part of what Version 2 signs; they cannot be added either.
    for extra in ("tagging", "acl", "response-content-type"):
        answer = requests.get(f"{v2_url}&{extra}=x", timeout=10)
        assert error_code(answer) == (403, "SignatureDoesNotMatch"), extra
