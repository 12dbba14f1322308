"""Pipelines and versions through the SDK, and uploads in every form."""

import io
import json
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import kfp_server_api
import pytest
import yaml

from pipelines.api_parts import greeting, named, only_version, package, pipeline, refused, where  # noqa: F401
from pipelines.runs import api  # noqa: F401


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def upload(api, content, file="pipeline.yaml", path="upload", **query):
    """(status, answer) of an upload by hand."""
    body = (
        b'--mark\r\nContent-Disposition: form-data; name="uploadfile"; filename="' + file.encode() + b'"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--mark--\r\n"
    )
    request = urllib.request.Request(
        f"{api.base}/apis/v2beta1/pipelines/{path}?{urllib.parse.urlencode(query)}",
        data=body,
        headers={"Content-Type": "multipart/form-data; boundary=mark"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read())


def test_a_pipeline_and_its_first_version(kfp_client, package):
    name = named("greeting")
    made = kfp_client.upload_pipeline(str(package), pipeline_name=name, description="says it", namespace="kubeflow")
    assert (made.name, made.display_name, made.description, made.namespace) == (name, name, "says it", "kubeflow")
    assert kfp_client.get_pipeline_id(name) == made.pipeline_id
    assert kfp_client.get_pipeline(made.pipeline_id).name == name
    version = only_version(kfp_client, made)
    assert (version.name, version.description) == (name, "says it")
    assert version.pipeline_spec == yaml.safe_load(package.read_text())
    again = kfp_client.get_pipeline_version(made.pipeline_id, version.pipeline_version_id)
    assert again.pipeline_spec == version.pipeline_spec
    error = refused(409, kfp_client.upload_pipeline, str(package), pipeline_name=name)
    assert "already exist" in error["error_message"]


def test_versions(kfp_client, pipeline, package):
    second = kfp_client.upload_pipeline_version(str(package), named("v"), pipeline_id=pipeline.pipeline_id)
    third = kfp_client.upload_pipeline_version_from_pipeline_func(
        greeting, named("v"), pipeline_name=pipeline.display_name
    )
    newest = kfp_client.list_pipeline_versions(pipeline.pipeline_id, sort_by="created_at desc", page_size=2)
    assert newest.total_size == 3
    assert {v.pipeline_version_id for v in newest.pipeline_versions} <= {
        second.pipeline_version_id,
        third.pipeline_version_id,
        only_first(kfp_client, pipeline),
    }
    kfp_client.delete_pipeline_version(pipeline.pipeline_id, third.pipeline_version_id)
    refused(404, kfp_client.get_pipeline_version, pipeline.pipeline_id, third.pipeline_version_id)
    refused(409, kfp_client.upload_pipeline_version, str(package), second.name, pipeline_id=pipeline.pipeline_id)


def only_first(kfp_client, pipeline):
    of_name = where("name", "EQUALS", string_value=pipeline.name)
    (version,) = kfp_client.list_pipeline_versions(pipeline.pipeline_id, filter=of_name).pipeline_versions
    return version.pipeline_version_id


def test_delete_needs_cascade_while_there_are_versions(kfp_client, pipeline):
    error = refused(400, kfp_client.delete_pipeline, pipeline.pipeline_id)
    assert "Set cascade=true to delete all versions" in error["message"]
    pipelines = kfp_server_api.PipelineServiceApi(kfp_client._pipelines_api.api_client)
    pipelines.pipeline_service_delete_pipeline(pipeline_id=pipeline.pipeline_id, cascade=True)
    refused(404, kfp_client.get_pipeline, pipeline.pipeline_id)


def test_the_generated_client(kfp_client, api, pipeline):
    pipelines = kfp_server_api.PipelineServiceApi(kfp_client._pipelines_api.api_client)
    found = pipelines.pipeline_service_get_pipeline_by_name(name=pipeline.name, namespace="kubeflow")
    assert found.pipeline_id == pipeline.pipeline_id
    bare = pipelines.pipeline_service_create_pipeline(
        pipeline=kfp_server_api.V2beta1Pipeline(name=named("bare"), display_name="Bare", tags={"team": "ml"})
    )
    assert (bare.display_name, bare.tags) == ("Bare", {"team": "ml"})
    changed = pipelines.pipeline_service_update_pipeline(
        pipeline_pipeline_id=bare.pipeline_id,
        pipeline=kfp_server_api.V2beta1Pipeline(display_name="Barer", tags={"stage": "test"}),
    )
    assert (changed.display_name, changed.tags, changed.name) == ("Barer", {"stage": "test"}, bare.name)
    tagged = kfp_client.list_pipelines(filter=where("tags.stage", "EQUALS", string_value="test"))
    assert bare.pipeline_id in [p.pipeline_id for p in tagged.pipelines]
    version = only_version(kfp_client, pipeline)
    status, renamed = api.call(
        "PATCH",
        f"/pipelines/{pipeline.pipeline_id}/versions/{version.pipeline_version_id}",
        {"display_name": "First", "tags": {"a": "b"}},
    )
    assert (status, renamed["display_name"], renamed["tags"]) == (200, "First", {"a": "b"})
    status, error = api.call("PATCH", f"/pipelines/{bare.pipeline_id}", {"tags": {"a.b": "c"}})
    assert status == 400 and "must not contain" in error["message"]


def test_archives(api, kfp_client, package):
    text = package.read_bytes()
    for file, content in (
        ("p.zip", zipped({"other.yaml": b"x: 1", "pipeline.yaml": text})),
        ("p.tar.gz", tarred({"other.yaml": b"x: 1", "pipeline.yaml": text})),
        ("p.tar.gz", tarred({"mine.yaml": text})),
        ("p.json", json.dumps(yaml.safe_load(text)).encode()),
    ):
        status, made = upload(api, content, file, name=named("packed"))
        assert status == 200, (file, made)
        (version,) = kfp_client.list_pipeline_versions(made["pipeline_id"]).pipeline_versions
        assert version.pipeline_spec == yaml.safe_load(text), file


def test_a_package_of_two_documents(api, kfp_client, package):
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
    content = package.read_bytes() + b"\n---\n" + yaml.safe_dump(platform).encode()
    status, made = upload(api, content, name=named("two"))
    assert status == 200, made
    (version,) = kfp_client.list_pipeline_versions(made["pipeline_id"]).pipeline_versions
    assert version.pipeline_spec["pipeline_spec"] == yaml.safe_load(package.read_text())
    assert version.pipeline_spec["platform_spec"] == platform


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("p.yaml", b"root: [", "yaml"),
        ("p.yaml", b"", ""),
        ("p.yaml", b"just: data", ""),
        ("p.txt", b"hello", "Unexpected pipeline file format"),
        ("p.zip", b"PK\x03\x04 broken", "zip"),
        ("p.tar.gz", b"\x1f\x8b broken", "tarball"),
        ("p.zip", zipped({"readme.txt": b"hello"}), "Got: readme.txt"),
    ],
)
def test_bad_packages(api, file, content, words):
    status, error = upload(api, content, file, name=named("bad"))
    assert status == 400, error
    assert words.lower() in error["error_message"].lower()
    assert error["error_details"]


