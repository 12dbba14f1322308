"""Random plans of nested groups, conditions, loops, failures, retries and exit handlers, against a reference interpreter."""

import os
import random

import pytest

from pipelines.reference import Interpreter
from pipelines.runs import api  # noqa: F401

PLANS = int(os.environ.get("MILLRACE_TEST_PLANS") or 24)
FIRST = int(os.environ.get("MILLRACE_TEST_PLANS_FROM") or 1)
AT_ONCE = 4

# $0 a, $1 b, $2 the value of a that is bad, $3 how many attempts fail then, $4 the status of what it guards, $5 output
SCRIPT = (
    'echo "a=$0 b=$1 status=$4"; [ "$0" = "$2" ] && [ "${KFP_RETRY_INDEX:-0}" -lt "$3" ] && exit 1; '
    'echo $(($0 + $1)) > "$5"'
)
STATUS = "{{$.inputs.parameters['status']}}"


def constant(value):
    return {"runtimeValue": {"constant": value}}


def step_component(with_default, with_status):
    inputs = {n: {"parameterType": "NUMBER_INTEGER"} for n in ("a", "b", "bad", "times")}
    if with_default:
        inputs["a"] |= {"defaultValue": 2, "isOptional": True}
    if with_status:
        inputs["status"] = {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}
    return {
        "executorLabel": f"exec-step-{with_default}-{with_status}".lower(),
        "inputDefinitions": {"parameters": inputs},
        "outputDefinitions": {"parameters": {"out": {"parameterType": "NUMBER_INTEGER"}}},
    }


def step_executor(with_status):
    args = ["{{$.inputs.parameters['" + n + "']}}" for n in ("a", "b", "bad", "times")]
    # The status is JSON: its state is cut out by the shell.
    script = SCRIPT.replace("$4", '$(echo "$4" | sed -n \'s/.*"state":"\\([A-Z]*\\)".*/\\1/p\')')
    return {
        "container": {
            "image": "busybox:1.36",
            "command": ["sh", "-c", script if with_status else SCRIPT],
            "args": [
                *args,
                STATUS if with_status else "",
                "{{$.outputs.parameters['out'].output_file}}",
            ],
        }
    }


