"""The smallest manifest of each kind comes back with the fields that a real API server fills in."""

import pytest

from . import replay, wire

CASES = wire.load("defaults.jsonl")


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(api, case):
    differences = replay.play(api, case)
    assert not differences, "\n".join(differences)
