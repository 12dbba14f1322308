import { describe, expect, it } from "vitest";
import { byPath, curve, fields, layout, levels, parameter, specOf, type Spec, type Task } from "./graph";

const spec: Spec = {
  root: {
    dag: {
      tasks: {
        split: { componentRef: { name: "comp-split" } },
        "for-loop-1": { componentRef: { name: "comp-loop" }, dependentTasks: ["split"], parameterIterator: {}, taskInfo: { name: "each depth" } },
        "condition-2": {
          componentRef: { name: "comp-if" },
          triggerPolicy: { condition: "x == 'good'" },
          inputs: { parameters: { x: { taskOutputParameter: { producerTask: "split" } } } },
        },
      },
    },
    inputDefinitions: { parameters: { rows: { parameterType: "NUMBER_INTEGER", defaultValue: 100 }, tags: { parameterType: "LIST" } } },
  },
  components: {
    "comp-split": { executorLabel: "e" },
    "comp-loop": { dag: { tasks: { train: { componentRef: { name: "comp-split" } } } } },
    "comp-if": { dag: { tasks: { publish: { componentRef: { name: "comp-split" } } } } },
  },
};
const task = (path: string, state: string, more = {}): Task => ({ task_id: path, state, more: { path, ...more } });
const tasks = byPath([
  task("split", "SUCCEEDED", { cache: "hit because" }),
  task("for-loop-1", "RUNNING"),
  task("for-loop-1/0", "SUCCEEDED"),
  task("for-loop-1/1", "RUNNING"),
  task("for-loop-1/0/train", "SUCCEEDED"),
  task("for-loop-1/1/train", "RUNNING"),
  task("condition-2", "SKIPPED"),
]);
const find = (l: ReturnType<typeof levels>, path: string) => l.nodes.find((n) => n.path === path)!;

describe("the graph of a run", () => {
  it("joins the specification and the states", () => {
    const l = levels(spec, tasks);
    expect(l.nodes.map((n) => [n.title, n.kind, n.state, n.cached])).toEqual([
      ["split", "task", "SUCCEEDED", true],
      ["each depth", "loop", "RUNNING", false],
      ["condition-2", "condition", "SKIPPED", false],
    ]);
    expect(l.edges).toEqual([
      ["split", "for-loop-1"],
      ["split", "condition-2"],
    ]);
  });
  it("shows one iteration of a loop, the chosen one", () => {
    const first = find(levels(spec, tasks), "for-loop-1");
    expect([first.iterations, first.iteration, first.inner!.nodes[0]!.state]).toEqual([2, 0, "SUCCEEDED"]);
    const second = find(levels(spec, tasks, () => 1), "for-loop-1");
    expect([second.iteration, second.inner!.nodes[0]!.path, second.inner!.nodes[0]!.state]).toEqual([1, "for-loop-1/1/train", "RUNNING"]);
    expect(find(levels(spec, tasks, () => 99), "for-loop-1").iteration).toBe(1);
  });
  it("says that what is inside of something skipped is skipped", () => {
    expect(find(levels(spec, tasks), "condition-2").inner!.nodes[0]!.state).toBe("SKIPPED");
  });
  it("is laid out without overlaps, what holds tasks around them", () => {
    const d = layout(levels(spec, tasks));
    expect(d.boxes).toHaveLength(3);
    for (const a of d.boxes)
      for (const b of d.boxes)
        if (a !== b) expect(a.x + a.width <= b.x + 0.01 || b.x + b.width <= a.x + 0.01 || a.y + a.height <= b.y + 0.01 || b.y + b.height <= a.y + 0.01).toBe(true);
    const loop = d.boxes.find((b) => b.node.kind === "loop")!;
    expect(loop.width).toBeGreaterThan(loop.inner!.width);
    expect(loop.height).toBeGreaterThan(loop.inner!.height);
    expect(d.lines).toHaveLength(2);
    expect(curve(d.lines[0]!)).toMatch(/^M[\d.]+ [\d.]+ C/);
  });
  it("stands documents that are empty or contain themselves", () => {
    expect(layout(levels(specOf(null), new Map())).boxes).toEqual([]);
    const self: Spec = { root: { dag: { tasks: { a: { componentRef: { name: "c" } } } } }, components: { c: { dag: { tasks: { a: { componentRef: { name: "c" } } } } } } };
    expect(levels(self, new Map()).nodes).toHaveLength(1);
  });
});

describe("parameters", () => {
  it("are described by the specification", () => {
    expect(fields(spec)).toEqual([
      { name: "rows", type: "NUMBER_INTEGER", optional: true, text: "100", description: undefined },
      { name: "tags", type: "LIST", optional: false, text: "", description: undefined },
    ]);
    expect(specOf({ pipeline_spec: spec, platform_spec: {} })).toBe(spec);
  });
  it("are read by their type", () => {
    expect(parameter({ name: "n", type: "NUMBER_INTEGER" }, "7")).toBe(7);
    expect(parameter({ name: "n", type: "BOOLEAN" }, "true")).toBe(true);
    expect(parameter({ name: "n", type: "LIST" }, "[1]")).toEqual([1]);
    expect(parameter({ name: "n", type: "STRING" }, " 7 ")).toBe(" 7 ");
    expect(() => parameter({ name: "n", type: "NUMBER_INTEGER" }, "7.5")).toThrow("n must be a whole number");
    expect(() => parameter({ name: "n", type: "STRUCT" }, "[1]")).toThrow("JSON object");
    expect(() => parameter({ name: "n", type: "LIST" }, "nope")).toThrow("JSON list");
  });
});
