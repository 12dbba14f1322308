"""A loop over nothing succeeds at once, what follows it runs, and Collected gives an empty list."""

from kfp import dsl

from pipelines.steps import Expect, give, give_list, say, say_list, succeeded


@dsl.pipeline
def for_empty():
    with dsl.ParallelFor(give_list(items="[]").outputs["out"]) as item:
        made = give(text=item)
    say_list(items=dsl.Collected(made.outputs["out"]))
    say(text="after").after(made)


EXPECT = Expect(
    succeeded("give-list", "for-loop-1", "say-list", "say"),
    logs={"say-list": "[]\n", "say": "after\n"},
)
