"""Pipelines in pipelines, three deep, with inputs, defaults, output parameters and output artifacts."""

from typing import NamedTuple

from kfp import dsl

from pipelines.steps import Expect, give, read, say, succeeded, write


@dsl.pipeline
def inner(text: str, suffix: str = "-default") -> str:
    return give(text=f"{text}{suffix}").outputs["out"]


@dsl.pipeline
def middle(text: str) -> NamedTuple("Outputs", [("word", str), ("data", dsl.Dataset)]):
    from collections import namedtuple

    word = inner(text=text)
    data = write(text=word.output)
    return namedtuple("Outputs", ["word", "data"])(word.output, data.outputs["data"])


@dsl.pipeline
def nested_pipeline(text: str = "deep"):
    both = middle(text=text)
    say(text=both.outputs["word"])
    read(data=both.outputs["data"])
    say(text=inner(text="direct", suffix="-given").output)


EXPECT = Expect(
    succeeded(
        "middle",
        "middle/inner",
        "middle/inner/give",
        "middle/write",
        "say",
        "read",
        "inner",
        "inner/give",
        "say-2",
    ),
    logs={"say": "deep-default\n", "read": "deep-default", "say-2": "direct-given\n"},
)
