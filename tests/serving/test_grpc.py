"""The V2 protocol over gRPC: Triton's client unchanged, bare grpcio, and HTTP/2 that is no gRPC."""

import concurrent.futures
import json
import socket
import struct
import zlib

import harness
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

import grpc

from . import support

ROWS = np.array([[1.0, 2, 3, 4], [0.5, -1, 2.25, 1e3], [4, 3, 2, 1]])
SERVICE = "/inference.GRPCInferenceService/"


class Running:
    def __init__(self, server, port):
        self.http = server
        self.port = port
        self.address = f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("grpc")
    models = {"churn": support.churn_model()}
    golden = sorted((support.GOLDEN / "1.9.1").iterdir())
    for name, source, fn in (
        ("labels", "logreg_binary.", "predict"),
        ("proba", "logreg_binary.", "predict_proba"),
        ("texts", "logreg_text.", "predict"),
    ):
        path = next(p for p in golden if p.name.startswith(source))
        models[name] = support.write_model(
            root / name,
            path,
            predict_fn=fn,
            inputs=support.tensor("float64", [-1, 4]),
            outputs=support.tensor("int64", [-1]),
        )
    port = harness.free_port()
    with support.serve(models, "--grpc-port", port) as running:
        yield Running(running, port)


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.address) as c:
        yield c


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as c:
        yield c


def tensor(name, array, datatype):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def call(channel, method, message, answer, **options):
    ask = channel.unary_unary(
        method if method.startswith("/") else SERVICE + method,
        request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
        response_deserializer=answer.FromString if answer else None,
    )
    return ask(message, timeout=options.pop("timeout", 60), **options)


def churn_request(**rest):
    inputs = [
        pb.ModelInferRequest.InferInputTensor(
            name=n,
            datatype="FP64",
            shape=[1],
            contents=pb.InferTensorContents(fp64_contents=[v]),
        )
        for n, v in support.CHURN.items()
    ]
    return pb.ModelInferRequest(model_name="churn", inputs=inputs, **rest)


def plain(server, name, rows=ROWS):
    body = server.http.infer(
        name,
        [
            {
                "name": "x",
                "datatype": "FP64",
                "shape": list(rows.shape),
                "data": rows.ravel().tolist(),
            }
        ],
    )[2]
    return body["outputs"][0]["data"]


# ---- Triton's client ----


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("labels")
    told = client.get_server_metadata()
    assert told.name == "millrace" and "binary_tensor_data" in told.extensions
    metadata = client.get_model_metadata("churn")
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs][:1] == [("CreditScore", "FP64", [-1, 1])]
    assert [t.name for t in metadata.outputs] == ["output-0"]
    for ask in (client.get_model_metadata, client.is_model_ready):
        with pytest.raises(InferenceServerException) as refused:
            ask("nope")
        assert refused.value.status() == "StatusCode.NOT_FOUND"


def test_labels_probabilities_and_texts(client, server):
    answer = client.infer("labels", [tensor("x", ROWS, "FP64")], request_id="one")
    assert answer.get_response().id == "one"
    assert answer.as_numpy("output-1").ravel().tolist() == plain(server, "labels")
    answer = client.infer("proba", [tensor("x", ROWS, "FP64")]).as_numpy("output-1")
    assert answer.shape == (3, 2) and answer.ravel().tolist() == plain(server, "proba")
    answer = client.infer("texts", [tensor("x", ROWS, "FP64")]).as_numpy("output-1")
    assert [v.decode() for v in answer.ravel()] == plain(server, "texts")


@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("FP64", np.float64),
        ("FP32", np.float32),
        ("FP16", np.float16),
        ("INT64", np.int64),
        ("UINT8", np.uint8),
    ],
)
def test_columns_of_every_type(client, datatype, dtype, packing):
    row = dict(support.CHURN, Balance=100, EstimatedSalary=200, CreditScore=200)
    inputs = [tensor(n, np.array([[v]]).astype(dtype), datatype) for n, v in row.items()]
    assert client.infer("churn", inputs, compression_algorithm=packing).as_numpy("output-1").shape == (1, 1)


