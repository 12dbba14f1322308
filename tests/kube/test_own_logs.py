"""`millrace logs`."""

import json
import re
import signal

import pytest

from .pods import PYTHON, ended, pod, running, text
from .record.shapes import deployment

COUNT = "for i in range(5): print('line', i)"


@pytest.mark.pods
def test_logs(own, api):
    two = pod(
        "two",
        "python3",
        "-c",
        COUNT,
        labels={"app": "x"},
        containers=[{"name": "side", "image": PYTHON, "command": ["python3", "-c", "print('from the side')"]}],
    )
    one = pod("one", "python3", "-c", COUNT, labels={"app": "x"})
    own("apply", "-f", "-", input=text(one, two))
    ended(api, own.namespace, "one")
    ended(api, own.namespace, "two")
    assert own("logs", "one") == "".join(f"line {i}\n" for i in range(5))
    assert own("logs", "pod/one", "--tail", "2") == "line 3\nline 4\n"
    assert own("logs", "one", "-f", "--tail=1", "--since", "1h") == "line 4\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z line 4\n", own("logs", "one", "--tail=1", "--timestamps"))
    assert own("logs", "two", "side") == own("logs", "two", "-c", "side") == "from the side\n"
    done = own.run("logs", "two")
    assert done.stdout.count("line") == 5
    assert done.stderr == 'Defaulted container "main" out of: main, side\n'
    every = own("logs", "-l", "app=x", "--prefix", "--all-containers", "--tail=1").splitlines()
    assert sorted(every) == [
        "[pod/one/main] line 4",
        "[pod/two/main] line 4",
        "[pod/two/side] from the side",
    ]
    assert sorted(own("logs", "-l", "app=x", "-f", "--tail=1").split("\n")) == ["", "line 4", "line 4"]


@pytest.mark.pods
def test_logs_are_followed(own, api):
    own("apply", "-f", "-", input=json.dumps(pod("p", "python3", "-uc", "import time\nprint('on')\ntime.sleep(600)")))
    running(api, own.namespace, "p")
    with own.popen("logs", "p", "-f") as logs:
        try:
            assert logs.stdout.readline() == "on\n"
            assert logs.poll() is None
        finally:
            logs.send_signal(signal.SIGINT)


@pytest.mark.pods
def test_logs_of_a_workload(own, api):
    d = deployment(name="web", replicas=1)
    d["spec"]["template"]["spec"] = pod("x", "python3", "-uc", "print('serving'); import time; time.sleep(600)")["spec"]
    d["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    own("apply", "-f", "-", input=json.dumps(d))
    path = f"/apis/apps/v1/namespaces/{own.namespace}/deployments/web"
    api.wait_for(path, lambda o: o["status"].get("readyReplicas") == 1)
    assert own("logs", "deploy/web") == "serving\n"


def test_logs_say_what_is_wrong(own):
    assert own.fails("logs", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert "--since" in own.fails("logs", "nope", "--since", "yesterday")
    assert "millrace logs --help" in own.fails("logs")
    assert "selects no pods" in own.fails("logs", "service/kubernetes", "-n", "default")
    own("apply", "-f", "-", input=json.dumps(deployment(replicas=0)))
    assert "has no pods" in own.fails("logs", "deploy/d")
