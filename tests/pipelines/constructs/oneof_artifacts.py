"""OneOf over the artifacts of branches."""

from kfp import dsl

from pipelines.steps import Expect, give, read, skipped, succeeded, write


@dsl.pipeline
def oneof_artifacts():
    side = give(text="tails").outputs["out"]
    with dsl.If(side == "heads"):
        heads = write(text="it is heads")
    with dsl.Else():
        tails = write(text="it is tails")
    read(data=dsl.OneOf(heads.outputs["data"], tails.outputs["data"]))


EXPECT = Expect(
    {
        **succeeded(
            "give",
            "condition-branches-1",
            "condition-branches-1/condition-3",
            "condition-branches-1/condition-3/write-2",
            "read",
        ),
        **skipped("condition-branches-1/condition-2"),
    },
    logs={"read": "it is tails"},
)
