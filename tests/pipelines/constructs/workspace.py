"""A workspace: one folder for all steps of the run, its path in texts and arguments, and artifacts in it."""

from kfp import dsl

from pipelines.steps import BUSYBOX, PYTHON, Expect, succeeded


@dsl.container_component
def put(folder: str):
    return dsl.ContainerSpec(image=BUSYBOX, command=["sh", "-c", 'echo kept > "$0/file"'], args=[folder])


@dsl.component(base_image=PYTHON)
def look(path: str):
    print("found", open(path).read().strip())


@dsl.pipeline(
    pipeline_config=dsl.PipelineConfig(
        workspace=dsl.WorkspaceConfig(
            size="100Mi",
            kubernetes=dsl.KubernetesWorkspaceConfig(pvcSpecPatch={"accessModes": ["ReadWriteOnce"]}),
        )
    )
)
def workspace():
    first = put(folder=dsl.WORKSPACE_PATH_PLACEHOLDER)
    look(path=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/file").after(first)


EXPECT = Expect(succeeded("put", "look"), says={"look": ["found kept"]})
