"""The smallest manifest of each kind comes back with the fields that a real API server fills in."""

import pytest

from . import known_differences, replay, wire

CASES = wire.load("defaults.jsonl")


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(api, case):
    known_differences.check(case, replay.play(api, case))
