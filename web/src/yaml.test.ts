import { describe, expect, it } from "vitest";
import { descend, lineOf, options, outline, problems, schemaOf, spotAt, steps, type OpenApi } from "./yaml";

const text = `apiVersion: v1
kind: Service
metadata:
  name: web # a name
  annotations:
    example.com/note: |
      spec: not a key
      - nor an item
spec:
  ports:
  - name: http
    port: 80
  -   name: other
      port: 81
  list:
    - - a
      - b
    - c
"quoted key": 'x'
`;
const line = (field: string) => lineOf(outline(text), steps(field));

describe("where things stand", () => {
  it("is found by their fields", () => {
    expect([line("kind"), line("metadata.name"), line("spec.ports[0].name"), line("spec.ports[0].port"), line("spec.ports[1]"), line("spec.ports[1].port"), line("quoted key")]).toEqual([2, 4, 11, 12, 13, 14, 19]);
    expect(line("metadata.annotations[example.com/note]")).toBe(6);
    expect([line("spec.list[0][1]"), line("spec.list[1]")]).toEqual([17, 18]);
  });
  it("is the closest around what is not written", () => {
    expect([line("spec.ports[0].targetPort"), line("metadata.labels"), line("status.phase")]).toEqual([11, 3, undefined]);
  });
  it("leaves texts in several lines alone", () => {
    expect(outline(text).map((e) => e.line)).not.toContain(7);
  });
});

describe("refusals", () => {
  it("with causes stand at their fields", () => {
    expect(problems(text, "Service is invalid", [{ field: "spec.ports[1].port", message: "must be between 1 and 65535" }])).toEqual([{ line: 14, message: "spec.ports[1].port: must be between 1 and 65535" }]);
  });
  it("of the reader have its line", () => {
    expect(problems("a: 1\n b: 2\n", 'the object provided is unrecognized: yaml: line 2: end of map not found (61706956 ...)')).toEqual([{ line: 2, message: "end of map not found" }]);
    expect(problems("a: 1", "yaml: line 99: torn")).toEqual([{ line: 1, message: "torn" }]);
  });
  it("of fields that are not known, of two at once", () => {
    expect(problems(text, 'strict decoding error: yaml: unmarshal errors:\n  line 4: key "name" already set in map, unknown field "spec.ports[0].port", unknown field "top"')).toEqual([
      { line: 4, message: 'key "name" already set in map' },
      { line: 12, message: "unknown field spec.ports[0].port" },
      { line: 1, message: "unknown field top" },
    ]);
  });
  it("of types name no items", () => {
    expect(problems(text, 'Service in version "v1" cannot be handled as a Service: json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32')).toEqual([{ line: 12, message: "spec.ports.port takes int32, not string" }]);
  });
  it("that name nothing mark nothing", () => {
    expect(problems(text, "the server is tired")).toEqual([]);
  });
});

const doc: OpenApi = {
  components: {
    schemas: {
      Service: {
        type: "object",
        "x-kubernetes-group-version-kind": [{ group: "", version: "v1", kind: "Service" }],
        properties: { kind: { type: "string" }, metadata: { type: "object", properties: { labels: { type: "object", additionalProperties: { type: "string" } } } }, spec: { allOf: [{ $ref: "#/components/schemas/Spec" }], description: "What it does" } },
      },
      Spec: { type: "object", properties: { type: { type: "string", enum: ["ClusterIP", "NodePort"] }, headless: { type: "boolean" }, ports: { type: "array", items: { allOf: [{ $ref: "#/components/schemas/Port" }] } } } },
      Port: { type: "object", properties: { name: { type: "string" }, port: { type: "integer" } } },
      Round: { $ref: "#/components/schemas/Round" },
    },
  },
};
const service = schemaOf(doc, "v1", "Service");
/** The cursor stands at the bar. */
const offered = (t: string) => {
  const spot = spotAt(t.replace("|", ""), t.indexOf("|"));
  return spot && options(doc, service, spot).map((o) => o.apply);
};

describe("what may come next", () => {
  it("are the fields of the place, without those that are there", () => {
    expect(offered("kind: Service\n|")).toEqual(["metadata:", "spec:"]);
    expect(offered("spec:\n  t|\n  headless: true\n")).toEqual(["type: ", "ports:"]);
    expect(offered("spec:\n  ports:\n  - name: a\n    p|")).toEqual(["port: "]);
    expect(offered("spec:\n  ports:\n  - name: a\n  - n|")).toEqual(["name: ", "port: "]);
    expect(offered("spec:\n  ports:\n    - |")).toEqual(["name: ", "port: "]);
  });
  it("are the values of a field", () => {
    expect(offered("spec:\n  type: N|")).toEqual(["ClusterIP", "NodePort"]);
    expect(offered("spec:\n  headless: |")).toEqual(["true", "false"]);
  });
  it("is nothing in texts, comments and unknown places", () => {
    expect(offered("metadata:\n  note: >\n    t|")).toBeNull();
    expect(offered("# t|")).toBeNull();
    expect(offered("status:\n  t|")).toEqual([]);
  });
  it("ends where a schema names itself", () => {
    expect(descend(doc, { $ref: "#/components/schemas/Round" }, ["a"])).toBeUndefined();
    expect(schemaOf(doc, "apps/v1", "Service")).toBeUndefined();
  });
});
