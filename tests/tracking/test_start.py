"""`millrace tracking` as a process: flags of the stock server, health, stop, restart."""

import harness
import pytest

from .api import AJAX, Api, metric, pairs

pytestmark = pytest.mark.binary


def test_health_of_a_listener(tmp_path):
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        for path in ("/healthz", "/readyz"):
            assert api.raw("GET", path).status_code == 200
        assert api.raw("GET", "/health").content == b"OK"
        assert "ready" in server.stdout()


def test_everything_outlives_a_restart(tmp_path):
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        experiment = api.new_experiment(name="kept")
        run = api.new_run(experiment)
        api.post("/runs/log-batch", run_id=run, metrics=[metric("m", 0.5)], params=pairs(p="1"), tags=pairs(t="2"))
        url = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/f.txt"
        assert api.http.put(server.url + url, data=b"bytes").status_code == 200
        name = api.new_model()
        api.new_version(name)
        assert server.terminate() == 0
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        params, tags, metrics = api.data(run)
        assert (params, tags["t"], metrics) == ({"p": "1"}, "2", {"m": 0.5})
        assert api.http.get(server.url + url).content == b"bytes"
        assert api.get("/model-versions/get", name=name, version="1")["model_version"]["status"] == "READY"
        assert int(api.new_experiment()) > int(experiment)


def test_artifacts_lie_where_the_stock_server_puts_them(tmp_path):
    with harness.launch_tracking(tmp_path) as server:
        api = Api(server.url)
        experiment = api.new_experiment()
        run = api.new_run(experiment)
        path = f"{experiment}/{run}/artifacts/d/f.txt"
        assert api.http.put(f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{path}", data=b"bytes").status_code == 200
        assert (tmp_path / "artifacts" / path).read_bytes() == b"bytes"
        # What another program puts there is served.
        (tmp_path / "artifacts" / path).with_name("other.txt").write_bytes(b"found")
        listed = api.get("/artifacts/list", run_id=run, path="d")["files"]
        assert [f["path"] for f in listed] == ["d/f.txt", "d/other.txt"]
        found = api.http.get(f"{server.url}/get-artifact", params={"run_id": run, "path": "d/other.txt"})
        assert found.content == b"found"


def test_static_prefix(tmp_path):
    with harness.launch_tracking(tmp_path, static_prefix="/p") as server:
        root = server.url.removesuffix("/p")
        api, ajax = Api(server.url), Api(server.url, AJAX)
        run = api.new_run(api.new_experiment())
        assert ajax.run(run) == api.run(run)
        for path in ("/health", "/version", "/api/3.0/mlflow/server-info"):
            assert api.http.get(server.url + path).status_code == 200
        assert api.http.get(root + "/api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 404
        url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/1/x.txt"
        assert api.http.put(url, data=b"1").status_code == 200
        assert api.http.get(url).content == b"1"


def test_artifacts_kept_elsewhere(tmp_path):
    flags = ["--no-serve-artifacts", "--default-artifact-root", "s3://bucket/root"]
    with harness.launch_tracking(tmp_path, *flags) as server:
        api = Api(server.url)
        experiment = api.new_experiment()
        location = api.get("/experiments/get", experiment_id=experiment)["experiment"]["artifact_location"]
        assert location == f"s3://bucket/root/{experiment}"
        run = api.new_run(experiment)
        assert api.run(run)["info"]["artifact_uri"] == f"s3://bucket/root/{experiment}/{run}/artifacts"
        info = api.http.get(server.url + "/api/3.0/mlflow/server-info").json()
        assert info["artifact_serving_enabled"] is False
        for method in ("GET", "PUT"):
            answer = api.http.request(method, server.url + "/api/2.0/mlflow-artifacts/artifacts/x", data=b"")
            assert answer.status_code == 503


def test_flags_from_the_environment(tmp_path):
    # As in the unit files and charts of the stock server.
    port = harness.free_port()
    env = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path / 'env.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": tmp_path / "env-artifacts",
        "MLFLOW_PORT": port,
        "MLFLOW_HOST": "127.0.0.1",
    }
    ready = f"http://127.0.0.1:{port}/readyz"
    with harness.launch(["tracking", "--data", tmp_path / "data"], ready, env=env) as server:
        api = Api(f"http://127.0.0.1:{port}")
        run = api.new_run(api.new_experiment())
        assert api.run(run)["info"]["lifecycle_stage"] == "active"
        assert (tmp_path / "env.db").exists()
        assert server.terminate() == 0


def test_a_port_in_use_is_told(tmp_path):
    with harness.launch_tracking(tmp_path) as server:
        port = server.url.rsplit(":", 1)[1]
        ended = harness.run_once(
            [
                "tracking",
                "--backend-store-uri",
                f"sqlite:///{tmp_path / 'other.db'}",
                "--artifacts-destination",
                tmp_path / "other",
                "--host",
                "127.0.0.1",
                "--port",
                port,
                "--data",
                tmp_path / "data2",
            ]
        )
        assert ended.returncode != 0
        assert port in ended.stderr + ended.stdout
        assert Api(server.url).get("/experiments/get", experiment_id="0")


@pytest.mark.parametrize("uri", ["nonsense", "sqlite:////proc/no/such/x.db", "oracle://host/db"])
def test_a_store_that_cannot_be_opened_is_told(tmp_path, uri):
    ended = harness.run_once(
        [
            "tracking",
            "--backend-store-uri",
            uri,
            "--artifacts-destination",
            tmp_path / "a",
            "--host",
            "127.0.0.1",
            "--port",
            harness.free_port(),
            "--data",
            tmp_path / "data",
        ],
        cwd=tmp_path,
    )
    assert ended.returncode != 0
    assert uri.split(":")[0] in ended.stderr + ended.stdout
