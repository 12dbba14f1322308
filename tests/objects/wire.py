"""A small HTTP client that sends exactly the bytes it is told to.

Usual clients tidy up what these tests are about: `..` in paths, header case, lengths that do not fit the body.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import socket
import time
import urllib.parse
from xml.etree import ElementTree

from . import sigv4

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def xml(self):
        """The document with its namespace taken off the names, for short look-ups."""
        root = ElementTree.fromstring(self.body)
        for node in root.iter():
            node.tag = node.tag.rpartition("}")[2]
        return root

    @property
    def code(self):
        """The S3 error code, None when the body is not an error."""
        if not self.body.lstrip().startswith(b"<"):
            return None
        root = self.xml
        return root.findtext("Code") if root.tag == "Error" else None

    @property
    def failure(self):
        """(status, code) in one value, so that a failing comparison shows both."""
        return self.status, self.code


class _Unclosable:
    """One buffered reader for all answers of a connection: HTTPResponse closes what it reads from."""

    closed = False

    def __init__(self, file):
        self._file = file

    def makefile(self, *_):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self._file, name)


class Connection:
    """One TCP connection to the object store."""

    def __init__(self, url, timeout=15):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = _Unclosable(self.socket.makefile("rb"))

    def send(self, data):
        self.socket.sendall(data)

    def send_head(self, method, target, headers):
        lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8"))

    def read_head(self):
        """Status of the next answer head, which may be a `100 Continue`, and its raw header lines."""
        status = self._reader.readline().decode("latin-1")
        lines = []
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        return (int(status.split()[1]) if status else 0), lines

    def read_answer(self, method="GET") -> Answer:
        response = http.client.HTTPResponse(self._reader, method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read())

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self._reader._file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def path(bucket, key=None) -> str:
    """The request path of a bucket or object, encoded once and never normalised."""
    text = "/" + sigv4.encode(bucket)
    return text if key is None else f"{text}/{sigv4.encode(key, keep_slash=True)}"


def pairs(query):
    return list(query.items()) if isinstance(query, dict) else list(query)


class Wire:
    """Signed requests to one object store."""

    def __init__(self, url, access_key, secret_key):
        self.url = url
        self.host = urllib.parse.urlsplit(url).netloc
        self.signer = sigv4.Signer(access_key, secret_key)

    def connect(self, timeout=15) -> Connection:
        return Connection(self.url, timeout)

    def signed_headers(
        self,
        method,
        target_path,
        query=(),
        headers=None,
        payload_hash=sigv4.EMPTY_SHA256,
        *,
        signer=None,
        when=None,
        unsigned_headers=(),
    ):
        all_headers = {"Host": self.host, **(headers or {})}
        return (signer or self.signer).sign(
            method, target_path, pairs(query), all_headers, payload_hash, when, unsigned_headers
        )

    def target(self, target_path, query=()):
        text = "&".join(f"{sigv4.encode(k)}={sigv4.encode(v)}" for k, v in pairs(query))
        return f"{target_path}?{text}" if text else target_path

    def request(
        self,
        method,
        target_path,
        query=(),
        headers=None,
        body=b"",
        *,
        payload_hash=None,
        signer=None,
        when=None,
        unsigned_headers=(),
        after_signing=None,
        raw_target=None,
    ) -> Answer:
        """One signed request on its own connection.

        after_signing: header changes made behind the signature's back (None removes a header).
        raw_target:    what goes on the request line instead of the encoded path and query.
        """
        if payload_hash is None:
            payload_hash = hashlib.sha256(body).hexdigest()
        out = self.signed_headers(
            method,
            target_path,
            query,
            headers,
            payload_hash,
            signer=signer,
            when=when,
            unsigned_headers=unsigned_headers,
        )
        for name, value in (after_signing or {}).items():
            out.pop(name, None)
            if value is not None:
                out[name] = value
        return self.plain(method, raw_target or self.target(target_path, query), out, body)

    def plain(self, method, target, headers=None, body=b"") -> Answer:
        """One request with just these headers (and Host, Content-Length, Connection when not given)."""
        out = dict(headers or {})
        given = {k.lower() for k in out}
        for name, value in (("Host", self.host), ("Connection", "close")):
            if name.lower() not in given:
                out[name] = value
        if (body or method in ("PUT", "POST")) and not given & {"content-length", "transfer-encoding"}:
            out["Content-Length"] = str(len(body))
        with self.connect() as connection:
            connection.send_head(method, target, out)
            # A server that refuses by the head alone may close before it has read all of a large body.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(body)
            return connection.read_answer(method)

    def stream(
        self,
        method,
        target_path,
        query=(),
        headers=None,
        *,
        kind,
        chunks,
        trailer=None,
        when=None,
        declared=None,
        edit=None,
        transfer_chunked=False,
        signer=None,
        announce=True,
    ) -> Answer:
        """An aws-chunked upload.

        kind:             the x-amz-content-sha256 of one of the streaming forms
        trailer:          (name, value) of the trailing checksum
        declared:         x-amz-decoded-content-length; True by default, None leaves the true length, "" leaves it out
        edit:             function from the list of body pieces to the list that is sent
        transfer_chunked: wrap the body into Transfer-Encoding: chunked, without a Content-Length
        announce:         name the trailer in x-amz-trailer
        """
        when = when or sigv4.now()
        signer = signer or self.signer
        size = str(sum(map(len, chunks))) if declared is None else declared
        out = {"Content-Encoding": "aws-chunked", **(headers or {})}
        if size:
            out["x-amz-decoded-content-length"] = size
        if trailer and announce:
            out["x-amz-trailer"] = trailer[0]
        out = self.signed_headers(method, target_path, query, out, kind, signer=signer, when=when)
        if kind == sigv4.STREAM_UNSIGNED_TRAILER:
            pieces = sigv4.unsigned_chunks(chunks, trailer)
        else:
            pieces = sigv4.signed_chunks(signer, when, sigv4.seed_signature(out), chunks, trailer)
        body = b"".join(edit(pieces) if edit else pieces)
        if transfer_chunked:
            # The two layers must not line up: cut where no aws-chunk ends.
            step = 1000
            cuts = [body[i : i + step] for i in range(0, len(body), step)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in cuts) + b"0\r\n\r\n"
            out["Transfer-Encoding"] = "chunked"
        return self.plain(method, self.target(target_path, query), out, body)


def wait_until(condition, seconds=5.0):
    """Poll until condition() is true; answers its last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value
