"""A notebook as a component: parameters are injected, its cells run, a file of it becomes an output."""

import pathlib

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.notebook_component(
    base_image=PYTHON,
    notebook_path=str(pathlib.Path(__file__).parent / "data" / "double.ipynb"),
)
def double(n: int, result: dsl.Output[dsl.Dataset]):
    dsl.run_notebook(n=n, where="/tmp/doubled.txt")
    with open("/tmp/doubled.txt") as f, open(result.path, "w") as out:
        out.write(f.read())


@dsl.pipeline
def notebook():
    double(n=21)


EXPECT = Expect(succeeded("double"), artifacts={"double": {"result": ("system.Dataset", {}, "42")}})