class Generator:
    """Writes one random PipelineSpec."""

    def __init__(self, seed, steps=24):
        self.pick = random.Random(seed)
        self.components = {}
        self.left = steps  # still to be written
        for d in (False, True):
            for s in (False, True):
                self.components[f"comp-step-{d}-{s}".lower()] = step_component(d, s)

    def chance(self, percent):
        return self.pick.randrange(100) < percent

    def spec(self):
        root = self.dag(0, in_loop=False)
        return {
            "pipelineInfo": {"name": "random-plan"},
            "schemaVersion": "2.1.0",
            "sdkVersion": "kfp-2.17.3",
            "root": {"dag": root["dag"]},
            "components": self.components,
            "deploymentSpec": {
                "executors": {
                    f"exec-step-{d}-{s}".lower(): step_executor(s) for d in (False, True) for s in (False, True)
                }
            },
        }

    def dag(self, depth, in_loop):
        """A component of a few tasks, with the number `x` as its input below the root, and perhaps an output `out`."""
        tasks, kinds = {}, {}
        for i in range(self.pick.randint(1 if depth else 4, 5 if depth else 8)):
            if self.left <= 0 and i:
                break
            name = f"t{i}"
            group = depth < 3 and self.chance(35)
            tasks[name], kinds[name] = self.group(depth, tasks, kinds) if group else self.step(depth, tasks, kinds)
        component = {"dag": {"tasks": tasks}}
        if depth:
            component["inputDefinitions"] = {"parameters": {"x": {"parameterType": "NUMBER_INTEGER"}}}
            numbers = [n for n, k in kinds.items() if k == "number"]
            if numbers and self.chance(70):
                if len(numbers) > 1 and self.chance(30):
                    chosen = self.pick.sample(numbers, 2)
                    selectors = [{"producerSubtask": n, "outputParameterKey": "out"} for n in chosen]
                    out = {"valueFromOneof": {"parameterSelectors": selectors}}
                else:
                    out = {
                        "valueFromParameter": {
                            "producerSubtask": self.pick.choice(numbers),
                            "outputParameterKey": "out",
                        }
                    }
                component["dag"]["outputs"] = {"parameters": {"out": out}}
                component["outputDefinitions"] = {"parameters": {"out": {"parameterType": "NUMBER_INTEGER"}}}
        return component

    def number(self, depth, kinds):
        """A source of a whole number."""
        numbers = [n for n, k in kinds.items() if k == "number"]
        if numbers and self.chance(45):
            return {
                "taskOutputParameter": {
                    "producerTask": self.pick.choice(numbers),
                    "outputParameterKey": "out",
                }
            }
        if depth and self.chance(60):
            return {"componentInputParameter": "x"}
        return constant(self.pick.randint(0, 4))

    def common(self, task, tasks, may_wait):
        """What any task may have: things to wait for, a strategy, a condition."""
        trigger = {}
        if may_wait and self.chance(35):
            task["dependentTasks"] = self.pick.sample(sorted(tasks), self.pick.randint(1, min(2, len(tasks))))
        if may_wait and self.chance(20):
            trigger["strategy"] = "ALL_UPSTREAM_TASKS_COMPLETED"
        if trigger:
            task["triggerPolicy"] = trigger
        return task

    def step(self, depth, tasks, kinds):
        self.left -= 1
        guard = bool(tasks) and self.chance(15)
        default = self.chance(50)
        inputs = {
            "a": self.number(depth, kinds),
            "b": constant(self.pick.randint(0, 2)),
            "bad": constant(self.pick.randint(0, 9)),
            "times": constant(self.pick.choice([1, 1, 2, 9])),
        }
        task = {
            "componentRef": {"name": f"comp-step-{default}-{guard}".lower()},
            "taskInfo": {"name": "step"},
            "inputs": {"parameters": inputs},
        }
        self.common(task, tasks, bool(tasks))
        if guard:
            guarded = self.pick.choice(sorted(tasks))
            inputs["status"] = {"taskFinalStatus": {"producerTask": guarded}}
            task["dependentTasks"] = sorted({*task.get("dependentTasks", []), guarded})
            task["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
        if self.chance(40):
            task["retryPolicy"] = {
                "maxRetryCount": self.pick.randint(1, 2),
                "backoffDuration": "0s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": "3600s",
            }
        if default and self.chance(20):
            self.condition(task, "a")
        return task, "number"

    def condition(self, task, name):
        operator = self.pick.choice(["==", "!=", "<", "<=", ">", ">="])
        text = f"int(inputs.parameter_values['{name}']) {operator} {self.pick.randint(0, 4)}"
        task.setdefault("triggerPolicy", {})["condition"] = text

    def group(self, depth, tasks, kinds):
        """A nested DAG: always, under a condition, or once for each item."""
        kind = self.pick.choice(["plain", "condition", "loop", "loop"])
        inner = self.dag(depth + 1, in_loop=kind == "loop")
        name = f"comp-group-{len(self.components)}"
        self.components[name] = inner
        task = {
            "componentRef": {"name": name},
            "taskInfo": {"name": name},
            "inputs": {"parameters": {}},
        }
        parameters = task["inputs"]["parameters"]
        self.common(task, tasks, bool(tasks))
        has_out = "outputDefinitions" in inner
        if kind != "loop":
            parameters["x"] = self.number(depth, kinds)
            if kind == "condition":
                self.condition(task, "x")
            return task, "number" if has_out else "none"
        items = [self.pick.randint(0, 6) for _ in range(self.pick.randint(0, 3))]
        lists = [n for n, k in kinds.items() if k == "list"]
        task["parameterIterator"] = {"itemInput": "x"}
        if lists and self.chance(60):
            # Over what another loop gave.
            producer = self.pick.choice(lists)
            inner["inputDefinitions"]["parameters"]["items"] = {"parameterType": "LIST"}
            parameters["items"] = {
                "taskOutputParameter": {
                    "producerTask": producer,
                    "outputParameterKey": "out",
                }
            }
            task["parameterIterator"]["items"] = {"inputParameter": "items"}
            limits = [0, 1]
        else:
            task["parameterIterator"]["items"] = {"raw": str(items)}
            limits = [0, 1, *([2] if len(items) <= 2 else [])]
        limit = self.pick.choice(limits)
        if limit:
            task["iteratorPolicy"] = {"parallelismLimit": limit}
        return task, "list" if has_out else "none"


@pytest.mark.parametrize("first", range(FIRST, FIRST + PLANS, AT_ONCE))
def test_random_plans_end_as_the_reference_says(api, first):
    plans = {seed: Generator(seed).spec() for seed in range(first, min(first + AT_ONCE, FIRST + PLANS))}
    runs = {seed: api.run(spec, name=f"plan-{seed}") for seed, spec in plans.items()}
    for seed, run in runs.items():
        expected = Interpreter(plans[seed])
        state = expected.run()
        run.wait(120)
        assert (run.state, run.states()) == (state, expected.states), f"seed {seed}\n{run.describe()}"
        logs = {path: run.log(path) for path in expected.logs}
        assert logs == expected.logs, f"seed {seed}"
