"""The bank-churn example on a platform of its own, from nothing to a served prediction: what `make demo` runs.

usage: demo.py [--once] [--fresh]

  --once    stop the platform at the end instead of leaving it running until Ctrl-C
  --fresh   forget what earlier demos stored

Everything lives in build/demo/: data/ (the platform's state, kept between runs), logs/, and what the example writes.
The example itself is examples/bank_churn/; nothing in it knows of this script. Exits with 1 when a step failed.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import traceback
import urllib.error
import urllib.request

import ports

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "demo"
EXAMPLE = ROOT / "examples" / "bank_churn"

# The default ports of `millrace up`; --port-offset moves all of them.
TRACKING, GATEWAY, S3 = (ports.MILLRACE[name] for name in ("tracking", "gateway", "s3"))
# Where the model is served; the first free port from here on.
SERVING = 18080
STEPS = 11
START_TIMEOUT = 30.0
FOREIGN_SETTINGS = """
    http_proxy HTTP_PROXY all_proxy ALL_PROXY AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
    MLFLOW_REGISTRY_URI MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD MLFLOW_TRACKING_TOKEN MLFLOW_RUN_ID
    MLFLOW_EXPERIMENT_ID MLFLOW_EXPERIMENT_NAME
""".split()


class DemoError(Exception):
    """Something went wrong that the user can be told in a sentence."""


# ---- processes -------------------------------------------------------------------------------------------------------


class Child:
    """A started millrace with its log file."""

    def __init__(self, name: str, args: list[str], env: dict[str, str]):
        self.name = name
        self.log = HOME / "logs" / f"{name}.log"
        with self.log.open("wb") as out:
            # A session of its own: Ctrl-C in the terminal reaches this script only, which then stops the children in
            # the right order.
            self.process = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )

    def fail(self, what: str) -> DemoError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        tail = "\n".join("    " + line for line in lines) or "    (it wrote nothing)"
        return DemoError(f"{self.name} {what}; the last lines of {self.log.relative_to(ROOT)}:\n{tail}")

    def wait_ready(self, urls: list[str]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        for url in urls:
            while not answers_ok(url):
                if self.process.poll() is not None:
                    raise self.fail(f"ended with exit code {self.process.returncode} before it was ready")
                if time.monotonic() > deadline:
                    raise self.fail(f"did not answer {url} within {START_TIMEOUT:.0f} s")
                time.sleep(0.005)

    def stop(self) -> None:
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not stop within 15 s after SIGTERM; killing it", file=sys.stderr)
            self.process.kill()
            self.process.wait()


def answers_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


# ---- what is printed -------------------------------------------------------------------------------------------------


class Progress:
    """Runs the steps, tells about each as it goes, and prints the table of all of them."""

    def __init__(self):
        self.rows: list[tuple[str, str, float]] = []
        self.begin = time.monotonic()

    def run(self, title: str, work):
        """`work` returns (what happened, value); the value is handed back."""
        print(f"[{len(self.rows) + 1:2}/{STEPS}] {title} ... ", end="", flush=True)
        begin = time.monotonic()
        try:
            happened, value = work()
        except BaseException:
            print("failed", flush=True)
            raise
        seconds = time.monotonic() - begin
        self.rows.append((title, happened, seconds))
        print(f"{seconds:.2f} s", flush=True)
        return value

    def table(self) -> None:
        total = time.monotonic() - self.begin
        rows = [("step", "what happened", "seconds")]
        rows += [(title, happened, f"{seconds:.2f}") for title, happened, seconds in self.rows]
        rows.append(("all steps", "", f"{total:.2f}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        rule = "-+-".join("-" * width for width in widths)
        print()
        for number, (step, happened, seconds) in enumerate(rows):
            if number in (1, len(rows) - 1):
                print(rule)
            print(f"{step:<{widths[0]}} | {happened:<{widths[1]}} | {seconds:>{widths[2]}}")
        print(flush=True)


# ---- the demo --------------------------------------------------------------------------------------------------------


def find_binary() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("MILLRACE_BIN") or ROOT / "build" / "release" / "millrace").resolve()
    if not os.access(path, os.X_OK):
        raise DemoError(f"there is no program at {path}; run: make build")
    return path


def client_environment(offset: int) -> None:
    """What a user would export to use the platform with mlflow and boto3, and nothing that leaves this machine."""
    os.environ.update(
        MLFLOW_TRACKING_URI=f"http://127.0.0.1:{TRACKING + offset}",
        MLFLOW_S3_ENDPOINT_URL=f"http://127.0.0.1:{S3 + offset}",
        AWS_ACCESS_KEY_ID="minio",
        AWS_SECRET_ACCESS_KEY="minio123",
        AWS_DEFAULT_REGION="us-east-1",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
        GIT_PYTHON_REFRESH="quiet",
    )
    # Settings of the user's that would lead the clients elsewhere.
    for name in FOREIGN_SETTINGS:
        os.environ.pop(name, None)


def platform_environment() -> dict[str, str]:
    """The children's environment: no MILLRACE_* setting of the user's changes the demo."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}


