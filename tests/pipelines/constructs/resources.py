"""Requests and limits of processor and memory, constant and from parameters."""

from kfp import dsl

from pipelines.steps import Expect, say, succeeded


@dsl.pipeline
def resources(memory: str = "128Mi", cpu: str = "500m"):
    say(text="fixed").set_cpu_request("100m").set_cpu_limit("1").set_memory_request("32Mi").set_memory_limit("1G")
    say(text="given").set_cpu_limit(cpu).set_memory_limit(memory)


EXPECT = Expect(succeeded("say", "say-2"), logs={"say": "fixed\n", "say-2": "given\n"})


def verify(run):
    limits = run.pod("say-2")["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "500m", "memory": "128Mi"}, limits
    fixed = run.pod("say")["spec"]["containers"][0]["resources"]
    assert fixed == {
        "limits": {"cpu": "1", "memory": "1G"},
        "requests": {"cpu": "100m", "memory": "32Mi"},
    }, fixed
