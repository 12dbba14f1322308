"""What a run leaves on the machine, and when that goes."""

import pathlib

from kfp import dsl

from pipelines import runs as helpers
from pipelines.runs import NAMESPACE, api  # noqa: F401
from pipelines.steps import BUSYBOX, say, write


def pods_of(api, run):
    answer = api.kube(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=pipeline/runid={run.id}")
    return [p for p in answer["items"] if "deletionTimestamp" not in p["metadata"]]


def test_a_deleted_run_leaves_nothing(api, millrace, tmp_path):
    @dsl.pipeline(name="leaves-nothing")
    def function():
        write(text="kept")
        say(text="said").set_caching_options(False)

    (spec,) = helpers.documents(helpers.compiled(function, tmp_path))
    run = api.run(spec).wait()
    assert run.state == "SUCCEEDED", run.describe()
    assert run.log("say") == "said\n"
    (artifact,) = run.artifacts("write", "data")
    folder = pathlib.Path(millrace.data_dir) / "pipelines"
    assert (folder / "logs" / run.id).is_dir() and pods_of(api, run)
    assert api.call("DELETE", f"/runs/{run.id}")[0] == 200
    helpers.harness.until(
        lambda: not any((folder / part / run.id).exists() for part in ("logs", "steps")),
        "its folders are gone",
    )
    helpers.harness.until(lambda: not pods_of(api, run), "its pods are gone", 60)
    # As with the original, artifacts are the object store's: other runs may stand on them.
    bucket, _, key = artifact["uri"].removeprefix("s3://").partition("/")
    assert api.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"kept"


def test_a_run_that_is_deleted_under_way_leaves_nothing_either(api, millrace, tmp_path):
    @dsl.container_component
    def sleeper():
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", "echo begun; sleep 3231"])

    @dsl.pipeline(name="deleted-under-way")
    def function():
        sleeper()

    (spec,) = helpers.documents(helpers.compiled(function, tmp_path))
    run = api.run(spec)
    run.until(lambda r: r.states().get("sleeper") == "RUNNING" and helpers.processes("sleep 3231"), 60)
    assert api.call("DELETE", f"/runs/{run.id}")[0] == 200
    helpers.harness.until(lambda: helpers.processes("sleep 3231") == [], "its step is over", 60)
    folder = pathlib.Path(millrace.data_dir) / "pipelines"
    helpers.harness.until(
        lambda: not any((folder / part / run.id).exists() for part in ("logs", "steps")),
        "its folders are gone",
    )
    assert api.call("GET", f"/runs/{run.id}")[0] == 404


def test_the_pods_of_a_finished_run_go_after_their_time(api, tmp_path):
    """resourceTtl: on a cluster the workflow goes, and its pods with it; what is known of the run stays."""

    @dsl.pipeline(name="short-lived")
    def function():
        say(text="short").set_caching_options(False)

    (spec,) = helpers.documents(helpers.compiled(function, tmp_path))

    def run(config):
        platform = {"platforms": {"kubernetes": {"pipelineConfig": config}}}
        return api.run({"pipeline_spec": spec, "platform_spec": platform}).wait()

    # The time of success goes before the time of any end; that of a failure does not concern these.
    short = run({"resourceTtlOnCompletion": 9000, "resourceTtlOnSuccess": 1})
    long = run({"resourceTtlOnCompletion": 9000, "resourceTtlOnFailure": 1})
    helpers.harness.until(lambda: not pods_of(api, short), "the pods are gone", 60)
    assert pods_of(api, long)
    assert short.log("say") == "short\n"
    assert short.refresh().state == "SUCCEEDED"
