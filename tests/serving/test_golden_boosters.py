"""Golden boosters: what older XGBoost, LightGBM and CatBoost wrote gives the same numbers here.

The models and answers lie in golden_boosters/ (see make_boosters.py there); current versions are in the model matrix.
One server has them all: as MLflow logs them, and some in bare folders under KServe's names.
"""

import json
import pathlib
import shutil

import pytest

from . import support

HERE = pathlib.Path(__file__).parent / "golden_boosters"
CASES = [
    json.loads(line) for path in sorted(HERE.glob("*/cases.jsonl")) for line in path.read_text().splitlines() if line
]
WITHIN = {"xgboost": 1e-6, "lightgbm": 1e-12, "catboost": 1e-12}


def name_of(case):
    return case["file"].replace("/", "-").replace(".", "_")


def signature(case):
    columns = zip(*case["rows"], strict=True)
    kinds = ["string" if any(isinstance(v, str) for v in column) else "double" for column in columns]
    return support.columns([(f"c{i}", kind) for i, kind in enumerate(kinds)])


def write(root, case):
    source = HERE / case["file"]
    folder = support.write_model(root / name_of(case) / "model", source, inputs=signature(case))
    if source.suffix != ".pkl":
        kind = "model_type" if case["library"] == "catboost" else "model_class"
        flavor = f"  {case['library']}:\n    data: model{source.suffix}\n    {kind}: {case['class']}\n"
        text = (folder / "MLmodel").read_text().replace("mlflow.sklearn", f"mlflow.{case['library']}")
        (folder / "MLmodel").write_text(text.replace("  sklearn:\n", flavor + "  sklearn:\n"))
    support.write_settings(root / name_of(case), name_of(case))


BARE = {
    "bare-bst": ("xgboost-1.7.6/logistic.ubj", "model.bst"),
    "bare-json": ("xgboost-1.3.3/logistic.json", "model.json"),
    "bare-lightgbm": ("lightgbm-3.3.5/binary.lgb", "model.bst"),
    "bare-text": ("lightgbm-2.3.1/regression.lgb", "model.txt"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("boosters")
    for case in CASES:
        write(root, case)
    for name, (source, file) in BARE.items():
        (root / name / "model").mkdir(parents=True)
        shutil.copyfile(HERE / source, root / name / "model" / file)
        support.write_settings(root / name, name)
    with support.serve(None, "--model-repository", root) as running:
        yield running


def by_columns(case):
    inputs = []
    for i, column in enumerate(zip(*case["rows"], strict=True)):
        datatype = "BYTES" if any(isinstance(v, str) for v in column) else "FP64"
        inputs.append({"name": f"c{i}", "datatype": datatype, "shape": [len(column), 1], "data": list(column)})
    return inputs


def check(case, output):
    wanted = [v for row in case["answer"] for v in row]
    assert output["shape"] == [len(case["answer"]), len(case["answer"][0])]
    if case["labels"]:
        assert output["data"] == wanted
        return
    for got, want in zip(output["data"], wanted, strict=True):
        assert abs(got - want) <= WITHIN[case["library"]] * max(1, abs(want))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_answers_as_the_original(server, case):
    status, _, body = server.infer(name_of(case), by_columns(case))
    assert status == 200, body
    check(case, support.only_output(body))


@pytest.mark.parametrize("name", BARE)
def test_bare_files_under_kserves_names(server, name):
    case = next(c for c in CASES if c["file"] == BARE[name][0])
    flat = [v for row in case["rows"] for v in row]
    x = {"name": "x", "datatype": "FP64", "shape": [len(case["rows"]), len(case["rows"][0])], "data": flat}
    status, _, body = server.infer(name, [{**x, "parameters": {"content_type": "np"}}])
    assert status == 200, body
    check(case, support.only_output(body))


def test_the_old_binary_format_is_named(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.bst").write_bytes(b"binf\0\0\0\x3f\x01\0\0\0")
    ended = support.run_to_end("serve", "--model", tmp_path / "model", "--name", "old", "--engine", "native")
    assert ended.code != 0
    assert "old binary format" in ended.text, ended
