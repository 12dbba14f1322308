"""Steps whose pod cannot start: the task says why at once, and goes on when what is missing comes."""

import pytest
from kfp import dsl, kubernetes

from pipelines import runs as helpers
from pipelines.runs import NAMESPACE, api  # noqa: F401
from pipelines.steps import say


@pytest.fixture
def submit(api, tmp_path):
    def run(function):
        spec, platform = helpers.documents(helpers.compiled(function, tmp_path))
        return api.run({"pipeline_spec": spec, "platform_spec": platform})

    return run


def waiting(run, path="say"):
    return run.tasks().get(path, {}).get("more", {}).get("waiting_for", "")


@pytest.mark.parametrize(
    ("mount", "says"),
    [
        pytest.param(
            lambda t: kubernetes.use_secret_as_volume(t, secret_name="held-secret", mount_path="/x"),
            'secret "held-secret" not found',
            id="secret",
        ),
        pytest.param(
            lambda t: kubernetes.use_config_map_as_volume(t, config_map_name="held-map", mount_path="/x"),
            'configmap "held-map" not found',
            id="config map",
        ),
        pytest.param(
            lambda t: kubernetes.mount_pvc(t, pvc_name="held-claim", mount_path="/x"),
            'persistentvolumeclaim "held-claim" not found',
            id="claim",
        ),
    ],
)
def test_a_volume_that_is_not_there(submit, api, mount, says):
    @dsl.pipeline(name="held")
    def held():
        task = say(text="never").set_caching_options(False)
        mount(task)

    run = submit(held)
    run.until(lambda r: says in waiting(r), 60)
    task = run.tasks()["say"]
    assert task["state"] == "RUNNING"
    assert says in task["state_history"][-1]["error"]["message"]
    assert "error" not in task
    events = api.kube(
        f"/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=involvedObject.name={task['pod_name']},reason=FailedMount"
    )["items"]
    assert events and events[0]["type"] == "Warning"
    assert events[0]["message"].startswith("MountVolume.SetUp failed for volume ") and says in events[0]["message"]
    assert api.call("POST", f"/runs/{run.id}:terminate")[0] == 200
    assert run.wait().state == "CANCELED"


def test_its_own_time_limit_ends_it_with_the_reason(submit):
    @dsl.pipeline(name="held-by-time")
    def held():
        task = say(text="never").set_caching_options(False)
        kubernetes.use_secret_as_volume(task, secret_name="held-secret", mount_path="/x")
        kubernetes.set_timeout(task, 3)

    run = submit(held).wait()
    assert run.states() == {"say": "FAILED"}
    assert run.error("say").startswith("DeadlineExceeded"), run.error("say")
    assert 'secret "held-secret" not found' in run.error("say")


def test_what_was_missing_comes(submit, api):
    @dsl.pipeline(name="held-and-released")
    def held():
        task = say(text="at last").set_caching_options(False)
        kubernetes.use_config_map_as_volume(task, config_map_name="held-late", mount_path="/x")

    run = submit(held)
    run.until(lambda r: "held-late" in waiting(r), 60)
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held-late"},
        "data": {"a": "b"},
    }
    api.kube(f"/api/v1/namespaces/{NAMESPACE}/configmaps", "POST", body)
    assert run.wait().state == "SUCCEEDED", run.describe()
    assert run.log("say") == "at last\n"
    assert waiting(run) == "" and "error" not in run.tasks()["say"]["state_history"][-1]
