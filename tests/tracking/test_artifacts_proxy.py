"""Artifacts through the server: upload, download, listing, names byte for byte, multipart."""

import hashlib
import re
import socket
import time
from urllib.parse import quote, urlsplit

import pytest

from .api import PROXY, missing, unique

BAD = (400, "INVALID_PARAMETER_VALUE")


@pytest.fixture
def folder(experiment, run):
    """Path of the run's artifacts below the artifact root."""
    return f"{experiment}/{run}/artifacts"


def put(api, folder, path, data, **more):
    return api.http.put(f"{api.url}{PROXY}/{folder}/{quote(path)}", data=data, timeout=60, **more)


def fetch(api, folder, path, **headers):
    return api.http.get(f"{api.url}{PROXY}/{folder}/{quote(path)}", headers=headers, timeout=60)


def listing(api, path):
    response = api.http.get(api.url + PROXY, params={"path": path})
    assert response.status_code == 200, response.text
    return response.json().get("files", [])


def in_run(api, run, **query):
    answer = api.get("/artifacts/list", run_id=run, **query)
    return answer["root_uri"], answer.get("files", [])


def test_put_and_get(api, folder):
    stored = put(api, folder, "a.txt", b"hello world")
    assert (stored.status_code, stored.content) == (200, b"")
    answer = fetch(api, folder, "a.txt")
    assert answer.status_code == 200
    assert answer.content == b"hello world"
    headers = answer.headers
    assert headers["Content-Length"] == "11"
    assert headers["Content-Type"].split(";")[0] == "text/plain"
    assert headers["Content-Disposition"] == "attachment; filename=a.txt"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"].startswith('"')
    assert headers["Last-Modified"].endswith(" GMT")


def test_put_replaces(api, folder):
    for data in (b"first and longer", b"second"):
        put(api, folder, "a.txt", data)
    assert fetch(api, folder, "a.txt").content == b"second"


def test_head(api, folder):
    put(api, folder, "a.txt", b"hello world")
    answer = api.http.head(f"{api.url}{PROXY}/{folder}/a.txt")
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "11", b"")


def test_an_empty_file(api, folder):
    put(api, folder, "empty.bin", b"")
    answer = fetch(api, folder, "empty.bin")
    assert (answer.status_code, answer.content) == (200, b"")
    # A size of zero is left out, as proto JSON does.
    assert listing(api, folder) in (
        [{"path": "empty.bin", "is_dir": False}],
        [{"path": "empty.bin", "is_dir": False, "file_size": 0}],
    )


def test_a_chunked_upload(api, folder):
    assert put(api, folder, "c.bin", iter([b"ab", b"", b"cd" * 50000])).status_code == 200
    assert fetch(api, folder, "c.bin").content == b"ab" + b"cd" * 50000


def test_any_content_type_is_fine(api, folder):
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert put(api, folder, "x", b"{not json", headers={"Content-Type": kind}).status_code == 200
    assert fetch(api, folder, "x").content == b"{not json"


def test_megabytes_come_back_whole(api, folder):
    data = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(200_000))
    put(api, folder, "big.bin", data)
    assert hashlib.sha256(fetch(api, folder, "big.bin").content).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    "name, kind",
    [
        ("x.txt", "text/plain"),
        ("x.json", "text/plain"),
        ("x.yaml", "text/plain"),
        ("x.py", "text/plain"),
        ("x.csv", "text/plain"),
        ("x.md", "text/plain"),
        ("MLmodel", "text/plain"),
        ("x.html", "text/html"),
        ("x.png", "image/png"),
        ("x.svg", "image/svg+xml"),
        ("x.pkl", "application/octet-stream"),
        ("x.bin", "application/octet-stream"),
        ("noext", "application/octet-stream"),
    ],
)
def test_content_types(api, folder, name, kind):
    put(api, folder, name, b"1")
    answer = fetch(api, folder, name)
    assert answer.headers["Content-Type"].split(";")[0] == kind
    # Whatever it is, a browser must store it, not show it.
    assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "wanted, content, shown",
    [
        ("bytes=2-4", b"llo", "bytes 2-4/11"),
        ("bytes=0-0", b"h", "bytes 0-0/11"),
        ("bytes=6-", b"world", "bytes 6-10/11"),
        ("bytes=-3", b"rld", "bytes 8-10/11"),
        ("bytes=6-99", b"world", "bytes 6-10/11"),
    ],
)
def test_ranges(api, folder, wanted, content, shown):
    put(api, folder, "a.txt", b"hello world")
    answer = fetch(api, folder, "a.txt", Range=wanted)
    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["Content-Range"] == shown
    assert answer.headers["Content-Length"] == str(len(content))


