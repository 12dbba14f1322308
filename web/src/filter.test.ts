import { describe, expect, it } from "vitest";
import { both, complete, ofGroup, PARENT, quoted } from "./filter";

const names = { metrics: ["loss", "val loss"], params: ["depth"], tags: ["mlflow.user", "team"] };
const at = (text: string) => complete(text, text.length, names);

describe("completion of filters", () => {
  it("begins with keys of what the runs have", () => {
    expect(at("").items).toEqual(expect.arrayContaining(["metrics.loss", "metrics.`val loss`", "params.depth", "attributes.status", "tags.team"]));
    expect(at("").items).not.toContain("tags.mlflow.user");
    expect(at("dep")).toEqual({ from: 0, items: ["params.depth"] });
  });
  it("goes on with the comparisons that the key has", () => {
    expect(at("metrics.loss ").items).toEqual(["=", "!=", ">", ">=", "<", "<="]);
    expect(at("params.depth ").items).toContain("ILIKE");
    expect(at("metrics.`val loss` <").items).toEqual(["<", "<="]);
  });
  it("knows the states", () => {
    expect(at("attributes.status = ").items).toContain("'FINISHED'");
    expect(at("attributes.status = 'F").items).toEqual(["'FINISHED'", "'FAILED'"]);
  });
  it("joins, and starts anew behind AND", () => {
    expect(at("metrics.loss < 1 ").items).toEqual(["AND "]);
    expect(at("metrics.loss < 1 AND dep")).toEqual({ from: 21, items: ["params.depth"] });
  });
  it("quotes what needs it", () => {
    expect([quoted("a.b"), quoted("a b"), quoted("x/y")]).toEqual(["a.b", "`a b`", "`x/y`"]);
  });
});

it("says what the runs of a group have in common", () => {
  expect([ofGroup("params.depth", "4"), ofGroup("params.val loss", "a'b"), ofGroup(PARENT, undefined)]).toEqual(["params.depth = '4'", 'params.`val loss` = "a\'b"', "tags.`mlflow.parentRunId` IS NULL"]);
  expect([ofGroup("tags.x", `a'b"c`), ofGroup("attributes.status", undefined), ofGroup("attributes.status", "FAILED")]).toEqual([null, null, "attributes.status = 'FAILED'"]);
  expect([both("", "b"), both(" a ", "b")]).toEqual(["b", "a AND b"]);
});
