"""Importers: a constant URI, a URI from a parameter, metadata with a parameter in it."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, succeeded

ARGUMENTS = {"uri": "s3://mlpipeline/imported/by-parameter.txt"}
OBJECTS = {
    "imported/constant.txt": "imported content",
    "imported/by-parameter.txt": "other content",
}


@dsl.container_component
def show(data: dsl.Input[dsl.Dataset]):
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'cat "$0"; echo; echo "$1"; echo "$2"'],
        args=[data.path, data.uri, data.metadata["owner"]],
    )


@dsl.pipeline
def importer(uri: str, owner: str = "somebody"):
    constant = dsl.importer(
        artifact_uri="s3://mlpipeline/imported/constant.txt",
        artifact_class=dsl.Dataset,
        metadata={"owner": "me"},
    )
    given = dsl.importer(
        artifact_uri=uri,
        artifact_class=dsl.Dataset,
        reimport=True,
        metadata={"owner": owner, "of": {"owners": [owner, f"not {owner}"], "kind": "file"}},
    )
    show(data=constant.output)
    show(data=given.output)


EXPECT = Expect(
    succeeded("importer", "importer-2", "show", "show-2"),
    logs={
        "show": "imported content\ns3://mlpipeline/imported/constant.txt\nme\n",
        "show-2": "other content\ns3://mlpipeline/imported/by-parameter.txt\nsomebody\n",
    },
    artifacts={
        "importer": {"artifact": ("system.Dataset", {"owner": "me"}, "imported content")},
        "importer-2": {
            "artifact": (
                "system.Dataset",
                {"owner": "somebody", "of": {"owners": ["somebody", "not somebody"], "kind": "file"}},
                "other content",
            )
        },
    },
)
