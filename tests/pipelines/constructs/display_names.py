"""Display names of the pipeline and of its tasks; they change nothing else."""

from kfp import dsl

from pipelines.steps import Expect, give, say, succeeded


@dsl.pipeline(name="display-names", display_name="Names to be seen", description="what it is for")
def display_names():
    made = give(text="x").set_display_name("Make the word")
    say(text=made.outputs["out"]).set_display_name("Say it: ünï")


EXPECT = Expect(
    succeeded("give", "say"),
    logs={"say": "x\n"},
    names={"give": "Make the word", "say": "Say it: ünï"},
)
