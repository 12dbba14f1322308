"""One database file, two servers: what the stock server made opens here, and the other way round."""

import hashlib
import math
import re
import shutil
import sqlite3

import harness
import pytest

from . import stockdb
from .api import Api, as_dict, metric, pair, pairs

pytestmark = pytest.mark.binary


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """The stock stores make folders where they stand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


# Made once: migrations take a second.


@pytest.fixture(scope="module")
def stock_schema(tmp_path_factory):
    """An empty database of the newest revision."""
    path = tmp_path_factory.mktemp("schema") / "head.db"
    stockdb.make_schema(path)
    assert stockdb.revision(path) == [stockdb.HEAD]
    return path


def fill(url):
    """Write something of every kind with the real client."""
    from mlflow import MlflowClient
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        InputTag,
        LoggedModelInput,
        LoggedModelOutput,
        LoggedModelStatus,
        Metric,
        Param,
        RunTag,
    )

    client = MlflowClient(url, url)
    experiment = client.create_experiment("filled", artifact_location="s3://bucket/filled", tags={"et": "ev"})
    gone = client.create_experiment("gone", artifact_location="s3://bucket/gone")
    run = client.create_run(experiment, start_time=1_000, run_name="r1", tags={"mlflow.user": "ann", "ünï": "🙂"})
    run_id = run.info.run_id
    client.log_batch(
        run_id,
        metrics=[
            Metric("m", 0.5, 10, 1),
            Metric("m", 0.25, 11, 2),
            Metric("nan", math.nan, 12, 0),
            Metric("inf", math.inf, 13, 0),
            Metric("inf", -math.inf, 14, -1),
        ],
        params=[Param("p", "1"), Param("empty", "")],
        tags=[RunTag("t", "v")],
    )
    client.log_inputs(
        run_id,
        datasets=[
            DatasetInput(
                Dataset("ds", "digest", "local", "{}", "schema", "profile"),
                [InputTag("mlflow.data.context", "training")],
            )
        ],
    )
    model = client.create_logged_model(
        experiment, name="lm", source_run_id=run_id, tags={"mt": "mv"}, params={"mp": "1"}, model_type="agent"
    )
    client.log_model_params(model.model_id, {"more": "2"})
    client.log_batch(
        run_id, metrics=[Metric("acc", 0.9, 15, 0, model_id=model.model_id, dataset_name="ds", dataset_digest="digest")]
    )
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 3)])
    other = client.create_run(experiment, start_time=2_000, run_name="r2")
    client.log_inputs(other.info.run_id, models=[LoggedModelInput(model.model_id)])
    client.set_terminated(run_id, "FINISHED", 5_000)
    dead = client.create_run(experiment, start_time=3_000, run_name="dead")
    client.delete_run(dead.info.run_id)
    client.delete_experiment(gone)
    client.create_registered_model("registered", tags={"rt": "rv"}, description="d")
    for number in (1, 2, 3):
        client.create_model_version(
            "registered",
            f"models:/{model.model_id}",
            model_id=model.model_id,
            tags={"vt": str(number)},
            description=f"v{number}",
        )
    client.set_registered_model_alias("registered", "champion", "2")
    client.transition_model_version_stage("registered", "1", "Staging")
    client.delete_model_version("registered", "3")
    return {"experiment": experiment, "gone": gone, "run": run_id, "dead": dead.info.run_id, "model": model.model_id}


@pytest.fixture(scope="module")
def stock_filled(stock_schema, tmp_path_factory):
    """A database of the newest revision with rows of every kind, written by the stock server."""
    path = tmp_path_factory.mktemp("filled") / "filled.db"
    shutil.copy(stock_schema, path)
    with stockdb.serving(path) as url:
        return path, fill(url)


def check_contents(api, ids):
    """Everything that `fill` wrote is there, read through the REST API."""
    run = api.run(ids["run"])
    assert run["info"]["status"] == "FINISHED" and run["info"]["end_time"] == 5_000
    assert run["info"]["artifact_uri"] == f"s3://bucket/filled/{ids['run']}/artifacts"
    params, tags, metrics = api.data(ids["run"])
    largest = 1.7976931348623157e308
    assert params == {"p": "1", "empty": ""}
    assert {"t": "v", "ünï": "🙂", "mlflow.runName": "r1"}.items() <= tags.items()
    assert metrics == {"m": 0.25, "nan": "NaN", "inf": largest, "acc": 0.9}
    assert api.history(ids["run"], "inf") == [(0, 13, largest), (-1, 14, -largest)]
    assert run["inputs"]["dataset_inputs"][0]["dataset"]["digest"] == "digest"
    assert run["outputs"]["model_outputs"] == [{"model_id": ids["model"], "step": 3}]
    model = api.get(f"/logged-models/{ids['model']}")["model"]
    assert model["info"]["status"] == "LOGGED_MODEL_READY"
    assert as_dict(model["data"]["params"]) == {"mp": "1", "more": "2"}
    assert [m["value"] for m in model["data"]["metrics"]] == [0.9]
    assert api.run(ids["dead"])["info"]["lifecycle_stage"] == "deleted"
    gone = api.get("/experiments/get", experiment_id=ids["gone"])["experiment"]
    assert gone["lifecycle_stage"] == "deleted"
    registered = api.get("/registered-models/get", name="registered")["registered_model"]
    assert registered["aliases"] == [{"alias": "champion", "version": "2"}]
    versions = api.get("/model-versions/search", filter="name = 'registered'")["model_versions"]
    assert {v["version"]: v["current_stage"] for v in versions} == {"1": "Staging", "2": "None"}
    assert api.get("/model-versions/get-download-uri", name="registered", version="2") == {
        "artifact_uri": f"s3://bucket/filled/models/{ids['model']}/artifacts"
    }
    found = api.post("/runs/search", experiment_ids=[ids["experiment"]], filter="metrics.m < 0.3 AND params.p = '1'")
    assert [r["info"]["run_id"] for r in found["runs"]] == [ids["run"]]


def write_more(api, ids):
    """New rows beside the old ones; answers the id of a new run."""
    run = api.new_run(ids["experiment"], run_name="later", start_time=9_000)
    api.post(
        "/runs/log-batch",
        run_id=run,
        metrics=[metric("m", 7, 20, 1), metric("n", "NaN", 21)],
        params=pairs(p="x"),
        tags=pairs(t="y"),
    )
    api.post("/runs/log-batch", run_id=ids["run"], metrics=[metric("m", 3, 30, 9)])
    assert api.new_version("registered", source="s3://bucket/more") == "4"
    return run


def check_with_the_stock_stores(path, ids, later):
    """The stock code opens the file without an upgrade and sees old and new rows."""
    tracking, registry = stockdb.stores(path)
    run = tracking.get_run(later)
    assert (run.info.run_name, run.info.start_time, run.info.status) == ("later", 9_000, "RUNNING")
    assert run.data.params == {"p": "x"}
    assert run.data.metrics["m"] == 7.0 and math.isnan(run.data.metrics["n"])
    assert tracking.get_run(ids["run"]).data.metrics["m"] == 3.0
    assert [m.value for m in tracking.get_metric_history(ids["run"], "m")] == [0.5, 0.25, 3.0]
    assert int(registry.get_model_version_by_alias("registered", "champion").version) == 2
    assert [int(v.version) for v in registry.search_model_versions("name = 'registered'", max_results=10)] == [4, 1, 2]
    # And it can go on writing.
    from mlflow.entities import RunTag

    tracking.set_tag(later, RunTag("back", "home"))
    assert tracking.get_run(later).data.tags["back"] == "home"


def test_a_stock_database_opens_here_and_goes_back(stock_filled, tmp_path):
    origin, ids = stock_filled
    path = tmp_path / "mlflow.db"
    shutil.copy(origin, path)
    before = {t: stockdb.structure(path, t) for t in stockdb.table_names(path)}
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        check_contents(api, ids)
        later = write_more(api, ids)
        assert server.terminate() == 0
    assert stockdb.revision(path) == [stockdb.HEAD]
    assert {t: stockdb.structure(path, t) for t in stockdb.table_names(path)} == before
    check_with_the_stock_stores(path, ids, later)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A database made and filled by the program under test."""
    folder = tmp_path_factory.mktemp("ours")
    with harness.launch_tracking(folder) as server:
        ids = fill(server.url)
        later = write_more(Api(server.url), ids)
        assert server.terminate() == 0
    return folder / "mlflow.db", ids, later


