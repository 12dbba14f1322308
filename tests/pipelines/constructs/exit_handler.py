"""An exit handler after what went well: its status says COMPLETE."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, say, succeeded


@dsl.component(base_image=PYTHON)
def cleanup(text: str, status: dsl.PipelineTaskFinalStatus):
    print(
        "cleanup",
        text,
        status.state,
        status.pipeline_task_name,
        repr(status.error_message or ""),
    )


@dsl.pipeline
def exit_handler(text: str = "bye"):
    with dsl.ExitHandler(cleanup(text=text)):
        say(text="guarded")


EXPECT = Expect(
    succeeded("exit-handler-1", "exit-handler-1/say", "cleanup"),
    says={"cleanup": ["cleanup bye COMPLETE exit-handler-1 ''"]},
)
