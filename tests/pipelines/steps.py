"""Small components that the constructs share, and how a construct says what shall come of it."""

import dataclasses
from typing import Any

from kfp import dsl

BUSYBOX = "busybox:1.36"
PYTHON = "python:3.11"


@dataclasses.dataclass
class Expect:
    """The whole outcome of a run: every task by its path, and what steps printed.

    A path names a task inside its groups: "train", "exit-handler-1/train", "for-loop-1/0/train" (iteration 0).
    """

    tasks: dict[str, str]  # path -> state; the run has these and no others
    state: str = "SUCCEEDED"
    logs: dict[str, str] = dataclasses.field(default_factory=dict)  # path -> the whole log
    says: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # path -> texts that the log has
    errors: dict[str, str] = dataclasses.field(default_factory=dict)  # path ("": the run) -> text of its error
    names: dict[str, str] = dataclasses.field(default_factory=dict)  # path -> display name
    # path -> output -> (schema title, part of the metadata, content of the file or None)
    artifacts: dict[str, dict[str, tuple[str, dict[str, Any], str | None]]] = dataclasses.field(default_factory=dict)


def succeeded(*paths):
    return dict.fromkeys(paths, "SUCCEEDED")


def skipped(*paths):
    return dict.fromkeys(paths, "SKIPPED")


def failed(*paths):
    return dict.fromkeys(paths, "FAILED")


@dsl.container_component
def say(text: str):
    """Prints a text and a line feed."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s\\n"], args=[text])


@dsl.container_component
def say_number(number: int):
    """Prints a number and a line feed."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s\\n"], args=[number])


@dsl.container_component
def pairs(a: str, b: str):
    """Prints two texts."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s %s\n"], args=[a, b])


@dsl.container_component
def give(text: str, out: dsl.OutputPath(str)):
    """Gives its text as the output `out`."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", 'printf %s "$0" > "$1"'], args=[text, out])


@dsl.container_component
def give_int(number: int, out: dsl.OutputPath(int)):
    """Gives its number as the output `out`."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", 'printf %s "$0" > "$1"'], args=[number, out])


@dsl.container_component
def give_list(items: str, out: dsl.OutputPath(list)):
    """Gives a list, written as JSON, as the output `out`."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", 'printf %s "$0" > "$1"'], args=[items, out])


@dsl.container_component
def say_list(items: list):
    """Prints a list as the step gets it."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s\\n"], args=[items])


@dsl.container_component
def fail(code: int = 1, text: str = "it failed"):
    """Prints a text to standard error and ends with a code."""
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'echo "$1" >&2; exit "$0"'],
        args=[code, text],
    )


@dsl.container_component
def fail_with(code: int, out: dsl.OutputPath(str)):
    """Ends with a code, and would have had an output."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", 'exit "$0"'], args=[code, out])


@dsl.container_component
def write(text: str, data: dsl.Output[dsl.Dataset]):
    """Writes its text into a dataset."""
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")"; printf %s "$0" > "$1"'],
        args=[text, data.path],
    )


@dsl.container_component
def read(data: dsl.Input[dsl.Dataset]):
    """Prints what a dataset holds."""
    return dsl.ContainerSpec(image=BUSYBOX, command=["cat"], args=[data.path])
