"""Workers that misbehave: each is a clear error of the request or the load, and the server goes on."""

import concurrent.futures
import pathlib
import time

import harness
import pytest

from . import python_models, support
from .python_models import ask, text_input

TIMEOUT = 8  # seconds for a request, as the server is told


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that does what its input says, and one that does so while it is loaded."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    class Hostile(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            import os
            import socket
            import subprocess
            import time

            wanted = model_input["what"].iloc[0]
            if wanted == "exit":
                os._exit(3)
            if wanted == "hang":
                time.sleep(1000)
            if wanted == "slow":
                time.sleep(1)
            if wanted == "garbage":
                for fd in range(3, 1024):
                    try:
                        os.write(fd, b"garbage" * 10)
                    except OSError:
                        pass
                time.sleep(1000)
            if wanted == "memory":
                return [str(len(bytearray(4 << 30)))]
            if wanted == "child":
                # Each is within what one process may have.
                code = "x = b'x' * (450 << 20); import time; time.sleep(1000)"
                for child in [subprocess.Popen(["/usr/local/bin/python", "-c", code]) for _ in range(2)]:
                    child.wait()
            if wanted == "print":
                print("a word of the model")
            if wanted == "network":
                try:
                    socket.create_connection(("127.0.0.1", int(model_input["what"].iloc[1])), 5).close()
                    return ["connected"] * 2
                except OSError as e:
                    return [type(e).__name__] * 2
            if wanted == "look":
                with open("/proc/self/status") as f:
                    status = dict(line.split(":\t", 1) for line in f if ":\t" in line)
                writable = [d for d in ("/mnt/models", "/usr", "/etc", "/opt", "/") if os.access(d, os.W_OK)]
                return [status["CapEff"].strip(), str(os.getuid()), ",".join(writable)][: len(model_input)]
            return [wanted] * len(model_input)

    root = tmp_path_factory.mktemp("faults")
    example = pd.DataFrame({"what": ["x"]})
    signature = infer_signature(example, ["x"])
    mlflow.pyfunc.save_model(
        root / "hostile", python_model=Hostile(), signature=signature, pip_requirements=python_models.requirements()
    )
    return root


def variant(folder, name, code):
    """The same folder as a model from code, whose import does something else."""
    import mlflow

    script = folder / f"{name}.py"
    script.write_text(
        "import mlflow\n\n\nclass M(mlflow.pyfunc.PythonModel):\n    def predict(self, context, model_input, params=None):\n"
        "        return model_input\n\n\nmlflow.models.set_model(M())\n"
    )
    target = folder / name
    mlflow.pyfunc.save_model(target, python_model=str(script), pip_requirements=python_models.requirements())
    (target / script.name).write_text(code)
    return target


@pytest.fixture(scope="module")
def data(python_worker):
    return python_worker[0]


@pytest.fixture(scope="module")
def server(folder, data):
    flags = ["--worker-memory", "800Mi", "--worker-timeout", TIMEOUT, "--worker-queue", 4, "--worker-batch", 1]
    with support.serve({"answers": folder / "hostile"}, "--data", data, *flags, timeout=90) as running:
        yield running


def answers_again(server):
    deadline = time.monotonic() + 60
    while True:
        status, body = ask(server, "fine")
        if status == 200:
            return
        assert time.monotonic() < deadline, body
        assert status in (503, 504), body  # the machine may be slow to start it


@pytest.mark.parametrize(
    "what, status, says",
    [
        ("exit", 500, "exit code 3"),
        ("garbage", 500, "message"),
        ("memory", 500, "800 MiB"),
        ("child", 500, "800 MiB"),
        ("hang", 504, "8000 ms"),
    ],
)
def test_faults_of_a_worker(server, what, status, says):
    got, body = ask(server, what)
    assert got == status, body
    assert says in support.only_error(body)
    answers_again(server)
    assert server.get("/v2/health/ready")[0] == 200


