"""An exit handler around a loop with a condition in it; two handlers in one pipeline."""

from kfp import dsl

from pipelines.steps import Expect, say, skipped, succeeded


@dsl.pipeline
def exit_handler_loop():
    with dsl.ExitHandler(say(text="first done"), name="first"):
        with dsl.ParallelFor([1, 2]) as n:
            with dsl.If(n == 2):
                say(text="two")
    with dsl.ExitHandler(say(text="second done")):
        say(text="inside")


EXPECT = Expect(
    {
        **succeeded(
            "say",
            "exit-handler-1",
            "exit-handler-1/for-loop-3",
            "exit-handler-1/for-loop-3/0",
            "exit-handler-1/for-loop-3/1",
            "exit-handler-1/for-loop-3/1/condition-4",
            "exit-handler-1/for-loop-3/1/condition-4/say-2",
            "say-3",
            "exit-handler-5",
            "exit-handler-5/say-4",
        ),
        **skipped("exit-handler-1/for-loop-3/0/condition-4"),
    },
    logs={
        "say": "first done\n",
        "exit-handler-1/for-loop-3/1/condition-4/say-2": "two\n",
        "say-3": "second done\n",
    },
    names={"exit-handler-1": "first"},
)
