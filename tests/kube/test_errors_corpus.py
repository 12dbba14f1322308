"""Broken and borderline requests are answered as a real API server answered them: tests/corpus/kube."""

import pytest

from . import replay, wire

# A new server remembers everything, so this one has a test of its own: test_restart.py.
LATER = ("watch/too-old",)
# Here the pods' addresses are on loopback, so that Endpoints there are what they should be.
OTHERWISE = ("endpoints/loopback",)
CASES = [
    (part, case)
    for part in ("errors", "pods", "kinds", "custom")
    for case in wire.load(part + ".jsonl")
    if case["case"] not in (*LATER, *OTHERWISE)
]


@pytest.mark.parametrize(("part", "case"), CASES, ids=[case["case"] for _, case in CASES])
def test_case(api, part, case):
    differences = replay.play(api, case)
    assert not differences, "\n".join(differences)
