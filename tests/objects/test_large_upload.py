"""Large objects pass through in constant memory."""

import os
import pathlib
import socket
import time

import harness
import pytest

from . import sigv4
from .wire import Wire, path

MIB = 2**20
GIB = 2**30
SIZE = 5 * GIB if os.environ.get("MILLRACE_SLOW") == "1" else GIB
# Buffers, arenas and a cache of pages that were touched; a thousandth of the large upload, not a part of it.
ALLOWED_GROWTH = 32 * MIB
BLOCK = bytes(range(256)) * (MIB // 256)

pytestmark = [pytest.mark.slow, pytest.mark.binary]


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """A process of our own, so that nothing else adds to its memory."""
    folder = tmp_path_factory.mktemp("large")
    with harness.launch_platform(folder) as own:
        own.wire = Wire(own.s3_url, harness.S3_ACCESS_KEY, harness.S3_SECRET_KEY)
        assert own.wire.request("PUT", path("large")).status == 200
        # One small round first: what is set up at the first use must not count.
        assert own.wire.request("PUT", path("large", "warm"), body=BLOCK).status == 200
        assert own.wire.request("GET", path("large", "warm")).body == BLOCK
        yield own


class Memory:
    """Peak resident memory of the process since the start of this watch."""

    def __init__(self, pid):
        self._folder = pathlib.Path("/proc", str(pid))
        self.before = self._read("VmRSS")
        # Linux: 5 sets the peak back to the present size.
        (self._folder / "clear_refs").write_text("5")

    def _read(self, name):
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")

    def growth(self):
        return self._read("VmHWM") - self.before


def send_blocks(connection, size, write):
    left = memoryview(BLOCK)
    for _ in range(size // MIB):
        write(left)


def read_and_check(wire, target, size):
    """GET the object block by block; answers what was read."""
    with wire.connect(timeout=60) as connection:
        connection.send_head("GET", target, wire.signed_headers("GET", target))
        status, lines = connection.read_head()
        assert status == 200
        assert f"content-length: {size}" in [line.lower() for line in lines]
        buffer, done = bytearray(MIB), 0
        while done < size:
            view, got = memoryview(buffer), 0
            while got < MIB:
                count = connection._reader.readinto(view[got:])
                assert count, f"ended after {done + got} bytes"
                got += count
            assert buffer == BLOCK
            done += MIB
    return done


def test_large_put_and_get(platform):
    wire, target = platform.wire, path("large", "object")
    memory = Memory(platform.proc.pid)
    headers = wire.signed_headers("PUT", target, headers={"Content-Length": str(SIZE)}, payload_hash=sigv4.UNSIGNED)
    with wire.connect(timeout=120) as connection:
        connection.send_head("PUT", target, headers)
        send_blocks(connection, SIZE, connection.send)
        assert connection.read_answer("PUT").status == 200
    assert memory.growth() < ALLOWED_GROWTH
    assert wire.request("HEAD", target).headers["Content-Length"] == str(SIZE)

    memory = Memory(platform.proc.pid)
    assert read_and_check(wire, target, SIZE) == SIZE
    assert memory.growth() < ALLOWED_GROWTH
    assert wire.request("DELETE", target).status == 204


def test_large_upload_in_both_chunkings(platform):
    # Unsigned chunks with a trailer inside Transfer-Encoding: chunked, as a stream of unknown client-side length.
    wire, target, size = platform.wire, path("large", "chunked"), 128 * MIB
    memory = Memory(platform.proc.pid)
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(size),
        "x-amz-trailer": "x-amz-checksum-crc32",
        "Transfer-Encoding": "chunked",
    }
    import base64
    import zlib

    crc = 0
    with wire.connect(timeout=120) as connection:
        connection.send_head(
            "PUT", target, wire.signed_headers("PUT", target, (), headers, sigv4.STREAM_UNSIGNED_TRAILER)
        )

        def framed(data):
            connection.send(b"%x\r\n" % len(data))
            connection.send(data)
            connection.send(b"\r\n")

        for _ in range(size // MIB):
            crc = zlib.crc32(BLOCK, crc)
            framed(b"%x\r\n" % MIB + BLOCK + b"\r\n")
        value = base64.b64encode(crc.to_bytes(4, "big")).decode()
        framed(f"0\r\nx-amz-checksum-crc32:{value}\r\n\r\n".encode())
        connection.send(b"0\r\n\r\n")
        assert connection.read_answer("PUT").failure == (200, None)
    assert memory.growth() < ALLOWED_GROWTH
    assert read_and_check(wire, target, size) == size


def test_a_reader_that_does_not_read_costs_no_memory(platform):
    wire, target, size = platform.wire, path("large", "unread"), 256 * MIB
    headers = wire.signed_headers("PUT", target, headers={"Content-Length": str(size)}, payload_hash=sigv4.UNSIGNED)
    with wire.connect(timeout=60) as connection:
        connection.send_head("PUT", target, headers)
        send_blocks(connection, size, connection.send)
        assert connection.read_answer("PUT").status == 200
    memory = Memory(platform.proc.pid)
    idle = []
    for _ in range(4):
        connection = wire.connect()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.send_head("GET", target, wire.signed_headers("GET", target))
        idle.append(connection)
    time.sleep(1)
    assert memory.growth() < ALLOWED_GROWTH
    # Others are served meanwhile.
    assert wire.request("GET", path("large", "warm")).body == BLOCK
    for connection in idle:
        connection.close()


def test_many_parts_and_their_completion_cost_no_memory(platform):
    wire, target = platform.wire, path("large", "parts")
    count = 40
    upload = wire.request("POST", target, {"uploads": ""}).xml.findtext("UploadId")
    memory = Memory(platform.proc.pid)
    items = []
    for number in range(1, count + 1):
        query = [("partNumber", str(number)), ("uploadId", upload)]
        body = BLOCK * 5
        answer = wire.request("PUT", target, query, body=body, payload_hash=sigv4.UNSIGNED)
        assert answer.status == 200
        items.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['ETag']}</ETag></Part>")
    document = f"<CompleteMultipartUpload>{''.join(items)}</CompleteMultipartUpload>".encode()
    answer = wire.request("POST", target, {"uploadId": upload}, body=document)
    assert answer.failure == (200, None)
    assert memory.growth() < ALLOWED_GROWTH
    assert read_and_check(wire, target, count * 5 * MIB) == count * 5 * MIB
