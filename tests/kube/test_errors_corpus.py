"""Broken and borderline requests are answered as a real API server answered them: tests/corpus/kube."""

import pytest

from . import known_differences, replay, wire

CASES = [
    (part, case)
    for part in ("errors", "pods", "kinds", "custom")
    for case in wire.load(part + ".jsonl")
    if case["case"] not in known_differences.ELSEWHERE
]


@pytest.mark.parametrize(("part", "case"), CASES, ids=[case["case"] for _, case in CASES])
def test_case(api, part, case):
    known_differences.check(case, replay.play(api, case))
