import { describe, expect, it } from "vitest";
import { along, axisOf, brushesOf, brushText, columnsOf, passes, signature, ticks, valueOf, type Run } from "./tracking";

const run = (id: string, metrics: Record<string, unknown>, params: Record<string, string>): Run => ({
  info: { run_id: id, experiment_id: "1", run_name: id, status: "FINISHED", start_time: 1 },
  data: { metrics: Object.entries(metrics).map(([key, value]) => ({ key, value })), params: Object.entries(params).map(([key, value]) => ({ key, value })) },
});
const runs = [run("a", { loss: 0.5, odd: "NaN" }, { depth: "2", how: "adam" }), run("b", { loss: 1.5, odd: 1.7976931348623157e308 }, { depth: "10", how: "sgd" }), run("c", {}, {})];

describe("values of runs", () => {
  it("are found by their column", () => {
    expect([valueOf(runs[0]!, "metrics.loss"), valueOf(runs[0]!, "params.how"), valueOf(runs[2]!, "params.how"), valueOf(runs[0]!, "attributes.run_name")]).toEqual([0.5, "adam", undefined, "a"]);
    expect(valueOf(runs[0]!, "metrics.odd")).toBeNaN();
    expect(columnsOf(runs)).toEqual({ metrics: ["loss", "odd"], params: ["depth", "how"], tags: [] });
  });
  it("lie along axes of numbers or of texts", () => {
    const depth = axisOf(runs, "params.depth");
    expect([depth.numeric, depth.low, depth.high]).toEqual([true, 2, 10]);
    expect(runs.map((r) => along(depth, valueOf(r, "params.depth")))).toEqual([0, 1, undefined]);
    const how = axisOf(runs, "params.how");
    expect([how.numeric, how.texts]).toEqual([false, ["adam", "sgd"]]);
    expect(runs.map((r) => along(how, valueOf(r, "params.how")))).toEqual([0, 1, undefined]);
  });
  it("that are no numbers have no place", () => {
    const odd = axisOf(runs, "metrics.odd");
    expect(runs.map((r) => along(odd, valueOf(r, "metrics.odd")))).toEqual([undefined, undefined, undefined]);
  });
});

it("knows the runs that pass through the marked parts of axes", () => {
  const axes = [axisOf(runs, "params.depth"), axisOf(runs, "params.how")];
  const through = (b: Record<string, [number, number]>) => runs.filter((r) => passes(axes, b, r)).map((r) => r.info.run_id);
  expect([through({}), through({ "params.depth": [0, 0.5] }), through({ "params.depth": [0.5, 1], "params.how": [0, 0.2] }), through({ "params.gone": [0, 0] })]).toEqual([["a", "b", "c"], ["a"], [], ["a", "b", "c"]]);
  const marked: Record<string, [number, number]> = { "params.a b": [0.25, 1] };
  expect(brushesOf(brushText(marked))).toEqual(marked);
  expect(brushesOf("2 1 x\n0.9 0.1 y\nz")).toEqual({});
});

it("puts round numbers at an axis", () => {
  expect(ticks(0, 1)).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1].map((n) => expect.closeTo(n)));
  expect(ticks(3, 97)).toEqual([20, 40, 60, 80]);
  expect(ticks(1, 1)).toEqual([1]);
});

it("reads the signature of a model", () => {
  const text = `flavors: {}\nsignature:\n  inputs: '[{"type": "double", "name": "age", "required": true}, {"type":\n    "string", "name": "the city''s", "required": true}]'\n  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'\n  params: null\nuuid: x\n`;
  expect(signature(text)).toEqual({
    inputs: [
      { name: "age", type: "double" },
      { name: "the city's", type: "string" },
    ],
    outputs: [{ name: "0", type: "int64 [-1]" }],
  });
  expect(signature("flavors: {}\n")).toBeNull();
  expect(signature("signature:\n  inputs: 'broken'\n")).toBeNull();
});
