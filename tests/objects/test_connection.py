"""What happens on the connection: Expect: 100-continue, keep-alive, pipelining, and uploads that break off."""

import hashlib
import os
import socket
import struct
import time

import pytest

from . import checksums, sigv4
from .wire import path, wait_until

MIB = 2**20


@pytest.fixture
def target(bucket):
    return path(bucket, "k")


def put_head(wire, target, body, extra=None, **options):
    headers = {"Content-Length": str(len(body)), **(extra or {})}
    return wire.signed_headers("PUT", target, (), headers, hashlib.sha256(body).hexdigest(), **options)


# ---- Expect: 100-continue ------------------------------------------------------------------------------------------


def test_continue_comes_before_the_body(wire, target):
    body = b"the body"
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**put_head(wire, target, body), "Expect": "100-continue"})
        begun = time.monotonic()
        status, _ = connection.read_head()
        # boto3 gives up waiting after a second and sends anyway: each upload would be that much slower.
        assert time.monotonic() - begun < 0.5
        assert status == 100
        connection.send(body)
        assert connection.read_answer("PUT").status == 200
    assert wire.request("GET", target).body == body


def test_body_that_does_not_wait_for_continue(wire, target):
    body = b"impatient"
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**put_head(wire, target, body), "Expect": "100-continue"})
        connection.send(body)
        # read_answer passes over a 100, whether or not it comes.
        assert connection.read_answer("PUT").status == 200
    assert wire.request("GET", target).body == body


def test_boto3_uploads_without_delay(s3, bucket):
    begun = time.monotonic()
    for number in range(10):
        s3.put_object(Bucket=bucket, Key=str(number), Body=b"x")
    assert time.monotonic() - begun < 3


def refused_by_head(wire, target, headers):
    """The answer to an upload whose body is never sent."""
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**headers, "Expect": "100-continue"})
        return connection.read_answer("PUT")


def test_errors_come_instead_of_continue(wire, bucket_name, target):
    import dataclasses

    body = b"never sent"
    other = dataclasses.replace(wire.signer, secret_key="other")
    assert refused_by_head(wire, target, put_head(wire, target, body, signer=other)).failure == (
        403,
        "SignatureDoesNotMatch",
    )
    missing = path(bucket_name(), "k")
    assert refused_by_head(wire, missing, put_head(wire, missing, body)).failure == (404, "NoSuchBucket")
    assert refused_by_head(wire, target, {"Host": wire.host, "Content-Length": "5"}).failure == (403, "AccessDenied")
    assert refused_by_head(wire, target, put_head(wire, target, body, {"Content-MD5": "?"})).failure == (
        400,
        "InvalidDigest",
    )


def test_unknown_expectation(wire, target):
    body = b"x"
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**put_head(wire, target, body), "Expect": "200-maybe"})
        connection.send(body)
        assert connection.read_answer("PUT").status in (200, 417)


# ---- keep-alive and pipelining ------------------------------------------------------------------------------------


def test_many_requests_on_one_connection(wire, target):
    with wire.connect() as connection:
        for number in range(20):
            body = b"%d" % number
            connection.send_head("PUT", target, put_head(wire, target, body))
            connection.send(body)
            assert connection.read_answer("PUT").status == 200
            connection.send_head("GET", target, wire.signed_headers("GET", target))
            assert connection.read_answer().body == body


def test_errors_do_not_end_the_connection(wire, bucket, target):
    missing = path(bucket, "none")
    with wire.connect() as connection:
        for _ in range(3):
            connection.send_head("GET", missing, wire.signed_headers("GET", missing))
            assert connection.read_answer().status == 404
            body = b"refused but read"
            wrong = put_head(wire, target, body, {"Content-MD5": checksums.md5(b"x")})
            connection.send_head("PUT", target, wrong)
            connection.send(body)
            assert connection.read_answer("PUT").failure == (400, "BadDigest")


