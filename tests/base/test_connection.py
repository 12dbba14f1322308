"""One connection, many requests: keep-alive, pipelining, bodies both ways, HTTP/1.0, HEAD, ids, compression."""

import gzip
import json
import time

import pytest

from .raw import Wire, ask, get, post

SEARCH = "/api/2.0/mlflow/experiments/search"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
NAME = "experiment_name"
BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="


def test_many_requests_use_one_connection(any_port):
    with Wire(any_port) as wire:
        for _ in range(20):
            wire.send(get("/healthz"))
            answer = wire.answer()
            assert (answer.status, answer.body) == (200, b"ok\n")
            assert "connection" not in answer.headers
        assert wire.stays_open()


def test_connection_close_is_obeyed_and_announced(any_port):
    with Wire(any_port) as wire:
        wire.send(get("/healthz", "Connection: close"))
        assert wire.answer().headers["connection"] == "close"
        assert wire.is_closed()


@pytest.mark.parametrize("keep", [False, True])
def test_http_1_0_closes_unless_asked(any_port, keep):
    with Wire(any_port) as wire:
        wire.send(get("/healthz", *(["Connection: keep-alive"] if keep else []), version="1.0"))
        answer = wire.answer()
        assert answer.status == 200
        assert answer.headers["connection"] == ("keep-alive" if keep else "close")
        assert wire.stays_open() if keep else wire.is_closed()


def test_pipelined_requests_are_answered_in_order(tracking_port):
    # The slow ones (a write that waits for the disk) stand before quick ones, whose answers must wait.
    with Wire(tracking_port) as wire:
        requests = b""
        for i in range(40):
            body = json.dumps({"name": f"pipelined-{time.time_ns()}"})
            requests += post("/api/2.0/mlflow/experiments/create", body, f"X-Request-Id: w{i}")
            requests += get(f"/version?{i}", f"X-Request-Id: r{i}").encode()
        wire.send(requests)
        for i in range(40):
            made = wire.answer()
            assert made.headers["x-request-id"] == f"w{i}"
            assert "experiment_id" in json.loads(made.body)
            assert wire.answer().headers["x-request-id"] == f"r{i}"


def test_a_pipelined_request_behind_an_unread_body_is_answered(tracking_port):
    with Wire(tracking_port) as wire:
        wire.send(post("/no/such/route", "x" * 10_000) + get("/version").encode())
        assert wire.answer().status in (404, 405)
        assert wire.answer().body == b"3.18.0"


def test_requests_in_single_bytes(gateway_port):
    with Wire(gateway_port) as wire:
        for byte in get("/healthz", "X-Request-Id: slow").encode():
            wire.send(bytes([byte]))
        assert wire.answer().headers["x-request-id"] == "slow"


def test_chunked_uploads_with_odd_chunks(tracking_port):
    data = bytes(range(256)) * 1000
    with Wire(tracking_port) as wire:
        wire.send(get(ARTIFACTS + "base/chunked.bin", "Transfer-Encoding: chunked", method="PUT"))
        at = 0
        for size in (1, 2, 3, 1000, 65_536, 65_537):
            piece = data[at : at + size]
            at += size
            # The head of a chunk, its extension and its end in writes of their own.
            wire.send(f"{len(piece):X}".encode())
            wire.send(b';name="value"\r\n' + piece[:-1])
            wire.send(piece[-1:] + b"\r\n")
        wire.send(b"%x\r\n%s\r\n0\r\nX-Trailer: ignored\r\n\r\n" % (len(data) - at, data[at:]))
        assert wire.answer().status == 200
        wire.send(get(ARTIFACTS + "base/chunked.bin"))
        assert wire.answer().body == data


