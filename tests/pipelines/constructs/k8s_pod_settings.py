"""kfp.kubernetes: labels, annotations, field paths, tolerations, selectors, affinity, pull policy and secrets, users."""

import json

from kfp import dsl, kubernetes

from pipelines.steps import BUSYBOX, Expect, succeeded


@dsl.container_component
def show():
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'echo "$NAMESPACE"; echo "$LABEL"; echo "$POD"'],
    )


@dsl.pipeline
def k8s_pod_settings(zone: dict = {"kubernetes.io/os": "linux"}):
    task = show()
    kubernetes.add_pod_label(task, label_key="team", label_value="blue")
    kubernetes.add_pod_annotation(task, annotation_key="note", annotation_value="some text")
    kubernetes.use_field_path_as_env(task, env_name="NAMESPACE", field_path="metadata.namespace")
    kubernetes.use_field_path_as_env(task, env_name="LABEL", field_path="metadata.labels['team']")
    kubernetes.use_field_path_as_env(task, env_name="POD", field_path="metadata.name")
    kubernetes.add_toleration(task, key="dedicated", operator="Equal", value="ml", effect="NoSchedule")
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.set_image_pull_secrets(task, ["registry"])
    selected = show()
    kubernetes.add_node_selector_json(selected, node_selector_json=zone)
    kubernetes.add_node_affinity(
        selected,
        match_expressions=[{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}],
    )


EXPECT = Expect(succeeded("show", "show-2"))


def verify(run):
    pod = run.pod("show")
    assert run.log("show") == f"kubeflow\nblue\n{pod['metadata']['name']}\n"
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["annotations"]["note"] == "some text"
    spec = pod["spec"]
    assert {
        "key": "dedicated",
        "operator": "Equal",
        "value": "ml",
        "effect": "NoSchedule",
    } in spec["tolerations"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    other = run.pod("show-2")["metadata"]["annotations"]
    # What chooses among nodes is shown, and does not act where there is one.
    assert json.loads(other["pipelines.millrace.dev/node-selector"]) == {"kubernetes.io/os": "linux"}
    (affinity,) = json.loads(other["pipelines.millrace.dev/nodeAffinity"])
    assert affinity["matchExpressions"][0]["values"] == ["linux"]
