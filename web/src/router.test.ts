import { expect, it } from "vitest";
import { isPage, match, to } from "./router";

it("matches patterns and decodes their parts", () => {
  expect(match("/pipelines/runs/{id}", "/pipelines/runs/a%2Fb")).toEqual({ id: "a/b" });
  expect(match("/pipelines/runs/{id}", "/pipelines/runs")).toBeNull();
  expect(match("/pipelines/runs/{id}", "/pipelines/runs/a/b")).toBeNull();
  expect(match("/objects/{bucket}/{key...}", "/objects/b/x/y%20z")).toEqual({ bucket: "b", key: "x/y z" });
  expect(match("/objects/{bucket}/{key...}", "/objects/b")).toEqual({ bucket: "b", key: "" });
  expect(match("/models/{name}", "/models/%E0%A4%A")).toEqual({ name: "%E0%A4%A" });
  expect(match("/", "/")).toEqual({});
});
it("makes paths that match again", () => expect(match("/models/{name}", to("models", "a/b <c>"))).toEqual({ name: "a/b <c>" }));
it("knows which paths are pages of its own", () => expect(["/", "/models/x", "/mlflow/", "/apis/v2beta1"].map(isPage)).toEqual([true, true, false, false]));
