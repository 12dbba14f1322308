"""The shape of errors and answers, and requests that make no sense."""

import pytest

from . import sigv4
from .wire import path


def test_error_document(wire, bucket):
    target = path(bucket, "no such & key")
    answer = wire.request("GET", target)
    assert answer.failure == (404, "NoSuchKey")
    assert answer.headers["Content-Type"].startswith("application/xml")
    root = answer.xml
    # Errors carry no namespace; SDKs look for a bare <Error>.
    assert b"<Error>" in answer.body
    assert {"Code", "Message", "Resource", "RequestId", "HostId"} <= {node.tag for node in root}
    assert root.findtext("Message")
    assert root.findtext("Key") == "no such & key"
    assert root.findtext("RequestId") == answer.headers["x-amz-request-id"]
    assert root.findtext("HostId") == answer.headers["x-amz-id-2"]


def test_error_of_a_bucket(wire, bucket_name):
    name = bucket_name()
    root = wire.request("GET", path(name)).xml
    assert (root.findtext("Code"), root.findtext("BucketName")) == ("NoSuchBucket", name)


def test_resource_names_the_path(wire, bucket):
    root = wire.request("GET", path(bucket, "a/b")).xml
    assert root.findtext("Resource") == f"/{bucket}/a/b"


@pytest.mark.parametrize(
    ("method", "key", "query"),
    [
        ("GET", None, {}),
        ("PUT", "k", {}),
        ("GET", "k", {}),
        ("HEAD", "none", {}),
        ("DELETE", "k", {}),
        ("POST", "k", {"uploads": ""}),
        ("GET", "none", {}),
    ],
)
def test_headers_on_every_answer(wire, bucket, method, key, query):
    if (method, key) == ("GET", "k"):
        wire.request("PUT", path(bucket, "k"), body=b"x")
    answer = wire.request(method, path(bucket, key), query)
    for name in ("x-amz-request-id", "x-amz-id-2", "Date", "Server"):
        assert answer.headers[name], name
        assert len(answer.headers.get_all(name)) == 1, name


def test_request_ids_differ(wire, bucket):
    ids = {wire.request("GET", path(bucket)).headers["x-amz-request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_head_errors_have_no_body(wire, bucket):
    # Read from the raw connection: a body after a HEAD would be taken for the next answer.
    headers = wire.signed_headers("HEAD", path(bucket, "none"))
    next_headers = wire.signed_headers("GET", path(bucket))
    with wire.connect() as connection:
        connection.send_head("HEAD", path(bucket, "none"), headers)
        assert connection.read_answer("HEAD").status == 404
        connection.send_head("GET", path(bucket), next_headers)
        assert connection.read_answer().status == 200


@pytest.mark.parametrize(
    ("method", "key"), [("PATCH", "k"), ("PATCH", None), ("POST", "k"), ("TRACE", "k"), ("FROBNICATE", "k")]
)
def test_methods_that_mean_nothing(wire, bucket, method, key):
    wire.request("PUT", path(bucket, "k"), body=b"kept")
    answer = wire.request(method, path(bucket, key))
    assert answer.status in (400, 405, 501)
    assert wire.request("GET", path(bucket, "k")).body == b"kept"


def test_method_not_allowed(wire, bucket):
    assert wire.request("POST", path(bucket, "k")).failure == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    "target", ["/minio/health/live", "/minio/health/ready", "/minio/health/cluster", "/healthz", "/readyz"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_needs_no_signature(wire, target, method):
    answer = wire.plain(method, target)
    assert answer.status == 200
    if method == "HEAD":
        assert answer.body == b""


@pytest.mark.parametrize(
    "target",
    [
        "//",
        "/%00",
        "/?%",
        "/?=&=&",
        "/?" + "a=b&" * 2000,
        "/" + "x" * 5000,
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/\u00ff",
    ],
    ids=lambda t: ascii(t[:24]),
)
def test_strange_targets_get_a_client_error(wire, target):
    answer = wire.plain("GET", target)
    assert 400 <= answer.status < 500
    assert b"root:" not in answer.body


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"H%d: v\r\n" % n for n in range(2000)) + b"\r\n",
    ],
    ids=lambda r: ascii(r[:30]),
)
def test_raw_nonsense_is_refused_or_dropped(wire, raw):
    # A 4xx, or the connection just ends; never a 2xx or 5xx, and never silence until our own time is up.
    with wire.connect(timeout=20) as connection:
        try:
            connection.send(raw)
            connection.half_close()
            status, _ = connection.read_head()
        except (ConnectionResetError, BrokenPipeError):
            status = 0
    assert status == 0 or 400 <= status < 500 or status == 505
    assert wire.request("GET", "/").status == 200


def test_boto3_reads_the_error(s3, bucket, refused):
    with refused(404, "NoSuchKey") as caught:
        s3.get_object(Bucket=bucket, Key="ü/none")
    error = caught.value.response["Error"]
    assert (error["Key"], bool(error["Message"])) == ("ü/none", True)


def test_what_mc_asks_in_its_first_requests(wire, bucket):
    # mc writes the path of a bucket with a slash behind it and gives queries an empty value.
    assert wire.request("GET", path(bucket) + "/", {"location": ""}).status == 200
    assert wire.request("GET", path(bucket) + "/", {"object-lock": ""}).failure == (
        404,
        "ObjectLockConfigurationNotFoundError",
    )
    assert wire.request("HEAD", path(bucket) + "/").status == 200
    body = b"copied by mc"
    answer = wire.stream("PUT", path(bucket, "k"), kind=sigv4.STREAM_SIGNED, chunks=[body])
    assert answer.status == 200
    query = {
        "delimiter": "/",
        "encoding-type": "url",
        "fetch-owner": "true",
        "list-type": "2",
        "max-keys": "1",
        "prefix": "k",
    }
    assert wire.request("GET", path(bucket) + "/", query).xml.findtext("Contents/Key") == "k"
    assert wire.request("GET", path(bucket, "k")).body == body


def test_mc_alias_probe(wire):
    answer = wire.request("GET", "/probe-bsign-abcdefghijkl/", {"location": ""})
    assert answer.failure == (404, "NoSuchBucket")
