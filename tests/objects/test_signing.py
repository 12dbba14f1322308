"""Signature Version 4 in the Authorization header: what is accepted, and what is refused how."""

import dataclasses
import datetime
import hashlib

import pytest

from . import sigv4
from .wire import path

MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture(scope="module")
def target(wire, module_bucket):
    """The path of an object to read."""
    assert wire.request("PUT", path(module_bucket, "k"), body=b"content").status == 200
    return path(module_bucket, "k")


@pytest.fixture
def free(module_bucket, request):
    """The path of an object that is not there, of this test's own."""
    return path(module_bucket, f"free/{request.node.name}")


def changed(wire, **fields):
    return dataclasses.replace(wire.signer, **fields)


def test_right(wire, target):
    assert wire.request("GET", target).body == b"content"


def test_wrong_secret(wire, target, make_client, module_bucket, refused):
    answer = wire.request("GET", target, signer=changed(wire, secret_key="minio124"))
    assert answer.failure == (403, "SignatureDoesNotMatch")
    with refused(403, "SignatureDoesNotMatch"):
        make_client(secret_key="other").get_object(Bucket=module_bucket, Key="k")


def test_unknown_access_key(wire, target, make_client, module_bucket, refused):
    for name in ("nobody", "MINIO", "minio2", "'; DROP TABLE users; --"):
        answer = wire.request("GET", target, signer=changed(wire, access_key=name))
        assert answer.failure == (403, "InvalidAccessKeyId"), name
    with refused(403, "InvalidAccessKeyId"):
        make_client(access_key="nobody").get_object(Bucket=module_bucket, Key="k")


def test_head_is_refused_without_a_body(wire, target):
    answer = wire.request("HEAD", target, signer=changed(wire, secret_key="other"))
    assert (answer.status, answer.body) == (403, b"")


def test_anonymous(wire, target, free):
    assert wire.plain("GET", target).failure == (403, "AccessDenied")
    assert wire.plain("GET", "/").failure == (403, "AccessDenied")
    assert wire.plain("PUT", free, body=b"x").failure == (403, "AccessDenied")
    assert wire.plain("DELETE", target).failure == (403, "AccessDenied")
    assert wire.request("GET", target).body == b"content"
    assert wire.request("HEAD", free).status == 404


def test_the_signature_is_checked_first(wire, bucket_name):
    # Whoever cannot sign does not learn which buckets exist.
    answer = wire.request("GET", path(bucket_name(), "k"), signer=changed(wire, secret_key="x"))
    assert answer.failure == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("what", "send"),
    [
        ("method", lambda w, t: w.plain("DELETE", t, w.signed_headers("GET", t))),
        ("path", lambda w, t: w.plain("GET", t + "x", w.signed_headers("GET", t))),
        ("query added", lambda w, t: w.plain("GET", t + "?versionId=null", w.signed_headers("GET", t))),
        (
            "query value",
            lambda w, t: w.plain("GET", t + "?partNumber=2", w.signed_headers("GET", t, {"partNumber": "1"})),
        ),
        ("query removed", lambda w, t: w.plain("GET", t, w.signed_headers("GET", t, {"versionId": "null"}))),
        (
            "header",
            lambda w, t: w.request("GET", t, headers={"Range": "bytes=0-0"}, after_signing={"Range": "bytes=1-1"}),
        ),
        (
            "header removed",
            lambda w, t: w.request("GET", t, headers={"Range": "bytes=0-0"}, after_signing={"Range": None}),
        ),
        ("host", lambda w, t: w.request("GET", t, after_signing={"Host": "127.0.0.1:1"})),
        ("date", lambda w, t: w.request("GET", t, after_signing={"x-amz-date": sigv4.amz_date(sigv4.now() - MINUTE)})),
        (
            "payload hash",
            lambda w, t: w.request("GET", t, after_signing={"x-amz-content-sha256": hashlib.sha256(b"x").hexdigest()}),
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_changed_after_signing(wire, target, what, send):
    answer = send(wire, target)
    assert answer.failure == (403, "SignatureDoesNotMatch"), what
    assert wire.request("GET", target).body == b"content"


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"),
        lambda s: s[:-2],
        lambda s: s + "00",
        lambda s: "0" * 64,
        lambda s: "",
    ],
    ids=["last digit", "short", "long", "zeros", "empty"],
)
def test_spoiled_signature(wire, target, change):
    headers = wire.signed_headers("GET", target)
    head, _, signature = headers["Authorization"].rpartition("Signature=")
    answer = wire.plain("GET", target, {**headers, "Authorization": f"{head}Signature={change(signature)}"})
    assert answer.failure in ((403, "SignatureDoesNotMatch"), (400, "AuthorizationHeaderMalformed"))


@pytest.mark.parametrize("minutes", [-16, -60, -60 * 24 * 400, 16, 60, 60 * 24 * 400])
def test_clock_too_far_off(wire, target, minutes):
    answer = wire.request("GET", target, when=sigv4.now() + minutes * MINUTE)
    assert answer.failure == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize("minutes", [-14, 14])
