"""The engine's own placeholders: names and ids of the run and the task."""

from kfp import dsl

from pipelines.steps import Expect, say, succeeded


@dsl.pipeline
def engine_placeholders():
    say(text=dsl.PIPELINE_JOB_NAME_PLACEHOLDER)
    say(text=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER)
    say(text=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    say(text=dsl.PIPELINE_TASK_NAME_PLACEHOLDER)
    say(text=dsl.PIPELINE_TASK_ID_PLACEHOLDER)
    say(text=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER)


EXPECT = Expect(succeeded("say", *(f"say-{i}" for i in range(2, 7))), logs={"say-4": "say-4\n"})


def verify(run):
    assert run.log("say") == run.api["display_name"] + "\n"
    assert run.log("say-2").startswith("engine-placeholders-")
    assert run.log("say-3") == run.id + "\n"
    assert run.log("say-5").strip()
    assert run.log("say-6")[:19] == run.api["created_at"][:19]
