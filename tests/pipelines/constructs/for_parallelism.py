"""The parallelism of a loop is honoured: never more than two iterations at once."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, succeeded


@dsl.container_component
def stamp(n: int, begun: dsl.OutputPath(str)):
    # %N of date is GNU's; the uptime has hundredths everywhere.
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=[
            "sh",
            "-c",
            'cut -d" " -f1 /proc/uptime; sleep 0.3; cut -d" " -f1 /proc/uptime; echo "$0" > "$1"',
        ],
        args=[n, begun],
    )


@dsl.pipeline
def for_parallelism():
    with dsl.ParallelFor([1, 2, 3, 4, 5], parallelism=2) as n:
        stamp(n=n)


EXPECT = Expect(succeeded("for-loop-2", *(f"for-loop-2/{i}{t}" for i in range(5) for t in ("", "/stamp"))))


def verify(run):
    spans = [[float(x) for x in run.log(f"for-loop-2/{i}/stamp").split()] for i in range(5)]
    most = max(sum(a <= begin < b for a, b in spans) for begin, _ in spans)
    assert most == 2, spans
