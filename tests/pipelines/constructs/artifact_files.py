"""Artifacts of container components: files and folders, by path, by URI and by metadata."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, read, succeeded, write


@dsl.container_component
def folder(tree: dsl.Output[dsl.Artifact]):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=[
            "sh",
            "-c",
            'mkdir -p "$0/sub"; printf one > "$0/a"; printf two > "$0/sub/b"',
        ],
        args=[tree.path],
    )


@dsl.container_component
def walk(tree: dsl.Input[dsl.Artifact]):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=[
            "sh",
            "-c",
            'cd "$0"; for f in a sub/b; do echo "$f: $(cat $f)"; done; echo "${1##*/}"',
        ],
        args=[tree.path, tree.uri],
    )


@dsl.pipeline
def artifact_files():
    read(data=write(text="hello file").outputs["data"])
    walk(tree=folder().outputs["tree"])


EXPECT = Expect(
    succeeded("write", "read", "folder", "walk"),
    logs={"read": "hello file", "walk": "a: one\nsub/b: two\ntree\n"},
    artifacts={"write": {"data": ("system.Dataset", {}, "hello file")}},
)
