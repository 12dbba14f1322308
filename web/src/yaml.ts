// YAML as far as an editor needs it: where each key stands, what a server's complaint is about, what may come next.
// Pure functions. Documents are read by their indentation; what stands in { } or [ ] on a line is not looked into.

export type Step = string | number;
export interface Entry {
  path: Step[];
  line: number; // from 1
}
interface Open {
  column: number;
  step: Step;
}

const KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#"'[\]{},&*!|>%@`-][^#]*?|-[^\s#:][^#]*?)\s*:(?=\s|$)/;
const bareKey = (k: string) => (/^["']/.test(k) ? k.slice(1, -1) : k);
const indentOf = (line: string) => line.length - line.trimStart().length;

/** What the lines before the last one leave open, and an entry for each key and item on the way. */
function walk(lines: string[]): { entries: Entry[]; open: Open[]; scalar: number } {
  const entries: Entry[] = [];
  let open: Open[] = [];
  let scalar = -1; // the column of the key whose text in several lines goes on
  lines.forEach((line, i) => {
    if (!line.trim()) return;
    if (scalar >= 0 && indentOf(line) > scalar) return;
    scalar = -1;
    if (line.startsWith("---") || line.startsWith("...")) return void (open = []);
    let column = indentOf(line);
    let rest = line.slice(column);
    if (rest.startsWith("#")) return;
    const path = () => open.map((o) => o.step);
    while (/^-(\s|$)/.test(rest)) {
      let index = 0;
      for (let top = open[open.length - 1]; top && (top.column > column || (top.column === column && typeof top.step === "number")); top = open[open.length - 1]) {
        if (top.column === column && typeof top.step === "number") index = top.step + 1;
        open.pop();
      }
      open.push({ column, step: index });
      entries.push({ path: path(), line: i + 1 });
      const inner = rest.slice(1).trimStart();
      column += rest.length - inner.length;
      rest = inner;
    }
    const key = KEY.exec(rest);
    const value = key ? rest.slice(key[0].length).trim() : rest.trim();
    if (key) {
      while (open.length && open[open.length - 1]!.column >= column) open.pop();
      open.push({ column, step: bareKey(key[1]!) });
      entries.push({ path: path(), line: i + 1 });
    }
    if (/^[|>][-+0-9]*\s*(#.*)?$/.test(value)) scalar = open[open.length - 1]?.column ?? 0;
  });
  return { entries, open, scalar };
}

export const outline = (text: string): Entry[] => walk(text.split("\n")).entries;

/** `spec.ports[0].port`, `data[a key]` as steps. */
export function steps(field: string): string[] {
  return [...field.matchAll(/\[([^\]]*)\]|([^.[\]]+)/g)].map((m) => (m[1] ?? m[2])!.replace(/^"(.*)"$/, "$1"));
}

/** The line of a field, or of the closest thing around it that is written down; undefined where nothing is. */
export function lineOf(entries: Entry[], path: string[], indices = true): number | undefined {
  const plain = entries.map((e) => ({ line: e.line, path: (indices ? e.path : e.path.filter((s) => typeof s === "string")).map(String) }));
  for (let n = path.length; n > 0; n--) {
    const want = path.slice(0, n).join("\0");
    const found = plain.find((e) => e.path.join("\0") === want);
    if (found) return found.line;
  }
  return undefined;
}

export interface Problem {
  line: number;
  message: string;
}
export interface Cause {
  field?: string;
  message?: string;
}

/** A refusal of the Kubernetes API, taken to the lines that it is about. */
export function problems(text: string, message: string, causes: Cause[] = []): Problem[] {
  const entries = outline(text);
  const out: Problem[] = [];
  const add = (line: number | undefined, what: string) => {
    if (line !== undefined && !out.some((p) => p.line === line && p.message === what)) out.push({ line, message: what });
  };
  for (const c of causes) if (c.field) add(lineOf(entries, steps(c.field)) ?? 1, `${c.field}: ${c.message ?? ""}`);
  if (out.length) return out;
  const last = text.split("\n").length;
  for (const m of message.matchAll(/line (\d+): ([^\n]*?)(?=, unknown field|, duplicate field|\s\([0-9a-f]{8}|\n|$)/g)) add(Math.min(Math.max(Number(m[1]), 1), last), m[2]!);
  for (const m of message.matchAll(/(unknown|duplicate) field "([^"]*)"/g)) add(lineOf(entries, steps(m[2]!)) ?? 1, `${m[1]} field ${m[2]}`);
  // Go's decoder names the kind first and no items of lists.
  const wrong = /cannot unmarshal (\w+) into Go struct field \w+\.([\w.-]+) of type ([\w.[\]]+)/.exec(message);
  if (wrong) add(lineOf(entries, steps(wrong[2]!), false) ?? 1, `${wrong[2]} takes ${wrong[3]}, not ${wrong[1]}`);
  return out;
}

export interface Spot {
  within: Step[]; // of the mapping or list that the cursor is in
  key?: string; // set when a value is being typed
  word: string; // what stands before the cursor of it
  beside: string[]; // keys that are there already
}

/** What is being typed at an offset; null inside texts and comments. */
export function spotAt(text: string, offset: number): Spot | null {
  const before = text.slice(0, offset).split("\n");
  const line = before.pop()!;
  const { open, scalar } = walk(before);
  let column = indentOf(line);
  let rest = line.slice(column);
  if (scalar >= 0 && (column > scalar || !rest)) return null;
  if (/(^|\s)#/.test(line)) return null;
  const stack = [...open];
  while (/^-\s/.test(rest)) {
    let index = 0;
    for (let top = stack[stack.length - 1]; top && (top.column > column || (top.column === column && typeof top.step === "number")); top = stack[stack.length - 1]) {
      if (top.column === column && typeof top.step === "number") index = top.step + 1;
      stack.pop();
    }
    stack.push({ column, step: index });
    const inner = rest.slice(1).trimStart();
    column += rest.length - inner.length;
    rest = inner;
  }
  const key = KEY.exec(rest);
  while (stack.length && stack[stack.length - 1]!.column >= column) stack.pop();
  const within = stack.map((o) => o.step);
  const same = within.join("\0");
  const beside = outline(text)
    .filter((e) => e.path.length === within.length + 1 && e.path.slice(0, -1).join("\0") === same)
    .map((e) => String(e.path[e.path.length - 1]));
  if (key) return { within, key: bareKey(key[1]!), word: rest.slice(key[0].length).trimStart(), beside };
  return /^[\w./$-]*$/.test(rest) ? { within, word: rest, beside } : null;
}

// ---- schemas ---------------------------------------------------------------------------------------------------

export interface Schema {
  $ref?: string;
  allOf?: Schema[];
  type?: string;
  description?: string;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  "x-kubernetes-group-version-kind"?: { group: string; version: string; kind: string }[];
}
export interface OpenApi {
  components?: { schemas?: Record<string, Schema> };
}

function real(doc: OpenApi, s: Schema | undefined): Schema | undefined {
  for (let i = 0; s && i < 20; i++) {
    const ref = s.$ref ?? s.allOf?.[0]?.$ref;
    if (!ref) return s;
    s = doc.components?.schemas?.[ref.slice(ref.lastIndexOf("/") + 1)];
  }
  return undefined;
}

export function schemaOf(doc: OpenApi, apiVersion: string, kind: string): Schema | undefined {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  return Object.values(doc.components?.schemas ?? {}).find((s) => s["x-kubernetes-group-version-kind"]?.some((k) => k.kind === kind && k.group === group && k.version === version));
}

export function descend(doc: OpenApi, schema: Schema | undefined, path: Step[]): Schema | undefined {
  let s = real(doc, schema);
  for (const step of path) {
    if (!s) return undefined;
    const extra = typeof s.additionalProperties === "object" ? s.additionalProperties : undefined;
    s = real(doc, typeof step === "number" ? s.items : (s.properties?.[step] ?? extra));
  }
  return s;
}

export interface Option {
  label: string;
  type: string;
  info?: string;
  apply: string;
}
/** What the schema lets one write at a spot. */
export function options(doc: OpenApi, schema: Schema | undefined, spot: Spot): Option[] {
  if (spot.key !== undefined) {
    const s = descend(doc, schema, [...spot.within, spot.key]);
    const values = s?.enum ?? (s?.type === "boolean" ? [true, false] : []);
    return values.map((v) => ({ label: String(v), type: "value", apply: String(v) }));
  }
  const s = descend(doc, schema, spot.within);
  return Object.entries(s?.properties ?? {})
    .filter(([name]) => name === spot.word || !spot.beside.includes(name))
    .map(([name, raw]) => {
      const p = real(doc, raw);
      const type = p?.type ?? "";
      return { label: name, type, info: (raw.description ?? p?.description ?? "").slice(0, 400) || undefined, apply: name + (type === "object" || type === "array" ? ":" : ": ") };
    });
}
