"""Lightweight Python components: one return value, several, logs, a function with its own default."""

from typing import NamedTuple

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.component(base_image=PYTHON)
def add(a: int, b: int = 40) -> int:
    print("adding", a, b)
    return a + b


@dsl.component(base_image=PYTHON)
def split(n: int) -> NamedTuple("Parts", [("half", float), ("words", list), ("even", bool)]):
    from collections import namedtuple

    return namedtuple("Parts", ["half", "words", "even"])(n / 2, ["n"] * 2, n % 2 == 0)


@dsl.component(base_image=PYTHON)
def check(half: float, words: list, even: bool):
    assert (half, words, even) == (21.0, ["n", "n"], True), (half, words, even)
    print("as it should be")


@dsl.pipeline
def python_component(a: int = 2):
    parts = split(n=add(a=a).output)
    check(
        half=parts.outputs["half"],
        words=parts.outputs["words"],
        even=parts.outputs["even"],
    )


EXPECT = Expect(
    succeeded("add", "split", "check"),
    says={"add": ["adding 2 40"], "check": ["as it should be"]},
)
