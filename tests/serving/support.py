"""What the serving tests share: model folders, a running `millrace serve`, raw requests, the recorded vectors."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
import urllib.parse

import harness

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")

# The churn columns in the order of the seed document, with its one row.
CHURN = {
    "CreditScore": 850,
    "Geography": 1,
    "Gender": 0,
    "Age": 43,
    "Tenure": 2,
    "Balance": 125510.82,
    "NumOfProducts": 1,
    "HasCrCard": 1,
    "IsActiveMember": 1,
    "EstimatedSalary": 79084.1,
}


def churn_model(era="vector-models"):
    """The folder of the seed's model: `vector-models` holds skops, `vector-models-2.10` a pickle."""
    return harness.shared_dir() / "data" / "models" / era / "bankchurn-model" / "model"


# ---- model folders ----


def columns(pairs, **flags):
    """Signature inputs of a table: [(name, type)], each with further keys such as required=False."""
    return [{"type": t, "name": n, "required": True, **flags} for n, t in pairs]


def tensor(dtype, shape):
    return [{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}]


def write_model(
    folder, source, *, predict_fn="predict", inputs=None, outputs=None, sklearn_version="1.9.1", file_name=None
):
    """An MLflow model folder around a bare model file (a path or its bytes)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        file_name = file_name or "model.pkl"
        (folder / file_name).write_bytes(source)
    else:
        source = pathlib.Path(source)
        file_name = file_name or "model" + source.suffix
        shutil.copyfile(source, folder / file_name)
    written_as = "skops" if file_name.endswith(".skops") else "cloudpickle"
    lines = [
        "flavors:",
        "  python_function:",
        "    env:",
        "      conda: conda.yaml",
        "      virtualenv: python_env.yaml",
        "    loader_module: mlflow.sklearn",
        f"    model_path: {file_name}",
        f"    predict_fn: {predict_fn}",
        "    python_version: 3.11.7",
        "  sklearn:",
        "    code: null",
        f"    pickled_model: {file_name}",
        f"    serialization_format: {written_as}",
        f"    sklearn_version: {sklearn_version}",
        "mlflow_version: 3.17.2",
        "model_uuid: 0123456789abcdef0123456789abcdef",
    ]
    if inputs is not None:
        lines.append("signature:")
        lines.append(f"  inputs: {json.dumps(json.dumps(inputs))}")
        lines.append(f"  outputs: {json.dumps(json.dumps(outputs)) if outputs is not None else 'null'}")
        lines.append("  params: null")
    lines.append("utc_time_created: '2026-01-02 03:04:05.678901'")
    (folder / "MLmodel").write_text("\n".join(lines) + "\n")
    return folder


def write_settings(folder, name, **parameters):
    """model-settings.json of an MLServer repository beside a folder `model`."""
    (pathlib.Path(folder) / "model-settings.json").write_text(
        json.dumps(
            {
                "name": name,
                "implementation": "mlserver_mlflow.MLflowRuntime",
                "parameters": {"uri": "./model", **parameters},
            }
        )
    )


# ---- running it ----


class Server:
    def __init__(self, url, proc):
        self.url = url
        self.proc = proc
        self._connection = None

    def call(self, method, path, body=None, headers=None, timeout=20):
        """One request with exactly these headers (and Host, Content-Length); answers (status, headers, bytes).

        The connection is kept between calls, as clients do.
        """
        if isinstance(body, str):
            body = body.encode()
        for attempt in (1, 2):
            if self._connection is None:
                parts = urllib.parse.urlsplit(self.url)
                self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
            reused = self._connection.sock is not None
            try:
                self._connection.putrequest(method, path, skip_accept_encoding=True)
                for key, value in (headers or {}).items():
                    self._connection.putheader(key, value)
                if body is not None or method == "POST":
                    self._connection.putheader("Content-Length", str(len(body or b"")))
                self._connection.endheaders(body)
                answer = self._connection.getresponse()
                data = answer.read()
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A kept connection may have been closed by the server since; a fresh one may not.
                self.close()
                if not reused or attempt == 2:
                    raise
            except BaseException:
                self.close()
                raise

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path, headers=None):
        status, answer_headers, body = self.call("GET", path, headers=headers)
        return status, answer_headers, as_json(body)

    def post(self, path, message, headers=None):
        body = message if isinstance(message, (bytes, str)) else json.dumps(message)
        given = {"Content-Type": "application/json", **(headers or {})}
        status, answer_headers, answer = self.call("POST", path, body, given)
        return status, answer_headers, as_json(answer)

    def infer(self, name, inputs, headers=None, **rest):
        return self.post(f"/v2/models/{name}/infer", {"inputs": inputs, **rest}, headers)


def as_json(body):
    """The parsed body, or its text when it is no JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


