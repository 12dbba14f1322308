// What can come next in a filter of runs, as MLflow's grammar has it. Pure functions.

export interface Names {
  metrics: string[];
  params: string[];
  tags: string[];
}
export interface Completion {
  from: number; // where the replaced text begins
  items: string[];
}

const attributes = ["attributes.status", "attributes.run_name", "attributes.start_time", "attributes.end_time", "attributes.user_id", "attributes.run_id"];
const comparisons = { number: ["=", "!=", ">", ">=", "<", "<="], text: ["=", "!=", "LIKE", "ILIKE", "IN"] };
const statuses = ["'FINISHED'", "'RUNNING'", "'FAILED'", "'KILLED'", "'SCHEDULED'"];

/** A name as the grammar takes it: in backticks where it has more than letters, digits, points and underscores. */
export const quoted = (name: string) => (/^[A-Za-z_][\w.]*$/.test(name) ? name : "`" + name + "`");

export const PARENT = "tags.`mlflow.parentRunId`";
export const CHILD = "↳ ";

export const both = (a: string, b: string) => (a.trim() ? `${a.trim()} AND ${b}` : b);

/** The filter of the runs of a group; null where the grammar cannot say it: a text with quotes of both kinds. */
export function ofGroup(by: string, value: string | undefined): string | null {
  const at = by.indexOf(".");
  const key = by.slice(0, at + 1) + (by[at + 1] === "`" ? by.slice(at + 1) : quoted(by.slice(at + 1)));
  if (value === undefined) return key.startsWith("attributes.") ? null : `${key} IS NULL`;
  if (!value.includes("'")) return `${key} = '${value}'`;
  return value.includes('"') ? null : `${key} = "${value}"`;
}

const isNumber = (key: string) => key.startsWith("metrics.") || key.endsWith("_time");

export function complete(text: string, at: number, names: Names): Completion {
  const before = text.slice(0, at);
  const clause = before.split(/\s+and\s+/i).pop()!;
  const start = before.length - clause.length;
  const m = /^\s*((?:metrics|params|tags|attributes)\.(?:`[^`]*`|[\w./-]+))(\s+)(.*)$/i.exec(clause);
  if (!m) {
    const word = clause.trimStart();
    const from = start + (clause.length - word.length);
    const keys = [...names.metrics.map((k) => "metrics." + quoted(k)), ...names.params.map((k) => "params." + quoted(k)), ...attributes, ...names.tags.filter((k) => !k.startsWith("mlflow.")).map((k) => "tags." + quoted(k))];
    const w = word.toLowerCase();
    return { from, items: keys.filter((k) => k.toLowerCase().includes(w)).slice(0, 12) };
  }
  const key = m[1]!;
  const rest = m[3]!;
  const restFrom = before.length - rest.length;
  const ops = isNumber(key) ? comparisons.number : comparisons.text;
  const op = ops.find((o) => new RegExp(`^${o.replace(/[!<>=]/g, "\\$&")}\\s`, "i").test(rest));
  if (!op) return { from: restFrom, items: ops.filter((o) => o.toLowerCase().startsWith(rest.toLowerCase())) };
  const value = rest.slice(op.length).trimStart();
  const valueFrom = before.length - value.length;
  if (key === "attributes.status" && !/'\s*$/.test(value.slice(1))) return { from: valueFrom, items: statuses.filter((s) => s.toLowerCase().startsWith(value.toLowerCase())) };
  if (value !== "" && /\s$/.test(value)) return { from: before.length, items: ["AND "] };
  return { from: before.length, items: [] };
}
