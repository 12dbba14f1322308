"""`millrace run`, `pipeline` and `lineage`: the real program beside the real SDK, and on a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import urllib.request

import harness
import pytest
import yaml
from kfp import compiler, dsl
from mlflow.tracking import MlflowClient

from pipelines.steps import BUSYBOX

pytestmark = pytest.mark.binary


@dsl.container_component
def sh(script: str):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c"], args=[script])


@dsl.container_component
def make(rows: int, data: dsl.Output[dsl.Dataset], half: dsl.OutputPath(int)):
    script = 'mkdir -p "$(dirname "$1")"; echo "$0" > "$1"; printf %s $(($0 / 2)) > "$2"'
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[rows, data.path, half])


@dsl.container_component
def train(data: dsl.Input[dsl.Dataset], half: int, model: dsl.Output[dsl.Model]):
    script = 'mkdir -p "$(dirname "$1")"; cat "$0" > "$1"; echo "half $2"'
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[data.path, model.path, half])


@dsl.container_component
def show(model: dsl.Input[dsl.Model], words: list, deep: bool):
    return dsl.ContainerSpec(image=BUSYBOX, command=["printf", "%s %s\\n"], args=[words, deep])


@dsl.container_component
def look(data: dsl.Input[dsl.Dataset]):
    return dsl.ContainerSpec(image=BUSYBOX, command=["cat"], args=[data.path])


@dsl.pipeline(name="told-by-command", description="Makes, trains, shows")
def good(rows: int, words: list, deep: bool = False, note: str = "none"):
    made = make(rows=rows)
    trained = train(data=made.outputs["data"], half=made.outputs["half"])
    show(model=trained.outputs["model"], words=words, deep=deep)
    with dsl.If(deep == True):  # noqa: E712
        sh(script="true")


@dsl.pipeline(name="goes-wrong")
def bad():
    first = sh(script="echo begun")
    second = sh(script="echo the reason >&2; exit 3").after(first)
    sh(script="true").after(second)


@dsl.pipeline(name="stays")
def long():
    sh(script="echo begun; sleep 3331").set_caching_options(False)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    for function in (good, bad, long):
        compiler.Compiler().compile(function, str(folder / f"{function.name}.yaml"))
    return folder


@pytest.fixture
def cli(millrace):
    """The program as a client of the platform, told by the data folder alone where that is."""

    def run(*args, **more):
        return harness.run_once([*args, "--data", millrace.data_dir], timeout=60, env={"KUBECONFIG": ""}, **more)

    return run


def get(millrace, path):
    with urllib.request.urlopen(millrace.gateway_url + "/apis/v2beta1" + path, timeout=30) as answer:
        return json.load(answer)


# ---- run -----------------------------------------------------------------------------------------------------------


def test_watched_run_tells_each_change_and_ends_with_0(cli, packages, kfp_client):
    done = cli(
        "run", packages / "told-by-command.yaml", "-p", "rows=7", "-p", 'words=["a", 1, 2.5]', "-p", "deep=true",
        "-p", "note=a=b", "--name", "by hand", "--no-cache", "--watch",
    )  # fmt: skip
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"run succeeded after \S+", lines[-1])
    for step in ("make", "train", "show", "condition-1/sh"):
        assert any(re.fullmatch(rf"{step} succeeded after \S+", line) for line in lines), done.stdout
    run_id = re.fullmatch(r"run (\S+)\n", done.stderr)[1]
    run = kfp_client.get_run(run_id)
    assert run.display_name == "by hand" and run.state == "SUCCEEDED"
    assert run.runtime_config.parameters == {"rows": 7, "words": ["a", 1, 2.5], "deep": True, "note": "a=b"}


def test_the_steps_got_typed_values(cli, packages, millrace):
    done = cli("run", packages / "told-by-command.yaml", "-p", "rows=9", "-p", "words=[1]", "--no-cache", "--watch")
    assert done.returncode == 0, done
    assert "condition-1 skipped" in done.stdout
    run_id = done.stderr.split()[1]
    tasks = {t["more"]["path"]: t for t in get(millrace, f"/runs/{run_id}/tasks")["tasks"] if "path" in t["more"]}
    made = get(millrace, f"/runs/{run_id}/tasks/{tasks['make']['task_id']}")
    assert made["more"]["input_parameters"] == {"rows": 9}
    assert made["more"]["output_parameters"] == {"half": 4}
    log = urllib.request.urlopen(
        f"{millrace.gateway_url}/apis/v1alpha1/runs/{run_id}/nodes/{tasks['show']['task_id']}/log", timeout=30
    )
    assert log.read() == b"[1] false\n"


def test_parameters_file_gives_way_to_p(cli, packages, tmp_path, kfp_client):
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"rows": 1, "words": ["x"], "note": "from file"}))
    done = cli("run", packages / "told-by-command.yaml", "--parameters-file", file, "-p", "rows=2", "--watch")
    assert done.returncode == 0, done
    assert kfp_client.get_run(done.stderr.split()[1]).runtime_config.parameters == {
        "rows": 2,
        "words": ["x"],
        "note": "from file",
    }
    file.write_text("rows: 3\nwords: [y, n]\n")
    done = cli("run", packages / "told-by-command.yaml", "--parameters-file", file, "--watch")
    assert done.returncode == 0, done
    assert kfp_client.get_run(done.stderr.split()[1]).runtime_config.parameters == {"rows": 3, "words": ["y", "n"]}


def test_failed_run_ends_with_1_and_shows_why(cli, packages):
    done = cli("run", packages / "goes-wrong.yaml", "--watch")
    assert done.returncode == 1, done
    assert re.search(r"^sh-2 failed after \S+: .*exit code 3.*the reason$", done.stdout, re.M), done.stdout
    assert re.search(r"^sh-3 skipped$", done.stdout, re.M)
    assert re.search(r"^run failed after \S+: ", done.stdout, re.M)
    assert done.stdout.endswith("\nlog of sh-2\n  the reason\n")


def test_unwatched_run_prints_its_id_and_can_be_followed_and_ended(cli, packages, kfp_client):
    done = cli("run", packages / "stays.yaml")
    assert done.returncode == 0, done
    run_id = done.stdout.strip()
    assert f"millrace run --follow {run_id}" in done.stderr
    harness.until(lambda: kfp_client.get_run(run_id).state == "RUNNING", "running")
    ended = cli("run", "--terminate", run_id, "--watch")
    assert ended.returncode == 1 and ended.stdout.splitlines()[-1].startswith("run canceled after"), ended
    followed = cli("run", "--follow", run_id)
    assert followed.returncode == 1 and "sh canceled" in followed.stdout
    again = cli("run", "--terminate", run_id)
    assert again.returncode == 1 and "can be terminated" in again.stderr


def test_no_cache_runs_every_step_again(cli, packages):
    args = ("run", packages / "told-by-command.yaml", "-p", "rows=11", "-p", "words=[]", "--watch")
    assert cli(*args).returncode == 0
    assert "make succeeded from the cache" in cli(*args).stdout
    assert "from the cache" not in cli(*args, "--no-cache").stdout


def test_experiment_and_namespace(cli, packages, kfp_client):
    args = ("run", packages / "told-by-command.yaml", "-p", "rows=1", "-p", "words=[]", "--experiment", "by-command")
    first, second = (cli(*args).stdout.strip() for _ in range(2))
    experiment = kfp_client.get_experiment(experiment_name="by-command", namespace="kubeflow")
    assert kfp_client.get_run(first).experiment_id == kfp_client.get_run(second).experiment_id
    assert kfp_client.get_run(first).experiment_id == experiment.experiment_id
    there = cli(*args, "-n", "kubeflow-user-example-com").stdout.strip()
    other = kfp_client.get_experiment(experiment_name="by-command", namespace="kubeflow-user-example-com")
    assert kfp_client.get_run(there).experiment_id == other.experiment_id != experiment.experiment_id


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-p", "words=[]"], 'the parameter "rows" is required'),
        (["-p", "rows=x", "-p", "words=[]"], "-p rows:"),
        (["-p", "rows=1", "-p", "words={"], "-p words:"),
        (["-p", "rows=1", "-p", "words=[]", "-p", "colour=red"], 'no parameter "colour"'),
        (["-p", "rows"], "write NAME=VALUE"),
        (["--parameters-file", "/nowhere"], "cannot be read"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_sent(packages, args, says):
    done = harness.run_once(["run", packages / "told-by-command.yaml", *args, "--server", "http://127.0.0.1:9"])
    assert done.returncode == 1 and says in done.stderr, done


def test_what_is_not_there_is_said(cli, tmp_path):
    assert "there is no file" in cli("run", tmp_path / "none.yaml").stderr
    assert "neither a file nor a pipeline" in cli("run", "nothing").stderr
    assert "compile it first" in cli("run", __file__).stderr
    assert "not found" in cli("run", "--follow", "no-such-run").stderr
    away = harness.run_once(["pipeline", "list", "--server", f"127.0.0.1:{harness.free_port()}"])
    assert away.returncode == 1 and "millrace up" in away.stderr


def test_the_server_is_found_by_offset_environment_and_kubeconfig(millrace, tmp_path):
    url = f"http://127.0.0.1:{8888 + millrace.port_offset}"
    empty = {"KUBECONFIG": "", "HOME": tmp_path}
    for args, env in (
        (["--port-offset", millrace.port_offset], {}),
        ([], {"MILLRACE_PORT_OFFSET": millrace.port_offset}),
        ([], {"MILLRACE_PIPELINES_URL": url}),
        ([], {"KUBECONFIG": millrace.data_dir / "kubeconfig"}),
        (["--server", url], {"MILLRACE_PIPELINES_URL": "http://127.0.0.1:9"}),
    ):
        done = harness.run_once(["pipeline", "list", *args], env={**empty, **env})
        assert done.returncode == 0, (args, env, done)


# ---- on a terminal -------------------------------------------------------------------------------------------------


class Terminal:
    """The program on a terminal of its own; what stands on the screen is kept line by line."""

    def __init__(self, args, rows=24, columns=80):
        self.lines, self.row = [""], 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", NO_COLOR="1", KUBECONFIG="")
            os.execv(str(harness.binary_path()), ["millrace", *map(str, args)])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, until, seconds=30):
        end = time.monotonic() + seconds
        while not until("\n".join(self.lines)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"never: {self.lines}"
            try:
                self.feed(os.read(self.fd, 65536).decode())
            except OSError:  # the program has ended
                break
        return "\n".join(self.lines)

    def feed(self, text):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b\r\n]+|\r|\n", text):
            if part == "\n":
                self.row += 1
                while len(self.lines) <= self.row:
                    self.lines.append("")
                self.column = 0
            elif part == "\r":
                self.column = 0
            elif part.endswith("A"):
                self.row -= int(part[2:-1] or 1)
                self.column = 0
                assert self.row >= 0, "drawn above the screen"
            elif part.endswith("K"):
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif part.endswith("J"):
                del self.lines[self.row + 1 :]
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif not part.startswith("\x1b"):
                line = self.lines[self.row][: self.column].ljust(self.column)
                self.lines[self.row] = line + part + self.lines[self.row][self.column + len(part) :]
                self.column += len(part)

    column = 0

    def end(self):
        self.read(lambda _: False)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_terminal_shows_one_tree_that_is_drawn_in_place(millrace, packages):
    t = Terminal(
        ["run", packages / "told-by-command.yaml", "-p", "rows=21", "-p", "words=[]", "--no-cache", "--watch",
         "--data", millrace.data_dir]
    )  # fmt: skip
    screen = t.read(lambda s: "SUCCEEDED" in s)
    assert t.end() == 0
    assert re.fullmatch(
        r"run \S+\n"
        r"told-by-command \S+ \S+  SUCCEEDED  4/4 steps  \S+\n"
        r"├─ – condition-1  skipped\n"
        r"├─ ✓ make         \S+\n"
        r"├─ ✓ train        \S+\n"
        r"└─ ✓ show         \S+\n*",
        screen,
    ), screen


def test_ctrl_c_says_how_to_go_on(millrace, packages, kfp_client):
    t = Terminal(["run", packages / "stays.yaml", "--watch", "--data", millrace.data_dir])
    screen = t.read(lambda s: "● sh" in s)
    run_id = re.search(r"^run (\S+)", screen)[1]
    os.kill(t.pid, signal.SIGINT)
    screen = t.read(lambda s: "--terminate" in s)
    assert t.end() == 130
    assert "The run goes on" in screen
    command = re.search(r"end it: +(millrace run --terminate .*)", screen)[1].split()
    assert run_id in command
    assert kfp_client.get_run(run_id).state == "RUNNING"
    assert harness.run_once(command[1:]).returncode == 0
    harness.until(lambda: kfp_client.get_run(run_id).state == "CANCELED", "canceled")


# ---- pipelines -----------------------------------------------------------------------------------------------------


def test_pipelines_of_the_server_are_listed_shown_and_run(cli, packages, kfp_client):
    made = kfp_client.upload_pipeline(
        str(packages / "told-by-command.yaml"), pipeline_name="By Command", description="one\ntwo", namespace="kubeflow"
    )
    kfp_client.upload_pipeline_version(
        str(packages / "goes-wrong.yaml"), pipeline_version_name="worse", pipeline_id=made.pipeline_id
    )
    listed = cli("pipeline", "list")
    assert listed.returncode == 0
    assert re.search(rf"^By Command +{made.pipeline_id} +\S+ +one two$", listed.stdout, re.M), listed.stdout
    found = json.loads(cli("pipeline", "list", "-o", "json").stdout)
    assert made.pipeline_id in [p["pipeline_id"] for p in found]
    assert cli("pipeline", "show", "By Command").stdout.startswith("goes-wrong  (")  # the newest version
    assert cli("pipeline", "show", "By Command@By Command").stdout.startswith("told-by-command  (")
    assert cli("pipeline", "show", f"{made.pipeline_id}@worse").stdout.startswith("goes-wrong  (")
    assert "has no version none" in cli("pipeline", "show", "By Command@none").stderr
    done = cli("run", "By Command@By Command", "-p", "rows=1", "-p", "words=[]", "--watch")
    assert done.returncode == 0, done
    reference = kfp_client.get_run(done.stderr.split()[1]).pipeline_version_reference
    assert reference.pipeline_id == made.pipeline_id


def test_show_draws_the_plan_of_a_package(packages):
    done = harness.run_once(["pipeline", "show", packages / "told-by-command.yaml"])
    assert done.returncode == 0
    assert done.stdout.startswith("told-by-command  (schema 2.1.0, kfp-")
    for line in (
        "  Makes, trains, shows",
        "  rows: NUMBER_INTEGER  (required)",
        '  note: STRING = "none"',
        f"├─ train  {BUSYBOX}",
        "│     in     half = half of make",
        "│     in     data = data of make",
        "│     out    model: system.Model",
        "│  │  if     inputs.parameter_values['pipelinechannel--deep'] == true",
    ):
        assert line in done.stdout.splitlines(), (line, done.stdout)


def test_lint_of_packages_of_the_sdk(packages, tmp_path):
    done = harness.run_once(["pipeline", "lint", packages / "told-by-command.yaml"])
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [
        "  warning  root.inputDefinitions.parameters.note",
        "           no task reads this input",
        "  warning  components.comp-show.inputDefinitions.artifacts.model",
        "           neither command, arguments nor environment read this input",
        "0 errors, 2 warnings, 0 notes",
    ]
    assert harness.run_once(["pipeline", "lint", packages / "goes-wrong.yaml"]).stdout.endswith(
        "\nnothing to say against it\n"
    )

    @dsl.component(base_image="python:3.2", packages_to_install=["pandas"])
    def python(api_token: str) -> str:
        return api_token

    @dsl.component(base_image="registry.example.com/team/none-here:7", kfp_package_path="kfp==2.17.3")
    def strange() -> str:
        return ""

    @dsl.pipeline(name="unusual")
    def unusual():
        python(api_token="s3cr3t").set_caching_options(False)
        strange()

    package = tmp_path / "unusual.yaml"
    compiler.Compiler().compile(unusual, str(package))
    lint = ["pipeline", "lint", package, "-o", "json", "--container-engine", "none"]
    found = json.loads(harness.run_once(lint).stdout)
    said = "\n".join(f"{f['level']} {f['where']}: {f['what']}" for f in found)
    assert "s3cr3t" not in said
    for line in (
        r"^warning root\.dag\.tasks\.python\.inputs\.parameters\.api_token: \"api_token\" looks like a secret",
        r"^warning image registry\.example\.com/team/none-here:7: no process of this machine",
        r"^note image python:3\.2: Python 3\.2 is not installed",
        r"^note deploymentSpec\.executors\.exec-python\.container: asks for packages without a version.*: pandas$",
        r"^note cachingOptions: caching is off for: python$",
        r"^note components\.comp-python\.outputDefinitions\.parameters\.Output: no task takes this output$",
    ):
        assert re.search(line, said, re.M), (line, said)
    mapped = harness.run_once([*lint, "--image", "registry.example.com/team/none-here=python:3.11"])
    assert "none-here" not in mapped.stdout


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("pipelineInfo: {name: p}\nroot: {dag: {tasks: {a: {componentRef: {name: gone}}}}}\n", "root.dag.tasks.a.componentRef"),
        ("a: [1", "package"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n", "package"),
        ("pipelineInfo: {name: P}\nroot: {dag: {tasks: {}}}\n", "pipelineInfo.name"),
    ],
)  # fmt: skip
def test_lint_of_what_the_server_would_refuse_is_1_and_names_the_field(tmp_path, text, where):
    package = tmp_path / "p.yaml"
    package.write_text(text)
    done = harness.run_once(["pipeline", "lint", package])
    assert done.returncode == 1 and f"  error    {where}\n" in done.stdout, done
    assert re.search(r"^1 error, ", done.stdout, re.M)


def test_wrong_uses_are_explained():
    for args, says in (
        (["pipeline"], "list, show NAME|FILE or lint FILE"),
        (["pipeline", "draw"], "list, show and lint"),
        (["pipeline", "lint"], "name one package file"),
        (["lineage"], "by its URI or id"),
        (["run"], "say what to run"),
    ):
        done = harness.run_once(args)
        assert done.returncode == 1 and says in done.stderr, done
    for command in ("run", "pipeline", "lineage"):
        done = harness.run_once([command, "--help"])
        assert done.returncode == 0 and "Examples:\n" in done.stdout


def test_lint_tells_all_errors(packages, tmp_path):
    spec = yaml.safe_load((packages / "told-by-command.yaml").read_text())
    tasks = spec["root"]["dag"]["tasks"]
    tasks["show"]["colour"] = "red"
    tasks["train"]["componentRef"]["name"] = "comp-gone"
    spec["components"]["comp-make"]["inputDefinitions"]["parameters"]["rows"]["parameterType"] = "NUMBERS"
    package = tmp_path / "broken.yaml"
    package.write_text(yaml.safe_dump(spec))
    done = harness.run_once(["pipeline", "lint", package])
    assert done.returncode == 1
    for where in (
        "components.comp-make.inputDefinitions.parameters.rows.parameterType",
        "root.dag.tasks.show.colour",
        "root.dag.tasks.train.componentRef",
    ):
        assert f"  error    {where}\n" in done.stdout, done
    assert re.search(r"^3 errors, ", done.stdout, re.M), done.stdout


# ---- lineage -------------------------------------------------------------------------------------------------------


def test_lineage_goes_from_an_artifact_to_its_first_inputs(cli, packages, millrace):
    done = cli("run", packages / "told-by-command.yaml", "-p", "rows=30", "-p", "words=[]", "--no-cache", "--watch")
    run_id = done.stderr.split()[1]
    artifacts = {a["name"]: a for a in get(millrace, f"/artifacts?run_id={run_id}")["artifacts"]}
    model, data = artifacts["model"], artifacts["data"]
    shown = cli("lineage", model["uri"])
    assert shown.returncode == 0, shown
    said = re.sub(r"\d{4}-\d\d-\d\dT\S+", "TIME", shown.stdout)
    said = re.sub(r'"told-by-command [^"]*"', '"NAME"', said)
    assert said == (
        f"{model['uri']}  system.Model\n"
        "│  made by train as model, TIME\n"
        f'│  in run {run_id} "NAME" of pipeline told-by-command\n'
        "│  with half = 15, half of make\n"
        f"└─ data: {data['uri']}  system.Dataset\n"
        "      made by make as data, TIME\n"
        f'      in run {run_id} "NAME" of pipeline told-by-command\n'
        "      with rows = 30, parameter rows of the run\n"
        "      gave half = 15\n"
        f"read by show as model, run {run_id}\n"
    )
    assert cli("lineage", model["uri"].replace("s3://", "minio://") + "/part").stdout == shown.stdout
    assert cli("lineage", model["artifact_id"]).stdout == shown.stdout
    asked = json.loads(cli("lineage", data["uri"], "-o", "json").stdout)
    assert [a["artifact_id"] for a in asked["artifacts"]] == [data["artifact_id"]]
    assert [r["path"] for r in asked["readers"]] == ["train"]
    none = cli("lineage", "s3://mlpipeline/none")
    assert none.returncode == 1 and "no step of a pipeline" in none.stderr


def test_lineage_knows_the_runs_and_models_of_the_tracking_server(cli, packages, millrace):
    client = MlflowClient(tracking_uri=millrace.tracking_url)
    spec = yaml.safe_load((packages / "told-by-command.yaml").read_text())
    body = {
        "display_name": "tracked",
        "pipeline_spec": spec,
        "runtime_config": {"parameters": {"rows": 4, "words": []}},
        "plugins_input": {"mlflow": {"experiment_name": "tracked by command"}},
    }
    request = urllib.request.Request(
        millrace.gateway_url + "/apis/v2beta1/runs",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        run_id = json.load(answer)["run_id"]
    assert cli("run", "--follow", run_id).returncode == 0
    entries = get(millrace, f"/runs/{run_id}")["plugins_output"]["mlflow"]["entries"]
    root = entries["root_run_id"]["value"]
    nested = {
        r.info.run_name: r.info.run_id
        for r in client.search_runs([entries["experiment_id"]["value"]], f"tags.mlflow.parentRunId = '{root}'")
    }
    client.create_registered_model("by-command")
    client.create_model_version("by-command", f"runs:/{nested['train']}/model", run_id=nested["train"])
    (model,) = [a for a in get(millrace, f"/artifacts?run_id={run_id}")["artifacts"] if a["name"] == "model"]
    shown = cli("lineage", model["uri"]).stdout
    assert f"│  tracked as MLflow run {root}  {millrace.tracking_url}/#/experiments/" in shown
    assert f"│  its step as MLflow run {nested['train']}\n│  registered as models:/by-command/1\n" in shown
    assert f"      its step as MLflow run {nested['make']}\n" in shown
    # The names that the tracking server has for it lead to the step that logged it.
    client.set_registered_model_alias("by-command", "chosen", "1")
    (data,) = [a for a in get(millrace, f"/artifacts?run_id={run_id}")["artifacts"] if a["name"] == "data"]
    for name, title in (
        ("models:/by-command/1", "version 1 of by-command"),
        ("models:/by-command@chosen", "version 1 of by-command, alias chosen"),
        ("models:/by-command/latest", "version 1 of by-command"),
        (f"runs:/{nested['train']}/model", "model of MLflow run train"),
    ):
        told = cli("lineage", name)
        assert told.returncode == 0, told
        assert told.stdout.startswith(f"{name}  {title}\n"), told.stdout
        for line in (
            f"logged by MLflow run {nested['train']}",
            "made by train",
            f'in run {run_id} "tracked"',
            "with half = 2, half of make",
            f"data: {data['uri']}  system.Dataset",
            "made by make as data",
        ):
            assert line in told.stdout, (line, told.stdout)
    asked = json.loads(cli("lineage", "models:/by-command/1", "-o", "json").stdout)
    assert asked["step"]["path"] == "train" and asked["step"]["run_id"] == run_id
    assert asked["resolved"]["run_id"] == nested["train"]
    assert [i["key"] for i in asked["inputs"]] == ["data"]
    # A model that was logged in the step's run is an object of its own.
    net = client.create_logged_model(entries["experiment_id"]["value"], name="net", source_run_id=nested["train"])
    for name in (f"models:/{net.model_id}", f"runs:/{nested['train']}/net", net.artifact_location + "/MLmodel"):
        told = cli("lineage", name)
        assert told.returncode == 0 and "made by train\n" in told.stdout, told
    for missing in ("models:/by-command/7", "models:/nobody@x", "runs:/0123/model", "models:/by-command"):
        told = cli("lineage", missing)
        assert told.returncode == 1 and told.stderr.startswith("error: "), told


def test_lineage_of_a_version_that_is_an_output_of_a_step(cli, packages, millrace):
    """The version's source is the artifact itself: no tracked run is needed."""
    done = cli("run", packages / "told-by-command.yaml", "-p", "rows=8", "-p", "words=[]", "--watch")
    assert done.returncode == 0, done
    run_id = done.stderr.split()[1]
    (model,) = [a for a in get(millrace, f"/artifacts?run_id={run_id}")["artifacts"] if a["name"] == "model"]
    client = MlflowClient(tracking_uri=millrace.tracking_url)
    client.create_registered_model("by-source")
    client.create_model_version("by-source", model["uri"])
    told = cli("lineage", "models:/by-source/1").stdout
    assert told == "version 1 of by-source\n" + cli("lineage", model["uri"]).stdout


def test_lineage_of_what_a_run_of_the_tracking_server_logged(cli, millrace, tmp_path):
    client = MlflowClient(tracking_uri=millrace.tracking_url)
    logged = client.create_run(client.create_experiment("logged by hand"))
    (tmp_path / "data.txt").write_text("some data")
    client.log_artifact(logged.info.run_id, str(tmp_path / "data.txt"))

    @dsl.pipeline(name="reads-logged")
    def reads(uri: str):
        made = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
        look(data=made.output)

    package = tmp_path / "reads.yaml"
    compiler.Compiler().compile(reads, str(package))
    key = f"{logged.info.experiment_id}/{logged.info.run_id}/artifacts/data.txt"
    done = cli("run", package, "-p", f"uri=s3://mlflow-artifacts/{key}", "--watch")
    assert done.returncode == 0, done
    shown = cli("lineage", f"mlflow-artifacts:/{key}").stdout
    assert shown.startswith(
        f"s3://mlflow-artifacts/{key}  system.Dataset\n   logged by MLflow run {logged.info.run_id}\n"
    )
    assert "   made by importer as artifact" in shown and "read by look as data" in shown