@contextlib.contextmanager
def serve(models=None, *args, env=None, timeout=harness.START_TIMEOUT):
    """`millrace serve` with these models ({name: URI}) until the block ends."""
    port = harness.free_port()
    given = []
    for name, uri in (models or {}).items():
        given += ["--model", uri, "--name", name]
    url = f"http://127.0.0.1:{port}"
    with harness.launch(["serve", *given, "--port", port, *args], url + "/readyz", env=env, timeout=timeout) as proc:
        server = Server(url, proc)
        try:
            yield server
        finally:
            server.close()


class Ended:
    """How a program that should end by itself ended."""

    def __init__(self, code, text, seconds, peak_mib):
        self.code = code
        self.text = text
        self.seconds = seconds
        self.peak_mib = peak_mib

    def __repr__(self):
        return f"exit code {self.code} after {self.seconds:.2f} s, peak {self.peak_mib:.0f} MiB, output:\n{self.text}"


def run_to_end(*args, timeout=20, env=None):
    """Run `millrace ARGS...`, which should end by itself; its output, exit code and peak memory."""
    with tempfile.TemporaryDirectory(prefix="millrace-log-") as log_dir:
        start = time.monotonic()
        proc = harness.spawn([harness.binary_path(), *args], log_dir=log_dir, env=env)
        peak = 0.0
        while proc.returncode is None:
            # Looked at while it runs: the figure of wait4 also counts the memory of this process before exec.
            peak = peak_memory_mib(proc.pid) or peak
            if "serve" in args and "ready" in proc.stdout():
                proc.kill()
                raise AssertionError(f"it serves, although it should have refused to start:\n{proc.describe()}")
            if time.monotonic() - start > timeout:
                proc.kill()
                raise AssertionError(f"still running after {timeout} s:\n{proc.describe()}")
            time.sleep(0.002)
        seconds = time.monotonic() - start
        return Ended(proc.returncode, proc.stdout() + proc.stderr(), seconds, peak)


def refused(folder, *args, timeout=20):
    """Serving this folder must fail cleanly: exit code 1, one clear text, no crash, little memory, soon."""
    ended = run_to_end("serve", "--model", folder, "--name", "m", "--port", harness.free_port(), *args, timeout=timeout)
    assert ended.code == 1, ended
    assert "terminate called" not in ended.text and "Sanitizer" not in ended.text, ended
    assert ended.peak_mib < 200, ended
    assert ended.seconds < 5, ended
    return ended


def peak_memory_mib(pid):
    """The most memory the process has held so far; 0 when it has just ended."""
    try:
        executable = os.readlink(f"/proc/{pid}/exe")
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+)", text)
    if found is None or os.path.realpath(executable) == os.path.realpath("/proc/self/exe"):
        return 0.0  # ended, or still a copy of this process before exec
    return int(found.group(1)) / 1024


# ---- requests ----


def churn_inputs(row=None, datatype="FP64", shape=(1,)):
    return [
        {"name": n, "datatype": datatype, "shape": list(shape), "data": [v]}
        for n, v in {**CHURN, **(row or {})}.items()
    ]


def golden_inputs(spec):
    """The V2 inputs that carry the rows of one entry of golden/inputs.json."""
    rows = spec["rows"]
    if "columns" not in spec:
        return [
            {
                "name": "x",
                "datatype": {"float64": "FP64", "float32": "FP32"}[spec["dtype"]],
                "shape": [len(rows), len(rows[0])],
                "data": [v for row in rows for v in row],
            }
        ]
    return [
        {
            "name": n,
            "datatype": {"double": "FP64", "long": "INT64"}[t],
            "shape": [len(rows), 1],
            "data": [row[i] for row in rows],
        }
        for i, (n, t) in enumerate(spec["columns"])
    ]


def golden_signature(spec):
    if "columns" in spec:
        return columns(spec["columns"])
    return tensor(spec["dtype"], [-1, len(spec["rows"][0])])


def only_error(body):
    """An error body of the V2 protocol: {"error": text} and nothing else; answers the text."""
    assert isinstance(body, dict) and list(body) == ["error"], body
    assert isinstance(body["error"], str) and body["error"].strip(), body
    return body["error"]


def only_output(body):
    assert len(body["outputs"]) == 1, body
    return body["outputs"][0]
