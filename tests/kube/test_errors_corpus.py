"""Broken and borderline requests are answered as a real API server answered them: tests/corpus/kube."""

import pytest

from . import replay, wire

CASES = [(part, case) for part in ("errors", "pods", "kinds", "custom") for case in wire.load(part + ".jsonl")]


@pytest.mark.parametrize(("part", "case"), CASES, ids=[case["case"] for _, case in CASES])
def test_case(api, part, case):
    differences = replay.play(api, case)
    assert not differences, "\n".join(differences)
