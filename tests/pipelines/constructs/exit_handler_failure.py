"""An exit handler after a failure: it runs, knows what failed, and the run is FAILED all the same."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, fail, failed, say, skipped, succeeded


@dsl.component(base_image=PYTHON)
def report(status: dsl.PipelineTaskFinalStatus):
    print("report", status.state, status.pipeline_task_name, bool(status.error_message))


@dsl.pipeline
def exit_handler_failure():
    with dsl.ExitHandler(report()):
        bad = fail(code=3)
        say(text="never").after(bad)
        say(text="beside")


EXPECT = Expect(
    {
        **failed("exit-handler-1", "exit-handler-1/fail"),
        **skipped("exit-handler-1/say"),
        **succeeded("exit-handler-1/say-2", "report"),
    },
    state="FAILED",
    says={
        "report": ["report FAILED exit-handler-1 True"],
        "exit-handler-1/fail": ["it failed"],
    },
    errors={"exit-handler-1/fail": "3", "": "fail"},
)
