"""ParallelFor over lists that are known only in the run: a parameter, an output, a member of an item."""

from kfp import dsl

from pipelines.steps import Expect, give_list, say, succeeded

ARGUMENTS = {"words": ["a", "b", "c"]}


@dsl.pipeline
def for_dynamic(words: list):
    with dsl.ParallelFor(words) as word:
        say(text=word)
    with dsl.ParallelFor(give_list(items='[{"k": "v1"}, {"k": "v2"}]').outputs["out"]) as item:
        say(text=item.k)


EXPECT = Expect(
    succeeded(
        "give-list",
        "for-loop-1",
        *(f"for-loop-1/{i}{t}" for i in range(3) for t in ("", "/say")),
        "for-loop-2",
        *(f"for-loop-2/{i}{t}" for i in range(2) for t in ("", "/say-2")),
    ),
    logs={
        "for-loop-1/2/say": "c\n",
        "for-loop-2/0/say-2": "v1\n",
        "for-loop-2/1/say-2": "v2\n",
    },
)
