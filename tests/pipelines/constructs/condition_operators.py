"""Every comparison that the SDK can write, over every type, nested and over outputs."""

from kfp import dsl

from pipelines.steps import Expect, give, give_int, say, skipped, succeeded


@dsl.pipeline
def condition_operators(i: int = 3, f: float = 0.5, s: str = "a word", b: bool = True):
    n = give_int(number=5).outputs["out"]
    with dsl.If(i < 4):
        with dsl.If(f >= 0.5):
            with dsl.If(b == True):
                say(text="in all three")
    with dsl.If(s == "a word"):
        say(text="the text")
    with dsl.If(n != 5):
        say(text="never")
    with dsl.If(n <= i):
        say(text="never")
    with dsl.If(n > i):
        say(text="two channels")
    with dsl.If(give(text="x").outputs["out"] != "y"):
        say(text="not y")


EXPECT = Expect(
    {
        **succeeded(
            "give-int",
            "give",
            "condition-1",
            "condition-1/condition-2",
            "condition-1/condition-2/condition-3",
            "condition-1/condition-2/condition-3/say",
            "condition-4",
            "condition-4/say-2",
            "condition-7",
            "condition-7/say-5",
            "condition-8",
            "condition-8/say-6",
        ),
        **skipped("condition-5", "condition-6"),
    },
    logs={
        "condition-1/condition-2/condition-3/say": "in all three\n",
        "condition-7/say-5": "two channels\n",
    },
)
