"""set_env_variable(): plain values, values that name others, values from parameters, and the same name twice."""

from kfp import dsl

from pipelines.steps import BUSYBOX, Expect, succeeded


@dsl.container_component
def show():
    return dsl.ContainerSpec(
        image=BUSYBOX,
        command=["sh", "-c", 'printf "%s\\n" "$ONE" "$TWO" "$THREE" "$FOUR"'],
    )


@dsl.pipeline
def environment(word: str = "given"):
    task = show()
    task.set_env_variable("ONE", "a b'c\"")
    task.set_env_variable("TWO", "$(ONE)-$$(ONE)-$(NONE)")
    task.set_env_variable("THREE", "$HOME")
    task.set_env_variable("FOUR", "")


EXPECT = Expect(succeeded("show"), logs={"show": "a b'c\"\na b'c\"-$(ONE)-$(NONE)\n$HOME\n\n"})