def test_our_database_has_the_stock_tables(ours, stock_schema):
    assert stockdb.revision(ours[0]) == [stockdb.HEAD]
    assert stockdb.table_names(ours[0]) == stockdb.table_names(stock_schema)
    assert len(stockdb.table_names(stock_schema)) == 71


def test_our_tables_are_built_like_the_stock_ones(ours, stock_schema):
    for table in stockdb.table_names(stock_schema):
        assert stockdb.structure(ours[0], table) == stockdb.structure(stock_schema, table), table


def test_our_database_has_the_rows_of_a_new_stock_one(ours, stock_filled):
    for table in ("workspaces", "alembic_version"):
        assert stockdb.rows(ours[0], table) == stockdb.rows(stock_filled[0], table)
    default = stockdb.rows(ours[0], "experiments")[0]
    assert (default["experiment_id"], default["name"], default["artifact_location"], default["workspace"]) == (
        0,
        "Default",
        "mlflow-artifacts:/0",
        "default",
    )


def test_the_stock_stores_open_our_database(ours, tmp_path):
    path = tmp_path / "copy.db"
    shutil.copy(ours[0], path)
    check_with_the_stock_stores(path, ours[1], ours[2])


def test_our_file_is_a_sound_database(ours):
    with stockdb.connect(ours[0]) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


