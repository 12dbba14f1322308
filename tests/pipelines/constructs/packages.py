"""A Python component that asks for a package of its own."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.component(base_image=PYTHON, packages_to_install=["iniconfig==2.1.0"])
def use() -> str:
    import iniconfig

    return iniconfig.IniConfig("x", data="[a]\nb=c")["a"]["b"]


@dsl.component(base_image=PYTHON)
def lacks(word: str):
    print("got", word)


@dsl.pipeline
def packages():
    lacks(word=use().output)


EXPECT = Expect(succeeded("use", "lacks"), says={"lacks": ["got c"]})
