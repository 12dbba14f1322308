"""The whole path with the real Python client: log, register, load, search."""

import hashlib
import math
import threading

import pytest

from .api import unique

# Fixed requirements, so that logging a model does not start a process to find them out.
REQUIREMENTS = ["scikit-learn"]


@pytest.fixture(scope="module")
def trained(mlflow):
    """One experiment, one run with params, metrics, files and a registered model, made as a data scientist does."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0] * 5, "balance": [1.0, 2.0, 3.0, 4.0] * 5})
    labels = np.array([0, 0, 1, 1] * 5)
    estimator = LogisticRegression().fit(rows, labels)
    name, registered = unique("flow"), unique("churn")
    experiment = mlflow.set_experiment(name)
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_param("c", 1.0)
        mlflow.log_params({"solver": "lbfgs", "penalty": "l2"})
        mlflow.log_metric("acc", 0.25, step=1)
        mlflow.log_metric("acc", 0.75, step=2)
        mlflow.log_metrics({"auc": 0.9, "odd": math.nan})
        mlflow.set_tag("team", "risk")
        mlflow.set_tags({"stage": "dev", "ünï": "🙂"})
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"a": [1, 2]}, "notes/d.json")
        mlflow.log_input(mlflow.data.from_pandas(rows, name="rows"), context="training")
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            signature=mlflow.models.infer_signature(rows, estimator.predict(rows)),
            input_example=rows.head(2),
            pip_requirements=REQUIREMENTS,
        )
    version = mlflow.register_model(logged.model_uri, registered)
    mlflow.MlflowClient().set_registered_model_alias(registered, "champion", version.version)
    return {
        "experiment": experiment,
        "run_id": run.info.run_id,
        "model": logged,
        "name": registered,
        "version": version,
        "rows": rows,
        "predictions": estimator.predict(rows),
    }


def test_set_experiment_finds_and_restores(mlflow, client):
    name = unique("flow")
    made = mlflow.set_experiment(name)
    assert mlflow.set_experiment(name).experiment_id == made.experiment_id
    client.delete_experiment(made.experiment_id)
    with pytest.raises(mlflow.exceptions.MlflowException, match="deleted"):
        mlflow.set_experiment(name)
    client.restore_experiment(made.experiment_id)
    assert mlflow.set_experiment(name).lifecycle_stage == "active"


def test_the_run(client, trained):
    run = client.get_run(trained["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.info.end_time >= run.info.start_time > 1_600_000_000_000
    assert run.data.params == {"c": "1.0", "solver": "lbfgs", "penalty": "l2"}
    assert math.isnan(run.data.metrics.pop("odd"))
    assert run.data.metrics == {"acc": 0.75, "auc": 0.9}
    assert run.data.tags["team"] == "risk" and run.data.tags["ünï"] == "🙂"
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.tags[0].value) == ("rows", "training")
    assert [m.model_id for m in run.outputs.model_outputs] == [trained["model"].model_id]


def test_metric_history(client, trained):
    history = client.get_metric_history(trained["run_id"], "acc")
    assert [(m.step, m.value) for m in history] == [(1, 0.25), (2, 0.75)]


def test_the_logged_model(mlflow, trained):
    model = mlflow.get_logged_model(trained["model"].model_id)
    assert model.status == "READY"
    assert model.source_run_id == trained["run_id"]
    # Params and metrics of the run are copied by the client.
    assert model.params == {"c": "1.0", "solver": "lbfgs", "penalty": "l2"}
    assert {m.key: m.value for m in model.metrics}["auc"] == 0.9
    info = mlflow.models.get_model_info(trained["model"].model_uri)
    assert info.signature.inputs.input_names() == ["age", "balance"]


def test_files_of_the_logged_model(client, trained):
    files = {f.path for f in client.list_logged_model_artifacts(trained["model"].model_id)}
    assert {"MLmodel", "requirements.txt", "input_example.json"} <= files


@pytest.mark.parametrize(
    "form",
    [
        "models:/{name}@champion",
        "models:/{name}/1",
        "models:/{name}/latest",
        "runs:/{run_id}/model",
        "models:/{model_id}",
    ],
)
def test_the_model_loads_by_every_uri(mlflow, trained, form):
    uri = form.format(name=trained["name"], run_id=trained["run_id"], model_id=trained["model"].model_id)
    model = mlflow.pyfunc.load_model(uri)
    assert (model.predict(trained["rows"]) == trained["predictions"]).all()
    example = model.input_example
    assert list(example.columns) == ["age", "balance"]


def test_the_flavor_loads_too(mlflow, trained):
    model = mlflow.sklearn.load_model(f"models:/{trained['name']}@champion")
    assert (model.predict(trained["rows"]) == trained["predictions"]).all()


def test_the_registered_version(client, trained):
    version = client.get_model_version_by_alias(trained["name"], "champion")
    assert (version.version, version.status, version.run_id) == ("1", "READY", trained["run_id"])
    assert version.aliases == ["champion"]
    assert version.source == f"models:/{trained['model'].model_id}"
    assert client.get_registered_model(trained["name"]).aliases == {"champion": "1"}


@pytest.mark.fix
def test_aliases_in_search_model_versions(client, trained):
    # Public case 6.
    assert client.search_model_versions(f"name='{trained['name']}'")[0].aliases == ["champion"]


def test_registering_again_makes_the_next_version(mlflow, client, trained):
    name = unique("again")
    for number in (1, 2):
        assert int(mlflow.register_model(trained["model"].model_uri, name).version) == number
    client.set_registered_model_tag(name, "k", "v")
    client.set_model_version_tag(name, "2", "k", "v2")
    assert client.get_registered_model(name).tags == {"k": "v"}
    assert client.get_model_version(name, "2").tags == {"k": "v2"}
    client.update_model_version(name, "2", description="the second")
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert client.get_model_version(name, "2").current_stage == "Production"
    client.delete_model_version(name, "1")
    assert [v.version for v in client.search_model_versions(f"name='{name}'")] == ["2"]
    client.rename_registered_model(name, name + "-new")
    client.delete_registered_model(name + "-new")
    with pytest.raises(mlflow.exceptions.RestException, match="RESOURCE_DOES_NOT_EXIST: Registered Model with name="):
        client.get_registered_model(name)


def test_copying_a_version(mlflow, client, trained):
    copy = client.copy_model_version(f"models:/{trained['name']}/1", unique("copy"))
    model = mlflow.pyfunc.load_model(f"models:/{copy.name}/{copy.version}")
    assert (model.predict(trained["rows"]) == trained["predictions"]).all()


def test_search_runs(mlflow, trained):
    name = trained["experiment"].name
    frame = mlflow.search_runs(
        experiment_names=[name],
        filter_string="metrics.acc > 0.5 AND params.solver = 'lbfgs'",
        order_by=["metrics.acc DESC"],
    )
    assert list(frame["run_id"]) == [trained["run_id"]]
    assert frame["metrics.acc"][0] == 0.75
    assert mlflow.search_runs(experiment_names=[name], filter_string="metrics.acc > 0.8").empty


def test_search_logged_models(mlflow, trained):
    found = mlflow.search_logged_models(
        experiment_ids=[trained["experiment"].experiment_id],
        filter_string="metrics.auc > 0.5 AND params.solver = 'lbfgs'",
        order_by=[{"field_name": "metrics.auc", "ascending": False}],
        output_format="list",
    )
    assert [m.model_id for m in found] == [trained["model"].model_id]


def test_search_experiments_and_models(mlflow, trained):
    name = trained["experiment"].name
    assert [e.name for e in mlflow.search_experiments(filter_string=f"name = '{name}'")] == [name]
    assert [m.name for m in mlflow.search_registered_models(filter_string=f"name = '{trained['name']}'")] == [
        trained["name"]
    ]


def test_download_artifacts(mlflow, trained, tmp_path):
    for source in (
        {"run_id": trained["run_id"], "artifact_path": "notes"},
        {"artifact_uri": f"runs:/{trained['run_id']}/notes"},
    ):
        target = tmp_path / str(len(list(tmp_path.iterdir())))
        target.mkdir()
        mlflow.artifacts.download_artifacts(dst_path=str(target), **source)
        found = {p.name: p.read_text() for p in (target / "notes").iterdir()}
        assert found["hello.txt"] == "hello"
        assert "d.json" in found
    assert mlflow.artifacts.load_text(f"runs:/{trained['run_id']}/notes/hello.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{trained['run_id']}/notes/d.json") == {"a": [1, 2]}


NAMES = ["with space.txt", "Tribeč.html", "a+b.txt", "日本/ünï.bin", "x=1&y=2.txt", "dir/.hidden"]


def exchange(mlflow, client, tmp_path, names):
    """Log a folder with these files and download it: hashes by name."""
    source, target = tmp_path / "source", tmp_path / "target"
    for name in names:
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 100)
    target.mkdir()
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(source), artifact_path="n")
    mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="n", dst_path=str(target))

    def hashes(folder):
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file()
        }

    return hashes(source), hashes(target / "n")


def test_files_come_back_under_their_names(mlflow, client, tmp_path):
    # Public case 8 with the real client.
    sent, received = exchange(mlflow, client, tmp_path, NAMES)
    assert received == sent


def test_multipart_lands_at_the_same_path(mlflow, client, tmp_path, monkeypatch):
    # Public case 18: the client asks for multipart; whether the server does it or not, the file is at its place.
    file = tmp_path / "big.bin"
    file.write_bytes(bytes(range(256)) * 50_000)
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(file), artifact_path="plain")
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(5 << 20))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 << 20))
    client.log_artifact(run.info.run_id, str(file), artifact_path="multi")
    for folder in ("plain", "multi"):
        (listed,) = client.list_artifacts(run.info.run_id, folder)
        assert (listed.path, listed.file_size) == (f"{folder}/big.bin", 256 * 50_000)
        local = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=f"{folder}/big.bin", dst_path=str(tmp_path / folder)
        )
        with open(local, "rb") as copy:
            assert hashlib.sha256(copy.read()).digest() == hashlib.sha256(file.read_bytes()).digest()


def test_autolog(mlflow, client):
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment(unique("auto"))
    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        with mlflow.start_run() as run:
            LogisticRegression(C=0.5).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
    stored = client.get_run(run.info.run_id)
    assert stored.data.params["C"] == "0.5"
    assert "training_accuracy_score" in stored.data.metrics
    assert stored.data.tags["estimator_name"] == "LogisticRegression"
    assert client.list_artifacts(run.info.run_id)


def test_nested_runs_and_failures(mlflow, client):
    experiment = mlflow.set_experiment(unique("nested"))
    with mlflow.start_run() as parent:
        with mlflow.start_run(nested=True) as child:
            pass
        with pytest.raises(ZeroDivisionError), mlflow.start_run(nested=True) as broken:
            _ = 1 / 0
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert client.get_run(broken.info.run_id).info.status == "FAILED"
    found = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {r.info.run_id for r in found} == {child.info.run_id, broken.info.run_id}


def test_errors_reach_the_user_with_their_text(mlflow, client):
    run = client.create_run("0")
    client.log_param(run.info.run_id, "p", 1)
    client.log_param(run.info.run_id, "p", 1)
    with pytest.raises(mlflow.exceptions.MlflowException, match="Changing param values is not allowed"):
        client.log_param(run.info.run_id, "p", 2)
    with pytest.raises(mlflow.exceptions.RestException, match="^RESOURCE_DOES_NOT_EXIST: Run with id=" + "0" * 32):
        client.get_run("0" * 32)
    with pytest.raises(mlflow.exceptions.RestException, match="^INVALID_PARAMETER_VALUE: Invalid clause"):
        client.search_runs(["0"], "nonsense")


@pytest.mark.parametrize(
    "text, count",
    [
        ("metrics.`avg model score` > 0.5", 1),
        ("params.model ILIKE 'l%'", 1),
        ("tags.mlflow.runName = 'r1'", 1),
        ("attributes.`Run name` = 'r1'", 1),
        ("params.nokey IS NULL", 1),
        ("params.model LIKE 'l%'", 0),
        ("params.nokey != 'x'", 0),
    ],
)
def test_filters_through_the_client(mlflow, filtered, text, count):
    # Public case 4; the grammar itself is in test_search_runs.py.
    assert len(mlflow.search_runs([filtered], filter_string=text)) == count


@pytest.fixture(scope="module")
def filtered(mlflow):
    client = mlflow.MlflowClient()
    experiment = client.create_experiment(unique("filter"))
    run = client.create_run(experiment, run_name="r1")
    client.log_metric(run.info.run_id, "avg model score", 0.7)
    client.log_param(run.info.run_id, "model", "LR")
    return experiment


def test_large_batches_are_split_by_the_client(mlflow, client):
    run = client.create_run("0")
    entities = mlflow.entities
    client.log_batch(
        run.info.run_id,
        params=[entities.Param(f"p{i}", "v") for i in range(100)],
        metrics=[entities.Metric(f"m{i}", i, 1, 0) for i in range(900)],
    )
    stored = client.get_run(run.info.run_id).data
    assert len(stored.params) == 100 and len(stored.metrics) == 900
    # The fluent call splits what is too much for one request.
    mlflow.set_experiment(unique("split"))
    with mlflow.start_run() as other:
        mlflow.log_params({f"q{i}": i for i in range(250)})
    assert len(client.get_run(other.info.run_id).data.params) == 250


def test_asynchronous_logging(mlflow, client):
    experiment = mlflow.set_experiment(unique("async"))
    with mlflow.start_run() as run:
        waits = [mlflow.log_metric("m", i, step=i, synchronous=False) for i in range(50)]
        for wait in waits:
            wait.wait()
    history = client.get_metric_history(run.info.run_id, "m")
    assert [m.step for m in sorted(history, key=lambda m: m.step)] == list(range(50))
    assert client.get_run(run.info.run_id).info.experiment_id == experiment.experiment_id


def test_many_threads_on_one_run(client):
    run = client.create_run("0")
    faults = []

    def work(thread):
        try:
            for i in range(10):
                client.log_metric(run.info.run_id, f"m{thread}", i, step=i)
                client.log_param(run.info.run_id, f"p{thread}.{i}", i)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    stored = client.get_run(run.info.run_id).data
    assert stored.metrics == {f"m{n}": 9.0 for n in range(8)}
    assert len(stored.params) == 80