# Rows, compared one by one.

COMPARED = [
    "experiments",
    "experiment_tags",
    "runs",
    "tags",
    "params",
    "metrics",
    "latest_metrics",
    "datasets",
    "inputs",
    "input_tags",
    "logged_models",
    "logged_model_params",
    "logged_model_tags",
    "logged_model_metrics",
    "registered_models",
    "registered_model_tags",
    "model_versions",
    "model_version_tags",
    "registered_model_aliases",
]


def plain(path, table):
    """Rows without what must differ: ids become their role, wall-clock times a mark; sorted."""
    marks = {}
    for run in stockdb.rows(path, "runs"):
        marks[run["run_uuid"]] = f"<run {run['name']}>"
    for model in stockdb.rows(path, "logged_models"):
        marks[model["model_id"]] = f"<model {model['name']}>"
    for dataset in stockdb.rows(path, "datasets"):
        marks[dataset["dataset_uuid"]] = f"<dataset {dataset['digest']}>"

    def clean(column, value):
        if isinstance(value, int) and value > 1_600_000_000_000:
            return "<now>"
        if isinstance(value, str):
            for known, mark in marks.items():
                value = value.replace(known, mark)
            if re.fullmatch(r"[0-9a-f]{32}|[0-9a-f-]{36}", value):
                return "<id>"
        return value

    found = [{c: clean(c, v) for c, v in row.items()} for row in stockdb.rows(path, table)]
    if table == "experiments":
        # The artifact root of the default experiment is the server's own.
        found = [row for row in found if row["experiment_id"] != 0]
    return sorted(found, key=repr)


@pytest.fixture(scope="module")
def two_files(stock_filled, tmp_path_factory):
    """The same calls, once to the stock server and once to the program under test."""
    folder = tmp_path_factory.mktemp("rows")
    with harness.launch_tracking(folder) as server:
        fill(server.url)
        assert server.terminate() == 0
    return stock_filled[0], folder / "mlflow.db"


@pytest.mark.parametrize("table", COMPARED)
def test_rows_are_those_the_stock_server_writes(two_files, table):
    stock, mine = two_files
    expected = plain(stock, table)
    assert plain(mine, table) == expected
    assert expected, "a table without rows compares nothing"


def test_only_the_expected_tables_hold_rows(two_files):
    stock, mine = two_files
    filled = [{t for t in stockdb.table_names(path) if stockdb.rows(path, t)} for path in (stock, mine)]
    assert filled[0] == filled[1] == {*COMPARED, "alembic_version", "workspaces"}


# The revision before: opens as it is.


@pytest.fixture
def previous(stock_filled, tmp_path):
    """A filled database of the revision of MLflow 3.17.2, below the name that the server under test is given."""
    origin, ids = stock_filled
    path = tmp_path / "mlflow.db"
    shutil.copy(origin, path)
    stockdb.downgrade(path, stockdb.PREVIOUS)
    assert stockdb.revision(path) == [stockdb.PREVIOUS]
    return path, ids


