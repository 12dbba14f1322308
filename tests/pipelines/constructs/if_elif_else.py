"""If, Elif and Else: one branch runs, the others are skipped and the run succeeds."""

from kfp import dsl

from pipelines.steps import Expect, give, say, skipped, succeeded


@dsl.pipeline
def if_elif_else(n: int = 7):
    word = give(text="b").outputs["out"]
    with dsl.If(word == "a"):
        say(text="first")
    with dsl.Elif(word == "b"):
        say(text="second")
    with dsl.Else():
        say(text="third")
    with dsl.If(n > 10, name="big"):
        say(text="big")
    with dsl.Else():
        say(text="small")
    with dsl.If(n == 8):
        say(text="never")


EXPECT = Expect(
    {
        **succeeded(
            "give",
            "condition-branches-1",
            "condition-branches-1/condition-3",
            "condition-branches-1/condition-3/say-2",
            "condition-branches-5",
            "condition-branches-5/condition-7",
            "condition-branches-5/condition-7/say-5",
        ),
        **skipped(
            "condition-branches-1/condition-2",
            "condition-branches-1/condition-4",
            "condition-branches-5/condition-6",
            "condition-8",
        ),
    },
    logs={
        "condition-branches-1/condition-3/say-2": "second\n",
        "condition-branches-5/condition-7/say-5": "small\n",
    },
    names={"condition-branches-5/condition-6": "big"},
)
