"""Signing of S3 requests, written from the public description of AWS Signature Version 4.

The tests sign by themselves wherever a client would not let them make the mistake they want to make: another clock,
another secret, a chunk that was changed after signing. Nothing here sends anything; `wire.py` does.
"""

import dataclasses
import datetime
import hashlib
import hmac
import urllib.parse

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAM_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAM_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAM_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def encode(text, keep_slash=False) -> str:
    """Percent-encode as S3 wants it: everything but unreserved characters, upper-case digits."""
    return urllib.parse.quote(text, safe="-_.~/" if keep_slash else "-_.~")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def amz_date(when) -> str:
    return when.strftime("%Y%m%dT%H%M%SZ")


def canonical_query(pairs) -> str:
    """Pairs of raw text, encoded and then sorted."""
    return "&".join(f"{k}={v}" for k, v in sorted((encode(k), encode(v)) for k, v in pairs))


def _hmac(key, text) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


@dataclasses.dataclass(frozen=True)
class Signer:
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    service: str = "s3"

    def scope(self, when) -> str:
        return f"{when:%Y%m%d}/{self.region}/{self.service}/aws4_request"

    def _key(self, when) -> bytes:
        key = f"AWS4{self.secret_key}".encode()
        for step in (f"{when:%Y%m%d}", self.region, self.service, "aws4_request"):
            key = _hmac(key, step)
        return key

    def _signature(self, when, kind, *parts) -> str:
        text = "\n".join([kind, amz_date(when), self.scope(when), *parts])
        return _hmac(self._key(when), text).hex()

    def _request_signature(self, when, method, path, query, headers, signed, payload_hash) -> str:
        lower = {k.lower(): v for k, v in headers.items()}
        # Values are trimmed and runs of spaces inside count as one.
        lines = "".join(f"{name}:{' '.join(lower[name].split())}\n" for name in signed)
        request = "\n".join([method, path, canonical_query(query), lines, ";".join(signed), payload_hash])
        return self._signature(when, ALGORITHM, hashlib.sha256(request.encode()).hexdigest())

    def sign(self, method, path, query, headers, payload_hash, when=None, unsigned_headers=()):
        """Headers with x-amz-date, x-amz-content-sha256 and Authorization added. `path` is already encoded.

        unsigned_headers: lower-case names that travel without being signed.
        """
        when = when or now()
        result = {**headers, "x-amz-date": amz_date(when), "x-amz-content-sha256": payload_hash}
        skip = {"connection", "expect", "transfer-encoding", "user-agent", *unsigned_headers}
        signed = sorted({k.lower() for k in result} - skip)
        signature = self._request_signature(when, method, path, query, result, signed, payload_hash)
        result["Authorization"] = (
            f"{ALGORITHM} Credential={self.access_key}/{self.scope(when)}, "
            f"SignedHeaders={';'.join(signed)}, Signature={signature}"
        )
        return result

    def presign(self, method, host, path, query=(), *, expires=600, when=None, headers=None):
        """The query (pairs) of a presigned request; `headers` are those that the user of the URL must send too."""
        when = when or now()
        all_headers = {"host": host, **{k.lower(): v for k, v in (headers or {}).items()}}
        signed = sorted(all_headers)
        pairs = [
            *query,
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", f"{self.access_key}/{self.scope(when)}"),
            ("X-Amz-Date", amz_date(when)),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", ";".join(signed)),
        ]
        signature = self._request_signature(when, method, path, pairs, all_headers, signed, UNSIGNED)
        return [*pairs, ("X-Amz-Signature", signature)]

    def chunk_signature(self, when, previous, data) -> str:
        return self._signature(when, f"{ALGORITHM}-PAYLOAD", previous, EMPTY_SHA256, hashlib.sha256(data).hexdigest())

    def trailer_signature(self, when, previous, trailer_lines) -> str:
        """trailer_lines: `name:value\\n` for every trailing header."""
        return self._signature(
            when, "AWS4-HMAC-SHA256-TRAILER", previous, hashlib.sha256(trailer_lines.encode()).hexdigest()
        )


def seed_signature(headers) -> str:
    """The signature in the Authorization header, from which the chain of chunk signatures starts."""
    return headers["Authorization"].rpartition("Signature=")[2]


def signed_chunks(signer, when, seed, chunks, trailer=None):
    """The aws-chunked body of signed chunks, as a list of its pieces (one a chunk), so that a test can spoil one.

    trailer: a (name, value) to append with its own signature.
    """
    pieces, previous = [], seed
    for data in [*chunks, b""]:
        previous = signer.chunk_signature(when, previous, data)
        head = f"{len(data):x};chunk-signature={previous}\r\n".encode()
        # With a trailer, the empty chunk has no line end of its own: the trailer follows at once.
        pieces.append(head + (data + b"\r\n" if data or not trailer else b""))
    if trailer:
        line = f"{trailer[0]}:{trailer[1]}"
        signature = signer.trailer_signature(when, previous, line + "\n")
        pieces.append(f"{line}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode())
    return pieces


def unsigned_chunks(chunks, trailer=None):
    """The same framing without signatures."""
    pieces = [f"{len(data):x}\r\n".encode() + data + b"\r\n" for data in chunks]
    pieces.append(b"0\r\n" + (f"{trailer[0]}:{trailer[1]}\r\n".encode() if trailer else b"") + b"\r\n")
    return pieces
