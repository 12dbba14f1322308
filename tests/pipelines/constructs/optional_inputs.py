"""Optional inputs and defaults: what is not given leaves the component's own default in place."""

from typing import Optional

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded

ARGUMENTS = {"empty": "", "null": None}


@dsl.component(base_image=PYTHON)
def show(
    absent: str = "own",
    none: Optional[str] = None,
    empty: str = "own",
    null: Optional[int] = 5,
    data: Optional[dsl.Input[dsl.Dataset]] = None,
):
    print("got", repr((absent, none, empty, null, data)))


@dsl.pipeline
def optional_inputs(
    absent: Optional[str] = None,
    empty: Optional[str] = None,
    null: Optional[int] = None,
    data: Optional[dsl.Input[dsl.Dataset]] = None,
):
    show(absent=absent, empty=empty, null=null, data=data)
    show()


EXPECT = Expect(
    succeeded("show", "show-2"),
    says={
        "show": ["got ('own', None, '', 5, None)"],
        "show-2": ["got ('own', None, 'own', 5, None)"],
    },
)
