"""MLflow's scoring protocol where the model's own library reads it: models without a signature, type hints, chat."""

import json

import pytest

from . import python_models, support
from .flavours import small

START = 120
MESSAGES = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def models(python_worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scoring")
    names = ("completions", "chat", "people", "code", "image")
    small.make(folder, names, python_models.requirements())
    return python_worker[0], {name: folder / name for name in names}


def serving(models, *names):
    data, folders = models
    return support.serve({n: folders[n] for n in names}, "--data", data, timeout=START)


@pytest.fixture(scope="module")
def free(models):
    with serving(models, "completions") as running:
        yield running


@pytest.fixture(scope="module")
def chat(models):
    with serving(models, "chat") as running:
        yield running


@pytest.fixture(scope="module")
def several(models):
    with serving(models, "people", "code", "image") as running:
        yield running


@pytest.mark.parametrize(
    "body, answer",
    [
        ({"prompt": "p", "n": 2}, {"asked": {"prompt": "p", "n": 2}, "params": {}}),
        ({"input": ["e"]}, {"asked": {"input": ["e"]}, "params": {}}),
        (
            {"inputs": "one"},
            {
                "predictions": {
                    "asked": {"array": "one", "dtype": "<U3"},
                    "params": None,
                }
            },
        ),
        (
            {"inputs": [[1.5, 2]]},
            {
                "predictions": {
                    "asked": {"array": [[1.5, 2.0]], "dtype": "float64"},
                    "params": None,
                }
            },
        ),
        (
            {"dataframe_records": [{"a": {"deep": [1, None]}}]},
            {
                "predictions": {
                    "asked": {"columns": ["a"], "rows": [[{"deep": [1, None]}]]},
                    "params": None,
                }
            },
        ),
    ],
)
def test_a_model_without_a_signature_gets_what_was_sent(free, body, answer):
    status, _, got = free.post("/invocations", body)
    assert (status, got) == (200, answer)


def test_a_table_as_csv(free):
    status, _, body = free.post("/invocations", "a,b\n1,x\n", {"Content-Type": "text/csv"})
    assert status == 200, body
    assert body["predictions"]["asked"] == {"columns": ["a", "b"], "rows": [[1, "x"]]}


@pytest.mark.parametrize("body", [{"nothing": 1}, [1], "{", {"inputs": [1], "instances": [1]}])
def test_what_is_no_request(free, body):
    status, _, answer = free.post("/invocations", body)
    assert status == 400 and answer["error_code"] in (
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
    ), answer


def test_chat(chat):
    status, _, body = chat.post("/invocations", {"messages": MESSAGES, "temperature": 0.5})
    assert status == 200, body
    assert body["choices"][0]["message"]["content"] == "hello there at 0.5"


def test_a_refusal_names_the_fault_and_not_the_values(chat):
    status, _, body = chat.post("/invocations", {"messages": "my secret"})
    assert status == 400, body
    assert body["error_code"] == "INVALID_PARAMETER_VALUE" and "stack_trace" not in body
    assert "my secret" not in json.dumps(body).split("with schema")[0]


def test_type_hints(several):
    ask = "/v1/models/people:predict"
    status, _, body = several.post(ask, {"inputs": [{"name": "A"}, {"name": "B", "age": 5, "tags": ["x"]}]})
    assert (status, body) == (
        200,
        {"predictions": [{"A": 19, "tags": 0}, {"B": 6, "tags": 1}]},
    )
    status, _, body = several.post(ask, {"inputs": [{"age": 1}]})
    assert status == 400 and "name" in support.only_error(body)


def test_code_artifacts_configuration_and_parameters(several):
    inputs = [python_models.text_input("one", "three", name="text")]
    status, _, body = several.infer("code", inputs, parameters={"times": 2})
    assert status == 200, body
    assert [json.loads(v) for v in support.only_output(body)["data"]] == [
        {"text": "ONE!ONE!", "known": True, "n": 21},
        {"text": "THREE!THREE!", "known": False, "n": 21},
    ]


def test_images(several):
    """A named tensor of three dimensions, over both protocols."""
    pixels = [[[1, 2], [3, 4], [5, 6]]]
    seen = '{"image": ["uint8", [1, 3, 2], [[[1, 2], [3, 4], [5, 6]]]]}'
    status, _, body = several.post("/v1/models/image:predict", {"instances": pixels})
    assert status == 200 and body["predictions"][0].startswith('{"image": ["uint8"'), body
    status, _, body = several.infer(
        "image",
        [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, 3, 2],
                "data": [1, 2, 3, 4, 5, 6],
            }
        ],
    )
    assert status == 200 and support.only_output(body)["data"] == [seen], body