def test_repository_and_statistics(client):
    assert {m.name for m in client.get_model_repository_index().models} == {
        "churn",
        "labels",
        "proba",
        "texts",
    }
    client.unload_model("texts")
    states = {m.name: m.state for m in client.get_model_repository_index().models}
    assert states["texts"] == "UNAVAILABLE" and states["labels"] == "READY"
    client.load_model("texts")
    assert client.is_model_ready("texts")
    with pytest.raises(InferenceServerException) as refused:
        client.load_model("nope")
    assert refused.value.status() == "StatusCode.NOT_FOUND"
    before = client.get_inference_statistics("proba").model_stats[0]
    client.infer("proba", [tensor("x", ROWS, "FP64")])
    after = client.get_inference_statistics("proba").model_stats[0]
    assert after.inference_count == before.inference_count + 3
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1


def test_many_calls_on_one_connection(client, server):
    want = plain(server, "labels")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.infer, "labels", [tensor("x", ROWS, "FP64")]) for _ in range(200)]
        assert all(a.result(60).as_numpy("output-1").ravel().tolist() == want for a in asked)


def test_large_messages_both_ways(client, server):
    """More than the windows of flow control and one write hold."""
    rows = np.tile(ROWS, (40_000, 1))
    with grpc.insecure_channel(
        server.address,
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ],
    ) as wide:
        request = pb.ModelInferRequest(
            model_name="proba",
            inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=rows.shape)],
            raw_input_contents=[rows.tobytes()],
        )
        answer = call(wide, "ModelInfer", request, pb.ModelInferResponse, timeout=60)
    got = np.frombuffer(answer.raw_output_contents[0]).reshape(-1, 2)
    assert got.shape == (120_000, 2)
    assert got[:3].ravel().tolist() == got[-3:].ravel().tolist() == plain(server, "proba")


# ---- messages, as recorded of MLServer ----


def recorded():
    lines = (harness.shared_dir() / "reference" / "v2-vectors.jsonl").read_text().splitlines()
    return {v["name"]: v for v in map(json.loads, lines) if v.get("transport") == "grpc" and "1.7.1" in v["server"]}


def test_typed_contents(channel):
    answer = call(channel, "ModelInfer", churn_request(id="g1"), pb.ModelInferResponse)
    want = recorded()["grpc-infer"]["response"]
    assert answer.id == want["id"]
    assert answer.parameters["content_type"].string_param == "np"
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == (
        "output-1",
        "INT64",
        [1, 1],
    )
    assert list(output.contents.int64_contents) == [1] and not answer.raw_output_contents
    # No id was given: none comes back, as over MLServer's gRPC.
    assert call(channel, "ModelInfer", churn_request(), pb.ModelInferResponse).id == ""


def test_raw_wins_over_contents(channel):
    request = churn_request(raw_input_contents=[struct.pack("<d", v) for v in support.CHURN.values()])
    answer = call(channel, "ModelInfer", request, pb.ModelInferResponse)
    assert answer.raw_output_contents == [struct.pack("<q", 1)]


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("BOOL", "bool_contents"),
        ("INT8", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("FP32", "fp32_contents"),
        ("BYTES", "bytes_contents"),
    ],
)
def test_every_kind_of_contents(channel, datatype, field):
    def value(v):
        return {"BOOL": bool(v), "BYTES": str(v).encode(), "FP32": float(v)}.get(datatype, int(v) % 100)

    request = pb.ModelInferRequest(model_name="churn")
    for n, v in support.CHURN.items():
        contents = pb.InferTensorContents(**{field: [value(v)]})
        request.inputs.add(name=n, datatype=datatype, shape=[1, 1], contents=contents)
    answer = call(channel, "ModelInfer", request, pb.ModelInferResponse)
    assert list(answer.outputs[0].contents.int64_contents) in ([0], [1])


