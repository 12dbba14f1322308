"""ignore_upstream_failure(): the task runs with its own defaults for what did not come; the run is FAILED."""

from kfp import dsl

from pipelines.steps import Expect, fail, fail_with, failed, say, skipped, succeeded


@dsl.container_component
def use(text: str = "the default"):
    from pipelines.steps import BUSYBOX

    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s\\n"], args=[text])


@dsl.pipeline
def ignore_upstream_failure():
    bad = fail_with(code=2)
    use(text=bad.outputs["out"]).ignore_upstream_failure()
    say(text="anyway").after(fail()).ignore_upstream_failure()
    say(text="never").after(bad)


EXPECT = Expect(
    {**failed("fail-with", "fail"), **succeeded("use", "say"), **skipped("say-2")},
    state="FAILED",
    logs={"use": "the default\n", "say": "anyway\n"},
)
