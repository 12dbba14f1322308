"""Forms that the compilers before kfp 2 wrote, and snake_case names, which the API takes as well."""

from pipelines.runs import api  # noqa: F401
from pipelines.steps import BUSYBOX


def executor(*args):
    return {"container": {"image": BUSYBOX, "command": ["printf", "%s|"], "args": list(args)}}


def placeholder(name):
    return "{{$.inputs.parameters['" + name + "']}}"


def test_types_constants_and_conditions_of_old_files(api):
    spec = {
        "pipelineInfo": {"name": "old"},
        "schemaVersion": "2.0.0",
        "root": {
            "inputDefinitions": {"parameters": {"word": {"type": "STRING"}}},
            "dag": {
                "tasks": {
                    "show": {
                        "componentRef": {"name": "comp-show"},
                        "inputs": {
                            "parameters": {
                                "i": {"runtimeValue": {"constantValue": {"intValue": "41"}}},
                                "d": {"runtimeValue": {"constantValue": {"doubleValue": 0.5}}},
                                "s": {"runtimeValue": {"constantValue": {"stringValue": "12"}}},
                                "w": {"runtimeValue": {"runtimeParameter": "word"}},
                            }
                        },
                        "triggerPolicy": {"condition": "inputs.parameters['w'].string_value == 'yes'"},
                    },
                    "not-shown": {
                        "componentRef": {"name": "comp-other"},
                        "inputs": {"parameters": {"w": {"componentInputParameter": "word"}}},
                        "triggerPolicy": {"condition": "inputs.parameters['w'].string_value != 'yes'"},
                    },
                }
            },
        },
        "components": {
            "comp-show": {
                "executorLabel": "exec-show",
                "inputDefinitions": {
                    "parameters": {
                        "i": {"type": "INT"},
                        "d": {"type": "DOUBLE"},
                        "s": {"type": "STRING"},
                        "w": {"type": "STRING"},
                        "n": {"parameterType": "NUMBER_INTEGER", "defaultValue": "1000"},
                    }
                },
            },
            "comp-other": {
                "executorLabel": "exec-other",
                "inputDefinitions": {"parameters": {"w": {"type": "STRING"}}},
            },
        },
        "deploymentSpec": {
            "executors": {
                "exec-show": executor(*(placeholder(n) for n in "idswn")),
                "exec-other": executor(placeholder("w")),
            }
        },
    }
    run = api.run(spec, {"word": "yes"}).wait()
    assert (run.state, run.states()) == ("SUCCEEDED", {"show": "SUCCEEDED", "not-shown": "SKIPPED"}), run.describe()
    assert run.log("show") == "41|0.5|12|yes|1000|"


def test_snake_case_names(api):
    spec = {
        "pipeline_info": {"name": "snake"},
        "root": {
            "dag": {
                "tasks": {
                    "show": {
                        "component_ref": {"name": "comp-show"},
                        "task_info": {"name": "shown"},
                        "inputs": {"parameters": {"w": {"runtime_value": {"constant": "x"}}}},
                        "retry_policy": {"max_retry_count": "2", "backoff_duration": "1s"},
                    }
                }
            }
        },
        "components": {
            "comp-show": {
                "executor_label": "exec-show",
                "input_definitions": {"parameters": {"w": {"parameter_type": "STRING"}}},
            }
        },
        "deployment_spec": {"executors": {"exec-show": executor(placeholder("w"))}},
    }
    run = api.run(spec).wait()
    assert run.state == "SUCCEEDED" and run.log("show") == "x|", run.describe()
    assert run.tasks()["show"]["display_name"] == "shown"