def test_clock_a_little_off(wire, target, minutes):
    assert wire.request("GET", target, when=sigv4.now() + minutes * MINUTE).status == 200


def test_skew_around_midnight_uses_the_date_of_the_signature(wire, target):
    # The scope's day is that of x-amz-date, whatever the server's own day is by now.
    headers = wire.signed_headers("GET", target)
    today = headers["x-amz-date"][:8]
    other = (sigv4.now() - datetime.timedelta(days=1)).strftime("%Y%m%d")
    broken = {**headers, "Authorization": headers["Authorization"].replace(f"/{today}/", f"/{other}/")}
    assert wire.plain("GET", target, broken).failure in (
        (400, "AuthorizationHeaderMalformed"),
        (403, "SignatureDoesNotMatch"),
    )


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "auto", "local"])
def test_any_region_of_the_client(wire, target, region):
    assert wire.request("GET", target, signer=changed(wire, region=region)).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=minio",
        "AWS4-HMAC-SHA256 Credential=minio/20260101/us-east-1/s3/aws4_request",
        "AWS4-HMAC-SHA256 Credential=minio/20260101/us-east-1/s3/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=minio/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=minio/20260101/us-east-1/s3/aws5_request, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=minio/notadate/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;;, Signature=,,,",
        "AWS4-HMAC-SHA256 " + "x" * 5000,
    ],
)
def test_malformed_authorization(wire, target, value):
    answer = wire.request("GET", target, after_signing={"Authorization": value})
    assert answer.status == 400
    # With nothing behind the algorithm it may as well count as an unknown kind of authorization.
    bare = value.strip() == "AWS4-HMAC-SHA256"
    assert answer.code in ("AuthorizationHeaderMalformed", *(["InvalidArgument"] if bare else []))


