import { describe, expect, it } from "vitest";
import { headOf, inferBody, sample } from "./kube";

it("finds what a document of YAML is about", () => {
  expect(headOf('apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels:\n    a: b\n  name: "x"\n  namespace: ns # here\ndata:\n  name: other\n')).toEqual({ apiVersion: "v1", kind: "ConfigMap", name: "x", namespace: "ns" });
  expect(headOf("nothing")).toEqual({ apiVersion: undefined, kind: undefined, name: undefined, namespace: undefined });
});

it("adds up what metrics say of a model", () => {
  const text = `# HELP x\nmodel_infer_request_success_total{model="churn",version="None"} 7\nmodel_infer_request_success_total{model="churn2"} 99\nmodel_infer_request_failure_total{model="churn"} 2\nmodel_infer_request_duration_sum{model="churn"} 0.5\nmodel_infer_request_duration_count{model="churn"} 9\n`;
  expect(sample(text, "churn")).toEqual({ good: 7, bad: 2, seconds: 0.5, answers: 9 });
});

describe("requests from a form", () => {
  const inputs = [
    { name: "age", datatype: "FP64", shape: [-1, 1] },
    { name: "city", datatype: "BYTES", shape: [-1, 1] },
  ];
  it("have a row for each value", () => {
    expect(inferBody(inputs, { age: "43, 50", city: "Paris, Lyon" })).toEqual({
      inputs: [
        { name: "age", datatype: "FP64", shape: [2, 1], data: [43, 50] },
        { name: "city", datatype: "BYTES", shape: [2, 1], data: ["Paris", "Lyon"] },
      ],
    });
    expect(inferBody([{ name: "x", datatype: "FP32", shape: [-1, 3] }], { x: "1,2,3,4,5,6" }).inputs).toEqual([{ name: "x", datatype: "FP32", shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }]);
  });
  it("say what is wrong with what was typed", () => {
    expect(() => inferBody(inputs, { age: "old", city: "Paris" })).toThrow("age: “old” is not a number");
    expect(() => inferBody(inputs, { age: "1,2", city: "Paris" })).toThrow("city has 1 rows, others have 2");
    expect(() => inferBody([{ name: "x", datatype: "FP32", shape: [-1, 3] }], { x: "1,2" })).toThrow("x takes 3 values");
    expect(() => inferBody([{ name: "n", datatype: "INT64" }], { n: "1.5" })).toThrow("n: 1.5 is not a whole number");
  });
});
