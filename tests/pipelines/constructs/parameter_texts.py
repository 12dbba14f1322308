"""The text form of every type, as a command gets it, and values that another type's consumer gets."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, say, succeeded


@dsl.container_component
def texts(i: int, f: float, big: float, b: bool, l: list, d: dict):
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s\\n"], args=[i, f, big, b, l, d])


@dsl.container_component
def numbers(i: dsl.OutputPath(int), f: dsl.OutputPath(float), b: dsl.OutputPath(bool)):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'echo " 42 " > "$0"; echo 0.50 > "$1"; echo True > "$2"'],
        args=[i, f, b],
    )


@dsl.pipeline
def parameter_texts():
    texts(i=10, f=3.0, big=1e21, b=True, l=[1, 2.5, "x"], d={"a": [True, {}]})
    made = numbers()
    say(text=f"{made.outputs['i']}|{made.outputs['f']}|{made.outputs['b']}")


EXPECT = Expect(
    succeeded("texts", "numbers", "say"),
    logs={
        "texts": '10\n3\n1000000000000000000000\ntrue\n[1,2.5,"x"]\n{"a":[true,{}]}\n',
        "say": "42|0.5|true\n",
    },
)
