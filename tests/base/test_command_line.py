"""Starting: help, wrong settings, taken ports and folders, where settings come from."""

import json
import os
import re
import socket
import subprocess

import harness
import pytest

from .raw import ask, get

COMMANDS = ["up", "tracking", "serve", "run", "pipeline", "lineage", "version", "doctor", "completion"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = harness.run_once([command, "--help"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"millrace {command}" in done.stdout or f"{command} [OPTIONS]" in done.stdout
    if command in ("up", "tracking", "serve"):
        assert re.search(r"Examples?:\n\s+millrace " + command, done.stdout), done.stdout
        assert "--port-offset" in done.stdout


def test_help_names_the_commands_and_where_to_start():
    done = harness.run_once(["--help"])
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\s", done.stdout, re.M), command
    assert "millrace up" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["up", "--nonsense"],
        ["up", "--port-offset", "x"],
        ["up", "--port-offset", "-1"],
        ["up", "--port-offset", "60000"],
        ["up", "--log-level", "loud"],
        ["up", "--log-format", "xml"],
        ["tracking", "--port", "0"],
        ["tracking", "--port", "70000"],
        ["completion", "fish"],
        ["completion"],
        ["up", "--data"],
    ],
)
def test_wrong_command_lines_are_2_and_say_what(args):
    done = harness.run_once(args)
    assert done.returncode == 2
    assert done.stderr.strip() or done.stdout.strip()
    assert "Traceback" not in done.stderr and "terminate" not in done.stderr
    if args and args[-1].startswith("--n") or args == ["nonsense"]:
        assert "nonsense" in done.stderr + done.stdout


def test_version_says_what_it_speaks():
    done = harness.run_once(["version"])
    assert done.returncode == 0
    assert re.match(r"millrace \d+\.\d+\.\d+", done.stdout)
    assert "3.18.0" in done.stdout
    assert harness.run_once(["--version"]).stdout.startswith("millrace ")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_parse(shell):
    done = harness.run_once(["completion", shell])
    assert done.returncode == 0
    for word in COMMANDS:
        assert word in done.stdout, word
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=done.stdout, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_bash_completes_commands_and_flags():
    script = harness.run_once(["completion", "bash"]).stdout
    path = f"{harness.binary_path().parent}:{os.environ['PATH']}"  # the script asks the program itself for its flags

    def complete(*words):
        line = (
            "COMP_WORDS=("
            + " ".join(f"'{w}'" for w in words)
            + f"); COMP_CWORD={len(words) - 1}; COMP_LINE='{' '.join(words)}'; COMP_POINT=${{#COMP_LINE}}\n"
        )
        function = re.search(r"complete .*-F (\S+)", script)[1]
        run = subprocess.run(
            [
                "bash",
                "-c",
                script
                + "\n"
                + line
                + f"{function} millrace '{words[-1]}' '{words[-2]}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            ],
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": path},
        )
        return {w.strip() for w in run.stdout.splitlines()}

    assert {"tracking"} <= complete("millrace", "tr")
    assert "--port-offset" in complete("millrace", "up", "--po")
    assert complete("millrace", "pipeline", "l") == {"list", "lint"}
    assert "--no-cache" in complete("millrace", "run", "--no")


def test_a_second_platform_on_the_same_ports_is_refused(millrace, tmp_path):
    done = harness.run_once(["up", "--data", tmp_path / "other", "--port-offset", millrace.port_offset])
    assert done.returncode == 2
    port = harness.PORT_TRACKING + millrace.port_offset
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "--port-offset" in done.stderr
    assert ask(port, get("/readyz")).status == 200


def test_a_port_of_another_program_is_refused(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = harness.run_once(
            ["tracking", "--data", tmp_path, "--backend-store-uri", f"sqlite:///{tmp_path}/t.db", "--port", port],
            cwd=tmp_path,
        )
        assert done.returncode == 2
        assert f"port {port}" in done.stderr


def test_a_second_platform_on_the_same_data_is_refused(millrace):
    done = harness.run_once(["up", "--data", millrace.data_dir, "--port-offset", harness.free_port_offset()])
    assert done.returncode == 2
    assert "is in use by another Millrace" in done.stderr
    assert str(millrace.proc.pid) in done.stderr
    assert "--data" in done.stderr
    assert ask(harness.PORT_TRACKING + millrace.port_offset, get("/readyz")).status == 200


def test_a_lock_left_by_a_crash_is_no_obstacle(tmp_path):
    with harness.launch_platform(tmp_path / "data") as platform:
        platform.proc.kill()
    with harness.launch_platform(tmp_path / "data") as platform:
        assert platform.proc.returncode is None


def test_an_open_address_demands_own_keys(tmp_path):
    done = harness.run_once(
        ["up", "--data", tmp_path, "--listen", "0.0.0.0", "--port-offset", harness.free_port_offset()]
    )
    assert done.returncode == 2
    assert "--access-key" in done.stderr and "MILLRACE_SECRET_KEY" in done.stderr


@pytest.mark.parametrize("address", ["nonsense", "256.1.1.1", "203.0.113.1"])
def test_addresses_that_cannot_be_listened_on(tmp_path, address):
    done = harness.run_once(
        [
            "up",
            "--data",
            tmp_path,
            "--listen",
            address,
            "--access-key",
            "k",
            "--port-offset",
            harness.free_port_offset(),
        ],
        env={"MILLRACE_SECRET_KEY": "secret-of-my-own"},
    )
    assert done.returncode == 2
    assert address in done.stderr


def test_a_data_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    done = harness.run_once(["up", "--data", tmp_path / "file" / "data", "--port-offset", harness.free_port_offset()])
    assert done.returncode in (1, 2)
    assert str(tmp_path / "file") in done.stderr


# ---- precedence: flag, then environment, then file ----


def log_level_of(tmp_path, *args, env=None):
    """Starts the tracking part and tells from its log which level it runs with."""
    port = harness.free_port()
    log = tmp_path / f"log-{port}"
    command = [
        "tracking",
        "--data",
        tmp_path,
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/t.db",
        "--port",
        port,
        "--log-file",
        log,
        *args,
    ]
    with harness.launch(command, f"http://127.0.0.1:{port}/readyz", env=env, cwd=tmp_path) as proc:
        ask(port, get("/version"))
        assert proc.terminate() == 0
    text = log.read_text()
    return "debug" if " debug" in text else "info" if " info" in text else "warn"


def test_flag_beats_environment_beats_file(tmp_path):
    config = tmp_path / "millrace.conf"
    config.write_text('log-level = "debug"\n')
    assert log_level_of(tmp_path) == "info"
    assert log_level_of(tmp_path, "--config", config) == "debug"
    assert log_level_of(tmp_path, "--config", config, env={"MILLRACE_LOG_LEVEL": "warn"}) == "warn"
    assert (
        log_level_of(tmp_path, "--config", config, "--log-level", "info", env={"MILLRACE_LOG_LEVEL": "warn"}) == "info"
    )


def test_the_port_offset_from_the_environment(tmp_path):
    offset = harness.free_port_offset()
    with harness.launch(
        ["up"],
        f"http://127.0.0.1:{harness.PORT_S3 + offset}/readyz",
        env={"MILLRACE_PORT_OFFSET": offset, "MILLRACE_DATA": tmp_path / "data"},
    ) as proc:
        assert (tmp_path / "data" / "millrace.db").exists()
        assert proc.terminate() == 0


def test_keys_from_the_environment(tmp_path):
    import boto3
    from botocore.exceptions import ClientError

    with harness.launch_platform(
        tmp_path / "data", env={"MILLRACE_ACCESS_KEY": "me", "MILLRACE_SECRET_KEY": "my-own-secret"}
    ) as platform:

        def client(access, secret):
            return boto3.client(
                "s3",
                endpoint_url=platform.s3_url,
                aws_access_key_id=access,
                aws_secret_access_key=secret,
                region_name="us-east-1",
            )

        assert client("me", "my-own-secret").list_buckets()["Buckets"]
        with pytest.raises(ClientError):
            client("minio", "minio123").list_buckets()
        with open(f"/proc/{platform.proc.pid}/cmdline") as f:
            assert "my-own-secret" not in f.read()


@pytest.mark.parametrize(
    "text", ["prot-offset = 1\n", "[up]\nnonsense = 1\n", 'log-level = "loud"\n', 'grace = "many"\n']
)
def test_a_wrong_configuration_file_stops_the_start_and_names_the_key(tmp_path, text):
    config = tmp_path / "millrace.conf"
    config.write_text(text)
    done = harness.run_once(
        ["up", "--data", tmp_path / "data", "--config", config, "--port-offset", harness.free_port_offset()]
    )
    assert done.returncode == 2
    key = re.search(r"([a-z-]+) =", text)[1]
    assert key in done.stderr + done.stdout, done.stderr + done.stdout
    assert not (tmp_path / "data").exists()


def test_a_missing_configuration_file_stops_the_start(tmp_path):
    done = harness.run_once(["up", "--data", tmp_path / "data", "--config", tmp_path / "absent.conf"])
    assert done.returncode == 2
    assert "absent.conf" in done.stderr + done.stdout


def test_a_wrong_environment_value_stops_the_start(tmp_path):
    done = harness.run_once(["up", "--data", tmp_path / "data"], env={"MILLRACE_PORT_OFFSET": "many"})
    assert done.returncode == 2
    assert "many" in done.stderr + done.stdout


def test_doctor_answers(tmp_path):
    done = harness.run_once(["doctor", "--data", tmp_path, "--port-offset", harness.free_port_offset()])
    assert done.returncode in (0, 1)
    assert done.stdout.strip()


def test_ready_is_said_once_all_listeners_are_up(tmp_path):
    with harness.launch_platform(tmp_path / "data") as platform:
        out = platform.proc.stdout()
        assert re.search(r"^ready in \d+ ms$", out, re.M)
        for port in (harness.PORT_TRACKING, harness.PORT_S3, harness.PORT_GATEWAY):
            assert str(port + platform.port_offset) in out


def test_data_is_for_its_owner_alone(millrace):
    assert millrace.data_dir.stat().st_mode & 0o077 == 0


def test_default_experiment_is_there(millrace):
    answer = ask(harness.PORT_TRACKING + millrace.port_offset, get("/api/2.0/mlflow/experiments/get?experiment_id=0"))
    assert json.loads(answer.body)["experiment"]["name"] == "Default"
