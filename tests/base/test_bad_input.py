"""Requests that are wrong as HTTP: refused with the right status, one answer each, and the server goes on."""

import socket
import time

import pytest

from .raw import Wire, ask, get, post

SEARCH = "/api/2.0/mlflow/experiments/search"
SECOND = get("/version", "X-Request-Id: smuggled")


def head(*headers, path=SEARCH, method="POST", version="1.1"):
    return get(path, "Content-Type: application/json", *headers, method=method, version=version).encode()


def everything(port, data):
    """All that comes back, with our sending side closed behind the request."""
    with Wire(port) as wire:
        wire.send(data)
        wire.sock.shutdown(socket.SHUT_WR)
        return wire.rest()


def statuses(reply):
    return [int(piece[:3]) for piece in reply.split(b"HTTP/1.1 ")[1:] if piece[:3].isdigit()]


def first_status(reply):
    assert reply.startswith(b"HTTP/1.1 "), reply[:100]
    return int(reply[9:12])


# What two readers of one stream could read as different numbers of requests.
SMUGGLING = {
    "content-length and chunked": head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunked and content-length": head("Transfer-Encoding: chunked", "Content-Length: 4") + b"0\r\n\r\n",
    "two lengths": head("Content-Length: 2", "Content-Length: 3") + b"{}\n",
    "signed length": head("Content-Length: +2") + b"{}",
    "negative length": head("Content-Length: -1") + b"{}",
    "hex length": head("Content-Length: 0x2") + b"{}",
    "empty length": head("Content-Length: ") + b"{}",
    "length with a blank inside": head("Content-Length: 1 2") + b"{}",
    "length past 64 bits": head("Content-Length: 18446744073709551618") + b"{}",
    "unknown coding": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked is not last": head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "coding that is not undone": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked and identity": head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "chunked in HTTP/1.0": head("Transfer-Encoding: chunked", version="1.0") + b"0\r\n\r\n",
    "blank before the colon": head("Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "bare LF": b"POST " + SEARCH.encode() + b" HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    "bare LF between headers": b"POST " + SEARCH.encode() + b" HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": head("X: a\rContent-Length: 5") + b"{}",
    "NUL in a value": head("X: a\0b") + b"{}",
    "chunk size is no number": head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunk size is negative": head("Transfer-Encoding: chunked") + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk size overflows": head("Transfer-Encoding: chunked") + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunk is longer than it says": head("Transfer-Encoding: chunked") + b"2\r\n{}xx\r\n0\r\n\r\n",
    "two hosts": b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: example.org\r\n\r\n",
    "no host": b"GET /version HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_what_could_smuggle_a_request_is_refused_and_closed(tracking_port, name):
    reply = everything(tracking_port, SMUGGLING[name] + SECOND.encode())
    assert first_status(reply) in (400, 501, 505), reply[:200]
    assert b"smuggled" not in reply, reply
    assert len(statuses(reply)) == 1, reply


GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "no version": b"GET /version\r\n\r\n",
    "old version": b"GET /version HTTP/0.9\r\nHost: x\r\n\r\n",
    "blank in the target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "control character in the target": b"GET /a\x01b HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": b" /version HTTP/1.1\r\nHost: x\r\n\r\n",
    "header without a name": b"GET /version HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
    "header without a colon": b"GET /version HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused(any_port, name):
    assert first_status(everything(any_port, GARBAGE[name])) in (400, 505)


@pytest.mark.parametrize("version", ["2.0", "1.2", "3.0"])
def test_other_versions_are_505(any_port, version):
    assert ask(any_port, get("/healthz", version=version)).status == 505


def test_large_heads_are_431(any_port):
    assert ask(any_port, get("/healthz", "X-Large: " + "a" * 70_000)).status == 431


def test_many_small_headers_are_431_too(any_port):
    with Wire(any_port) as wire:
        wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(100):
                wire.send("X: a\r\n" * 1000)
            wire.send("\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert first_status(wire.rest()) == 431


@pytest.mark.parametrize("size", [17_000, 60_000])
def test_long_targets_are_414(any_port, size):
    assert ask(any_port, get("/" + "a" * size)).status == 414


def test_endless_targets_are_414(any_port):
    with Wire(any_port) as wire:
        wire.send("GET /" + "a" * 300_000)
        assert wire.answer().status == 414


def test_blanks_count_as_head(any_port):
    with Wire(any_port) as wire:
        wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n" + f"X:{' ' * 176}a\r\n" * 990 + "\r\n")
        assert first_status(wire.rest()) == 431


def test_an_empty_line_before_a_request_is_passed_over(any_port):
    request = get("/healthz")
    with Wire(any_port) as wire:
        for pieces in (["\r\n" + request], ["\r", "\n" + request]):
            for piece in pieces:
                wire.send(piece)
                time.sleep(0.02)
            assert wire.answer().status == 200


def test_a_body_over_the_limit_is_413_before_it_is_sent(tracking_port):
    with Wire(tracking_port) as wire:
        wire.send(get(SEARCH, "Content-Type: application/json", "Content-Length: 999999999999", method="POST"))
        answer = wire.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_a_chunked_body_over_the_limit_is_413(gateway_port, tracking_port):
    with Wire(tracking_port, timeout=30) as wire:
        wire.send(get(SEARCH, "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST"))
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        try:
            for _ in range(600):
                wire.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("600 MiB were taken for one JSON document")


def test_an_answer_after_a_refused_upload_arrives(tracking_port):
    # The client is still sending when the server has decided: a reset would take the answer away.
    with Wire(tracking_port) as wire:
        wire.send(
            get(SEARCH, "Content-Type: application/json", "Content-Length: 400000000", method="POST").encode()
            + b" " * 200_000
        )
        time.sleep(0.1)
        assert wire.answer().status == 413


def test_the_server_goes_on(tracking_port):
    for data in [*SMUGGLING.values(), *GARBAGE.values()]:
        with Wire(tracking_port) as wire:
            wire.send(data)
    with Wire(tracking_port) as wire:
        wire.send(post(SEARCH, '{"max_results":1}'))
        assert wire.answer().status == 200


def test_client_that_leaves_in_the_middle_of_a_body(tracking_port):
    for _ in range(20):
        with Wire(tracking_port) as wire:
            wire.send(
                get(
                    "/api/2.0/mlflow-artifacts/artifacts/base/never.bin", "Content-Length: 1000000", method="PUT"
                ).encode()
                + b"x" * 1000
            )
    assert ask(tracking_port, get("/version")).status == 200
    assert ask(tracking_port, get("/api/2.0/mlflow-artifacts/artifacts/base/never.bin")).status == 404
