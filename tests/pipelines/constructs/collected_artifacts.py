"""Collected artifacts: one list, in the order of the items, read by a Python step."""

from typing import List

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded, write


@dsl.component(base_image=PYTHON)
def join(parts: dsl.Input[List[dsl.Dataset]]) -> str:
    texts = [open(p.path).read() for p in parts]
    print("joined", texts)
    return "".join(texts)


@dsl.pipeline
def collected_artifacts():
    with dsl.ParallelFor(["p", "q", "r"]) as text:
        made = write(text=text)
    join(parts=dsl.Collected(made.outputs["data"]))


EXPECT = Expect(
    succeeded(
        "for-loop-2",
        *(f"for-loop-2/{i}{t}" for i in range(3) for t in ("", "/write")),
        "join",
    ),
    says={"join": ["joined ['p', 'q', 'r']"]},
)
