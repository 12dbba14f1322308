"""Steps that would fill the disk, by files or by what they print: they end with a word, and nothing else suffers."""

import os
import pathlib

import pytest
from kfp import dsl, kubernetes

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401
from pipelines.steps import BUSYBOX, say

LIMIT = "millrace.dev/ephemeral-storage-limit"


@dsl.container_component
def fill(script: str, data: dsl.Output[dsl.Dataset]):
    """Writes 64 MB where the script says, and would stay."""
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'echo begun; eval "$0"; sleep 600'],
        args=[script, data.path],
    )


def evicted(api, tmp_path, script, prepare):
    @dsl.pipeline(name="fills-the-disk")
    def filling():
        task = fill(script=script).set_caching_options(False)
        prepare(task)
        say(text="never").after(task)

    spec, platform = helpers.documents(helpers.compiled(filling, tmp_path))
    run = api.run({"pipeline_spec": spec, "platform_spec": platform}).wait()
    assert run.states() == {"fill": "FAILED", "say": "SKIPPED"}, run.describe()
    assert run.log("fill") == "begun\n"
    return run


@pytest.mark.parametrize(
    "where",
    [
        pytest.param('> "/tmp/x"', id="its own files"),
        pytest.param('> "$1"', id="an output artifact"),
        pytest.param("> /tmp/kfp/x", id="beside its outputs"),
    ],
)
def test_a_step_that_takes_more_disk_than_it_may(api, millrace, tmp_path, where):
    run = evicted(
        api,
        tmp_path,
        f'mkdir -p "$(dirname "$1")"; head -c 64000000 /dev/zero {where}',
        lambda task: kubernetes.add_pod_annotation(task, LIMIT, "16Mi"),
    )
    assert run.error("fill").startswith('Evicted: Container main exceeded its local ephemeral storage limit "16Mi"')
    status = run.pod("fill")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert any(c["type"] == "DisruptionTarget" for c in status["conditions"])
    assert api.call("GET", "/healthz")[0] == 200


def test_an_empty_dir_with_a_limit(api, millrace, tmp_path):
    def prepare(task):
        kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/scratch", size_limit="8Mi")

    run = evicted(api, tmp_path, "head -c 64000000 /dev/zero > /scratch/x", prepare)
    assert "Usage of EmptyDir volume" in run.error("fill") and 'exceeds the limit "8Mi"' in run.error("fill")
    # What it had written is gone with its end, while the pod still tells of it.
    uid = run.pod("fill")["metadata"]["uid"]
    left = pathlib.Path(millrace.data_dir) / "pods" / uid
    run.until(lambda r: not left.exists())


def resident(pid):
    return int((pathlib.Path("/proc") / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_step_that_prints_a_gigabyte(api, millrace, tmp_path):
    """The end of it is kept; the server's memory and disk do not grow with it."""

    @dsl.container_component
    def chatter():
        line = "0123456789" * 20
        script = f"yes {line} | head -c 1073741824; echo; echo the end"
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script])

    @dsl.pipeline(name="prints-a-gigabyte")
    def printing():
        chatter().set_caching_options(False)

    (spec,) = helpers.documents(helpers.compiled(printing, tmp_path))
    before = resident(millrace.proc.pid)
    run = api.run(spec).wait(120)
    assert run.state == "SUCCEEDED", run.describe()
    log = run.log("chatter")
    assert log.endswith("\nthe end\n")
    assert 1 << 20 < len(log) < 64 << 20
    assert resident(millrace.proc.pid) - before < 150 << 20
