"""Further image names: `millrace up --image NAME=RUNTIME`."""

import json
import subprocess

import harness
import pytest
from kube.conftest import find_program

pytestmark = pytest.mark.binary


def test_a_mapped_name_runs_and_another_says_what_to_do(tmp_path):
    names = ("registry.example.com/team/trainer:7=python:3.11", "tools/shell=host")
    flags = [word for name in names for word in ("--image", name)]
    with harness.launch_platform(tmp_path / "data", *flags) as platform:

        def kubectl(*args):
            return subprocess.run(
                [
                    find_program("kubectl", (1, 28)),
                    "--kubeconfig",
                    platform.data_dir / "kubeconfig",
                    "-n",
                    "default",
                    *args,
                ],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            ).stdout

        runs = {
            "trained": ("registry.example.com/team/trainer:7", "python", "-c", "print('trained')"),
            "shell": ("tools/shell", "sh", "-c", "echo shell"),
        }
        for name, (image, *command) in runs.items():
            kubectl("run", name, f"--image={image}", "--restart=Never", "--", *command)
            kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=50s")
            assert kubectl("logs", name) == name + "\n"
        kubectl("run", "other", "--image=registry.invalid/team/other:7", "--restart=Never")
        kubectl(
            "wait",
            "pod/other",
            "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff",
            "--timeout=50s",
        )
        events = json.loads(kubectl("get", "events", "-o", "json"))["items"]
        assert any("--image" in e["message"] for e in events if e["involvedObject"]["name"] == "other")


@pytest.mark.parametrize("value", ["trainer", "=python:3.11", "trainer="])
def test_a_mapping_without_both_sides_is_refused(tmp_path, value):
    done = harness.run_once(["up", "--data", tmp_path / "data", "--image", value])
    assert done.returncode == 2
    assert "write NAME=RUNTIME" in done.stderr