def refused(channel, method, message, answer=None, **options):
    with pytest.raises(grpc.RpcError) as error:
        call(channel, method, message, answer, **options)
    return error.value.code(), error.value.details()


def test_refusals_have_the_right_codes(channel):
    code, text = refused(channel, "ModelInfer", pb.ModelInferRequest(model_name="nope"))
    assert (code, text) == (
        grpc.StatusCode.NOT_FOUND,
        "Model nope with version  not found",
    )
    code, text = refused(channel, "ModelInfer", churn_request(model_version="9"))
    assert code == grpc.StatusCode.NOT_FOUND and "version 9" in text
    missing = churn_request()
    del missing.inputs[-1]
    code, text = refused(channel, "ModelInfer", missing)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "EstimatedSalary" in text
    assert "79084" not in text and "125510" not in text
    bad = churn_request()
    bad.inputs[0].datatype = "XX"
    code, text = refused(channel, "ModelInfer", bad)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "XX" in text
    bad = churn_request()
    bad.inputs[0].datatype = "INT64"
    code, text = refused(channel, "ModelInfer", bad)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "CreditScore" in text and "int64_contents" in text
    bad = churn_request(raw_input_contents=[b"12345678"])
    assert refused(channel, "ModelInfer", bad)[0] == grpc.StatusCode.INVALID_ARGUMENT
    bad = churn_request(raw_input_contents=[b"1234567"] * 10)
    code, text = refused(channel, "ModelInfer", bad)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "CreditScore" in text
    code, text = refused(channel, "ModelInfer", b"\xff\xff\xff")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused(channel, "NoSuchMethod", b"")[0] == grpc.StatusCode.UNIMPLEMENTED
    assert refused(channel, "/other.Service/Call", b"")[0] == grpc.StatusCode.UNIMPLEMENTED
    assert call(channel, "ModelInfer", churn_request(), pb.ModelInferResponse).model_name == "churn"


def test_health_service(channel):
    def health(service=""):
        name = service.encode()
        return call(
            channel,
            "/grpc.health.v1.Health/Check",
            (b"\x0a" + bytes([len(name)]) + name) if name else b"",
            None,
        )

    assert health() == b"\x08\x01"  # SERVING
    assert health("inference.GRPCInferenceService") == b"\x08\x01"
    code, _ = refused(channel, "/grpc.health.v1.Health/Check", b"\x0a\x04nope")
    assert code == grpc.StatusCode.NOT_FOUND


def test_metrics(channel, server):
    def handled(code):
        text = server.http.call("GET", "/metrics")[2].decode()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("grpc_server_handled_total") and 'grpc_method="ModelInfer"' in line and code in line
        )

    before = handled("OK"), handled("NOT_FOUND")
    call(channel, "ModelInfer", churn_request(), None)
    refused(channel, "ModelInfer", pb.ModelInferRequest(model_name="nope"))
    assert (handled("OK"), handled("NOT_FOUND")) == (before[0] + 1, before[1] + 1)


# ---- below gRPC ----

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def head(**more):
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "localhost",
        ":path": SERVICE + "ModelInfer",
        "content-type": "application/grpc",
        "te": "trailers",
        **more,
    }
    return b"".join(literal(k, v) for k, v in fields.items())


