"""The pipelines that are measured, as the SDK compiles them. Both sides run the same Python component."""

import contextlib
import copy
import io
import pathlib
import tempfile

from kfp import compiler, dsl


@dsl.component(base_image="python:3.11")
def add_one(n: int) -> int:
    """As little as a Python step can do; its outcome tells a step that ran from one that did not."""
    return n + 1


@dsl.container_component
def true(salt: int, number: int):
    """No two steps of a pipeline are the same, so that none is taken from the cache unless a run is repeated."""
    return dsl.ContainerSpec(image="busybox:1.36", command=["true"], args=[salt, number])


@dsl.container_component
def sleep(seconds: int):
    return dsl.ContainerSpec(image="busybox:1.36", command=["sleep"], args=[seconds])


def python_chain(steps: int):
    """Each step takes the outcome of the one before it: start + steps comes out."""

    @dsl.pipeline(name="python-chain")
    def pipeline(start: int) -> int:
        last = start
        for _ in range(steps):
            last = add_one(n=last).output
        return last

    return pipeline


def container_chain(steps: int):
    @dsl.pipeline(name="container-chain")
    def pipeline(salt: int):
        last = None
        for number in range(steps):
            task = true(salt=salt, number=number)
            if last:
                task.after(last)
            last = task

    return pipeline


def fan_out(width: int):
    @dsl.pipeline(name="fan-out")
    def pipeline(salt: int):
        with dsl.ParallelFor(list(range(width))) as number:
            true(salt=salt, number=number)

    return pipeline


@dsl.pipeline(name="large-plan")
def _waiting(salt: int):
    first = sleep(seconds=600)
    true(salt=salt, number=0).after(first)


def large_plan(tasks: int) -> dict:
    """One step that sleeps and many that wait for it. The SDK takes 40 s for a thousand of them and far more than ten
    times that for ten thousand, so it compiles one, and the others are copies of that under names of their own."""
    document = compiled(_waiting)
    listed = document["root"]["dag"]["tasks"]
    pattern = listed.pop("true")
    for number in range(1, tasks):
        task = copy.deepcopy(pattern)
        task["taskInfo"]["name"] = f"true-{number}"
        task["inputs"]["parameters"]["number"] = {"runtimeValue": {"constant": number}}
        listed[f"true-{number}"] = task
    return document


def compiled(function) -> dict:
    """The pipeline's IR as the SDK writes it."""
    import yaml

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        package = pathlib.Path(folder) / "package.yaml"
        compiler.Compiler().compile(function, str(package))
        return yaml.safe_load(package.read_text())
