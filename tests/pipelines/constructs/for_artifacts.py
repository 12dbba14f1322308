"""ParallelFor over a list of artifacts, in a pipeline that takes one."""

from typing import List

from kfp import dsl

from pipelines.steps import Expect, read, succeeded, write


@dsl.pipeline
def each(items: dsl.Input[List[dsl.Dataset]]):
    with dsl.ParallelFor(items) as item:
        read(data=item)


@dsl.pipeline
def for_artifacts():
    with dsl.ParallelFor(["one", "two"]) as text:
        made = write(text=text)
    each(items=dsl.Collected(made.outputs["data"]))


EXPECT = Expect(
    succeeded(
        "for-loop-2",
        *(f"for-loop-2/{i}{t}" for i in range(2) for t in ("", "/write")),
        "each",
        "each/for-loop-1",
        *(f"each/for-loop-1/{i}{t}" for i in range(2) for t in ("", "/read")),
    ),
    logs={"each/for-loop-1/0/read": "one", "each/for-loop-1/1/read": "two"},
)
