"""`millrace up --mysql`: a real MariaDB beside the platform, reached as Service mysql; nothing of it stays behind."""

import os
import pathlib
import subprocess

import harness
import pytest
from harness import until
from kube.conftest import Cli

pytestmark = [pytest.mark.binary, pytest.mark.slow]

SQL = harness.shared_dir() / "data" / "seed-manifests" / "11-mlflow-database.sql"


def sql(port, statement, user="root", password=None, host="127.0.0.1", database=None):
    command = [
        "mysql",
        "-h",
        host,
        "-P",
        str(port),
        "-u",
        user,
        "-N",
        "-e",
        statement,
        *([database] if database else []),
    ]
    env = {**os.environ, **({"MYSQL_PWD": password} if password else {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=env)


def servers_of(folder):
    """Processes whose command line names the data folder."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "mariadbd" in line and str(folder) in line:
            found.append(int(entry.name))
    return found


def ready(port):
    until(
        lambda: sql(port, "select 1").returncode == 0,
        "the database answers",
        seconds=60,
    )


def test_it_installs_serves_survives_and_ends(tmp_path, kubectl_program):
    with harness.launch_platform(tmp_path, "--mysql") as platform:
        port = 3306 + platform.port_offset
        ready(port)
        made = subprocess.run(
            ["mysql", "-h", "127.0.0.1", "-P", str(port), "-u", "root"],
            input=SQL.read_text(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        done = sql(
            port,
            "create table t(a int); insert into t values (7); select a from t",
            "mlflow_user",
            "mlflow_password123",
            database="mlflow",
        )
        assert done.stdout == "7\n", done.stderr

        kubectl = Cli(kubectl_program, tmp_path / "kubeconfig", "kubeflow", tmp_path)
        until(
            lambda: "Running" in kubectl("get", "pods", "-l", "app=mysql"),
            "its pod runs",
        )
        ip = kubectl("get", "service", "mysql", "-o", "jsonpath={.spec.clusterIP}")
        until(
            lambda: sql(3306, "select 1", host=ip).returncode == 0,
            "the Service answers",
        )
        local = harness.free_port()
        forward = kubectl.popen("port-forward", "svc/mysql", f"{local}:3306")
        try:
            assert forward.stdout.readline().startswith("Forwarding from")
            assert sql(local, "select a from mlflow.t").stdout == "7\n"
        finally:
            forward.terminate()
            forward.wait(10)
        until(
            lambda: "ready for connections" in kubectl("logs", "-l", "app=mysql", "--tail=-1"),
            "its log tells what it does",
        )

        (server,) = servers_of(tmp_path)
        os.kill(server, 9)
        until(lambda: servers_of(tmp_path) not in ([], [server]), "another one is started")
        ready(port)
        assert sql(port, "select a from mlflow.t").stdout == "7\n"
        assert (tmp_path / "mysql" / "mysql.log").stat().st_size > 0
        platform.proc.popen.kill()
        platform.proc.wait()
        until(lambda: servers_of(tmp_path) == [], "it ends with the killed program")

    with harness.launch_platform(tmp_path, "--mysql") as platform:
        port = 3306 + platform.port_offset
        ready(port)
        assert sql(port, "select a from mlflow.t").stdout == "7\n"
        assert platform.proc.terminate(30) == 0
        assert servers_of(tmp_path) == []


def test_without_the_package_it_names_it(tmp_path):
    # A view of the system without the server.
    script = (
        "for p in /usr/sbin/mariadbd /usr/bin/mariadb-install-db; do mount --bind /dev/null $p || exit 9; done; "
        'exec "$@"'
    )
    command = [
        harness.binary_path(),
        "up",
        "--mysql",
        "--data",
        tmp_path,
        "--port-offset",
        harness.free_port_offset(),
    ]
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            *map(str, command),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "apt install mariadb-server" in done.stderr
