"""`millrace apply` and `delete`: what they change, and what they say of it."""

import json

import pytest

from .pods import pod, running, text
from .record.shapes import configmap, deployment

# ---- apply ---------------------------------------------------------------------------------------------------------


def test_apply_creates_changes_and_leaves(own):
    def objects(n):
        return text(deployment(replicas=0), configmap("c", data={"n": str(n)}))

    assert own("apply", "-f", "-", input=objects(1)) == "deployment.apps/d created\nconfigmap/c created\n"
    assert own("apply", "-f", "-", input=objects(1)) == "deployment.apps/d unchanged\nconfigmap/c unchanged\n"
    assert own("apply", "-f", "-", input=objects(2)) == "deployment.apps/d unchanged\nconfigmap/c configured\n"
    dry = own("apply", "-f", "-", "--dry-run", input=objects(3))
    assert dry == "deployment.apps/d unchanged (server dry run)\nconfigmap/c configured (server dry run)\n"
    c = json.loads(own("get", "cm", "c", "-o", "json"))
    assert c["data"] == {"n": "2"}
    # What is taken out of the file goes from the object.
    own("apply", "-f", "-", input=json.dumps(configmap("c", data={})))
    assert not json.loads(own("get", "cm", "c", "-o", "json")).get("data")


def test_apply_reads_files_folders_lists_and_json(own, tmp_path):
    (tmp_path / "b.yaml").write_text(
        "# comments alone\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  text: |\n    a\n\n    ---b\n---\n"
    )
    (tmp_path / "a.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [configmap("l1"), configmap("l2")]})
    )
    (tmp_path / "notes.txt").write_text("not for applying")
    out = own("apply", "-f", tmp_path)
    assert out == "configmap/l1 created\nconfigmap/l2 created\nconfigmap/b created\n"
    assert json.loads(own("get", "cm", "b", "-o", "json"))["data"] == {"text": "a\n\n---b\n"}
    # JSON texts one after the other
    out = own("apply", "-f", "-", input=json.dumps(configmap("j1")) + json.dumps(configmap("j2"), indent=1))
    assert out == "configmap/j1 created\nconfigmap/j2 created\n"


def test_apply_says_what_is_wrong_and_goes_on(own, tmp_path):
    bad = deployment(name="bad")
    bad["spec"]["replicaz"] = 1
    invalid = deployment(name="invalid")
    invalid["spec"]["selector"] = {"matchLabels": {"other": "one"}}
    done = own.run("apply", "-f", "-", input=text(bad, configmap("after"), invalid, {**configmap("p"), "kind": "Podd"}))
    assert done.returncode == 1
    assert done.stdout == "configmap/after created\n"
    assert 'unknown field "spec.replicaz"' in done.stderr or ".spec.replicaz: field not declared" in done.stderr
    assert "spec.template.metadata.labels: Invalid value" in done.stderr
    assert 'no matches for kind "Podd" in version "v1"' in done.stderr

    def fails(content, *more):
        return own.fails("apply", "-f", "-", *more, input=content)

    assert "kind is not set" in fails("a: b")
    assert "document 2" in fails("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\na: [")
    assert "JSON" in fails('{"a": ')
    assert "metadata.name" in fails('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}')
    assert "no objects" in fails("# nothing\n")
    elsewhere = configmap("x")
    elsewhere["metadata"]["namespace"] = "kubeflow"
    assert "leave -n out" in fails(json.dumps(elsewhere))
    elsewhere["metadata"]["namespace"] = "no-such-namespace"
    (tmp_path / "x.json").write_text(json.dumps(elsewhere))
    done = own.bare("apply", "-f", tmp_path / "x.json")
    assert done.returncode == 1 and "Make the namespace first" in done.stderr
    assert "does not exist" in own.fails("apply", "-f", tmp_path / "absent.yaml")
    assert "millrace apply -f" in own.fails("apply")


def test_apply_and_other_managers(own, kubectl):
    kubectl("apply", "-f", "-", input=json.dumps(configmap("c", data={"a": "theirs"})))
    ours = json.dumps(configmap("c", data={"a": "ours"}))
    refused = own.fails("apply", "-f", "-", input=ours)
    assert "conflict" in refused and "kubectl-client-side-apply" in refused and "--force-conflicts" in refused
    assert own("apply", "-f", "-", "--force-conflicts", input=ours) == "configmap/c configured\n"
    assert json.loads(own("get", "cm", "c", "-o", "json"))["data"] == {"a": "ours"}


def test_a_kind_and_an_object_of_it_in_one_file(own):
    group = own.namespace.removeprefix("test-") + ".example.com"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                        }
                    },
                }
            ],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    try:
        out = own("apply", "-f", "-", input=text(crd, widget))
        assert out.splitlines()[1] == f"widget.{group}/w created"
        assert "  size: 3\n" in own("describe", f"widgets.{group}", "w")
    finally:
        own("delete", "crd", f"widgets.{group}")
    assert "doesn't have a resource type" in own.fails("get", f"widgets.{group}")


# ---- delete --------------------------------------------------------------------------------------------------------


@pytest.mark.pods
def test_delete_waits_until_pods_are_gone(own, api):
    p = pod("p", "python3", "-c", "import time; time.sleep(600)")
    own("apply", "-f", "-", input=json.dumps(p))
    running(api, own.namespace, "p")
    assert own("delete", "pod", "p") == 'pod "p" deleted\n'
    assert api.call("GET", f"/api/v1/namespaces/{own.namespace}/pods/p").status_code == 404


def test_delete_by_file_selector_and_all(own):
    objects = text(deployment(replicas=0), *(configmap(n, data={}) for n in "abc"))
    own("apply", "-f", "-", input=objects)
    own("apply", "-f", "-", input=json.dumps({**configmap("l"), "metadata": {"name": "l", "labels": {"k": "v"}}}))
    assert own("delete", "cm", "-l", "k=v") == 'configmap "l" deleted\n'
    out = own("delete", "-f", "-", input=objects)
    assert out == 'deployment.apps "d" deleted\n' + "".join(f'configmap "{n}" deleted\n' for n in "abc")
    done = own.run("delete", "-f", "-", input=objects)
    assert done.returncode == 1 and done.stderr.count("not found") == 4
    assert own("delete", "-f", "-", "--ignore-not-found", input=objects) == ""
    own("apply", "-f", "-", input=objects)
    assert own("delete", "cm", "--all", "--wait=false").count("deleted") >= 3


def test_delete_says_what_is_wrong(own):
    assert "-l LABELS" in own.fails("delete", "cm")
    assert "millrace delete --help" in own.fails("delete")
    assert "not found" in own.fails("delete", "cm", "nope")
    held = configmap("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    own("apply", "-f", "-", input=json.dumps(held))
    done = own.run("delete", "cm", "held", "--timeout", "1")
    assert done.returncode == 1 and done.stdout == 'configmap "held" deleted\n'
    assert "still there" in done.stderr and "example.com/hold" in done.stderr
    held["metadata"]["finalizers"] = []
    own("apply", "-f", "-", input=json.dumps(held))
    assert "not found" in own.fails("get", "cm", "held")
