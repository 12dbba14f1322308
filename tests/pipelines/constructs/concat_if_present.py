"""ConcatPlaceholder and IfPresentPlaceholder: texts that are joined, arguments that are there or not."""

from typing import Optional

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, succeeded


@dsl.container_component
def show(name: str, suffix: Optional[str] = None, more: Optional[str] = None):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["printf", "<%s>\\n"],
        args=[
            dsl.ConcatPlaceholder(["--name=", name, "!"]),
            dsl.IfPresentPlaceholder(input_name="suffix", then=["--suffix", suffix], else_=["--none"]),
            dsl.IfPresentPlaceholder(input_name="more", then=dsl.ConcatPlaceholder(["--more=", more])),
            "end",
        ],
    )


@dsl.pipeline
def concat_if_present():
    show(name="a b")
    show(name="c", suffix="s", more="m")


EXPECT = Expect(
    succeeded("show", "show-2"),
    logs={
        "show": "<--name=a b!>\n<--none>\n<end>\n",
        "show-2": "<--name=c!>\n<--suffix>\n<s>\n<--more=m>\n<end>\n",
    },
)
