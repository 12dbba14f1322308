"""Loops in loops, the inner one over what the outer one's step gave, with a condition inside."""

from kfp import dsl

from pipelines.steps import Expect, give_list, pairs, skipped, succeeded


@dsl.pipeline
def for_nested():
    with dsl.ParallelFor(["[1, 2]", "[3]"]) as text:
        numbers = give_list(items=text)
        with dsl.ParallelFor(numbers.outputs["out"]) as n:
            with dsl.If(n != 2):
                pairs(a=n, b=text)


LEAVES = ("0/for-loop-3/0", "0/for-loop-3/1", "1/for-loop-3/0")
EXPECT = Expect(
    {
        **succeeded(
            "for-loop-2",
            *(f"for-loop-2/{i}{t}" for i in range(2) for t in ("", "/give-list", "/for-loop-3")),
            *(f"for-loop-2/{p}" for p in LEAVES),
            *(f"for-loop-2/{p}/condition-4{t}" for p in (LEAVES[0], LEAVES[2]) for t in ("", "/pairs")),
        ),
        **skipped(f"for-loop-2/{LEAVES[1]}/condition-4"),
    },
    logs={
        "for-loop-2/0/for-loop-3/0/condition-4/pairs": "1 [1, 2]\n",
        "for-loop-2/1/for-loop-3/0/condition-4/pairs": "3 [3]\n",
    },
)