def talk(server, *frames, preface=PREFACE):
    """Sends these bytes and answers all that comes back until the stream or the connection ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(preface + frame(4, 0, 0) + b"".join(frames))
        got = b""
        try:
            while part := s.recv(65536):
                got += part
                at = 0
                while at + 9 <= len(got):
                    size = int.from_bytes(got[at : at + 3], "big")
                    if at + 9 + size > len(got):
                        break
                    kind, flags = got[at + 3], got[at + 4]
                    if (kind in (0, 1) and flags & 1) or kind in (3, 7):
                        return got
                    at += 9 + size
        except (ConnectionResetError, BrokenPipeError):
            pass
        return got


def alive(client):
    return client.is_server_live()


def message(data, packed=0):
    return bytes([packed]) + struct.pack(">I", len(data)) + data


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"\0\0", id="cut-prefix"),
        pytest.param(message(b"abc")[:-1], id="cut-message"),
        pytest.param(message(b"abc") + message(b"d"), id="two-messages"),
        pytest.param(b"\0\xff\xff\xff\xff", id="four-gigabytes"),
        pytest.param(message(b"abc", 7), id="flag"),
        pytest.param(message(b"not gzip", 1), id="broken-gzip"),
    ],
)
def test_broken_messages(server, client, body):
    got = talk(server, frame(1, 4, 1, head(**{"grpc-encoding": "gzip"})), frame(0, 1, 1, body))
    assert got
    assert alive(client)


def test_gzip_bomb(server, client):
    """More than a message may have, in a quarter of a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.flush(zlib.Z_FULL_FLUSH)
    bomb = start + (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * 260 + packer.flush()
    assert len(bomb) < 400_000
    body = message(bomb, 1)
    pieces = [frame(0, 0, 1, body[at : at + 16384]) for at in range(0, len(body), 16384)]
    before = support.peak_memory_mib(server.http.proc.pid)
    got = talk(server, frame(1, 4, 1, head(**{"grpc-encoding": "gzip"})), *pieces, frame(0, 1, 1))
    assert got
    assert support.peak_memory_mib(server.http.proc.pid) - before < 700
    assert alive(client)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([frame(1, 4, 1, head(**{":method": "GET"})), frame(0, 1, 1)], id="get"),
        pytest.param([frame(1, 5, 1, head(**{"content-type": "text/plain"}))], id="no-grpc"),
        pytest.param([frame(1, 5, 1, b"\xff" * 20)], id="broken-headers"),
        pytest.param([frame(1, 4, 2, head())], id="even-stream"),
        pytest.param([frame(0, 1, 1, b"x")], id="data-first"),
        pytest.param([frame(8, 0, 0, b"\0\0\0\0")], id="window-of-nothing"),
        pytest.param([frame(6, 0, 0, b"123")], id="short-ping"),
        pytest.param([frame(4, 0, 0, b"12345")], id="short-settings"),
        pytest.param([b"\xff\xff\xff" + frame(0, 0, 1)[3:]], id="huge-frame"),
    ],
)
def test_frames_that_are_no_call(server, client, frames):
    talk(server, *frames)
    assert alive(client)


def test_deadline_of_a_call_that_does_not_end(server, client):
    """The request's body never comes; the deadline ends the call, with headers that end the stream."""
    got = talk(server, frame(1, 4, 1, head(**{"grpc-timeout": "50m"})))
    frames, at = [], 0
    while at + 9 <= len(got):
        size = int.from_bytes(got[at : at + 3], "big")
        frames.append((got[at + 3], got[at + 4], got[at + 8]))
        at += 9 + size
    assert any(kind == 1 and flags & 1 and stream == 1 for kind, flags, stream in frames), frames
    assert alive(client)


def test_http1_on_the_port(server, client):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        while s.recv(65536):
            pass
    assert alive(client)


def test_resets_in_a_row(server, client):
    """Streams that are opened and reset at once end the connection, not the server."""
    frames = []
    for n in range(3000):
        frames += [
            frame(1, 4, 2 * n + 1, head()),
            frame(3, 0, 2 * n + 1, struct.pack(">I", 8)),
        ]
    talk(server, *frames)
    assert alive(client)


def test_port_zero_is_none_and_a_taken_port_is_told(tmp_path):
    model = support.write_model(
        tmp_path / "model",
        support.GOLDEN / "1.9.1" / "logreg_binary.skops",
        inputs=support.tensor("float64", [-1, 4]),
    )
    with support.serve({"m": model}, "--grpc-port", 0) as running:
        assert "grpc" not in running.proc.stdout()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = support.run_to_end(
            "serve",
            "--model",
            model,
            "--name",
            "m",
            "--port",
            harness.free_port(),
            "--grpc-port",
            port,
        )
        assert ended.code in (1, 2) and str(port) in ended.text and "--grpc-port" in ended.text
