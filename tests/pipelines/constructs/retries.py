"""set_retry(): a step that fails twice and then succeeds, and one whose retries are used up."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, failed, succeeded


@dsl.container_component
def flaky(good: int, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=[
            "sh",
            "-c",
            'echo "try $KFP_RETRY_INDEX"; [ "$KFP_RETRY_INDEX" -ge "$0" ] && echo fine > "$1"',
        ],
        args=[good, out],
    )


@dsl.pipeline
def retries():
    flaky(good=2).set_retry(num_retries=3, backoff_duration="0s")
    flaky(good=9).set_retry(
        num_retries=1,
        backoff_duration="1s",
        backoff_factor=1.0,
        backoff_max_duration="2s",
    )


EXPECT = Expect(
    {**succeeded("flaky"), **failed("flaky-2")},
    state="FAILED",
    logs={"flaky": "try 2\n", "flaky-2": "try 1\n"},
)