@pytest.mark.parametrize("service", ["ec2", "sts", ""])
def test_another_service(wire, target, service):
    answer = wire.request("GET", target, signer=changed(wire, service=service))
    assert answer.failure == (400, "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("value", ["Bearer abc", "Basic bWluaW86bWluaW8xMjM=", "Negotiate x", "AWS5 x", "x"])
def test_unsupported_kind_of_authorization(wire, target, value):
    answer = wire.request("GET", target, after_signing={"Authorization": value})
    assert answer.failure in ((400, "InvalidArgument"), (403, "AccessDenied"))


def test_without_a_date(wire, target):
    answer = wire.request("GET", target, after_signing={"x-amz-date": None})
    assert answer.status in (400, 403)
    assert answer.code in ("AccessDenied", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("value", ["yesterday", "20260101", "20261399T999999Z", ""])
def test_a_date_that_is_none(wire, target, value):
    answer = wire.request("GET", target, after_signing={"x-amz-date": value})
    assert answer.status in (400, 403)
    assert answer.code in ("AccessDenied", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed")


def test_amazon_headers_must_be_signed(wire, target, module_bucket, free):
    # Otherwise whoever carries the request could turn an upload into a copy of something else.
    headers = {"x-amz-copy-source": f"/{module_bucket}/k"}
    answer = wire.request("PUT", free, headers=headers, unsigned_headers=("x-amz-copy-source",))
    assert answer.failure == (403, "AccessDenied")
    assert wire.request("HEAD", free).status == 404


def test_host_must_be_signed(wire, target):
    answer = wire.request("GET", target, unsigned_headers=("host",))
    assert answer.failure in (
        (400, "AuthorizationHeaderMalformed"),
        (403, "AccessDenied"),
        (403, "SignatureDoesNotMatch"),
    )


def test_headers_that_need_no_signature(wire, target):
    headers = {"Range": "bytes=0-2", "X-Custom": "anything"}
    answer = wire.request("GET", target, headers=headers, unsigned_headers=("range", "x-custom"))
    assert (answer.status, answer.body) == (206, b"con")


def test_commas_without_spaces(wire, target):
    headers = wire.signed_headers("GET", target)
    compact = {**headers, "Authorization": headers["Authorization"].replace(", ", ",")}
    assert wire.plain("GET", target, compact).status == 200


def test_header_values_are_trimmed_and_spaces_collapsed(wire, free):
    headers = {"x-amz-meta-spaced": "  a   b    c  "}
    assert wire.request("PUT", free + "-spaces", headers=headers, body=b"x").status == 200


def test_many_signed_headers_as_other_clients_send_them(wire, free):
    # minio-py signs Content-Length, Content-MD5 and Content-Type; the C++ SDK its own amz-sdk-* headers.
    headers = {
        "Content-Length": "1",
        "Content-Type": "application/octet-stream",
        "amz-sdk-invocation-id": "11111111-2222-3333-4444-555555555555",
        "amz-sdk-request": "attempt=1",
        "x-custom-header": "signed too",
    }
    assert wire.request("PUT", free + "-many", headers=headers, body=b"x").status == 200


@pytest.mark.parametrize(
    "query",
    [
        [("prefix", "")],
        [("prefix", "a b+c/d=e&f")],
        [("delimiter", "/"), ("prefix", "ü"), ("list-type", "2")],
        [("list-type", "2"), ("max-keys", "5"), ("Prefix-Upper", "X")],
        [("prefix", "~-_.!*'()")],
        [("x", "1"), ("x", "0"), ("X", "2")],
        [("a-b", "1"), ("a", "2"), ("a.b", "3"), ("a%", "4")],
    ],
    ids=str,
)
def test_canonical_query(wire, module_bucket, query):
    assert wire.request("GET", path(module_bucket), query).status == 200


def test_query_as_it_may_be_written(wire, module_bucket):
    # The signature is over the decoded and newly encoded form; what travels may be written otherwise.
    target = path(module_bucket)
    headers = wire.signed_headers("GET", target, [("list-type", "2"), ("prefix", "a/b=c")])
    for text in ("list-type=2&prefix=a%2Fb%3Dc", "prefix=a/b%3dc&list-type=2", "list-type=2&prefix=a%2fb=c"):
        assert wire.plain("GET", f"{target}?{text}", headers).status == 200, text
    headers = wire.signed_headers("GET", target, [("location", "")])
    for text in ("location", "location="):
        assert wire.plain("GET", f"{target}?{text}", headers).status == 200, text


def test_header_names_in_any_case(wire, target):
    headers = {k.upper(): v for k, v in wire.signed_headers("GET", target).items()}
    assert wire.plain("GET", target, headers).status == 200


def test_payload_hash_must_fit_the_body(wire, free):
    wrong = hashlib.sha256(b"what was announced").hexdigest()
    answer = wire.request("PUT", free, body=b"what came", payload_hash=wrong)
    assert answer.failure == (400, "XAmzContentSHA256Mismatch")
    assert wire.request("HEAD", free).status == 404


def test_payload_hash_of_a_larger_body(wire, free):
    body = bytes(range(256)) * 8192
    assert wire.request("PUT", free + "-large", body=body).status == 200
    answer = wire.request("PUT", free, body=body[:-1] + b"!", payload_hash=hashlib.sha256(body).hexdigest())
    assert answer.failure == (400, "XAmzContentSHA256Mismatch")
    assert wire.request("HEAD", free).status == 404


def test_payload_hash_mismatch_on_other_bodies(wire, module_bucket):
    wrong = hashlib.sha256(b"what was announced").hexdigest()
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    answer = wire.request(
        "POST", path(module_bucket), {"delete": ""}, headers={"Content-MD5": "x"}, body=body, payload_hash=wrong
    )
    assert answer.status == 400
    assert answer.code in ("XAmzContentSHA256Mismatch", "InvalidDigest")
    upload = wire.request("POST", path(module_bucket, "mp"), {"uploads": ""}).xml.findtext("UploadId")
    query = {"partNumber": "1", "uploadId": upload}
    answer = wire.request("PUT", path(module_bucket, "mp"), query, body=body, payload_hash=wrong)
    assert answer.failure == (400, "XAmzContentSHA256Mismatch")
    parts = wire.request("GET", path(module_bucket, "mp"), {"uploadId": upload}).xml
    assert parts.find("Part") is None


@pytest.mark.parametrize("value", ["", "abc", "UNSIGNED", "z" * 64, "STREAMING-SOMETHING-ELSE"])
def test_payload_hash_that_is_none(wire, free, value):
    answer = wire.request("PUT", free, body=b"x", payload_hash=value)
    assert answer.status == 400
    assert answer.code in ("InvalidArgument", "InvalidRequest", "XAmzContentSHA256Mismatch")
    assert wire.request("HEAD", free).status == 404


def test_unsigned_payload(wire, free):
    assert wire.request("PUT", free + "-unsigned", body=b"x", payload_hash=sigv4.UNSIGNED).status == 200
    assert wire.request("GET", free + "-unsigned", payload_hash=sigv4.UNSIGNED).body == b"x"


def test_two_ways_to_sign_at_once(wire, target):
    query = wire.signer.presign("GET", wire.host, target)
    headers = wire.signed_headers("GET", target, query)
    answer = wire.plain("GET", wire.target(target, query), headers)
    assert answer.failure == (400, "InvalidArgument")


def test_a_refused_upload_stores_nothing(wire, free):
    answer = wire.request("PUT", free, body=b"x" * 100_000, signer=changed(wire, secret_key="other"))
    assert answer.failure == (403, "SignatureDoesNotMatch")
    assert wire.request("HEAD", free).status == 404


def test_the_answer_tells_no_secret(wire, target):
    # S3 shows the string it signed, to help; the right signature or key must not be in it.
    headers = wire.signed_headers("GET", target)
    right = sigv4.seed_signature(headers)
    spoiled = headers["Authorization"].replace(right, "0" * 64)
    answer = wire.plain("GET", target, {**headers, "Authorization": spoiled})
    assert answer.failure == (403, "SignatureDoesNotMatch")
    assert right.encode() not in answer.body
    assert wire.signer.secret_key.encode() not in answer.body