def test_the_previous_revision_opens_as_it_is(previous, tmp_path):
    path, ids = previous
    # The step back gives what that version itself would have made.
    fresh = tmp_path / "fresh.db"
    stockdb.make_schema(fresh, stockdb.PREVIOUS)
    before = {t: stockdb.structure(path, t) for t in stockdb.table_names(path)}
    assert before == {t: stockdb.structure(fresh, t) for t in stockdb.table_names(fresh)}
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        check_contents(api, ids)
        later = write_more(api, ids)
        assert api.data(later)[0] == {"p": "x"}
        assert server.terminate() == 0
    assert stockdb.revision(path) == [stockdb.PREVIOUS]
    assert {t: stockdb.structure(path, t) for t in stockdb.table_names(path)} == before
    # A later upgrade by its owner keeps every row.
    import mlflow.store.db.utils as stock
    import sqlalchemy

    engine = sqlalchemy.create_engine(stockdb.uri(path))
    stock._upgrade_db(engine)
    engine.dispose()
    check_with_the_stock_stores(path, ids, later)


# Any other revision is refused and not touched.


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(folder):
    """Start on folder/mlflow.db and expect a refusal; answers stderr."""
    path = folder / "mlflow.db"
    before, files = digest(path), sorted(p.name for p in folder.iterdir())
    ended = harness.run_once(
        [
            "tracking",
            "--backend-store-uri",
            stockdb.uri(path),
            "--artifacts-destination",
            folder / "artifacts",
            "--host",
            "127.0.0.1",
            "--port",
            harness.free_port(),
            "--data",
            folder / "data",
        ]
    )
    assert ended.returncode != 0
    assert digest(path) == before
    # No journal, no write-ahead log, no backup beside it.
    assert [p.name for p in sorted(folder.iterdir()) if p.name.startswith("mlflow.db")] == [
        name for name in files if name.startswith("mlflow.db")
    ]
    return ended.stderr + ended.stdout


def upgrade_command(path):
    return f"mlflow db upgrade {stockdb.uri(path)}"


@pytest.mark.parametrize("revision", ["75868b020152", "89d3d66ed43f", "451aebb31d03"])
def test_an_older_revision_is_refused_with_the_way_out(tmp_path, revision):
    path = tmp_path / "mlflow.db"
    stockdb.make_schema(path, revision)
    text = refused(tmp_path)
    assert revision in text
    assert stockdb.HEAD in text
    assert upgrade_command(path) in text


def test_an_unknown_revision_is_refused(stock_schema, tmp_path):
    path = tmp_path / "mlflow.db"
    shutil.copy(stock_schema, path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    db.close()
    text = refused(tmp_path)
    assert "ffffffffffff" in text
    assert upgrade_command(path) in text


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"this is not a database, but somebody's only copy of something" * 100)
    assert "mlflow.db" in refused(tmp_path)


def test_a_refused_database_opens_after_the_upgrade(tmp_path):
    path = tmp_path / "mlflow.db"
    stockdb.make_schema(path, "89d3d66ed43f")
    refused(tmp_path)
    import mlflow.store.db.utils as stock
    import sqlalchemy

    engine = sqlalchemy.create_engine(stockdb.uri(path))
    stock._upgrade_db(engine)
    engine.dispose()
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        run = api.new_run(api.new_experiment())
        api.post("/runs/set-tag", run_id=run, **pair("k", "v"))
        assert api.data(run)[1]["k"] == "v"


def test_an_empty_file_is_filled(tmp_path, stock_schema):
    # What a process leaves that only opened the file; the stock server fills it as well.
    path = tmp_path / "mlflow.db"
    path.touch()
    with harness.launch_tracking(tmp_path) as server:
        assert Api(server.url).get("/experiments/get", experiment_id="0")["experiment"]["name"] == "Default"
        assert server.terminate() == 0
    assert stockdb.table_names(path) == stockdb.table_names(stock_schema)


def test_deleted_runs_carry_the_time_that_garbage_collection_needs(tmp_path):
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        experiment = api.new_experiment()
        kept, dropped, back = (api.new_run(experiment) for _ in range(3))
        for run in (dropped, back):
            api.post("/runs/delete", run_id=run)
        api.post("/runs/restore", run_id=back)
        assert server.terminate() == 0
    times = {r["run_uuid"]: r["deleted_time"] for r in stockdb.rows(tmp_path / "mlflow.db", "runs")}
    assert times[kept] is None and times[back] is None
    assert times[dropped] > 1_600_000_000_000
