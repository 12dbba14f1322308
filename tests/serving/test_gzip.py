"""Case 48: compressed requests and answers."""

import gzip
import io
import json
import zlib

import pytest

from . import support

PATH = "/v2/models/bankchurn-model/infer"
METADATA = "/v2/models/bankchurn-model"


def body(rows=1):
    return json.dumps(
        {
            "id": "z",
            "inputs": [
                {"name": n, "datatype": "FP64", "shape": [rows], "data": [v] * rows} for n, v in support.CHURN.items()
            ],
        }
    )


def post(server, data, **headers):
    given = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return server.call("POST", PATH, data, given)


def test_gzip_request(churn_server):
    plain = post(churn_server, body())
    packed = post(churn_server, gzip.compress(body().encode()), Content_Encoding="gzip")
    assert plain[0] == packed[0] == 200
    assert plain[2] == packed[2]


@pytest.mark.parametrize("level", [0, 1, 9])
def test_gzip_levels(churn_server, level):
    assert post(churn_server, gzip.compress(body(100).encode(), level), Content_Encoding="gzip")[0] == 200


def test_gzip_with_a_file_name(churn_server):
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="request.json", mode="wb", fileobj=buffer) as out:
        out.write(body().encode())
    assert post(churn_server, buffer.getvalue(), Content_Encoding="gzip")[0] == 200


def test_gzip_in_two_members(churn_server):
    """A gzip file is a series of members; a proxy or a parallel packer may make more than one."""
    text = body().encode()
    members = gzip.compress(text[:200]) + gzip.compress(text[200:])
    assert post(churn_server, members, Content_Encoding="gzip")[0] == 200


def test_coding_names_have_no_case(churn_server):
    assert post(churn_server, gzip.compress(body().encode()), Content_Encoding="GZip")[0] == 200
    assert post(churn_server, body(), Content_Encoding="identity")[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"this is no gzip", id="plain-text"),
        pytest.param(b"", id="empty"),
        pytest.param(gzip.compress(body().encode())[:-12], id="cut-short"),
        pytest.param(gzip.compress(body().encode())[:12], id="header-only"),
        pytest.param(gzip.compress(body().encode())[:-8] + b"\0" * 8, id="wrong-checksum"),
        pytest.param(b"\x1f\x8b\x08\x00" + b"\xff" * 64, id="noise"),
    ],
)
def test_broken_gzip(churn_server, data):
    status, _, raw = post(churn_server, data, Content_Encoding="gzip")
    assert status == 400, raw
    assert raw, "a text says what is wrong"
    assert post(churn_server, body())[0] == 200


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "nonsense"])
def test_unknown_coding(churn_server, coding):
    status, _, raw = post(churn_server, body(), Content_Encoding=coding)
    assert status == 415, raw
    assert post(churn_server, body())[0] == 200


def test_gzip_bomb(churn_server):
    """A gigabyte of zeros in one megabyte is refused before it is unpacked."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    # After a full flush a block stands for itself, so one megabyte is packed once and repeated.
    start = packer.flush(zlib.Z_FULL_FLUSH)
    bomb = start + (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * 1024 + packer.flush()
    assert len(bomb) < 2_000_000
    before = support.peak_memory_mib(churn_server.proc.pid)
    status, _, raw = post(churn_server, bomb, Content_Encoding="gzip")
    assert status in (400, 413), raw
    assert support.peak_memory_mib(churn_server.proc.pid) - before < 300
    churn_server.close()
    assert post(churn_server, body())[0] == 200


def unpacked(headers, raw):
    assert headers["content-encoding"] == "gzip"
    assert "accept-encoding" in headers["vary"].lower()
    assert headers["content-length"] == str(len(raw))
    return gzip.decompress(raw)


@pytest.mark.parametrize("accept", ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "*"])
def test_gzip_answer_when_large(churn_server, accept):
    status, plain_headers, plain = post(churn_server, body(1000))
    assert status == 200 and len(plain) >= 500
    assert "content-encoding" not in plain_headers
    status, headers, raw = post(churn_server, body(1000), Accept_Encoding=accept)
    assert status == 200
    if accept == "*" and "content-encoding" not in headers:
        assert raw == plain  # `*` allows gzip, but asks for nothing
    else:
        assert unpacked(headers, raw) == plain
        assert len(raw) < len(plain)
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("accept", ["identity", "deflate", "br", "gzip;q=0", "gzip;q=0, *", ""])
def test_no_gzip_answer_unless_accepted(churn_server, accept):
    _, headers, raw = post(churn_server, body(1000), Accept_Encoding=accept)
    assert "content-encoding" not in headers
    assert json.loads(raw)["id"] == "z"


def test_small_answers_stay_plain(churn_server):
    status, headers, raw = post(churn_server, body(), Accept_Encoding="gzip")
    assert status == 200 and len(raw) < 500
    assert "content-encoding" not in headers


def test_large_answers_vary(churn_server):
    """A cache must not give a packed answer to who cannot read it, so the plain one says Vary too."""
    _, headers, _ = post(churn_server, body(1000))
    assert "accept-encoding" in headers.get("vary", "").lower()


def test_gzip_metadata(churn_server):
    _, _, plain = churn_server.call("GET", METADATA)
    status, headers, raw = churn_server.call("GET", METADATA, headers={"Accept-Encoding": "gzip"})
    assert status == 200
    assert unpacked(headers, raw) == plain


def test_gzip_both_ways(churn_server):
    status, headers, raw = post(
        churn_server, gzip.compress(body(500).encode()), Content_Encoding="gzip", Accept_Encoding="gzip"
    )
    assert status == 200
    answer = json.loads(unpacked(headers, raw))
    assert answer["outputs"][0]["data"] == [1] * 500


def test_requests_library(churn_server):
    """A client that asks for gzip and unpacks it unseen."""
    import requests

    answer = requests.post(
        churn_server.url + PATH,
        data=gzip.compress(body(800).encode()),
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        timeout=20,
    )
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["outputs"][0]["data"] == [1] * 800
