"""Artifacts of every system type, with their metadata, from step to step."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.component(base_image=PYTHON)
def make(
    plain: dsl.Output[dsl.Artifact],
    data: dsl.Output[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    classes: dsl.Output[dsl.ClassificationMetrics],
    slices: dsl.Output[dsl.SlicedClassificationMetrics],
    page: dsl.Output[dsl.HTML],
    text: dsl.Output[dsl.Markdown],
):
    for artifact in (plain, data, model, page, text):
        with open(artifact.path, "w") as f:
            f.write("content of " + artifact.name)
    plain.metadata["note"] = "any"
    data.metadata.update({"rows": 3, "columns": ["a", "b"], "nested": {"x": 1.5}})
    model.framework = "none"
    metrics.log_metric("accuracy", 0.75)
    metrics.log_metric("count", 7)
    classes.log_confusion_matrix(["yes", "no"], [[3, 1], [0, 4]])
    slices.metadata["slice"] = "first"
    classes.log_roc_curve([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])


@dsl.component(base_image=PYTHON)
def check(
    plain: dsl.Input[dsl.Artifact],
    data: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    metrics: dsl.Input[dsl.Metrics],
    classes: dsl.Input[dsl.ClassificationMetrics],
    slices: dsl.Input[dsl.SlicedClassificationMetrics],
    page: dsl.Input[dsl.HTML],
    text: dsl.Input[dsl.Markdown],
):
    for artifact in (plain, data, model, page, text):
        with open(artifact.path) as f:
            assert f.read() == "content of " + artifact.name.split("/")[-1], artifact.name
    assert plain.metadata["note"] == "any"
    assert data.metadata["rows"] == 3 and data.metadata["columns"] == ["a", "b"], data.metadata
    assert data.metadata["nested"] == {"x": 1.5}
    assert model.framework == "none"
    assert metrics.metadata["accuracy"] == 0.75 and metrics.metadata["count"] == 7
    assert classes.metadata["confusionMatrix"]["rows"][1]["row"] == [0, 4], classes.metadata
    print("all artifacts")


@dsl.pipeline
def artifact_types():
    made = make().outputs
    check(
        **{
            name: made[name]
            for name in (
                "plain",
                "data",
                "model",
                "metrics",
                "classes",
                "slices",
                "page",
                "text",
            )
        }
    )


EXPECT = Expect(
    succeeded("make", "check"),
    says={"check": ["all artifacts"]},
    artifacts={
        "make": {
            "plain": ("system.Artifact", {"note": "any"}, "content of plain"),
            "data": (
                "system.Dataset",
                {"rows": 3, "columns": ["a", "b"]},
                "content of data",
            ),
            "model": ("system.Model", {"framework": "none"}, "content of model"),
            "metrics": ("system.Metrics", {"accuracy": 0.75, "count": 7}, None),
            "classes": ("system.ClassificationMetrics", {}, None),
            "slices": ("system.SlicedClassificationMetrics", {"slice": "first"}, None),
            "page": ("system.HTML", {}, "content of page"),
            "text": ("system.Markdown", {}, "content of text"),
        }
    },
)
