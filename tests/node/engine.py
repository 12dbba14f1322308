"""What the tests of containers need of podman: an image made from this machine's programs, and a registry that has it."""

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import threading

# One for each run of the tests, since they remove it.
IMAGE = f"localhost/millrace-test/box-{os.getpid()}:1"


@functools.cache
def podman_program():
    found = shutil.which("podman")
    if not found:
        raise FileNotFoundError("no podman; run scripts/setup.sh --test")
    return found


def podman(*args, input=None):
    done = subprocess.run(
        [podman_program(), *map(str, args)],
        input=input,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"podman {args}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode()


def labelled(*labels):
    """The ids of all containers, running or not, that have these labels."""
    filters = [word for one in labels for word in ("--filter", f"label={one}")]
    return podman("ps", "--all", "--quiet", *filters).split()


def _add(tar, name, *, data=None, file=None, link=None, mode=0o755, folder=False):
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    if folder:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif link:
        entry.type, entry.linkname = tarfile.SYMTYPE, link
        tar.addfile(entry)
    else:
        data = pathlib.Path(file).read_bytes() if file else data
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


def make_image():
    """A shell, and openssl as a program that is linked to the C library and can listen."""
    box, tls = (shutil.which(name) for name in ("busybox", "openssl"))
    names = subprocess.run([box, "--list"], capture_output=True, text=True, check=True).stdout.split()
    libraries = set()
    for program in (box, tls):
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        libraries |= set(re.findall(r"(/\S+) \(0x", linked))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("bin", "etc", "lib64", "lib", "root", "srv", "var"):
            _add(tar, folder, folder=True)
        _add(tar, "tmp", folder=True, mode=0o1777)
        _add(tar, "bin/busybox", file=box)
        for name in names:
            if name != "busybox":
                _add(tar, f"bin/{name}", link="busybox")
        _add(tar, "bin/openssl", file=tls)
        for path in sorted(libraries):
            _add(
                tar,
                ("lib64/" if "ld-linux" in path else "lib/") + pathlib.Path(path).name,
                file=path,
            )
        _add(
            tar,
            "etc/passwd",
            data=b"root:x:0:0::/root:/bin/sh\nbox:x:1234:1234::/srv:/bin/sh\n",
            mode=0o644,
        )
    changes = [
        "ENV GREETING=hello",
        "WORKDIR /srv",
        'ENTRYPOINT ["/bin/sh", "-c"]',
        'CMD ["echo $GREETING from the image; pwd; id -u"]',
        "STOPSIGNAL SIGINT",
    ]
    words = [word for change in changes for word in ("--change", change)]
    podman("import", "--quiet", *words, "-", IMAGE, input=out.getvalue())
    return IMAGE


class Registry(threading.Thread):
    """A registry of one image by the distribution protocol, for one user with a password when `login` is given."""

    def __init__(self, folder, login=None):
        super().__init__(daemon=True)
        podman("push", "--quiet", IMAGE, f"dir:{folder}")
        self.asked = []
        folder = pathlib.Path(folder)
        wanted = "Basic " + base64.b64encode(login.encode()).decode() if login else None
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b"", kind="application/json", **headers):
                self.send_response(status)
                for name, value in {
                    "Content-Type": kind,
                    "Content-Length": len(body),
                    **headers,
                }.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                registry.asked.append(self.path)
                if wanted and self.headers.get("Authorization") != wanted:
                    self.answer(
                        401,
                        b'{"errors":[{"code":"UNAUTHORIZED"}]}',
                        WWW_Authenticate='Basic realm="box"',
                    )
                    return
                match re.fullmatch(r"/v2/(?:team/(box|wrong)/(manifests|blobs)/(.+))?", self.path):
                    case None:
                        self.answer(
                            404,
                            b'{"errors":[{"code":"NAME_UNKNOWN","message":"name unknown"}]}',
                        )
                    case found if found[1] is None:
                        self.answer(200, b"{}")
                    case found if found[2] == "manifests" and found[1] == "box":
                        body = (folder / "manifest.json").read_bytes()
                        digest = "sha256:" + hashlib.sha256(body).hexdigest()
                        self.answer(
                            200,
                            body,
                            json.loads(body).get(
                                "mediaType",
                                "application/vnd.oci.image.manifest.v1+json",
                            ),
                            Docker_Content_Digest=digest,
                        )
                    case found if found[2] == "blobs":
                        body = (folder / found[3].removeprefix("sha256:")).read_bytes()
                        self.answer(200, body, "application/octet-stream")
                    case _:
                        self.answer(
                            404,
                            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
                        )

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"127.0.0.1:{self.server.server_port}"

    def run(self):
        self.server.serve_forever()

    def settings(self, file):
        """A file of registries for CONTAINERS_REGISTRIES_CONF, in which this one needs no TLS."""
        file.write_text(f'[[registry]]\nlocation = "{self.name}"\ninsecure = true\n')
        return file
