"""Strings with everything in them pass unchanged, and no shell and no placeholder reads them."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, say, succeeded

ODD = 'q\'"`\\ $HOME $(id) {{x}} %s <&> ünï 🙂\nsecond\tline {"a": "b"} '
# The SDK writes defaults into a comment at the top of the package: a line feed would end it.
PLAIN = ODD.replace("\n", " ").replace("\t", " ")
ARGUMENTS = {"given": ODD}


@dsl.component(base_image=PYTHON)
def same(text: str) -> str:
    return text


@dsl.component(base_image=PYTHON)
def check(texts: list, default: str, joined: str, empty: str):
    odd = 'q\'"`\\ $HOME $(id) {{x}} %s <&> \u00fcn\u00ef \U0001f642\nsecond\tline {"a": "b"} '
    assert texts == [odd, odd], texts
    assert default == odd.replace("\n", " ").replace("\t", " "), default
    assert joined == '{"a":"' + odd + '"}', joined
    assert empty == "", empty
    print("unchanged")


@dsl.pipeline
def strings(given: str, default: str = PLAIN):
    check(
        texts=[same(text=given).output, same(text=ODD).output],
        default=same(text=default).output,
        joined=f'{{"a":"{given}"}}',
        empty=same(text="").output,
    )
    say(text="pid $$ $(A) $$(B) $$$(C) $")


EXPECT = Expect(
    succeeded("same", "same-2", "same-3", "same-4", "check", "say"),
    says={"check": ["unchanged"]},
    logs={"say": "pid $$ $(A) $$(B) $$$(C) $\n"},
)
