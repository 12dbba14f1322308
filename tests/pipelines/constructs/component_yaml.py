"""A component loaded from the text of a compiled one."""

import tempfile

from kfp import compiler, components, dsl

from pipelines.steps import Expect, give, say, succeeded

with tempfile.NamedTemporaryFile(suffix=".yaml") as f:
    compiler.Compiler().compile(give, f.name)
    loaded = components.load_component_from_file(f.name)


@dsl.pipeline
def component_yaml():
    say(text=loaded(text="from yaml").outputs["out"])


EXPECT = Expect(succeeded("give", "say"), logs={"say": "from yaml\n"})
