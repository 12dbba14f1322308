"""Results of statsmodels, as mlflow.statsmodels stores them: made by three versions (see golden/statsmodels/make.py),
answered natively within 1e-12."""

import json

import pytest

from . import support

GOLDEN = support.GOLDEN / "statsmodels"
CASES = [
    pytest.param(folder.name, case, id=f"{folder.name}-{case['name']}")
    for folder in sorted(GOLDEN.iterdir())
    if folder.is_dir() and (folder / "cases.json").exists()
    for case in json.loads((folder / "cases.json").read_text())
]


def write(folder, version, case):
    folder.mkdir(parents=True)
    data = (GOLDEN / version / f"{case['name']}.statsmodels").read_bytes()
    (folder / "model.statsmodels").write_bytes(data)
    inputs = json.dumps(json.dumps(support.columns([(c, "double") for c in case["columns"]])))
    (folder / "MLmodel").write_text(
        "flavors:\n"
        "  python_function:\n"
        "    data: model.statsmodels\n"
        "    env: {conda: conda.yaml, virtualenv: python_env.yaml}\n"
        "    loader_module: mlflow.statsmodels\n"
        "  statsmodels:\n"
        "    data: model.statsmodels\n"
        f"    statsmodels_version: {version}\n"
        f"signature:\n  inputs: {inputs}\n  outputs: null\n  params: null\n"
    )
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("statsmodels")
    for version, case in (c.values for c in CASES):
        if case["form"] == "refused":
            continue
        name = f"{version}-{case['name']}"
        write(root / name / "model", version, case)
        support.write_settings(root / name, name)
    with support.serve(None, "--model-repository", root) as server:
        yield server


@pytest.mark.parametrize(("version", "case"), CASES)
def test_answers_as_statsmodels(served, version, case, tmp_path):
    if case["form"] == "refused":
        folder = write(tmp_path / "model", version, case)
        refused = support.run_to_end("serve", "--model", folder, "--name", "m", "--engine", "native")
        assert "the formula's term 'a:b' is not read natively" in refused.text
        return
    columns = zip(*case["rows"], strict=True)
    inputs = [
        {
            "name": name,
            "shape": [len(case["rows"]), 1],
            "datatype": "FP64",
            "data": list(column),
        }
        for name, column in zip(case["columns"], columns, strict=True)
    ]
    status, _, answer = served.infer(f"{version}-{case['name']}", inputs)
    assert status == 200, answer
    got = [v for output in answer["outputs"] for v in output["data"]]
    wanted = case["answers"]
    if isinstance(wanted[0], list):
        wanted = [v for row in wanted for v in row]
    assert got == pytest.approx(wanted, rel=1e-12, abs=1e-12)
