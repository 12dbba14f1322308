"""Golden models: what scikit-learn 1.0 to 1.9 wrote, in every format, gives the same numbers here.

The models and answers lie in golden/ (see make_golden.py there). One server a version serves all its files at once.
"""

import contextlib
import json

import harness
import pytest

from . import support

INPUTS = json.loads((support.GOLDEN / "inputs.json").read_text())
CASES = [json.loads(line) for line in (support.GOLDEN / "cases.jsonl").read_text().splitlines()]
DATATYPES = {"int64": "INT64", "int32": "INT32", "bool": "BOOL", "float64": "FP64", "float32": "FP32", "text": "BYTES"}
TYPES = {"INT64": int, "INT32": int, "BOOL": bool, "FP64": float, "FP32": float, "BYTES": str}


def model_name(case, fmt, method):
    return f"{case['name']}.{fmt}.{method}"


def methods(case, fmt):
    """predict from every file; the other methods from the first file of the model."""
    yield "predict"
    if fmt == next(iter(case["files"])):
        yield from (m for m in ("predict_proba", "predict_log_proba") if m in case)


WANTED = [
    pytest.param(case, fmt, method, id=f"{case['sklearn']}-{model_name(case, fmt, method)}")
    for case in CASES
    for fmt in case["files"]
    for method in methods(case, fmt)
]


def write(root, case, fmt, method):
    name = model_name(case, fmt, method)
    path = case["files"][fmt]
    support.write_model(
        root / name / "model",
        support.GOLDEN / path,
        predict_fn=method,
        inputs=support.golden_signature(INPUTS[case["input"]]),
        sklearn_version=case["sklearn"],
    )
    support.write_settings(root / name, name)
    return name


@pytest.fixture(scope="module")
def server_of(tmp_path_factory):
    """The server that has a model; all files of one scikit-learn version share one.

    If a version's server does not start, each of its models is started alone, so that one bad file fails one test.
    """
    with contextlib.ExitStack() as stack:
        servers = {}

        def find(case, fmt, method):
            version = case["sklearn"]
            if version not in servers:
                root = tmp_path_factory.mktemp("golden")
                for other in (c for c in CASES if c["sklearn"] == version):
                    for other_fmt in other["files"]:
                        for other_method in methods(other, other_fmt):
                            write(root, other, other_fmt, other_method)
                try:
                    servers[version] = stack.enter_context(support.serve(None, "--model-repository", root))
                except harness.StartFailed:
                    servers[version] = None
            if servers[version] is not None:
                return contextlib.nullcontext(servers[version])
            root = tmp_path_factory.mktemp("golden-one")
            name = write(root, case, fmt, method)
            return support.serve({name: root / name / "model"})

        yield find


def flat(values):
    return [v for row in values for v in row] if isinstance(values[0], list) else values


@pytest.mark.parametrize(("case", "fmt", "method"), WANTED)
def test_same_numbers(server_of, case, fmt, method):
    want = case[method]
    spec = INPUTS[case["input"]]
    name = model_name(case, fmt, method)
    with server_of(case, fmt, method) as server:
        status, _, body = server.infer(name, support.golden_inputs(spec))
    assert status == 200, body
    output = support.only_output(body)
    rows = len(spec["rows"])
    width = len(want["values"][0]) if isinstance(want["values"][0], list) else 1
    datatype = DATATYPES[want["dtype"]]
    assert (output["name"], output["shape"], output["datatype"]) == ("output-1", [rows, width], datatype)
    expected = flat(want["values"])
    assert len(output["data"]) == len(expected)
    if datatype not in ("FP64", "FP32"):
        assert output["data"] == expected
        assert {type(v) for v in output["data"]} == {TYPES[datatype]}
        return
    bound = 1e-12 if datatype == "FP64" else 1e-6
    for got, exact in zip(output["data"], expected, strict=True):
        if exact is None:
            assert got is None  # not a finite number: null
        else:
            assert type(got) is float, "a floating-point number is written with a point or an exponent"
            assert abs(got - exact) <= bound * max(1.0, abs(exact))


def test_every_version_and_format_is_there():
    """The golden set itself: nothing was lost when it was made again."""
    versions = {c["sklearn"].rsplit(".", 1)[0] for c in CASES}
    assert versions == {f"1.{n}" for n in range(10)}
    formats = {
        "pickle2",
        "pickle3",
        "pickle4",
        "pickle5",
        "cloudpickle",
        "joblib",
        "joblib-zlib",
        "joblib-gzip",
        "joblib-bz2",
        "joblib-xz",
        "joblib-lzma",
        "joblib-lz4",
        "skops",
        "skops-deflate",
    }
    for version in versions:
        assert {f for c in CASES if c["sklearn"].startswith(version + ".") for f in c["files"]} == formats
    for case in CASES:
        for path in case["files"].values():
            assert 0 < (support.GOLDEN / path).stat().st_size < 20_000


def test_rows_one_by_one_equal_the_batch(server_of):
    """No row's answer may depend on its neighbours (a vector kernel has a tail)."""
    case = next(c for c in CASES if c["name"] == "logreg_multinomial" and c["sklearn"] == "1.9.1")
    fmt = next(iter(case["files"]))
    name = model_name(case, fmt, "predict_proba")
    rows = INPUTS["tensor64"]["rows"]
    with server_of(case, fmt, "predict_proba") as server:

        def ask(part):
            return server.infer(name, support.golden_inputs({"dtype": "float64", "rows": part}))[2]["outputs"][0][
                "data"
            ]

        alone = [v for row in rows for v in ask([row])]
        for repeat in (1, 2, 3, 7, 20):
            assert ask(rows * repeat) == pytest.approx(alone * repeat, rel=1e-12, abs=0)