def test_expect_100_continue(tracking_port):
    with Wire(tracking_port) as wire:
        wire.send(get(ARTIFACTS + "base/expected.txt", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
        assert wire.answer().status == 100
        wire.send("hello")
        assert wire.answer().status == 200
        wire.send(get(ARTIFACTS + "base/expected.txt"))
        assert wire.answer().body == b"hello"


def test_a_refused_expectation_gets_no_100(tracking_port):
    with Wire(tracking_port) as wire:
        wire.send(get(ARTIFACTS + "../up.txt", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
        assert wire.answer().status == 400
        assert wire.is_closed()  # the body that may or may not follow cannot be told from a request


def test_other_expectations_are_417(any_port):
    assert ask(any_port, get("/healthz", "Expect: the-unexpected")).status == 417


def test_http_1_0_gets_no_100(tracking_port):
    body = '{"max_results":1}'
    request = post(SEARCH, body, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert ask(tracking_port, request).status == 200


@pytest.mark.parametrize("path", ["/version", "/healthz", "/no/such/path"])
def test_head_has_the_headers_of_get_and_no_body(tracking_port, path):
    with Wire(tracking_port) as wire:
        wire.send(get(path))
        full = wire.answer()
        wire.send(get(path, method="HEAD"))
        head = wire.answer(head=True)
        wire.send(get("/version"))
        assert wire.answer().body == b"3.18.0"  # nothing of a body was left between
    assert head.status == full.status
    for name in ("content-length", "content-type"):
        assert head.headers[name] == full.headers[name]
    assert int(head.headers["content-length"]) == len(full.body)


def test_ranges_of_an_artifact(s3_port, tracking_port):
    with Wire(tracking_port) as wire:
        wire.send(get(ARTIFACTS + "base/digits.txt", "Content-Length: 10", method="PUT").encode() + b"0123456789")
        assert wire.answer().status == 200
        for header, status, body in [
            ("bytes=2-4", 206, b"234"),
            ("bytes=7-", 206, b"789"),
            ("bytes=-3", 206, b"789"),
            ("bytes=0-0", 206, b"0"),
            ("bytes=5-100", 206, b"56789"),
            ("bytes=4-2", 200, b"0123456789"),
            ("lines=1-2", 200, b"0123456789"),
        ]:
            wire.send(get(ARTIFACTS + "base/digits.txt", f"Range: {header}"))
            answer = wire.answer()
            assert (answer.status, answer.body) == (status, body), header
        wire.send(get(ARTIFACTS + "base/digits.txt", "Range: bytes=10-"))
        answer = wire.answer()
        assert answer.status == 416
        assert answer.headers["content-range"] == "bytes */10"


def test_request_ids_are_echoed_or_made(any_port):
    given = ask(any_port, get("/healthz", "X-Request-Id: from-the-client_1"))
    assert given.headers["x-request-id"] == "from-the-client_1"
    made = {ask(any_port, get("/healthz")).headers["x-request-id"] for _ in range(20)}
    assert len(made) == 20
    long = ask(any_port, get("/healthz", "X-Request-Id: " + "x" * 129))
    assert long.headers["x-request-id"] != "x" * 129


def test_answers_are_gzipped_for_those_who_take_it(any_port):
    plain = ask(any_port, get("/metrics"))
    assert "content-encoding" not in plain.headers
    assert len(plain.body) > 500
    packed = ask(any_port, get("/metrics", "Accept-Encoding: br, gzip;q=0.5"))
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"].lower() == "accept-encoding"
    assert b"millrace_http_requests_total" in gzip.decompress(packed.body)
    for refused in ("gzip;q=0", "identity", "br"):
        assert "content-encoding" not in ask(any_port, get("/metrics", f"Accept-Encoding: {refused}")).headers


def test_gzipped_requests(tracking_port):
    body = gzip.compress(b'{"max_results": 1}')
    assert ask(tracking_port, post(SEARCH, body, "Content-Encoding: gzip")).status == 200
    assert ask(tracking_port, post(SEARCH, body, "Content-Encoding: br")).status == 415
    assert ask(tracking_port, post(SEARCH, b"no gzip", "Content-Encoding: gzip")).status == 400
    bomb = gzip.compress(b"[" + b" " * (512 << 20) + b"]", compresslevel=1)
    assert ask(tracking_port, post(SEARCH, bomb, "Content-Encoding: gzip"), timeout=30).status == 413


def test_absolute_targets_are_understood(tracking_port):
    assert ask(tracking_port, get("http://127.0.0.1/version")).body == b"3.18.0"
