"""A component alone, compiled as a pipeline: its inputs are the pipeline's."""

from pipelines.steps import Expect, say, succeeded

single_component = say
ARGUMENTS = {"text": "alone"}
EXPECT = Expect(succeeded("say"), logs={"say": "alone\n"})
