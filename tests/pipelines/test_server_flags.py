"""A server that was started with other rules: its cache, its limits for steps that cannot start, its URLs."""

import functools
import http.server
import pathlib
import threading

import harness
import pytest
from kfp import dsl, kubernetes

from pipelines import runs as helpers
from pipelines.steps import BUSYBOX, say

pytestmark = pytest.mark.binary

FLAGS = (
    *("--pipeline-cache", "off"),
    *("--pipeline-start-limit", "1"),
    *("--pipeline-step-disk", "16Mi"),
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strict")
    with harness.launch_platform(folder / "data", *FLAGS) as platform:
        yield helpers.Api(platform.gateway_url, folder / "data", platform.s3_url)


def submitted(api, function, tmp_path, **parameters):
    spec, *platform = helpers.documents(helpers.compiled(function, tmp_path))
    if platform:
        spec = {"pipeline_spec": spec, "platform_spec": platform[0]}
    return api.run(spec, parameters)


def test_caching_is_off(strict, tmp_path):
    """A step runs again though nothing about it has changed."""

    @dsl.pipeline
    def once():
        say(text="again")

    for _ in range(2):
        run = submitted(strict, once, tmp_path).wait()
        assert run.state == "SUCCEEDED", run.describe()
        assert run.pod("say")["status"]["phase"] == "Succeeded"


def test_a_step_that_waits_too_long_for_a_secret(strict, tmp_path):
    @dsl.pipeline
    def impatient():
        task = say(text="never")
        kubernetes.use_secret_as_volume(task, secret_name="missing", mount_path="/secret")

    run = submitted(strict, impatient, tmp_path).wait()
    assert run.states() == {"say": "FAILED"}
    said = run.error("say")
    assert said.startswith("the step could not start within 1 s: FailedMount: "), said
    assert 'secret "missing" not found' in said


def test_the_default_for_the_disk_of_a_step(strict, tmp_path):
    @dsl.container_component
    def fill():
        return dsl.ContainerSpec(
            image=BUSYBOX,
            command=["sh", "-c", "head -c 64000000 /dev/zero > /tmp/x; exec sleep 600"],
        )

    @dsl.pipeline
    def filling():
        fill()

    run = submitted(strict, filling, tmp_path).wait()
    assert 'exceeded its local ephemeral storage limit "16Mi"' in run.error("fill"), run.describe()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A server that takes every disk for full, and whose cache does not look at `salt`."""
    folder = tmp_path_factory.mktemp("full")
    flags = ("--min-free-disk", "900Ti", "--pipeline-cache-ignore", "salt")
    with harness.launch_platform(folder / "data", *flags) as platform:
        yield helpers.Api(platform.gateway_url, folder / "data", platform.s3_url)


def test_on_a_full_disk_the_pod_that_takes_most_goes(full, tmp_path):
    @dsl.container_component
    def fill(size: int, seconds: int):
        script = 'head -c "$0" /dev/zero > /tmp/x; exec sleep "$1"'
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[size, seconds])

    @dsl.pipeline
    def filling():
        fill(size=1000, seconds=3).set_caching_options(False)
        fill(size=80_000_000, seconds=600).set_caching_options(False)

    run = submitted(full, filling, tmp_path).wait()
    assert run.states() == {"fill": "SUCCEEDED", "fill-2": "FAILED"}, run.describe()
    said = run.error("fill-2")
    assert said.startswith("Evicted: The node was low on resource: ephemeral-storage. Threshold quantity: "), said
    assert full.call("GET", "/healthz")[0] == 200


def test_inputs_that_no_cache_of_the_server_looks_at(full, tmp_path):
    @dsl.container_component
    def word(salt: str, other: str, out: dsl.OutputPath(str)):
        script = 'cat /proc/sys/kernel/random/uuid | tr -d "\\n" > "$2"'
        return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", script], args=[salt, other, out])

    @dsl.pipeline
    def ignoring(salt: str, other: str):
        say(text=word(salt=salt, other=other).outputs["out"])

    def said(salt, other):
        run = submitted(full, ignoring, tmp_path, salt=salt, other=other).wait()
        assert run.state == "SUCCEEDED", run.describe()
        return run.log("say")

    first = said("a", "x")
    assert said("b", "x") == first
    assert said("b", "y") != first


@pytest.fixture
def served(tmp_path):
    """A folder of packages behind HTTP on this machine; the addresses of its files."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_urls_lead_a_server_for_others_nowhere_private(tmp_path_factory, tmp_path, served):
    """Who may only reach the server reaches nothing else through it."""

    @dsl.pipeline
    def fetched():
        say(text="x")

    folder, url = served
    (folder / "p.yaml").write_text(pathlib.Path(helpers.compiled(fetched, tmp_path)).read_text())
    data = tmp_path_factory.mktemp("open") / "data"

    def create(api, name, address):
        body = {
            "pipeline": {"display_name": name},
            "pipeline_version": {"package_url": {"pipeline_url": address}},
        }
        return api.call("POST", "/pipelines/create", body)

    flags = ("--listen", "0.0.0.0", "--access-key", "somebody", "--secret-key", "not-the-default")
    with harness.launch_platform(data, *flags) as platform:
        api = helpers.Api(platform.gateway_url, data, platform.s3_url)
        for address in (
            url,
            url.replace("127.0.0.1", "localhost"),
            "http://169.254.169.254",
        ):
            status, answer = create(api, "closed", address + "/p.yaml")
            assert status == 400 and "where this server does not go" in answer["message"], answer
    with harness.launch_platform(data, *flags, "--pipeline-private-urls") as platform:
        api = helpers.Api(platform.gateway_url, data, platform.s3_url)
        status, answer = create(api, "open", url + "/p.yaml")
        assert status == 200, answer
