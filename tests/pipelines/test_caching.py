"""Caching, by what can be seen: a step that gives a new word each time gives the old one when it was not run."""

import pytest
from kfp import dsl

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401
from pipelines.steps import BUSYBOX, read, say

NEW_WORD = 'cat /proc/sys/kernel/random/uuid | tr -d "\\n"'


@dsl.container_component
def word(salt: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", f'echo made; {NEW_WORD} > "$1"'], args=[salt, out])


@dsl.container_component
def file(salt: str, data: dsl.Output[dsl.Dataset]):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", f'{NEW_WORD} > "$1"'], args=[salt, data.path])


def pipeline(name, cached=True):
    @dsl.pipeline(name=name)
    def function(salt: str):
        made = word(salt=salt).set_caching_options(cached)
        say(text=made.outputs["out"])
        written = file(salt=salt).set_caching_options(cached)
        read(data=written.outputs["data"])

    return function


@pytest.fixture
def outcome(kfp_client, api, tmp_path):
    """Runs a pipeline and gives what its two steps made, and the run."""

    def run(function, salt, **options):
        package = helpers.compiled(function, tmp_path)
        made = kfp_client.create_run_from_pipeline_package(str(package), arguments={"salt": salt}, **options)
        run = helpers.Run(api, made.run_id).wait()
        assert run.state == "SUCCEEDED", run.describe()
        assert run.log("word") == "made\n"  # a cached step shows the log of what stands for it
        return (run.log("say"), run.log("read")), run

    return run


def test_the_same_again_is_not_run_again(outcome):
    first, _ = outcome(pipeline("cache-same"), "a")
    again, run = outcome(pipeline("cache-same"), "a")
    assert again == first
    assert set(run.states().values()) == {"SUCCEEDED"}


def test_another_input_another_pipeline_or_another_text_is_run(outcome):
    first, _ = outcome(pipeline("cache-changes"), "a")
    other, _ = outcome(pipeline("cache-changes"), "b")
    elsewhere, _ = outcome(pipeline("cache-elsewhere"), "a")
    assert not set(other) & set(first) and not set(elsewhere) & set(first)


def test_caching_is_off_for_a_task_or_for_a_run(outcome):
    first, _ = outcome(pipeline("cache-off"), "a")
    off, _ = outcome(pipeline("cache-off", cached=False), "a")
    run_off, _ = outcome(pipeline("cache-off"), "a", enable_caching=False)
    assert not set(off) & set(first) and not set(run_off) & set(first)
    again, _ = outcome(pipeline("cache-off"), "a")
    assert again[0] in {first[0], run_off[0]}


def test_an_input_that_does_not_matter(kfp_client, api, tmp_path):
    """The task says which of its inputs its result does not depend on."""
    from kfp import kubernetes

    @dsl.pipeline(name="cache-ignores")
    def function(salt: str):
        made = word(salt=salt)
        kubernetes.add_pod_annotation(made, "pipelines.millrace.dev/cache-ignore", "salt")
        say(text=made.outputs["out"])

    def run(salt):
        package = helpers.compiled(function, tmp_path)
        made = kfp_client.create_run_from_pipeline_package(str(package), arguments={"salt": salt})
        return helpers.Run(api, made.run_id).wait()

    first, again = run("monday"), run("tuesday")
    assert again.log("say") == first.log("say")
    assert again.tasks()["word"]["more"]["cache"].startswith("hit because")


def test_what_an_explicit_key_says(kfp_client, api, tmp_path):
    """KFP's own way: one key, whatever the inputs."""

    @dsl.pipeline(name="cache-explicit")
    def function(salt: str):
        say(text=word(salt=salt).set_caching_options(True, cache_key="once").outputs["out"])

    def run(salt):
        package = helpers.compiled(function, tmp_path)
        made = kfp_client.create_run_from_pipeline_package(str(package), arguments={"salt": salt})
        return helpers.Run(api, made.run_id).wait()

    assert run("a").log("say") == run("b").log("say")


def test_what_failed_is_not_kept(api, kfp_client, tmp_path):
    @dsl.container_component
    def sometimes(salt: str):
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", "exit 1"], args=[salt])

    @dsl.pipeline(name="cache-failed")
    def function():
        sometimes(salt="x")

    package = helpers.compiled(function, tmp_path)
    for _ in range(2):
        made = kfp_client.create_run_from_pipeline_package(str(package), arguments={})
        assert helpers.Run(api, made.run_id).wait().state == "FAILED"


def test_a_zone_that_does_not_exist_stops_the_start(tmp_path):
    import harness

    with (
        pytest.raises(harness.StartFailed, match="Europe/Nowhere"),
        harness.launch_platform(tmp_path / "data", "--cron-timezone", "Europe/Nowhere"),
    ):
        pass
