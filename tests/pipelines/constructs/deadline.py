"""A run's own time limit ends the run."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, say


@dsl.container_component
def hang():
    return dsl.ContainerSpec(image=BUSYBOX, command=["sleep", "300"])


@dsl.pipeline(pipeline_config=dsl.PipelineConfig(active_deadline_seconds=1))
def deadline():
    say(text="never").after(hang())


EXPECT = Expect(dict.fromkeys(("hang", "say"), "CANCELED"), state="FAILED", errors={"": "activeDeadlineSeconds"})
