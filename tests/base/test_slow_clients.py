"""Clients that drip, stall or never read. The clocks themselves are tested with short times in the unit tests
(src/http/server_test.cpp); here: that the program as it ships has them, and that others do not suffer."""

import contextlib
import time

import harness
import pytest

from .raw import Wire, ask, get

MIB = 1 << 20


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A platform whose memory nobody else uses."""
    with harness.launch_platform(tmp_path_factory.mktemp("slow")) as platform:
        yield platform


def artifact(name):
    return f"/api/2.0/mlflow-artifacts/artifacts/slow/{name}"


def test_readers_that_never_read_cost_no_memory_and_block_nobody(own):
    port = harness.PORT_TRACKING + own.port_offset
    with Wire(port, timeout=60) as wire:
        wire.send(get(artifact("large.bin"), f"Content-Length: {256 * MIB}", method="PUT"))
        block = bytes(MIB)
        for _ in range(256):
            wire.send(block)
        assert wire.answer().status == 200
    before = resident(own.proc.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            wire = stack.enter_context(Wire(port, receive_buffer=4096))
            wire.send(get(artifact("large.bin")))
        for _ in range(20):
            begin = time.monotonic()
            assert ask(port, get("/version")).status == 200
            assert time.monotonic() - begin < 1
        assert resident(own.proc.pid) - before < 16 * MIB
    assert ask(port, get("/version")).status == 200


def test_an_upload_costs_no_memory(own):
    port = harness.PORT_TRACKING + own.port_offset
    before = resident(own.proc.pid)
    peak = 0
    with Wire(port, timeout=60) as wire:
        wire.send(get(artifact("stream.bin"), "Transfer-Encoding: chunked", method="PUT"))
        chunk = b"%x\r\n%s\r\n" % (MIB, bytes(MIB))
        for i in range(200):
            wire.send(chunk)
            if i % 10 == 0:
                peak = max(peak, resident(own.proc.pid))
        wire.send(b"0\r\n\r\n")
        assert wire.answer().status == 200
    assert peak - before < 16 * MIB


def test_many_idle_connections_are_cheap(own):
    port = harness.PORT_TRACKING + own.port_offset
    before = resident(own.proc.pid)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(port)) for _ in range(400)]
        for wire in wires[::40]:
            wire.send(get("/version"))
            assert wire.answer().status == 200
        assert resident(own.proc.pid) - before < 40 * MIB


@pytest.mark.slow
def test_a_head_that_drips_is_refused(own):
    """Slowloris: a header line now and then does not keep a connection."""
    with Wire(harness.PORT_GATEWAY + own.port_offset, timeout=40) as wire:
        begin = time.monotonic()
        wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n")
        wire.sock.settimeout(1)
        while time.monotonic() - begin < 40:
            try:
                wire.send("X: y\r\n")
                wire._more()
                break
            except TimeoutError:
                continue
        assert wire.buffer.startswith(b"HTTP/1.1 408 "), wire.buffer
        assert 15 < time.monotonic() - begin < 30
