"""Recurring runs through the SDK: what is kept of them. That they fire is tested where the clock is made."""

import harness
import pytest

from pipelines.api_parts import (  # noqa: F401
    demanding,
    experiment,
    named,
    only_version,
    package,
    pipeline,
    refused,
)
from pipelines.runs import api, compiled  # noqa: F401

NEVER = "0 0 3 1 1 *"


@pytest.fixture
def create(kfp_client, experiment, package):
    def recurring(**more):
        return kfp_client.create_recurring_run(
            experiment.experiment_id, **{"job_name": named("job"), "pipeline_package_path": str(package), **more}
        )

    return recurring


def test_cron(kfp_client, create, experiment):
    made = create(
        cron_expression=NEVER,
        start_time="2026-01-01T00:00:00Z",
        end_time="2036-01-01T00:00:00Z",
        max_concurrency=3,
        no_catchup=True,
        params={"text": "hi"},
        description="yearly",
    )
    shown = kfp_client.get_recurring_run(made.recurring_run_id)
    assert shown == made
    assert shown.trigger.cron_schedule.cron == NEVER
    assert (shown.trigger.cron_schedule.start_time.year, shown.trigger.cron_schedule.end_time.year) == (2026, 2036)
    assert (shown.max_concurrency, shown.no_catchup, shown.description) == ("3", True, "yearly")
    assert (shown.mode, shown.status, shown.namespace) == ("ENABLE", "ENABLED", "kubeflow")
    assert shown.runtime_config.parameters == {"text": "hi"}
    assert shown.pipeline_spec["pipelineInfo"]["name"] == "greeting"
    assert shown.experiment_id == experiment.experiment_id


def test_enable_disable_and_delete(kfp_client, create, experiment):
    made = create(interval_second=86400, enabled=False)
    assert (made.mode, made.status) == ("DISABLE", "DISABLED")
    assert made.trigger.periodic_schedule.interval_second == "86400"
    kfp_client.enable_recurring_run(made.recurring_run_id)
    assert kfp_client.get_recurring_run(made.recurring_run_id).status == "ENABLED"
    kfp_client.disable_recurring_run(made.recurring_run_id)
    assert kfp_client.get_recurring_run(made.recurring_run_id).mode == "DISABLE"
    listed = kfp_client.list_recurring_runs(experiment_id=experiment.experiment_id)
    assert [r.recurring_run_id for r in listed.recurring_runs] == [made.recurring_run_id]
    kfp_client.delete_recurring_run(made.recurring_run_id)
    refused(404, kfp_client.get_recurring_run, made.recurring_run_id)
    refused(404, kfp_client.enable_recurring_run, made.recurring_run_id)


def test_archiving_the_experiment_disables_them(kfp_client, create, experiment):
    made = create(cron_expression=NEVER)
    kfp_client.archive_experiment(experiment.experiment_id)
    assert kfp_client.get_recurring_run(made.recurring_run_id).status == "DISABLED"


def test_of_a_version(kfp_client, create, pipeline):
    version = only_version(kfp_client, pipeline)
    made = create(
        cron_expression=NEVER,
        pipeline_package_path=None,
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    assert made.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert made.pipeline_spec is None


def test_what_is_refused(create, api, tmp_path, experiment):
    refused(400, create, cron_expression="whenever")
    refused(400, create, interval_second=-5)
    refused(400, create, cron_expression=NEVER, params={"other": 1})
    refused(400, create, cron_expression=NEVER, pipeline_package_path=str(compiled(demanding, tmp_path)))
    body = {"display_name": named("job"), "experiment_id": experiment.experiment_id, "mode": "ENABLE"}
    assert "trigger" in api.call("POST", "/recurringruns", body)[1]["message"]
    assert api.call("POST", "/recurringruns", {**body, "trigger": {"cron_schedule": {"cron": NEVER}}})[0] == 400


def test_any_concurrency_is_kept_as_by_the_original(create):
    assert create(cron_expression=NEVER, max_concurrency=11).max_concurrency == "11"


def test_a_schedule_makes_runs(kfp_client, create, experiment):
    made = create(interval_second=1, params={"text": "again"}, max_concurrency=2)
    harness.until(
        lambda: (kfp_client.list_runs(experiment_id=experiment.experiment_id).total_size or 0) >= 2, "two runs", 30
    )
    kfp_client.disable_recurring_run(made.recurring_run_id)
    runs = kfp_client.list_runs(experiment_id=experiment.experiment_id, page_size=100).runs
    assert {r.recurring_run_id for r in runs} == {made.recurring_run_id}
    assert all(r.display_name.startswith(made.display_name) for r in runs)
    assert len({r.display_name for r in runs}) == len(runs)
