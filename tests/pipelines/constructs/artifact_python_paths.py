"""InputPath and OutputPath of Python components, get_uri, and an artifact that a function returns."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.component(base_image=PYTHON)
def make(data: dsl.OutputPath("Dataset"), word: dsl.OutputPath(str)):
    with open(data, "w") as f:
        f.write("from a path")
    with open(word, "w") as f:
        f.write("word")


@dsl.component(base_image=PYTHON)
def returned() -> dsl.Dataset:
    import os

    uri = dsl.get_uri(suffix="mine")
    out = dsl.Dataset(uri=uri, metadata={"how": "returned"})
    os.makedirs(os.path.dirname(out.path), exist_ok=True)
    with open(out.path, "w") as f:
        f.write("by return")
    return out


@dsl.component(base_image=PYTHON)
def check(data: dsl.InputPath("Dataset"), word: str, other: dsl.Input[dsl.Dataset]):
    with open(data) as f:
        assert f.read() == "from a path"
    assert word == "word"
    with open(other.path) as f:
        assert f.read() == "by return"
    assert other.metadata["how"] == "returned", other.metadata
    assert other.uri.endswith("/mine"), other.uri
    print("paths are right")


@dsl.pipeline
def artifact_python_paths():
    made = make()
    check(data=made.outputs["data"], word=made.outputs["word"], other=returned().output)


EXPECT = Expect(succeeded("make", "returned", "check"), says={"check": ["paths are right"]})
