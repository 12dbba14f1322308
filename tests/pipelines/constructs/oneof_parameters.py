"""OneOf over the parameters of branches, inside a pipeline, as its output, and nested."""

from kfp import dsl

from pipelines.steps import Expect, give, say, skipped, succeeded


@dsl.pipeline
def choose(key: str) -> str:
    with dsl.If(key == "a"):
        first = give(text="chose a")
    with dsl.Elif(key == "b"):
        second = give(text="chose b")
    with dsl.Else():
        third = give(text="chose neither")
    return dsl.OneOf(first.outputs["out"], second.outputs["out"], third.outputs["out"])


@dsl.pipeline
def oneof_parameters(key: str = "b"):
    say(text=choose(key=key).output)
    say(text=choose(key="z").output)


EXPECT = Expect(
    {
        **succeeded(
            "choose",
            "choose/condition-branches-1",
            "choose/condition-branches-1/condition-3",
            "choose/condition-branches-1/condition-3/give-2",
            "say",
            "choose-2",
            "choose-2/condition-branches-1",
            "choose-2/condition-branches-1/condition-4",
            "choose-2/condition-branches-1/condition-4/give-3",
            "say-2",
        ),
        **skipped(
            "choose/condition-branches-1/condition-2",
            "choose/condition-branches-1/condition-4",
            "choose-2/condition-branches-1/condition-2",
            "choose-2/condition-branches-1/condition-3",
        ),
    },
    logs={"say": "chose b\n", "say-2": "chose neither\n"},
)