def mlflow_ui() -> list[str]:
    """The web UI inside the installed mlflow package, without importing it."""
    folder = pathlib.Path(sysconfig.get_paths()["purelib"]) / "mlflow" / "server" / "js" / "build"
    return ["--mlflow-ui", str(folder)] if (folder / "index.html").is_file() else []


def load_clients():
    """Imports the example, and with it mlflow, boto3 and scikit-learn: the slowest part of many a training script."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    sys.path.insert(0, str(EXAMPLE))
    import mlflow
    import predict
    import train

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return f"mlflow {mlflow.__version__}, scikit-learn {train.sklearn.__version__}, boto3 {train.boto3.__version__}", (
        train,
        predict,
    )


@contextlib.contextmanager
def quiet():
    """mlflow prints a line or two of its own into the middle of ours."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield


def run(progress: Progress, children: list[Child], binary: pathlib.Path) -> dict[str, str]:
    """All steps in order. Returns the addresses to show."""
    offset = ports.offset(prefer_defaults=True)
    client_environment(offset)
    tracking, s3 = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_S3_ENDPOINT_URL"]
    gateway = f"http://127.0.0.1:{GATEWAY + offset}"

    def start():
        args = [str(binary), "up", "--data", str(HOME / "data"), "--port-offset", str(offset), *mlflow_ui()]
        children.append(Child("platform", args, platform_environment()))
        begin = time.monotonic()
        children[-1].wait_ready([f"{address}/readyz" for address in (tracking, s3, gateway)])
        return f"ready in {(time.monotonic() - begin) * 1000:.0f} ms, ports moved by {offset}", None

    progress.run("start the platform", start)
    train, predict = progress.run("load the Python clients", load_clients)

    def find():
        path, origin = train.find_table()
        if origin == "generated":
            # Into the demo's own folder, so that it can be looked at.
            kept = HOME / "churn.csv"
            shutil.move(path, kept)
            path.parent.rmdir()
            path = kept
        with path.open("rb") as table:
            rows = sum(1 for _ in table) - 1
        where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        return f"{rows} customers, {origin if origin == 'generated' else 'real'}: {where}", path

    table = progress.run("find the data", find)

    def upload():
        uri = train.upload(table)
        return f"{table.stat().st_size / 1e6:.1f} MB to {uri}", None

    progress.run("upload to S3", upload)

    def preprocess():
        prepared = train.preprocess()
        return f"{len(prepared.x_train)} rows to train, {len(prepared.x_test)} to test", prepared

    prepared = progress.run("preprocess", preprocess)

    def fit():
        model = train.train(prepared)
        metrics = train.evaluate(model, prepared)
        scores = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        return scores, (model, metrics)

    model, metrics = progress.run("train and evaluate", fit)

    def log():
        with quiet():
            run_id, logged = train.log(model, prepared, metrics)
        return f"run {run_id}", logged

    logged = progress.run("log run and model", log)

    def register():
        with quiet():
            version = train.register(logged)
        return f"{train.MODEL_NAME} version {version}, alias {train.ALIAS}", None

    progress.run("register", register)

    port = ports.port(SERVING)
    serving = f"http://127.0.0.1:{port}"
    name = train.MODEL_NAME
    uri = f"models:/{name}@{train.ALIAS}"

    def serve():
        args = [str(binary), "serve", "--model", uri, "--name", name, "--port", str(port)]
        args += ["--tracking-uri", tracking, "--s3-endpoint", s3, "--data", str(HOME / "serving")]
        children.append(Child("serving", args, platform_environment()))
        begin = time.monotonic()
        children[-1].wait_ready([f"{serving}/v2/models/{name}/ready"])
        return f"{uri} ready in {(time.monotonic() - begin) * 1000:.0f} ms", None

    progress.run("serve the champion", serve)

    def compare(body: dict, local_model) -> list[int]:
        try:
            served, local = predict.compare(serving, name, local_model, body)
        except SystemExit as error:
            raise DemoError(str(error).removeprefix("error: ")) from None
        if served != local:
            raise DemoError(f"served {served[:5]}, but scikit-learn says {local[:5]}")
        return served

    def ask():
        with quiet():
            local_model = predict.load_local()
        served = compare(predict.example_request(), local_model)
        return f"output-1 [1,1] INT64 {served}, as scikit-learn says", local_model

    local_model = progress.run("one customer", ask)

    def ask_all():
        served = compare(predict.request_of(prepared.x_test), local_model)
        return f"{len(served)} predictions, each as scikit-learn says ({sum(served)} will leave)", None

    progress.run("the whole test set", ask_all)

    addresses = {
        "MLflow (UI and API)": tracking,
        "S3 (keys minio / minio123)": s3,
        "gateway": gateway,
        "model, V2 inference": f"{serving}/v2/models/{name}",
        "data and logs": str(HOME.relative_to(ROOT)) + "/",
    }
    request = (EXAMPLE / "request.json").relative_to(ROOT)
    addresses["ask it yourself"] = (
        f"curl -H 'Content-Type: application/json' -d @{request} {serving}/v2/models/{name}/infer"
    )
    return addresses


