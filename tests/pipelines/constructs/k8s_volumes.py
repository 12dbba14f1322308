"""kfp.kubernetes: a claim that the pipeline makes, mounts in two steps and deletes; one that was there; empty folders."""

from kfp import dsl, kubernetes

from pipelines.steps import BUSYBOX, Expect, succeeded


@dsl.container_component
def sh(script: str):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c"], args=[script])


@dsl.pipeline
def k8s_volumes():
    claim = kubernetes.CreatePVC(
        pvc_name_suffix="-construct",
        access_modes=["ReadWriteOnce"],
        size="10Mi",
        storage_class_name="standard",
    )
    first = sh(script="echo shared > /data/file")
    kubernetes.mount_pvc(first, pvc_name=claim.outputs["name"], mount_path="/data")
    second = sh(script="cat /data/file").after(first)
    kubernetes.mount_pvc(second, pvc_name=claim.outputs["name"], mount_path="/data")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(second)
    empty = sh(script="echo scratch > /scratch/x; cat /scratch/x; ls /big | wc -l")
    kubernetes.empty_dir_mount(empty, volume_name="scratch", mount_path="/scratch")
    kubernetes.add_ephemeral_volume(
        empty,
        volume_name="big",
        mount_path="/big",
        access_modes=["ReadWriteOnce"],
        size="10Mi",
    )


EXPECT = Expect(
    succeeded("createpvc", "sh", "sh-2", "deletepvc", "sh-3"),
    logs={"sh-2": "shared\n", "sh-3": "scratch\n0\n"},
)


def verify(run):
    claims = run.kube("/api/v1/namespaces/kubeflow/persistentvolumeclaims")["items"]
    left = [c["metadata"]["name"] for c in claims if c["metadata"]["name"].endswith("-construct")]
    assert left == [], left
