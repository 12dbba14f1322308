"""The request of the seed document, section "Model Inference Testing", answered to the byte."""

import concurrent.futures
import json
import pathlib
import re
import socket
import urllib.parse

import harness
import pytest

from . import support
from .support import UUID4

ANSWER = (
    '{"model_name":"bankchurn-model","id":"%s","parameters":{"content_type":"np"},'
    '"outputs":[{"name":"output-1","shape":[1,1],"datatype":"INT64","parameters":{"content_type":"np"},"data":[1]}]}'
)
PATH = "/v2/models/bankchurn-model/infer"
JSON = {"Content-Type": "application/json"}


def seed_body():
    """The body of the curl command in the seed document, as its reader would paste it."""
    text = (harness.shared_dir() / "data" / "seed.md").read_text()
    section = text[text.index("### Model Inference Testing") :]
    return re.search(r"-d '(\{.*?\})'", section, re.DOTALL).group(1)


def seed_answer():
    """The answer printed in the seed document."""
    text = (harness.shared_dir() / "data" / "seed.md").read_text()
    section = text[text.index("**Expected Response**") :]
    return json.loads(re.search(r"```json\n(.*?)```", section, re.DOTALL).group(1))


@pytest.fixture(scope="module", params=["vector-models", "vector-models-2.10"], ids=["skops", "pickle"])
def server(request):
    with support.serve({"bankchurn-model": support.churn_model(request.param)}) as running:
        yield running


def test_answer_is_exact_to_the_byte(server):
    status, headers, body = server.call("POST", PATH, seed_body(), JSON)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    given_id = json.loads(body)["id"]
    assert UUID4.match(given_id)
    assert body.decode() == ANSWER % given_id


def test_answer_is_that_of_the_seed_document(server):
    status, _, body = server.call("POST", PATH, seed_body(), JSON)
    assert status == 200
    ours, theirs = json.loads(body), seed_answer()
    assert UUID4.match(theirs.pop("id")) and UUID4.match(ours.pop("id"))
    assert ours == theirs


def test_field_order(server):
    _, _, body = server.call("POST", PATH, seed_body(), JSON)
    pairs = json.loads(body, object_pairs_hook=lambda p: p)
    assert [k for k, _ in pairs] == ["model_name", "id", "parameters", "outputs"]
    assert [k for k, _ in pairs[3][1][0]] == ["name", "shape", "datatype", "parameters", "data"]


def test_ids_are_made_anew_for_each_request(server):
    ids = {json.loads(server.call("POST", PATH, seed_body(), JSON)[2])["id"] for _ in range(50)}
    assert len(ids) == 50
    assert all(UUID4.match(i) for i in ids)


@pytest.mark.parametrize(
    "given",
    [
        "my-id-1",
        "",
        "0",
        " ",
        "a" * 1000,
        "größe 日本 🙂",
        'quote " backslash \\ slash / tab \t nul-like \\u0000',
        "line\nbreak",
        "\u0001\u001f\u007f",
        "</script>",
    ],
)
def test_id_is_echoed(server, given):
    message = {"id": given, **json.loads(seed_body())}
    status, headers, body = server.call("POST", PATH, json.dumps(message), JSON)
    assert status == 200
    assert json.loads(body)["id"] == given


def test_plain_id_is_echoed_to_the_byte(server):
    message = json.dumps({"id": "07040ee6-9980-4c66-a81c-6bd9aa4fede3", **json.loads(seed_body())})
    _, _, body = server.call("POST", PATH, message, JSON)
    assert body.decode() == ANSWER % "07040ee6-9980-4c66-a81c-6bd9aa4fede3"


def test_null_id_counts_as_none(server):
    status, _, body = server.call("POST", PATH, json.dumps({"id": None, **json.loads(seed_body())}), JSON)
    assert status == 200
    assert UUID4.match(json.loads(body)["id"])


def test_cloud_event_headers(server):
    """The headers that MLServer puts on an answer, those with the id among them."""
    _, headers, body = server.call("POST", PATH, seed_body(), JSON)
    given_id = json.loads(body)["id"]
    assert {k: v for k, v in headers.items() if k.startswith("ce-")} == {
        "ce-specversion": "0.3",
        "ce-source": "io.seldon.serving.deployment.mlserver",
        "ce-type": "io.seldon.serving.inference.response",
        "ce-modelid": "bankchurn-model",
        "ce-inferenceservicename": "mlserver",
        "ce-endpoint": "bankchurn-model",
        "ce-id": given_id,
        "ce-requestid": given_id,
    }


@pytest.mark.parametrize(
    "text",
    [
        # The same request in other spellings of JSON.
        pytest.param(lambda m: json.dumps(m, separators=(",", ":")), id="compact"),
        pytest.param(lambda m: json.dumps(m, indent="\t").replace("\n", "\r\n"), id="tabs-crlf"),
        pytest.param(lambda m: "\n \t" + json.dumps(m) + "\n\n", id="blank-around"),
        pytest.param(
            lambda m: json.dumps({"inputs": [dict(reversed(i.items())) for i in m["inputs"]]}), id="keys-reversed"
        ),
        pytest.param(lambda m: json.dumps(m).replace("850", "8.5e2"), id="exponent"),
        pytest.param(lambda m: json.dumps(m).replace('"CreditScore"', '"\\u0043reditScore"'), id="escaped-name"),
    ],
)
def test_spelling_of_the_json_does_not_matter(server, text):
    status, _, body = server.call("POST", PATH, text(json.loads(seed_body())), JSON)
    assert status == 200
    assert json.loads(body)["outputs"][0]["data"] == [1]


def test_over_a_bare_socket(server):
    """As little as HTTP/1.1 asks for, the body in two pieces."""
    parts = urllib.parse.urlsplit(server.url)
    body = seed_body().encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
        sock.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % (PATH.encode(), len(body))
            + body[:100]
        )
        sock.sendall(body[100:])
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    head, _, payload = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert payload.decode() == ANSWER % json.loads(payload)["id"]


def test_other_customers_get_their_own_answer(server):
    """A row that scikit-learn puts on the other side, so that the 1 above is no constant."""
    values = dict.fromkeys(support.CHURN, 0)
    values.update(CreditScore=1, Age=-1, Balance=-1)
    status, _, body = server.infer("bankchurn-model", support.churn_inputs(values))
    assert status == 200
    assert body["outputs"][0]["data"] == [0]


def test_no_python_in_the_process(server):
    """The model is read and computed natively: no interpreter is loaded, no helper process started."""
    server.call("POST", PATH, seed_body(), JSON)
    maps = pathlib.Path(f"/proc/{server.proc.pid}/maps").read_text()
    assert "libpython" not in maps
    tasks = pathlib.Path(f"/proc/{server.proc.pid}/task")
    assert not any((task / "children").read_text().strip() for task in tasks.iterdir())


def test_many_clients_at_once(server):
    """Each of eight clients gets the answers to its own questions, in its own order."""
    quiet = dict.fromkeys(support.CHURN, 0)
    quiet.update(CreditScore=1, Age=-1, Balance=-1)

    def client(number):
        own = support.Server(server.url, server.proc)
        answers = []
        for turn in range(40):
            churns = (number + turn) % 3 == 0
            row = None if churns else quiet
            body = own.infer("bankchurn-model", support.churn_inputs(row), id=f"{number}-{turn}")[2]
            answers.append((body["id"], body["outputs"][0]["data"]) == (f"{number}-{turn}", [1 if churns else 0]))
        own.close()
        return answers

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(all(answers) for answers in pool.map(client, range(8)))
