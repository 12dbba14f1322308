"""Container components: a command of a shell image, inputs in its arguments, an output parameter by a file."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, say, succeeded


@dsl.container_component
def count(text: str, times: int, lines: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c"],
        args=[
            'for i in $(seq "$1"); do echo "$0 $i"; done; echo "$1" > "$2"',
            text,
            times,
            lines,
        ],
    )


@dsl.pipeline
def container_shell(text: str = "line"):
    counted = count(text=text, times=3)
    say(text=f"{counted.outputs['lines']} lines")


EXPECT = Expect(
    succeeded("count", "say"),
    logs={"count": "line 1\nline 2\nline 3\n", "say": "3 lines\n"},
)
