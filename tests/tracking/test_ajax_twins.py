"""What the web UI calls: the same calls below /ajax-api."""

import pytest

from .api import AJAX, Api, metric, pairs, unique


@pytest.fixture(scope="module")
def ajax(api):
    return Api(api.url, AJAX)


def test_a_whole_life_through_the_twins(ajax):
    name = unique()
    experiment = ajax.post("/experiments/create", name=name)["experiment_id"]
    run = ajax.new_run(experiment, run_name="r")
    ajax.post("/runs/log-batch", run_id=run, metrics=[metric("m", 0.5)], params=pairs(p="1"), tags=pairs(t="2"))
    ajax.post("/runs/log-metric", run_id=run, **metric("m", 0.75, 2, 1))
    ajax.post("/runs/log-parameter", run_id=run, key="q", value="2")
    ajax.post("/runs/set-tag", run_id=run, key="u", value="3")
    ajax.post("/runs/update", run_id=run, status="FINISHED", end_time=5)
    params, tags, metrics = ajax.data(run)
    assert (params, metrics) == ({"p": "1", "q": "2"}, {"m": 0.75})
    assert {"t": "2", "u": "3"}.items() <= tags.items()
    assert ajax.history(run, "m") == [(0, 1, 0.5), (1, 2, 0.75)]
    model = ajax.new_logged_model(experiment, source_run_id=run)
    ajax.patch(f"/logged-models/{model}", model_id=model, status="LOGGED_MODEL_READY")
    registered = ajax.new_model()
    ajax.new_version(registered, source=f"models:/{model}", model_id=model)
    ajax.post("/registered-models/alias", name=registered, alias="al", version="1")
    assert ajax.get("/registered-models/alias", name=registered, alias="al")["model_version"]["run_id"] == run
    ajax.delete("/registered-models/delete", name=registered)
    ajax.post("/runs/delete", run_id=run)
    ajax.post("/experiments/delete", experiment_id=experiment)


@pytest.fixture(scope="module")
def things(api):
    experiment = api.new_experiment()
    run = api.new_run(experiment)
    api.post("/runs/log-batch", run_id=run, metrics=[metric("m")], params=pairs(p="1"))
    name = api.new_model()
    api.new_version(name)
    model = api.new_logged_model(experiment)
    return {"experiment": experiment, "run": run, "name": name, "model": model}


@pytest.mark.parametrize(
    "method, path, fields",
    [
        ("GET", "/experiments/get", {"experiment_id": "<experiment>"}),
        ("GET", "/experiments/search", {"max_results": 5}),
        ("POST", "/experiments/search", {"max_results": 5}),
        ("GET", "/runs/get", {"run_id": "<run>"}),
        ("POST", "/runs/search", {"experiment_ids": ["<experiment>"]}),
        ("GET", "/metrics/get-history", {"run_id": "<run>", "metric_key": "m"}),
        ("GET", "/artifacts/list", {"run_id": "<run>"}),
        ("GET", "/registered-models/get", {"name": "<name>"}),
        ("GET", "/registered-models/search", {"filter": "name = '<name>'"}),
        ("POST", "/registered-models/get-latest-versions", {"name": "<name>"}),
        ("GET", "/model-versions/get", {"name": "<name>", "version": "1"}),
        ("GET", "/model-versions/search", {"filter": "name = '<name>'"}),
        ("GET", "/model-versions/get-download-uri", {"name": "<name>", "version": "1"}),
        ("POST", "/logged-models/search", {"experiment_ids": ["<experiment>"]}),
        ("GET", "/logged-models/<model>", {}),
        ("GET", "/logged-models/<model>/artifacts/directories", {}),
        ("GET", "/experiments/get", {"experiment_id": "nope"}),
        ("POST", "/runs/search", {"experiment_ids": ["<experiment>"], "filter": "bogus"}),
        ("POST", "/runs/log-batch", {}),
    ],
)
def test_twins_answer_alike(api, ajax, things, method, path, fields):
    def fill(value):
        if isinstance(value, list):
            return [fill(v) for v in value]
        for key, text in things.items():
            value = value.replace(f"<{key}>", text) if isinstance(value, str) else value
        return value

    fields = {key: fill(value) for key, value in fields.items()}
    part = "query" if method == "GET" else "body"
    first, second = (client.call(method, fill(path), **{part: fields}) for client in (api, ajax))
    assert first.status_code == second.status_code
    assert first.json() == second.json()


def test_artifacts_twin(api, things):
    path = f"/2.0/mlflow-artifacts/artifacts/{things['experiment']}/{things['run']}/artifacts/twin.txt"
    assert api.http.put(api.url + "/ajax-api" + path, data=b"twin").status_code == 200
    assert api.http.get(api.url + "/api" + path).content == b"twin"
    assert api.http.get(api.url + "/ajax-api" + path).content == b"twin"
    listed = api.http.get(
        api.url + "/ajax-api/2.0/mlflow-artifacts/artifacts",
        params={"path": f"{things['experiment']}/{things['run']}/artifacts"},
    )
    assert [f["path"] for f in listed.json()["files"]] == ["twin.txt"]


def test_files_of_a_logged_model(api, things):
    path = f"/artifacts/{things['experiment']}/models/{things['model']}/artifacts/MLmodel"
    api.http.put(api.url + "/api/2.0/mlflow-artifacts" + path, data=b"flavors: {}")
    answer = api.http.get(
        f"{api.url}{AJAX}/logged-models/{things['model']}/artifacts/files", params={"artifact_file_path": "MLmodel"}
    )
    assert (answer.status_code, answer.content) == (200, b"flavors: {}")
