"""Collected parameters: in the order of the items, whatever ended first; nested loops give nested lists."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, say_list, succeeded


@dsl.container_component
def late(n: int, out: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'sleep "0.$((4 - $0))"; echo $(($0 * 10)) > "$1"'],
        args=[n, out],
    )


@dsl.container_component
def join(a: str, b: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", 'printf %s "$0$1" > "$2"'], args=[a, b, out])


@dsl.pipeline
def grid() -> list:
    with dsl.ParallelFor(["a", "b"]) as x:
        with dsl.ParallelFor(["1", "2"]) as y:
            cell = join(a=x, b=y)
    return dsl.Collected(cell.outputs["out"])


@dsl.pipeline
def collected_parameters():
    with dsl.ParallelFor([1, 2, 3]) as n:
        made = late(n=n)
    say_list(items=dsl.Collected(made.outputs["out"]))
    say_list(items=grid().output)


EXPECT = Expect(
    succeeded(
        "for-loop-2",
        *(f"for-loop-2/{i}{t}" for i in range(3) for t in ("", "/late")),
        "say-list",
        "grid",
        "grid/for-loop-2",
        *(f"grid/for-loop-2/{i}{t}" for i in range(2) for t in ("", "/for-loop-4")),
        *(f"grid/for-loop-2/{i}/for-loop-4/{j}{t}" for i in range(2) for j in range(2) for t in ("", "/join")),
        "say-list-2",
    ),
    logs={"say-list": "[10,20,30]\n", "say-list-2": '[["a1","a2"],["b1","b2"]]\n'},
)