def wait_for_interrupt(children: list[Child]) -> None:
    print("\nThe platform is running; Ctrl-C stops it.", flush=True)
    while True:
        for child in children:
            if child.process.poll() is not None:
                raise child.fail(f"ended by itself with exit code {child.process.returncode}")
        time.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the bank-churn example on a platform of its own.")
    parser.add_argument("--once", action="store_true", help="stop the platform at the end")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier demos stored")
    args = parser.parse_args()

    # A closed terminal or a plain kill must stop the children as Ctrl-C does. (SIGINT too: a shell that puts this
    # script into the background has it ignored.)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if args.fresh:
        shutil.rmtree(HOME, ignore_errors=True)
    (HOME / "logs").mkdir(parents=True, exist_ok=True)

    progress, children = Progress(), []
    code = 0
    try:
        addresses = run(progress, children, find_binary())
        progress.table()
        width = max(len(label) for label in addresses)
        for label, address in addresses.items():
            print(f"{label:<{width}}  {address}")
        if not args.once:
            wait_for_interrupt(children)
    except KeyboardInterrupt:
        # Before the end of the steps it cuts the demo short; after it, this is how the demo ends.
        code = 0 if len(progress.rows) == STEPS else 130
        print()
    except (DemoError, ports.NoFreePort) as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except Exception as error:
        # Whatever a client raises: one sentence for the user, the trace for whoever looks into it.
        trace = HOME / "logs" / "demo.log"
        trace.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"the trace is in {trace.relative_to(ROOT)}", file=sys.stderr)
        code = 1
    finally:
        # A second Ctrl-C must not leave one of them running. Serving first: it stands on the platform.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in reversed(children):
            child.stop()
        if children:
            print("stopped.")
    return code


if __name__ == "__main__":
    sys.exit(main())
