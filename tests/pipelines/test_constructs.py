"""Every construct of the SDK: compiled by it, run by the server, and its whole outcome compared."""

import importlib
import pathlib

import pytest

from pipelines import runs as helpers
from pipelines.runs import api  # noqa: F401

CONSTRUCTS = sorted(p.stem for p in (pathlib.Path(__file__).parent / "constructs").glob("[a-z]*.py"))


def prepare(api, construct):
    """The Secrets, ConfigMaps and objects that a construct names as being there."""
    for kind, maps, field in (
        ("secrets", "SECRETS", "stringData"),
        ("configmaps", "CONFIG_MAPS", "data"),
    ):
        for name, values in getattr(construct, maps, {}).items():
            body = {"apiVersion": "v1", "metadata": {"name": name}, field: values}
            api.kube(f"/api/v1/namespaces/{helpers.NAMESPACE}/{kind}", "POST", body)
    for key, content in getattr(construct, "OBJECTS", {}).items():
        api.s3.put_object(Bucket="mlpipeline", Key=key, Body=content.encode())


def compare(run, expect):
    assert (run.state, run.states()) == (expect.state, expect.tasks), run.describe()
    assert {path: run.log(path) for path in expect.logs} == expect.logs
    for path, texts in expect.says.items():
        log = run.log(path)
        assert all(t in log for t in texts), (path, texts, log)
    for path, text in expect.errors.items():
        assert text in run.error(path), (path, text, run.error(path))
    assert {path: run.tasks()[path]["display_name"] for path in expect.names} == expect.names
    for path, outputs in expect.artifacts.items():
        for name, (title, metadata, content) in outputs.items():
            (artifact,) = run.artifacts(path, name)
            assert artifact["type"] == title, artifact
            assert metadata.items() <= artifact.get("metadata", {}).items(), artifact
            if content is not None:
                assert run.read(path, name) == content


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_construct(kfp_client, api, tmp_path, name):
    construct = importlib.import_module(f"pipelines.constructs.{name}")
    package = helpers.compiled(getattr(construct, name), tmp_path)
    prepare(api, construct)
    made = kfp_client.create_run_from_pipeline_package(
        str(package),
        arguments=getattr(construct, "ARGUMENTS", {}),
        run_name=f"construct {name}",
    )
    run = helpers.Run(api, made.run_id).wait(180 if name in SLOW else 60)
    compare(run, construct.EXPECT)
    if hasattr(construct, "verify"):
        construct.verify(run)


# Environments with packages of their own are built first.
SLOW = {"notebook", "packages"}
