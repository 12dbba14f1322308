"""Experiments through the SDK."""

import pytest

from pipelines.api_parts import experiment, greeting, named, refused, where  # noqa: F401
from pipelines.runs import api  # noqa: F401


def test_healthz(kfp_client):
    assert not kfp_client.get_kfp_healthz().multi_user


def test_an_experiment_is_made_once(kfp_client):
    name = named("exp")
    made = kfp_client.create_experiment(name, description="first", namespace="kubeflow")
    assert (made.display_name, made.description, made.storage_state) == (name, "first", "AVAILABLE")
    assert kfp_client.create_experiment(name).experiment_id == made.experiment_id
    assert kfp_client.get_experiment(experiment_name=name, namespace="kubeflow").experiment_id == made.experiment_id
    assert kfp_client.get_experiment(experiment_id=made.experiment_id).display_name == name
    with pytest.raises(ValueError, match="No experiment is found with name"):
        kfp_client.get_experiment(experiment_name=name, namespace="elsewhere")


def test_a_name_is_taken_in_its_namespace_only(kfp_client, experiment, api):
    body = {"display_name": experiment.display_name}
    status, error = api.call("POST", "/experiments", body)
    assert (status, error["code"]) == (409, 6)
    assert error["details"][0]["message"] == (
        f"Failed to create a new experiment. The name {experiment.display_name} already exists. Please specify a new name"
    )
    status, other = api.call("POST", "/experiments", {**body, "namespace": "team"})
    assert (status, other["namespace"]) == (200, "team")


@pytest.mark.parametrize(
    "body",
    [{}, {"display_name": "x" * 129}, {"display_name": "a", "colour": "red"}, {"display_name": 3}, ["a"]],
)
def test_bad_experiments(api, body):
    status, error = api.call("POST", "/experiments", body)
    assert (status, error["code"]) == (400, 3), error
    assert error["message"]


def test_archive_and_unarchive(kfp_client, experiment, package_run):
    run = package_run(experiment)
    kfp_client.archive_experiment(experiment.experiment_id)
    assert kfp_client.get_experiment(experiment_id=experiment.experiment_id).storage_state == "ARCHIVED"
    assert kfp_client.get_run(run.run_id).storage_state == "ARCHIVED"
    error = refused(400, kfp_client.unarchive_run, run.run_id)
    assert error["code"] == 9
    kfp_client.unarchive_experiment(experiment.experiment_id)
    assert kfp_client.get_run(run.run_id).storage_state == "ARCHIVED"
    kfp_client.unarchive_run(run.run_id)
    assert kfp_client.get_run(run.run_id).storage_state == "AVAILABLE"


@pytest.fixture
def package_run(kfp_client):
    def start(experiment):
        return kfp_client.create_run_from_pipeline_func(
            greeting, experiment_id=experiment.experiment_id, run_name=named("run")
        )

    return start


def test_delete(kfp_client, experiment):
    kfp_client.delete_experiment(experiment.experiment_id)
    error = refused(404, kfp_client.get_experiment, experiment_id=experiment.experiment_id)
    assert error["details"][0]["message"] == f"Experiment {experiment.experiment_id} not found"
    refused(404, kfp_client.delete_experiment, experiment.experiment_id)


def test_filters_of_experiments(kfp_client, experiment):
    named_so = where("display_name", "EQUALS", string_value=experiment.display_name)
    found = kfp_client.list_experiments(filter=named_so)
    assert [e.experiment_id for e in found.experiments] == [experiment.experiment_id]
    assert found.total_size == 1
    archived = where("storage_state", 1, stringValue="ARCHIVED")
    assert experiment.experiment_id not in [
        e.experiment_id for e in kfp_client.list_experiments(filter=archived, page_size=200).experiments or []
    ]
