import { expect, it } from "vitest";
import { exampleUrl, exampleValues } from "./example";

const columns = [
  { name: "age", datatype: "FP64", shape: [-1, 1] },
  { name: "city", datatype: "BYTES", shape: [-1, 1] },
];

it("finds an example beside its model", async () => {
  expect(await exampleUrl("models:/a b/3")).toBe("/dashboard/mlflow/model-versions/get-artifact?name=a+b&version=3&path=serving_input_example.json");
  expect(await exampleUrl("mlflow-artifacts:/1/models/m-1/artifacts")).toBe("/dashboard/s3/mlflow-artifacts/1/models/m-1/artifacts/serving_input_example.json");
  expect(await exampleUrl("runs:/0a/model")).toContain("path=model%2Fserving_input_example.json");
  expect(await exampleUrl("gs://elsewhere/x")).toBeNull();
});

it("fills a form from a table, from records, from lists", () => {
  const want = { age: "43, 50", city: "Paris, Lyon" };
  expect(exampleValues({ dataframe_split: { columns: ["city", "age"], data: [["Paris", 43], ["Lyon", 50]] } }, columns)).toEqual(want);
  expect(exampleValues({ dataframe_records: [{ age: 43, city: "Paris" }, { age: 50, city: "Lyon" }] }, columns)).toEqual(want);
  expect(exampleValues({ inputs: { age: [43, 50], city: ["Paris", "Lyon"] } }, columns)).toEqual(want);
  const matrix = [{ name: "x", datatype: "FP32", shape: [-1, 2] }];
  expect(exampleValues({ inputs: [[1, 2], [3, 4]] }, matrix)).toEqual({ x: "1, 2, 3, 4" });
  expect(exampleValues({ dataframe_split: { columns: [0, 1], data: [[1, 2], [3, 4]] } }, matrix)).toEqual({ x: "1, 2, 3, 4" });
});

it("leaves the form alone where the example does not fit", () => {
  expect(exampleValues({ dataframe_split: { columns: ["age"], data: [[43]] } }, columns)).toBeUndefined();
  expect(exampleValues({ dataframe_records: [{ age: 1, city: "a, b" }] }, columns)).toBeUndefined();
  expect(exampleValues([1, 2], columns)).toBeUndefined();
  expect(exampleValues(null, columns)).toBeUndefined();
  expect(exampleValues({ inputs: [[1, 2, 3]] }, [{ name: "x", datatype: "FP32", shape: [-1, 2] }])).toBeUndefined();
});
