"""TaskConfig: the settings of a task as an input of its function, kept from its own pod or not."""

from kfp import dsl

from pipelines.steps import PYTHON, Expect, succeeded


@dsl.component(
    base_image=PYTHON,
    task_config_passthroughs=[
        dsl.TaskConfigField.RESOURCES,
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
    ],
)
def show(config: dsl.TaskConfig):
    import os

    print("resources", config.resources.get("limits"))
    print("env", [(e["name"], e["value"]) for e in config.env], os.environ.get("WORD"))


@dsl.pipeline
def task_config():
    show().set_cpu_limit("2").set_memory_limit("1Gi").set_env_variable("WORD", "w")


EXPECT = Expect(
    succeeded("show"),
    says={"show": ["resources {'cpu': '2', 'memory': '1Gi'}", "env [('WORD', 'w')] w"]},
)
