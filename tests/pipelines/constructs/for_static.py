"""ParallelFor over items that stand in the pipeline: texts, numbers, and structs by their members."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, say, succeeded


@dsl.container_component
def both(a: str, b: str):
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s %s\\n"], args=[a, b])


@dsl.container_component
def add(a: int, b: int):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", "echo $(($0 + $1))"], args=[a, b])


@dsl.pipeline
def for_static():
    with dsl.ParallelFor(["x", "y z"]) as item:
        say(text=item)
    with dsl.ParallelFor([{"a": "o", "b": "p"}, {"a": "q", "b": "r"}]) as pair:
        both(a=pair.a, b=pair.b)
    with dsl.ParallelFor([1, 20]) as n:
        add(a=n, b=n)


EXPECT = Expect(
    succeeded(
        *(
            f"{loop}{i}{task}"
            for loop, task in (("for-loop-2", "/say"), ("for-loop-4", "/both"), ("for-loop-6", "/add"))
            for i, task in (("", ""), ("/0", ""), ("/0", task), ("/1", ""), ("/1", task))
        )
    ),
    logs={
        "for-loop-2/0/say": "x\n",
        "for-loop-2/1/say": "y z\n",
        "for-loop-4/0/both": "o p\n",
        "for-loop-4/1/both": "q r\n",
        "for-loop-6/0/add": "2\n",
        "for-loop-6/1/add": "40\n",
    },
)
