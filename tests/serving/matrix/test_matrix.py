"""The model matrix: what several versions of scikit-learn and the boosters train and answer, answered natively.

How cases are declared stands in declare.py; docs/model-matrix.md, the table of all differences, is written by
`python -m tests.serving.matrix.page`.
"""

import pytest

from . import matrix, run

WANTED = [
    pytest.param(name, case, id=f"{name}-{case.name}")
    for name, version in matrix.environments().items()
    for module in matrix.modules()
    for case in matrix.cases_of(module)
    if matrix.applies(case, version)
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with run.start(tmp_path_factory.mktemp("matrix")) as running:
        yield running


@pytest.mark.parametrize(("name", "case"), WANTED)
def test_answers_as_the_original(served, name, case):
    if (name, case.name) not in served.cases:
        pytest.skip(f"{case.needs} is not in the environment {name}")
    rows, _ = run.compare(served, name, case.name)
    assert rows >= case.rows
