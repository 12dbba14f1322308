"""A Python component that carries a file with it."""

import pathlib

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.component(
    base_image=PYTHON,
    embedded_artifact_path=str(pathlib.Path(__file__).parent / "data" / "words.txt"),
)
def count(words: dsl.EmbeddedInput[dsl.Dataset]) -> int:
    with open(words.path) as f:
        n = len(f.read().split())
    print("words:", n)
    return n


@dsl.pipeline
def embedded_file():
    count()


EXPECT = Expect(succeeded("count"), says={"count": ["words: 4"]})
