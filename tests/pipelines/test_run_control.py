"""Ending a run and running it again: what had succeeded stays, what had not runs, and nothing is left behind."""

import pytest
from kfp import dsl

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401
from pipelines.steps import BUSYBOX, say, say_number


@dsl.container_component
def sh(script: str):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c"], args=[script])


@pytest.fixture
def submit(api, tmp_path):
    def run(function, **parameters):
        spec, *_ = helpers.documents(helpers.compiled(function, tmp_path))
        return api.run(spec, parameters)

    return run


def test_terminate_ends_what_runs_and_starts_nothing_more(submit, api, kfp_client):
    @dsl.pipeline
    def ended():
        with dsl.ExitHandler(say(text="exit").set_caching_options(False)):
            first = sh(script="echo done")
            hung = sh(script="echo begun; sleep 3219").set_caching_options(False).after(first)
            say(text="never").after(hung)

    run = submit(ended)
    run.until(lambda r: r.states().get("exit-handler-1/sh-2") == "RUNNING")
    kfp_client.terminate_run(run.id)
    run.wait(30)
    assert run.state == "CANCELED", run.describe()
    assert [s["state"] for s in run.api["state_history"]][-2:] == ["CANCELING", "CANCELED"]
    assert run.states() == {
        "say": "CANCELED",
        "exit-handler-1": "CANCELED",
        "exit-handler-1/sh": "SUCCEEDED",
        "exit-handler-1/sh-2": "CANCELED",
        "exit-handler-1/say-2": "CANCELED",
    }
    assert helpers.processes("sleep 3219") == []


def test_retry_keeps_what_succeeded_and_runs_the_rest(submit, api):
    api.s3.put_object(Bucket="mlpipeline", Key="retry/flag.txt", Body=b"")

    @dsl.container_component
    def check(data: dsl.Input[dsl.Artifact], word: dsl.OutputPath(str)):
        script = 'grep -q good "$0" && cat /proc/sys/kernel/random/uuid > "$1"'
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[data.path, word])

    @dsl.pipeline
    def retried():
        first = sh(script="cat /proc/sys/kernel/random/uuid").set_caching_options(False)
        data = dsl.importer(artifact_uri="s3://mlpipeline/retry/flag.txt", artifact_class=dsl.Artifact)
        checked = check(data=data.output).set_caching_options(False).after(first)
        say(text=checked.outputs["word"])

    run = submit(retried).wait()
    assert run.states() == {"sh": "SUCCEEDED", "importer": "SUCCEEDED", "check": "FAILED", "say": "SKIPPED"}
    before = run.log("sh")
    api.s3.put_object(Bucket="mlpipeline", Key="retry/flag.txt", Body=b"good")
    assert api.call("POST", f"/runs/{run.id}:retry")[0] == 200
    run.until(lambda r: r.state in helpers.FINAL and r.states()["check"] != "FAILED")
    assert run.state == "SUCCEEDED", run.describe()
    assert run.log("sh") == before
    assert api.call("POST", f"/runs/{run.id}:retry")[0] == 400


def test_states_of_groups_agree_at_every_moment(submit):
    @dsl.pipeline
    def inner(n: int):
        say_number(number=n)

    @dsl.pipeline
    def groups(go: bool = True):
        with dsl.If(go == True):  # noqa: E712
            with dsl.ParallelFor([1, 2]) as i:
                with dsl.ParallelFor([3, 4]) as j:
                    inner(n=j).after(say_number(number=i))

    run = submit(groups)
    seen = 0
    while run.refresh().state not in helpers.FINAL:
        seen += 1
        consistent(run)
    consistent(run)
    assert run.state == "SUCCEEDED" and set(run.states().values()) == {"SUCCEEDED"}, run.describe()
    assert seen


def consistent(run):
    """In one answer: a group that is over has no member that is not, and in a run that is over everything is."""
    details = run.api.get("run_details", {}).get("task_details", [])
    states = {d["task_id"]: d["state"] for d in details}
    for d in details:
        parent = states.get(d.get("parent_task_id"))
        if run.state in helpers.FINAL or parent in helpers.FINAL:
            assert d["state"] in helpers.FINAL, (d, run.describe())
        times = [s["update_time"] for s in d.get("state_history", [])]
        assert times == sorted(times), d