def test_a_range_behind_the_end(api, folder):
    put(api, folder, "a.txt", b"hello world")
    answer = fetch(api, folder, "a.txt", Range="bytes=50-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */11")


def test_missing_file(api, folder):
    answer = fetch(api, folder, "nope.txt")
    assert answer.status_code == 404
    assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert answer.json()["message"] == f"No such artifact: '{folder}/nope.txt'"


def test_a_directory_is_not_a_file(api, folder):
    put(api, folder, "d/f", b"1")
    for path in ("d", "d/"):
        answer = fetch(api, folder, path)
        assert answer.status_code == 400
        assert f"Artifact path refers to a directory, not a file: '{folder}/{path}'" in answer.text


def test_listing(api, experiment, run, folder):
    for path in ("b.txt", "a.txt", "d/e/f.json", "d/z"):
        put(api, folder, path, b"12")
    top = [
        {"path": "a.txt", "is_dir": False, "file_size": 2},
        {"path": "b.txt", "is_dir": False, "file_size": 2},
        {"path": "d", "is_dir": True},
    ]
    assert listing(api, folder) == top
    # The proxy answers paths relative to the asked folder, the run relative to its root.
    assert listing(api, folder + "/d") == [
        {"path": "e", "is_dir": True},
        {"path": "z", "is_dir": False, "file_size": 2},
    ]
    root = f"mlflow-artifacts:/{experiment}/{run}/artifacts"
    assert in_run(api, run) == (root, top)
    for path in ("d", "d/"):
        assert in_run(api, run, path=path) == (
            root,
            [{"path": "d/e", "is_dir": True}, {"path": "d/z", "is_dir": False, "file_size": 2}],
        )
    assert {"path": experiment, "is_dir": True} in listing(api, "")


def test_listing_of_nothing(api, run, folder):
    assert api.http.get(api.url + PROXY, params={"path": unique("nope")}).json() == {}
    put(api, folder, "a.txt", b"1")
    for path in ("nope", "a.txt"):
        assert listing(api, f"{folder}/{path}") == []
        assert in_run(api, run, path=path)[1] == []


def test_listing_refusals(api, run):
    api.fail("GET", "/artifacts/list", *BAD, missing("run_id"))
    api.fail("GET", "/artifacts/list", 404, "RESOURCE_DOES_NOT_EXIST", run_id="0" * 32)
    for path in ("../x", "/etc", "%2e%2e", "a/../../b"):
        api.fail("GET", "/artifacts/list", *BAD, "Invalid path", run_id=run, path=path)


def test_delete(api, folder):
    for path in ("a.txt", "d/e", "d/f/g"):
        put(api, folder, path, b"1")
    # Deleting what is not there is fine too.
    for path in ("a.txt", "a.txt", "d", "nope"):
        answer = api.http.delete(f"{api.url}{PROXY}/{folder}/{path}")
        assert (answer.status_code, answer.json()) == (200, {})
    assert fetch(api, folder, "a.txt").status_code == 404
    assert fetch(api, folder, "d/f/g").status_code == 404
    assert listing(api, folder) == []


# Names byte for byte: public case 8.