def test_pipelined_requests_are_answered_in_order(wire, bucket):
    for number in range(5):
        wire.request("PUT", path(bucket, str(number)), body=b"%d" % number * 1000)
    with wire.connect() as connection:
        for number in range(5):
            target = path(bucket, str(number))
            connection.send_head("GET", target, wire.signed_headers("GET", target))
        for number in range(5):
            assert connection.read_answer().body == b"%d" % number * 1000


def test_head_and_body_byte_by_byte(wire, target):
    body = b"slow"
    lines = [f"PUT {target} HTTP/1.1", *(f"{k}: {v}" for k, v in put_head(wire, target, body).items())]
    raw = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
    with wire.connect() as connection:
        for at in range(0, len(raw), 7):
            connection.send(raw[at : at + 7])
        assert connection.read_answer("PUT").status == 200
    assert wire.request("GET", target).body == body


def test_connection_close_is_honoured(wire, target):
    with wire.connect() as connection:
        connection.send_head("GET", target, {**wire.signed_headers("GET", target), "Connection": "close"})
        connection.read_answer()
        assert connection.socket.recv(1) == b""


# ---- uploads that break off ---------------------------------------------------------------------------------------


def reset(connection):
    """End the connection as a crashed client does: with a TCP reset."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close(connection):
    connection.close()


def half_close(connection):
    connection.half_close()
    status, _ = connection.read_head()
    assert status in (0, 400)
    connection.close()


@pytest.mark.parametrize("end", [close, reset, half_close])
@pytest.mark.parametrize("sent", [0, 1, 50_000, 99_999])
def test_truncated_put_shows_nothing(wire, s3, bucket, target, end, sent):
    body = os.urandom(100_000)
    connection = wire.connect()
    connection.send_head("PUT", target, put_head(wire, target, body))
    connection.send(body[:sent])
    end(connection)
    for _ in range(3):
        assert wire.request("HEAD", target).status == 404
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        time.sleep(0.02)


@pytest.mark.parametrize("end", [close, reset])
def test_truncated_overwrite_keeps_the_old_object(wire, target, end):
    wire.request("PUT", target, headers={"x-amz-meta-v": "old"}, body=b"old")
    body = os.urandom(3 * MIB)
    connection = wire.connect()
    connection.send_head("PUT", target, put_head(wire, target, body))
    connection.send(body[: 2 * MIB])
    end(connection)
    time.sleep(0.05)
    got = wire.request("GET", target)
    assert (got.body, got.headers["x-amz-meta-v"]) == (b"old", "old")


def test_half_closed_upload_is_told_so(wire, target):
    with wire.connect() as connection:
        connection.send_head("PUT", target, put_head(wire, target, b"ten bytes!"))
        connection.send(b"five ")
        connection.half_close()
        answer = connection.read_answer("PUT")
    assert answer.failure == (400, "IncompleteBody")
    assert wire.request("HEAD", target).status == 404


@pytest.mark.parametrize("cut", [10, 40_000, 140_000])
def test_truncated_signed_stream_shows_nothing(wire, target, cut):
    chunks = [os.urandom(65536), os.urandom(65536), os.urandom(1000)]
    when = sigv4.now()
    size = sum(map(len, chunks))
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(size),
    }
    # The length of the framed body is known only with its signatures; it is not among the signed headers here.
    signed = wire.signed_headers("PUT", target, (), headers, sigv4.STREAM_SIGNED, when=when)
    body = b"".join(sigv4.signed_chunks(wire.signer, when, sigv4.seed_signature(signed), chunks))
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**signed, "Content-Length": str(len(body))})
        connection.send(body[: min(cut, len(body) - 1)])
    time.sleep(0.05)
    assert wire.request("HEAD", target).status == 404


@pytest.mark.parametrize("end", [b"", b"5\r\nhe", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"])
def test_truncated_transfer_encoding_shows_nothing(wire, target, end):
    chunks, name = [b"hello"], checksums.header("CRC32")
    headers = wire.signed_headers(
        "PUT",
        target,
        (),
        {"Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": "5", "x-amz-trailer": name},
        sigv4.STREAM_UNSIGNED_TRAILER,
    )
    inner = b"".join(sigv4.unsigned_chunks(chunks, (name, checksums.of("CRC32", b"hello"))))
    with wire.connect() as connection:
        connection.send_head("PUT", target, {**headers, "Transfer-Encoding": "chunked"})
        # The inner framing may be whole: as long as the outer one has not ended, the upload has not either.
        connection.send(b"%x\r\n%s\r\n" % (len(inner), inner) if end == b"" else end)
    time.sleep(0.05)
    assert wire.request("HEAD", target).status == 404


def test_truncated_part_is_not_listed(wire, s3, bucket, target):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    query = [("partNumber", "1"), ("uploadId", upload)]
    body = os.urandom(MIB)
    headers = wire.signed_headers(
        "PUT", target, query, {"Content-Length": str(len(body))}, hashlib.sha256(body).hexdigest()
    )
    with wire.connect() as connection:
        connection.send_head("PUT", wire.target(target, query), headers)
        connection.send(body[:-1])
    time.sleep(0.05)
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


def test_truncated_document_deletes_nothing(wire, target, bucket):
    wire.request("PUT", target, body=b"kept")
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    headers = wire.signed_headers(
        "POST",
        path(bucket),
        {"delete": ""},
        {"Content-Length": str(len(body)), "Content-MD5": checksums.md5(body)},
        hashlib.sha256(body).hexdigest(),
    )
    with wire.connect() as connection:
        connection.send_head("POST", path(bucket) + "?delete=", headers)
        connection.send(body[:-1])
    time.sleep(0.05)
    assert wire.request("GET", target).body == b"kept"


def test_truncated_uploads_leave_no_room_taken(wire, target, disk_use):
    before = disk_use()
    body = os.urandom(8 * MIB)
    for _ in range(3):
        connection = wire.connect()
        connection.send_head("PUT", target, put_head(wire, target, body))
        connection.send(body[:-1])
        reset(connection)
    assert disk_use.falls_to(before + MIB)


def test_deleted_and_overwritten_objects_give_their_room_back(wire, target, disk_use):
    before = disk_use()
    for _ in range(3):
        wire.request("PUT", target, body=os.urandom(4 * MIB))
    wire.request("DELETE", target)
    assert disk_use.falls_to(before + MIB)


@pytest.mark.parametrize("end", [close, reset])
def test_a_reader_that_leaves_harms_nobody(wire, target, end):
    wire.request("PUT", target, body=os.urandom(8 * MIB))
    for _ in range(5):
        connection = wire.connect()
        connection.send_head("GET", target, wire.signed_headers("GET", target))
        connection.socket.recv(100)
        end(connection)
    assert len(wire.request("GET", target).body) == 8 * MIB


def test_the_object_is_there_when_the_answer_is(wire, bucket):
    # Another connection sees it at once, and its whole length.
    for number in range(20):
        target = path(bucket, str(number))
        body = os.urandom(20_000)
        assert wire.request("PUT", target, body=body).status == 200
        assert wire.request("GET", target).body == body


def test_a_small_bad_upload_waits_for_nothing(wire, target):
    # With the whole body there, an error in the head is answered at once too.
    begun = time.monotonic()
    assert wire.plain("PUT", target, body=b"x" * 1000).failure == (403, "AccessDenied")
    assert time.monotonic() - begun < 1


def test_a_large_refused_upload_is_answered(wire, target):
    # The client is still sending when the refusal is clear: it must be able to read the answer.
    with wire.connect() as connection:
        connection.send_head("PUT", target, {"Host": wire.host, "Content-Length": str(4 * MIB)})
        try:
            connection.send(bytes(4 * MIB))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.read_answer("PUT").failure == (403, "AccessDenied")
    assert wait_until(lambda: wire.request("HEAD", target).status == 404)
