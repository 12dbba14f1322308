"""S3 PUT and GET with presigned URLs: millrace up beside versitygw.

wrk cannot sign, so the URLs are signed beforehand (V4 query signatures, bodies unsigned), and every server still
verifies one signature a request.
"""

import datetime
import hashlib
import hmac
import http.client
import os
import pathlib
import urllib.parse

import load
import peers
from servers import MILLRACE_PORTS, BenchError, Server, free_offset, free_port, running

TITLE = "S3"
BUCKET = "bench"
ACCESS, SECRET, REGION = "minio", "minio123", "us-east-1"
SIZES = {"1 KiB": 1 << 10, "1 MiB": 1 << 20, "64 MiB": 1 << 26}
# Objects that a case goes through: a bounded amount of disk for the large ones; for the small ones new keys at this
# many a second, which is more than any of the servers reaches.
PUT_KEYS = {"1 MiB": 32, "64 MiB": 8}
NEW_KEYS = {1: 4_000, 8: 12_000}
GET_KEYS = {"1 KiB": 256, "1 MiB": 16, "64 MiB": 2}


class Signer:
    """AWS Signature V4 in the query string, for one server and the day."""

    def __init__(self, port: int):
        now = datetime.datetime.now(datetime.UTC)
        self.host = f"127.0.0.1:{port}"
        self.stamp = now.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{now:%Y%m%d}/{REGION}/s3/aws4_request"
        key = ("AWS4" + SECRET).encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self.key = key
        credential = urllib.parse.quote(f"{ACCESS}/{self.scope}", safe="")
        # In the order that the signature wants: sorted by name.
        self.query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={self.stamp}"
            "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        )

    def path(self, method: str, key: str) -> str:
        """The signed path of an object (or of the bucket, with an empty key). Keys are plain letters here."""
        path = f"/{BUCKET}/{key}" if key else f"/{BUCKET}"
        canonical = f"{method}\n{path}\n{self.query}\nhost:{self.host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self.stamp}\n{self.scope}\n{digest}"
        return f"{path}?{self.query}&X-Amz-Signature={hmac.digest(self.key, text.encode(), 'sha256').hex()}"


def call(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    link.request(method, path, body)
    answer = link.getresponse()
    data = answer.read()
    link.close()
    if answer.status != 200:
        raise BenchError(f"{method} was answered {answer.status}: {data[:300].decode(errors='replace')}")
    return data


def start_millrace(context, folder: pathlib.Path) -> tuple[Server, int]:
    offset = free_offset()
    args = [context.binary, "up", "--data", folder / "data", "--port-offset", offset]
    return Server("millrace", args, folder), MILLRACE_PORTS["s3"] + offset


def start_versitygw(context, folder: pathlib.Path) -> tuple[Server, int]:
    port = free_port()
    (folder / "data").mkdir(parents=True)
    args = [context.peers["versitygw"].program, "--access", ACCESS, "--secret", SECRET, "--region", REGION]
    args += ["--port", f"127.0.0.1:{port}", "posix", folder / "data"]
    return Server("versitygw", args, folder), port


def run(context) -> dict:
    work = context.settings.work / "s3"
    work.mkdir()
    context.peers["versitygw"] = peers.versitygw()
    server, port = start_millrace(context, work / "millrace")
    servers, sides = [server], [load.Side("millrace", server, port)]
    result: dict = {"cases": []}
    bodies = {}
    for size, count in SIZES.items():
        bodies[size] = work / f"body-{count}"
        bodies[size].write_bytes(os.urandom(count))
    with running(servers):
        server.wait_ready(port, "/readyz")
        if not context.peers["versitygw"].missing:
            peer, peer_port = start_versitygw(context, work / "versitygw")
            servers.append(peer)
            try:
                peer.wait_ready(peer_port, "/", any_status=True)
                sides.append(load.Side("versitygw", peer, peer_port))
            except BenchError as error:
                context.peers["versitygw"].missing = f"it does not start here: {error}"
        signers = {side.key: Signer(side.port) for side in sides}
        for side in sides:
            signer = signers[side.key]
            call(side.port, "PUT", signer.path("PUT", ""))
            for size, count in GET_KEYS.items():
                data = bodies[size].read_bytes()
                for number in range(count):
                    call(side.port, "PUT", signer.path("PUT", f"get/{len(data)}/{number}"), data)
                if call(side.port, "GET", signer.path("GET", f"get/{len(data)}/0")) != data:
                    raise BenchError(f"{side.key} gives back other bytes than were put")

        def script(side, threads: int, method: str, size: str, connections: int) -> str:
            settings = context.settings
            if method == "GET":
                folder, count = f"get/{SIZES[size]}", GET_KEYS[size]
            else:
                new = NEW_KEYS[connections] * settings.seconds * (settings.rounds + 1)
                folder, count = f"put/{connections}/{SIZES[size]}", PUT_KEYS.get(size, new)
            names = work / f"{side.key}-{method}-{SIZES[size]}-{connections}.txt"
            signer = signers[side.key]
            names.write_text("".join(signer.path(method, f"{folder}/{number}") + "\n" for number in range(count)))
            return load.listed(side.port, method, names, threads, bodies[size] if method == "PUT" else None)

        for size in SIZES:
            for method in ("PUT", "GET"):
                for connections in (1, 8):
                    # What one server left to be written to the disk must not be paid by the next one.
                    before = (lambda side: os.sync()) if method == "PUT" else None
                    result["cases"].append(
                        load.compare(
                            context.settings,
                            f"{method} {size}",
                            connections,
                            sides,
                            lambda side, threads, m=method, s=size, c=connections: script(side, threads, m, s, c),
                            # A 64 MiB PUT takes a good part of a second.
                            {side.key: max(context.settings.seconds, 3) for side in sides}
                            if size == "64 MiB"
                            else None,
                            before,
                        )
                    )
                    result["cases"][-1]["bytes"] = SIZES[size]
        result["memory"] = {side.key: side.server.memory() for side in sides}
    return result
