"""Recurring runs of the running server: macros in parameters, the latest version at each time, what is said when it fails."""

import uuid

import harness
import pytest
from kfp import dsl

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401
from pipelines.steps import say


def pipeline(suffix):
    @dsl.pipeline(name="scheduled")
    def function(text: str):
        say(text=f"{text}{suffix}")

    return function


@pytest.fixture
def uploaded(kfp_client, tmp_path):
    package = helpers.compiled(pipeline(" one"), tmp_path)
    return kfp_client.upload_pipeline(str(package), pipeline_name=f"scheduled-{uuid.uuid4().hex[:8]}").pipeline_id


@pytest.fixture
def every_second(api, uploaded):
    """A schedule of each second for the latest version of a pipeline."""
    status, made = api.call(
        "POST",
        "/recurringruns",
        {
            "display_name": f"each-{uuid.uuid4().hex[:8]}",
            "mode": "ENABLE",
            "max_concurrency": 10,
            "no_catchup": True,
            "trigger": {"cron_schedule": {"cron": "* * * * * *"}},
            "pipeline_version_reference": {"pipeline_id": uploaded},
            "runtime_config": {"parameters": {"text": "[[Index]] [[ScheduledTime.2006]] [[RunUUID]]"}},
        },
    )
    assert status == 200, made
    yield made["recurring_run_id"]
    api.call("DELETE", f"/recurringruns/{made['recurring_run_id']}")


def made_by(api, recurring_run_id):
    runs = api.get("/runs?page_size=100&sort_by=created_at%20desc").get("runs", [])
    return [r for r in runs if r.get("recurring_run_id") == recurring_run_id]


def test_macros_and_the_latest_version(api, kfp_client, tmp_path, uploaded, every_second):
    first = harness.until(lambda: made_by(api, every_second), "a run")[-1]
    run = helpers.Run(api, first["run_id"]).wait()
    year = first["scheduled_at"][:4]
    assert run.log("say") == f"1 {year} {run.id} one\n"
    assert first["display_name"].endswith("-" + "".join(c for c in first["scheduled_at"] if c.isdigit()))
    package = helpers.compiled(pipeline(" two"), tmp_path)
    version = kfp_client.upload_pipeline_version(str(package), "v2", pipeline_id=uploaded).pipeline_version_id

    def of_two():
        return [
            r for r in made_by(api, every_second) if r["pipeline_version_reference"]["pipeline_version_id"] == version
        ]

    later = harness.until(of_two, "a run of the second version")[0]
    assert helpers.Run(api, later["run_id"]).wait().log("say").endswith(" two\n")


def test_a_schedule_that_cannot_make_its_run_says_why(api, uploaded, every_second):
    harness.until(lambda: made_by(api, every_second), "a run")
    assert "error" not in api.get(f"/recurringruns/{every_second}")
    assert api.call("DELETE", f"/pipelines/{uploaded}?cascade=true")[0] == 200
    said = harness.until(lambda: api.get(f"/recurringruns/{every_second}").get("error"), "an error")
    assert uploaded in said["message"], said


@pytest.mark.binary
def test_a_schedule_survives_a_crash(tmp_path):
    spec = helpers.documents(helpers.compiled(pipeline(""), tmp_path))[0]
    body = {
        "display_name": "kept",
        "mode": "ENABLE",
        "max_concurrency": 10,
        "trigger": {"periodic_schedule": {"interval_second": 1}},
        "pipeline_spec": spec,
        "runtime_config": {"parameters": {"text": "[[Index]]"}},
    }
    data = tmp_path / "data"
    with harness.launch_platform(data) as platform:
        server = helpers.Api(platform.gateway_url, data, platform.s3_url)
        status, made = server.call("POST", "/recurringruns", body)
        assert status == 200, made
        harness.until(lambda: made_by(server, made["recurring_run_id"]), "a run")
        platform.proc.kill()
    with harness.launch_platform(data) as platform:
        server = helpers.Api(platform.gateway_url, data, platform.s3_url)
        before = len(made_by(server, made["recurring_run_id"]))
        harness.until(lambda: len(made_by(server, made["recurring_run_id"])) >= before + 2, "two more runs")
        runs = made_by(server, made["recurring_run_id"])
        # Every second has its run, those of the time in between too, and none has two.
        indices = sorted(int(r["runtime_config"]["parameters"]["text"]) for r in runs)
        assert indices == list(range(1, len(runs) + 1))
        assert len({r["scheduled_at"] for r in runs}) == len({r["display_name"] for r in runs}) == len(runs)
