"""Interpreters that stand by: a step that comes from one sees and does what a step with its own interpreter does."""

import json
import re
import time

import harness
import pytest
from kfp import dsl

from pipelines import runs as helpers
from pipelines.steps import PYTHON

pytestmark = pytest.mark.binary


@dsl.component(base_image=PYTHON)
def look():
    """What a step sees of itself, as JSON."""
    import json
    import os
    import socket
    import sys
    import time

    with open("/proc/self/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    with open("/proc/self/mountinfo") as f:
        mounts = sorted(line.split(" - ")[0].split()[4] + " " + line.split()[5] for line in f)
    with open("/etc/hostname") as f:
        named = f.read().strip()
    print("BEGIN")
    print(
        json.dumps(
            {
                "uid": [os.getuid(), os.geteuid(), os.getgid()],
                "capabilities": {k: status[k] for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
                "no new privileges": status["NoNewPrivs"],
                "host": socket.gethostname() == os.environ["HOSTNAME"] == named,
                "mounts": mounts,
                "processes": sum(name.isdigit() for name in os.listdir("/proc")) <= 4,
                "environment": sorted(os.environ),
                "folder": os.getcwd(),
                "argv": sys.argv[0],
                "path": sys.path,
                "prefix": [sys.prefix, sys.executable],
                "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:3],
                "stdin": os.readlink("/proc/self/fd/0"),
                "encoding": [sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors],
                "zone": time.tzname,
                "pid is its own": os.getpid() < 10,
                "parent": os.getppid(),
            }
        )
    )


@dsl.component(base_image=PYTHON)
def speak(how: str):
    import os
    import sys

    print("BEGIN")
    print("out 1")
    print("err 1", file=sys.stderr)
    print("out 2")
    os.write(1, b"raw\n")
    if how == "raise":
        raise ValueError("it went wrong")
    if how == "exit":
        sys.exit(7)
    if how == "kill":
        os.kill(os.getpid(), 9)


@dsl.component(base_image=PYTHON)
def leave():
    """Goes on in the background, in a session of its own, with its output open."""
    import subprocess

    subprocess.Popen(["sleep", "4187"], start_new_session=True)


@dsl.component(base_image=PYTHON)
def obey():
    import signal
    import time

    def end(*_):
        print("asked to end")
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    print("begun")
    time.sleep(4188)


@dsl.component(base_image=PYTHON)
def draw():
    import random
    import uuid

    print("BEGIN")
    print(random.random(), uuid.uuid4())


@pytest.fixture(scope="module")
def platforms(tmp_path_factory):
    """Two platforms: one whose steps come from interpreters that stand by, and one whose steps never do."""
    with (
        harness.launch_platform(tmp_path_factory.mktemp("warm") / "data") as warm,
        harness.launch_platform(tmp_path_factory.mktemp("cold") / "data", "--warm-interpreters", "0") as cold,
    ):
        yield {name: helpers.Api(p.gateway_url, p.data_dir, p.s3_url) for name, p in (("warm", warm), ("cold", cold))}


def said(run, path, data_dir="/none"):
    """The step's own lines, without those of the SDK's executor before them."""
    own = run.log(path).partition("BEGIN\n")[2]
    assert own, run.log(path)
    own = re.sub(
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "ID",
        own.replace(str(data_dir), "DATA"),
    )
    return re.sub(r"\d{4}-\d\d-\d\d [\d:,]+", "TIME", own).splitlines()


def ran(api, component, tmp_path, **arguments):
    @dsl.pipeline
    def one():
        component(**arguments).set_caching_options(False)

    spec, *_ = helpers.documents(helpers.compiled(one, tmp_path))
    return api.run(spec)


@pytest.fixture(scope="module")
def warm(platforms, tmp_path_factory):
    """The first step has an interpreter of its own and lets one be started for those that follow."""
    api = platforms["warm"]
    end = time.monotonic() + 60
    while True:
        run = ran(api, look, tmp_path_factory.mktemp("first")).wait()
        assert run.state == "SUCCEEDED", run.describe()
        # The process that it was copied from is outside its own process namespace.
        if json.loads(said(run, "look")[0])["parent"] == 0:
            return api
        assert time.monotonic() < end, "no interpreter stands by"


def test_a_step_sees_the_same(warm, platforms, tmp_path):
    seen = {}
    for name, api in platforms.items():
        run = ran(api, look, tmp_path).wait()
        assert run.state == "SUCCEEDED", run.describe()
        seen[name] = json.loads(said(run, "look", api.data_dir)[0])
    assert [seen[name].pop("parent") for name in ("warm", "cold")] == [0, 1]
    for key in seen["cold"]:
        assert seen["warm"][key] == seen["cold"][key], key
    assert seen["cold"]["host"] and seen["cold"]["processes"] and seen["cold"]["pid is its own"]


@pytest.mark.parametrize(("how", "code"), [("end", 0), ("raise", 1), ("exit", 7), ("kill", 137)])
def test_its_output_and_its_end_are_the_same(how, code, warm, platforms, tmp_path):
    logs, codes = {}, {}
    for name, api in platforms.items():
        run = ran(api, speak, tmp_path, how=how).wait()
        assert run.state == ("SUCCEEDED" if code == 0 else "FAILED"), run.describe()
        logs[name] = said(run, "speak", api.data_dir)
        codes[name] = run.pod("speak")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
    assert codes == {"warm": code, "cold": code}
    assert logs["warm"] == logs["cold"]
    assert logs["cold"][:4] == ["out 1", "err 1", "out 2", "raw"]


def test_what_it_leaves_behind_ends_with_it(warm, tmp_path):
    run = ran(warm, leave, tmp_path).wait()
    assert run.state == "SUCCEEDED", run.describe()
    end = time.monotonic() + 60
    while helpers.processes("sleep 4187"):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_it_is_asked_before_it_is_ended(warm, tmp_path):
    run = ran(warm, obey, tmp_path)
    log = f"/apis/v1alpha1/runs/{run.id}/nodes/obey/log"
    run.until(lambda _: "begun" in str(warm.call("GET", log, raw=True)[1]))
    status, answer = warm.call("POST", f"/runs/{run.id}:terminate")
    assert status == 200, answer
    run.wait()
    assert run.state == "CANCELED", run.describe()
    end = time.monotonic() + 60
    while "asked to end" not in run.log("obey"):
        assert time.monotonic() < end, run.log("obey")
        time.sleep(0.1)


def test_steps_draw_different_numbers(warm, tmp_path):
    drawn = set()
    for _ in range(3):
        run = ran(warm, draw, tmp_path).wait()
        assert run.state == "SUCCEEDED", run.describe()
        drawn.update(run.log("draw").partition("BEGIN\n")[2].splitlines()[0].split())
    assert len(drawn) == 6