def test_a_small_archive_of_a_huge_file_is_refused(api):
    status, error = upload(api, zipped({"pipeline.yaml": b"\0" * (40 << 20)}), "p.zip", name=named("bomb"))
    assert status == 413, error
    status, error = upload(api, b"#" * ((32 << 20) + 1), "p.yaml", name=named("large"))
    assert status == 413, error


def test_other_faults_of_uploads(api, package):
    text = package.read_bytes()
    assert upload(api, text, name="x" * 129)[0] == 400
    assert upload(api, text, name=named("t"), tags="no json")[0] == 400
    assert upload(api, text, path="upload_version", name=named("v"))[0] == 400
    assert upload(api, text, path="upload_version", name=named("v"), pipelineid="none")[0] == 404
    status, made = upload(api, text, name=named("t"), tags='{"a": "b"}', display_name="Shown")
    assert (status, made["display_name"], made["tags"]) == (200, "Shown", {"a": "b"})


def test_pipelines_by_url(api, kfp_client, package):
    key = named("package") + ".yaml"
    api.s3.put_object(Bucket="mlpipeline", Key=key, Body=package.read_bytes())
    url = api.s3.generate_presigned_url("get_object", Params={"Bucket": "mlpipeline", "Key": key})
    status, made = api.call(
        "POST",
        "/pipelines/create",
        {
            "pipeline": {"display_name": named("by-url")},
            "pipeline_version": {"package_url": {"pipeline_url": url}},
        },
    )
    assert status == 200, made
    status, version = api.call(
        "POST",
        f"/pipelines/{made['pipeline_id']}/versions",
        {"pipeline_id": made["pipeline_id"], "display_name": "second", "package_url": {"pipeline_url": url}},
    )
    assert status == 200, version
    assert version["package_url"]["pipeline_url"] == url
    assert version["pipeline_spec"] == yaml.safe_load(package.read_text())
    body = {"pipeline_id": made["pipeline_id"], "display_name": "third"}
    for bad in ("", "nowhere", "file:///etc/passwd", url.split("?")[0] + ".none"):
        status, error = api.call(
            "POST",
            f"/pipelines/{made['pipeline_id']}/versions",
            {**body, "package_url": {"pipeline_url": bad}},
        )
        assert status == 400, (bad, error)
