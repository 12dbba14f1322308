"""after(): of tasks, of a task inside a loop, and of groups; the later one begins when the earlier ones are over."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, succeeded


@dsl.container_component
def stamp():
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=[
            "sh",
            "-c",
            'cut -d" " -f1 /proc/uptime; sleep 0.1; cut -d" " -f1 /proc/uptime',
        ],
    )


@dsl.pipeline
def after():
    first = stamp().set_caching_options(False)
    second = stamp().set_caching_options(False).after(first)
    with dsl.ParallelFor([1, 2, 3]) as _:
        inside = stamp().set_caching_options(False).after(second)
    stamp().set_caching_options(False).after(inside)


EXPECT = Expect(
    succeeded(
        "stamp",
        "stamp-2",
        "for-loop-2",
        *(f"for-loop-2/{i}{t}" for i in range(3) for t in ("", "/stamp-3")),
        "stamp-4",
    )
)


def verify(run):
    def span(path):
        begin, end = run.log(path).split()
        return float(begin), float(end)

    inner = [span(f"for-loop-2/{i}/stamp-3") for i in range(3)]
    assert span("stamp")[1] <= span("stamp-2")[0]
    assert span("stamp-2")[1] <= min(b for b, _ in inner)
    assert max(e for _, e in inner) <= span("stamp-4")[0]
