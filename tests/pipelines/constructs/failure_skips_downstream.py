"""What waits for a failed task is skipped, in groups too; what does not, runs on; every group tells why it failed."""

from kfp import dsl

from pipelines.steps import Expect, fail, failed, say, skipped, succeeded


@dsl.pipeline
def inner():
    bad = fail(code=4, text="inner trouble")
    say(text="inner never").after(bad)
    say(text="inner beside")


@dsl.pipeline
def failure_skips_downstream():
    group = inner()
    after = say(text="after it").after(group)
    with dsl.ParallelFor([1, 2]):
        say(text="further on").after(after)
    say(text="apart")


EXPECT = Expect(
    {
        **failed("inner", "inner/fail"),
        **skipped("inner/say", "say", "for-loop-2"),
        **succeeded("inner/say-2", "say-3"),
    },
    state="FAILED",
    logs={"inner/fail": "inner trouble\n", "say-3": "apart\n"},
    errors={"inner/fail": "4", "inner": "fail", "": "inner"},
)
