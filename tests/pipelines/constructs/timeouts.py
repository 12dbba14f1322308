"""A task's time limit ends it; the others go on."""

from kfp import dsl, kubernetes

from pipelines.steps import BUSYBOX, Expect, failed, say, succeeded


@dsl.container_component
def hang():
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", "echo begun; sleep 300 & sleep 300"])


@dsl.pipeline
def timeouts():
    kubernetes.set_timeout(hang(), 1)
    kubernetes.set_timeout(say(text="quick"), 60)


EXPECT = Expect(
    {**failed("hang"), **succeeded("say")},
    state="FAILED",
    logs={"hang": "begun\n", "say": "quick\n"},
    errors={"hang": "DeadlineExceeded"},
)
