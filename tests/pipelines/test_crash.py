"""The program is killed at random moments of random runs, fifty times: every run goes on from what had finished."""

import pathlib
import random
import time

import harness
import pytest
from kfp import compiler, dsl

from pipelines import runs as helpers
from pipelines.runs import FINAL, Api

pytestmark = [pytest.mark.binary, pytest.mark.slow]

KILLS = 50
SEED = 20261125


@dsl.container_component
def plus(a: int, b: int, sum: dsl.OutputPath(int)):
    """Adds, and says the sum in its log too."""
    return dsl.ContainerSpec(
        image="busybox", command=["sh", "-c", 'mkdir -p "$(dirname "$2")"; printf %s $(($0 + $1)) | tee "$2"'],
        args=[a, b, sum],
    )  # fmt: skip


@dsl.component(base_image="python:3.11")
def total(numbers: list, start: int) -> int:
    print(f"<{sum(numbers) + start}>")
    return sum(numbers) + start


@dsl.pipeline
def chain(start: int = 0):
    before = start
    for _ in range(8):
        step = plus(a=before, b=1)
        step.set_caching_options(False)
        before = step.outputs["sum"]


@dsl.pipeline
def spread(start: int = 0):
    first = plus(a=start, b=0)
    first.set_caching_options(False)
    with dsl.ParallelFor([1, 2, 3, 4, 5]) as item:
        inner = plus(a=item, b=first.outputs["sum"])
        inner.set_caching_options(False)
    total(numbers=dsl.Collected(inner.outputs["sum"]), start=start).set_caching_options(False)


@dsl.pipeline
def guarded(start: int = 0):
    last = plus(a=start, b=100)
    last.set_caching_options(False)
    with dsl.ExitHandler(last):
        step = plus(a=start, b=1)
        step.set_caching_options(False)
        with dsl.If(step.outputs["sum"] > 0):
            then = plus(a=step.outputs["sum"], b=10)
            then.set_caching_options(False)
            then.set_retry(2)


def log_of(api, run_id, tasks, name):
    (task,) = [t for t in tasks if t["display_name"] == name and t.get("pod_name")]
    status, text = api.call("GET", f"/apis/v1alpha1/runs/{run_id}/nodes/{task['task_id']}/log", raw=True)
    assert status == 200, text
    return text.decode()


def test_fifty_kills_lose_nothing(tmp_path):
    draw = random.Random(SEED)
    specs = {}
    for function in (chain, spread, guarded):
        path = tmp_path / f"{function.name}.yaml"
        compiler.Compiler().compile(function, str(path))
        (specs[function.name],) = helpers.documents(path)
    data = tmp_path / "data"
    started, kills = {}, 0
    while True:
        with harness.launch_platform(data) as platform:
            api = Api(platform.gateway_url, data, platform.s3_url)
            if kills < KILLS:
                for _ in range(draw.randint(0, 2)):
                    name = draw.choice(sorted(specs))
                    start = draw.randint(1, 1000)
                    status, run = api.create_run(specs[name], {"start": start}, f"{name}-{len(started)}")
                    assert status == 200, run
                    started[run["run_id"]] = (name, start)
                time.sleep(draw.uniform(0, 0.45))
                platform.proc.kill()
                kills += 1
                continue

            # Nothing kills it any more: everything ends, and ends well.
            def states(api=api):
                return {i: api.get(f"/runs/{i}")["state"] for i in started}

            harness.until(lambda: set(states().values()) <= FINAL, "every run is over", seconds=240)
            assert set(states().values()) == {"SUCCEEDED"}, {
                i: (started[i], api.get(f"/runs/{i}").get("error")) for i, s in states().items() if s != "SUCCEEDED"
            }
            counts = {"chain": 8, "spread": 1 + 5 + 1, "guarded": 3}
            for run_id, (name, start) in started.items():
                tasks = api.get(f"/runs/{run_id}")["run_details"]["task_details"]
                leaves = [t for t in tasks if t.get("pod_name")]
                assert len(leaves) == counts[name], (name, leaves)
                assert all(t["state"] == "SUCCEEDED" for t in tasks)
                # What came out at the end: no step was lost, none was counted twice.
                if name == "chain":
                    assert log_of(api, run_id, tasks, "plus-8") == str(start + 8)
                if name == "spread":
                    assert f"<{5 * start + 15 + start}>" in log_of(api, run_id, tasks, "total")
            break
    assert kills == KILLS and len(started) > 20
    left = [p for p in pathlib.Path(data, "pipelines", "steps").glob("*") if p.is_dir()]
    assert left == [], "the folders of finished runs are gone"