FIX = pytest.mark.fix
NAMES = [
    "with space.txt",
    "Tribeč.html",
    "a+b.txt",
    "日本/ünï.bin",
    "x=1&y=2.txt",
    "dir/.hidden",
    'quo"te.txt',
    "semi;colon,.txt",
    "it's.txt",
    "a:b",
    "100%",
    "...",
    "a..b",
    "tilde~",
    "back\\slash",
    "x" * 200,
    "e\u0301.txt",
    "question?.txt",
    pytest.param("a%20b.txt", marks=FIX),
    pytest.param("a#b?.txt", marks=FIX),
    pytest.param("tab\tx.txt", marks=FIX),
    pytest.param("a%2Fb.txt", marks=FIX),
    pytest.param("new\nline.txt", marks=FIX),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_kept_byte_for_byte(api, run, folder, name):
    data = name.encode()
    assert put(api, folder, name, data).status_code == 200
    assert fetch(api, folder, name).content == data
    parent, _, last = name.rpartition("/")
    entry = {"is_dir": False, "file_size": len(data)}
    assert listing(api, f"{folder}/{parent}" if parent else folder) == [{"path": last, **entry}]
    assert in_run(api, run, **({"path": parent} if parent else {}))[1] == [{"path": name, **entry}]


@pytest.mark.fix
def test_names_that_look_alike_do_not_collide(api, folder):
    # The stock server decodes twice and writes all three to one file.
    names = ["a b", "a%20b", "a%2520b"]
    for name in names:
        assert put(api, folder, name, name.encode()).status_code == 200
    assert [fetch(api, folder, name).text for name in names] == names
    assert sorted(f["path"] for f in listing(api, folder)) == sorted(names)


@pytest.mark.parametrize("name, ascii_name", [("Tribeč.html", "Tribec.html"), ("ünï.bin", "uni.bin")])
def test_names_beyond_ascii_have_a_fallback(api, folder, name, ascii_name):
    put(api, folder, name, b"1")
    disposition = fetch(api, folder, name).headers["Content-Disposition"]
    assert disposition == f"attachment; filename={ascii_name}; filename*=UTF-8''{quote(name)}"


@pytest.mark.fix
@pytest.mark.parametrize("first, second", [("e.bin", "e.bin/sub"), ("e2/sub", "e2")])
def test_a_file_and_a_folder_of_one_name(api, folder, first, second):
    # Both kept, as an object store would, or a clear refusal; the stock server fails with 500.
    put(api, folder, first, b"first")
    answer = put(api, folder, second, b"second")
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert fetch(api, folder, second).content == b"second"
    else:
        assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert fetch(api, folder, first).content == b"first"


# An upload that breaks off.


def test_an_aborted_upload_leaves_nothing_visible(api, folder):
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as wire:
        wire.sendall(
            f"PUT {parts.path}{PROXY}/{folder}/half.bin HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Length: 1000000\r\n\r\n".encode()
            + b"x" * 300_000
        )
        time.sleep(0.1)
    time.sleep(0.3)
    assert fetch(api, folder, "half.bin").status_code == 404
    assert listing(api, folder) == []


def test_an_aborted_upload_keeps_the_old_file(api, folder):
    put(api, folder, "kept.bin", b"old")
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as wire:
        wire.sendall(
            f"PUT {parts.path}{PROXY}/{folder}/kept.bin HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
            + b"5\r\nhello\r\n"
        )
        time.sleep(0.1)
    time.sleep(0.3)
    assert fetch(api, folder, "kept.bin").content == b"old"


# The UI reads and writes by run and by model version.


def test_get_artifact(api, run, folder):
    put(api, folder, "n/a+b.html", b"<b>x</b>")
    for key in ("run_id", "run_uuid"):
        answer = api.http.get(api.url + "/get-artifact", params={key: run, "path": "n/a+b.html"})
        assert (answer.status_code, answer.content) == (200, b"<b>x</b>")
        assert answer.headers["Content-Disposition"] == "attachment; filename=a+b.html"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_get_artifact_refusals(api, run, folder):
    put(api, folder, "n/x", b"1")

    def status(**query):
        return api.http.get(api.url + "/get-artifact", params=query).status_code

    assert status(run_id=run, path="nope") == 404
    assert status(run_id=run, path="n") == 400
    assert status(run_id=run) == 400
    assert status(run_id="0" * 32, path="x") == 404
    for path in ("../x", "/etc/passwd", "%2e%2e/x"):
        assert status(run_id=run, path=path) == 400


def test_upload_artifact(api, run, folder):
    url = api.url + "/ajax-api/2.0/mlflow/upload-artifact"
    answer = api.http.post(url, params={"run_uuid": run, "path": "up/l.txt"}, data=b"uploaded")
    assert answer.status_code == 200
    assert fetch(api, folder, "up/l.txt").content == b"uploaded"
    for query, data, text in (
        ({"run_uuid": run}, b"x", "Request must specify path."),
        ({"path": "x"}, b"x", "Request must specify run_id or run_uuid."),
        ({"run_uuid": run, "path": "z"}, b"", "Request must specify data."),
        ({"run_uuid": run, "path": "../x"}, b"x", "Invalid path"),
    ):
        answer = api.http.post(url, params=query, data=data)
        assert answer.status_code == 400
        assert answer.json()["message"] == text


def test_files_of_a_model_version(api, experiment):
    logged = api.new_logged_model(experiment)
    put(api, f"{experiment}/models/{logged}/artifacts", "MLmodel", b"flavors: {}")
    name = api.new_model()
    api.new_version(name, source=f"models:/{logged}", model_id=logged)

    def read(path):
        return api.http.get(
            api.url + "/model-versions/get-artifact", params={"name": name, "version": "1", "path": path}
        )

    assert read("MLmodel").content == b"flavors: {}"
    assert read("nope").status_code == 404
    assert read("../x").status_code == 400


# Multipart: announced by server-info; a server without it says so and clients fall back to one PUT.


def test_multipart_upload(api, folder):
    info = api.http.get(api.url + "/api/3.0/mlflow/server-info").json()
    base = f"{api.url}/api/2.0/mlflow-artifacts/mpu"
    begun = api.http.post(f"{base}/create/{folder}", json={"path": "big.bin", "num_parts": 2})
    if not info["multipart_uploads_enabled"]:
        assert begun.status_code == 501
        assert begun.json()["error_code"] == "NOT_IMPLEMENTED"
        assert begun.json()["message"] == "Multipart upload is not supported for the current artifact repository"
        return
    assert begun.status_code == 200, begun.text
    upload, places = begun.json()["upload_id"], begun.json()["credentials"]
    assert [p["part_number"] for p in places] == [1, 2]
    content = [b"a" * (5 << 20), b"the end"]
    done = []
    for place, data in zip(places, content, strict=True):
        stored = api.http.put(place["url"], data=data, headers=place.get("headers", {}))
        assert stored.status_code == 200, stored.text
        done.append({"part_number": place["part_number"], "etag": stored.headers["ETag"], "url": place["url"]})
    # Nothing shows before the upload is complete.
    assert fetch(api, folder, "big.bin").status_code == 404
    assert listing(api, folder) == []
    ended = api.http.post(f"{base}/complete/{folder}", json={"path": "big.bin", "upload_id": upload, "parts": done})
    assert ended.status_code == 200, ended.text
    assert fetch(api, folder, "big.bin").content == b"".join(content)


def test_multipart_abort_leaves_nothing(api, folder):
    base = f"{api.url}/api/2.0/mlflow-artifacts/mpu"
    begun = api.http.post(f"{base}/create/{folder}", json={"path": "gone.bin", "num_parts": 1})
    upload = begun.json().get("upload_id", "none")
    ended = api.http.post(f"{base}/abort/{folder}", json={"path": "gone.bin", "upload_id": upload})
    assert ended.status_code == begun.status_code
    assert ended.status_code in (200, 501)
    assert fetch(api, folder, "gone.bin").status_code == 404


def test_multipart_needs_a_path(api, folder):
    answer = api.http.post(f"{api.url}/api/2.0/mlflow-artifacts/mpu/create/{folder}", json={})
    assert answer.status_code == 400
    assert re.search("required parameter '(path|num_parts)'", answer.json()["message"])
