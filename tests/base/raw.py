"""HTTP over a bare socket: exactly the bytes that a test wants to send, and every answer that comes back."""

import contextlib
import dataclasses
import socket
import time


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # lower-case names
    body: bytes


class Closed(AssertionError):
    """The server closed the connection where an answer was awaited."""


class Wire:
    def __init__(self, port, timeout=10.0, receive_buffer=None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def _more(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise Closed(f"closed after {self.buffer[:200]!r}")
        self.buffer += piece

    def _until(self, mark):
        while mark not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def _take(self, n):
        while len(self.buffer) < n:
            self._more()
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def answer(self, head=False) -> Answer:
        """The next answer; head: it is one to HEAD and has no body whatever its headers say."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if head or status in (204, 304) or 100 <= status < 200:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                body += self._take(size)
                assert self._take(2) == b"\r\n"
            self._until(b"\r\n")
            return Answer(status, headers, body)
        if "content-length" in headers:
            return Answer(status, headers, self._take(int(headers["content-length"])))
        return Answer(status, headers, self.rest())

    def rest(self) -> bytes:
        """Everything until the server closes."""
        with contextlib.suppress(ConnectionResetError, Closed):
            while True:
                self._more()
        out, self.buffer = self.buffer, b""
        return out

    def is_closed(self, within=3.0) -> bool:
        """True when the server closes, with nothing more to read."""
        self.sock.settimeout(within)
        try:
            return self.buffer == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def stays_open(self, for_s=0.3) -> bool:
        return not self.is_closed(for_s)


def ask(port, data, head=False, timeout=10.0) -> Answer:
    """One request on a connection of its own."""
    with Wire(port, timeout=timeout) as wire:
        wire.send(data)
        return wire.answer(head=head)


def get(path, *headers, method="GET", version="1.1"):
    """The bytes of a request without a body."""
    return f"{method} {path} HTTP/{version}\r\nHost: 127.0.0.1\r\n" + "".join(h + "\r\n" for h in headers) + "\r\n"


def post(path, body, *headers, method="POST"):
    body = body.encode() if isinstance(body, str) else body
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return (head + "".join(h + "\r\n" for h in headers) + f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def wait_until(condition, timeout=10.0, what="the condition"):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout} s"
        time.sleep(0.02)
