"""Container components on a Debian image: bash; standard output and standard error are one log, in order."""

from kfp import dsl

from pipelines.steps import Expect, succeeded


@dsl.container_component
def both():
    return dsl.ContainerSpec(
        image="debian:12-slim",
        command=[
            "bash",
            "-c",
            "echo out; echo err >&2; [[ $PWD == /* ]] && echo rooted",
        ],
    )


@dsl.pipeline
def container_debian():
    both()


EXPECT = Expect(succeeded("both"), logs={"both": "out\nerr\nrooted\n"})
