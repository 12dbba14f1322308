"""A simple interpreter of the pipelines that test_random_plans makes: what each task's state has to be.

It walks the same document that the server gets, one task after the other, and knows nothing of time: where several
tasks could run at once, their order must not matter.
"""

import re

SUCCEEDED, FAILED, SKIPPED = "SUCCEEDED", "FAILED", "SKIPPED"
OPERATORS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
CONDITION = re.compile(r"int\(inputs\.parameter_values\['(\w+)'\]\) (\S+) (-?\d+)")


class Node:
    def __init__(self, state, outputs=None):
        self.state = state
        self.outputs = outputs or {}


class Interpreter:
    def __init__(self, spec):
        self.spec = spec
        self.states = {}  # path -> state
        self.logs = {}  # path of a step that ran -> its log

    def run(self):
        """The run's state."""
        return self.dag(self.spec["root"], {}, "").state

    def dag(self, component, inputs, path):
        nodes = {}
        tasks = component["dag"]["tasks"]
        for name in tasks:
            self.visit(name, tasks, inputs, path, nodes)
        if any(n.state == FAILED for n in nodes.values()):
            return Node(FAILED)
        outputs = {}
        for name, source in component["dag"].get("outputs", {}).get("parameters", {}).items():
            if "valueFromParameter" in source:
                candidates = [source["valueFromParameter"]]
            else:
                candidates = source["valueFromOneof"]["parameterSelectors"]
            found = [
                nodes[c["producerSubtask"]].outputs[c["outputParameterKey"]]
                for c in candidates
                if nodes[c["producerSubtask"]].state == SUCCEEDED
                and c["outputParameterKey"] in nodes[c["producerSubtask"]].outputs
            ]
            if "valueFromOneof" in source and len(found) != 1:
                return Node(FAILED)
            if found:
                outputs[name] = found[0]
        return Node(SUCCEEDED, outputs)

    def visit(self, name, tasks, scope, path, nodes):
        """Settles a task after all that it waits for."""
        if name in nodes:
            return
        task = tasks[name]
        sources = task.get("inputs", {}).get("parameters", {})
        upstream = set(task.get("dependentTasks", []))
        for s in sources.values():
            for kind in ("taskOutputParameter", "taskFinalStatus"):
                if kind in s:
                    upstream.add(s[kind]["producerTask"])
        for u in sorted(upstream):
            self.visit(u, tasks, scope, path, nodes)
        full = f"{path}/{name}" if path else name
        nodes[name] = self.settle(task, sources, upstream, scope, full, nodes)
        self.states[full] = nodes[name].state

    def settle(self, task, sources, upstream, scope, full, nodes):
        trigger = task.get("triggerPolicy", {})
        always = trigger.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
        if not always and any(nodes[u].state != SUCCEEDED for u in upstream):
            return Node(SKIPPED)
        component = self.spec["components"][task["componentRef"]["name"]]
        iterator = task.get("parameterIterator")
        values = {}
        for name, s in sources.items():
            if "runtimeValue" in s:
                values[name] = s["runtimeValue"]["constant"]
            elif "componentInputParameter" in s:
                if s["componentInputParameter"] in scope:
                    values[name] = scope[s["componentInputParameter"]]
            elif "taskFinalStatus" in s:
                state = nodes[s["taskFinalStatus"]["producerTask"]].state
                values[name] = "FAILED" if state == FAILED else "COMPLETE"
            else:
                producer = nodes[s["taskOutputParameter"]["producerTask"]]
                key = s["taskOutputParameter"]["outputParameterKey"]
                if producer.state == SUCCEEDED and key in producer.outputs:
                    values[name] = producer.outputs[key]
        for name, definition in component.get("inputDefinitions", {}).get("parameters", {}).items():
            if name in values or (iterator and name == iterator["itemInput"]):
                continue
            if "defaultValue" in definition:
                values[name] = definition["defaultValue"]
            elif not definition.get("isOptional"):
                return Node(FAILED)
        if "condition" in trigger:
            name, operator, right = CONDITION.fullmatch(trigger["condition"]).groups()
            if not OPERATORS[operator](values[name], int(right)):
                return Node(SKIPPED)
        if iterator:
            return self.loop(task, component, values, full)
        if "dag" in component:
            return self.dag(component, values, full)
        return self.step(task, values, full)

    def loop(self, task, component, values, full):
        iterator = task["parameterIterator"]
        items = values.pop(iterator["items"]["inputParameter"], None) if "inputParameter" in iterator["items"] else None
        if items is None:
            items = eval(iterator["items"]["raw"])
        limit = task.get("iteratorPolicy", {}).get("parallelismLimit", 0)
        results = []
        for i, item in enumerate(items):
            # The generator gives a limit of one, or one that all iterations fit in.
            if limit == 1 and any(r.state == FAILED for r in results):
                results.append(Node(SKIPPED))
            else:
                results.append(
                    self.dag(
                        component,
                        {**values, iterator["itemInput"]: item},
                        f"{full}/{i}",
                    )
                )
            self.states[f"{full}/{i}"] = results[-1].state
        if any(r.state == FAILED for r in results):
            return Node(FAILED)
        names = component.get("outputDefinitions", {}).get("parameters", {})
        return Node(
            SUCCEEDED,
            {n: [r.outputs[n] for r in results if n in r.outputs] for n in names},
        )

    def step(self, task, values, full):
        """The script of the generator's steps."""
        a, b = values["a"], values["b"]
        self.logs[full] = f"a={a} b={b} status={values.get('status', '')}\n"
        retries = task.get("retryPolicy", {}).get("maxRetryCount", 0)
        if a == values["bad"] and retries < values["times"]:
            return Node(FAILED)
        return Node(SUCCEEDED, {"out": a + b})
