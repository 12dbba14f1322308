"""Parameters of every type: as defaults, as arguments, as constants, and from step to step, with their own Python types."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded

ARGUMENTS = {
    "s": "given",
    "i": -7,
    "f": 2.5,
    "b": False,
    "l": [1, "two", [3.5]],
    "d": {"k": {"n": 1, "x": None}},
}


@dsl.component(base_image=PYTHON)
def types(s: str, i: int, f: float, b: bool, l: list, d: dict) -> str:
    import json

    kinds = [type(v).__name__ for v in (s, i, f, b, l, d)]
    assert kinds == ["str", "int", "float", "bool", "list", "dict"], kinds
    return json.dumps([s, i, f, b, l, d])


@dsl.component(base_image=PYTHON)
def show(given: str, constant: str, default: str):
    import json

    assert json.loads(given) == [
        "given",
        -7,
        2.5,
        False,
        [1, "two", [3.5]],
        {"k": {"n": 1, "x": None}},
    ], given
    assert json.loads(constant) == [
        "c",
        9007199254740991,
        1e-7,
        True,
        [],
        {"deep": [{"a": 1}]},
    ], constant
    assert json.loads(default) == ["d", 3, 4.5, True, [1.5], {"z": "y"}], default
    # Whole numbers inside of lists and structs stay whole.
    assert "[1, " in given and '"n": 1,' in given, given
    print("all types")


@dsl.pipeline
def parameter_types(
    s: str,
    i: int,
    f: float,
    b: bool,
    l: list,
    d: dict,
    s2: str = "d",
    i2: int = 3,
    f2: float = 4.5,
    b2: bool = True,
    l2: list = [1.5],
    d2: dict = {"z": "y"},
):
    show(
        given=types(s=s, i=i, f=f, b=b, l=l, d=d).output,
        constant=types(s="c", i=9007199254740991, f=1e-7, b=True, l=[], d={"deep": [{"a": 1}]}).output,
        default=types(s=s2, i=i2, f=f2, b=b2, l=l2, d=d2).output,
    )


EXPECT = Expect(succeeded("types", "types-2", "types-3", "show"), says={"show": ["all types"]})