def test_faults_over_the_scoring_protocol(server):
    """What is the model's own fault is MLflow's 400; a worker that is gone is a 500."""

    def score(what):
        body = {"dataframe_records": [{"what": what}]}
        status, _, answer = server.post("/invocations", body)
        return status, answer

    status, body = score("exit")
    assert status == 500 and body["error_code"] == "INTERNAL_ERROR" and "exit code 3" in body["message"], body
    answers_again(server)
    status, body = score("memory")
    assert status == 500 and "800 MiB" in body["message"], body
    answers_again(server)


def test_the_sandbox(server):
    status, _, body = server.infer("answers", [text_input("look", "", "")])
    assert status == 200, body
    assert support.only_output(body)["data"] == ["0000000000000000", "1000", ""]
    port = server.url.rsplit(":", 1)[1]
    status, _, body = server.infer("answers", [text_input("network", port)])
    assert status == 200, body
    assert "connected" not in support.only_output(body)["data"]


def test_what_it_prints_is_in_the_log(server):
    assert ask(server, "print")[0] == 200
    deadline = time.monotonic() + 60
    while "a word of the model" not in server.proc.stderr():
        assert time.monotonic() < deadline, server.proc.stderr_tail()
        time.sleep(0.05)


def test_a_full_queue_is_429(server):
    answers_again(server)

    def one(_):
        mine = support.Server(server.url, server.proc)
        try:
            status, headers, _ = mine.infer("answers", [text_input("slow")])
            return status, headers.get("retry-after")
        finally:
            mine.close()

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(one, range(24)))
    statuses = {status for status, _ in answers}
    assert 429 in statuses and statuses <= {200, 429, 504}, answers
    assert all(after for status, after in answers if status == 429)
    answers_again(server)


def refused(model, data, *flags):
    port = harness.free_port()
    args = ["serve", "--model", model, "--name", "m", "--port", port, "--data", data, *flags]
    done = harness.run_once(args, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "terminate called" not in done.stderr and "Sanitizer" not in done.stderr
    return done.stderr[done.stderr.rindex("millrace: ") :], done.stderr


@pytest.mark.parametrize(
    "name, code, says",
    [
        ("raises", "raise RuntimeError('not today')\n", "not today"),
        ("exits", "import os\n\nprint('so long', flush=True)\nos._exit(7)\n", "exit code 7"),
    ],
)
def test_models_that_cannot_be_loaded(folder, data, name, code, says):
    text, log = refused(variant(folder, name, code), data)
    assert "does not start" in text and "mlflow.pyfunc.loaders.code_model" in text
    assert says in log


def test_a_model_that_is_never_ready(folder, data):
    model = variant(folder, "sleeps", "import time\n\ntime.sleep(1000)\n")
    assert "not ready within 2000 ms" in refused(model, data, "--worker-start-timeout", 2)[0]


def test_requirements_that_cannot_be_had(folder, data, tmp_path):
    model = variant(folder, "requires", "x = 1\n")
    (model / "requirements.txt").write_text("mlflow-skinny==0.0.0.1\n")
    assert "environment cannot be made" in refused(model, data)[0]
    (model / "requirements.txt").write_text("--config-settings x\n")
    assert "--config-settings" in refused(model, data)[0]


def test_nothing_is_left_behind(folder, data):
    """Workers' folders go with their server."""
    with support.serve({"m": folder / "hostile"}, "--data", data, timeout=90):
        before = {p.name for p in (pathlib.Path(data) / "workers").iterdir()}
    left = {p.name for p in (pathlib.Path(data) / "workers").iterdir()}
    assert len(left) < len(before)


def test_a_model_that_hangs_is_in_nobodys_way(folder, data):
    models = {"answers": folder / "hostile", "other": folder / "hostile"}
    with support.serve(models, "--data", data, "--worker-timeout", 30, timeout=90) as running:
        with concurrent.futures.ThreadPoolExecutor(70) as pool:

            def hang(_):
                mine = support.Server(running.url, running.proc)
                try:
                    return mine.infer("answers", [text_input("hang")])[0]
                except OSError:  # the server has ended
                    return None
                finally:
                    mine.close()

            pending = [pool.submit(hang, i) for i in range(70)]
            for _ in range(20):
                status, body = ask(running, "fine", model="other")
                assert status == 200, body
            running.proc.kill()
            for one in pending:
                one.result()
