// Runs of MLflow as the pages need them. Pure functions but for the asking.
import { json, mlflow } from "./api";
import { num } from "./format";

export interface Run {
  info: { run_id: string; experiment_id: string; run_name: string; status: string; start_time: number; end_time?: number; artifact_uri?: string; user_id?: string; lifecycle_stage?: string };
  data: { metrics?: { key: string; value: unknown; step?: number }[]; params?: { key: string; value: string }[]; tags?: { key: string; value: string }[] };
  inputs?: { dataset_inputs?: { dataset: { name: string; digest: string; source_type?: string }; tags?: { key: string; value: string }[] }[] };
  outputs?: { model_outputs?: { model_id: string }[] };
}
export interface Experiment {
  experiment_id: string;
  name: string;
  artifact_location?: string;
  lifecycle_stage?: string;
  creation_time?: number;
  last_update_time?: number;
  tags?: { key: string; value: string }[];
}
export interface Point {
  key: string;
  value: unknown;
  step: number;
  timestamp: number;
  run_id: string;
}

export const searchRuns = (body: Record<string, unknown>, signal?: AbortSignal) => mlflow<{ runs?: Run[]; next_page_token?: string }>("runs/search", { body, signal });

export interface Group {
  value?: string; // none: the runs that have no such value
  count: number;
  last_start_time?: number;
  metrics: { key: string; count: number; mean?: unknown; min?: unknown; max?: unknown }[];
}
/** Runs by a value that they share: the server counts, however many there are. */
export const groupRuns = (body: Record<string, unknown>, signal?: AbortSignal) => json<{ groups: Group[]; next_page_token?: string }>("/dashboard/mlflow/ajax-api/2.0/millrace/runs/group", { body, signal });

export const parentOf = (r: Run) => r.data.tags?.find((t) => t.key === "mlflow.parentRunId")?.value;

/** Several runs by their ids, in the order of the ids. */
export async function runsById(experiment: string, ids: string[], signal?: AbortSignal): Promise<Run[]> {
  if (!ids.length) return [];
  // An id is hex digits; anything else in an address names no run.
  const good = ids.filter((i) => /^[0-9a-f]{1,64}$/.test(i)).slice(0, 500);
  if (!good.length) return [];
  const r = await searchRuns({ experiment_ids: [experiment], filter: `attributes.run_id IN (${good.map((i) => `'${i}'`).join(", ")})`, max_results: 500 }, signal);
  const found = new Map((r.runs ?? []).map((x) => [x.info.run_id, x]));
  return good.flatMap((i) => found.get(i) ?? []);
}

export async function history(ids: string[], key: string, signal?: AbortSignal): Promise<Map<string, [number, number][]>> {
  const out = new Map<string, [number, number][]>(ids.map((i) => [i, []]));
  for (let at = 0; at < ids.length; at += 100) {
    const q = new URLSearchParams(ids.slice(at, at + 100).map((i) => ["run_ids", i]));
    q.set("metric_key", key);
    q.set("max_results", "320");
    const r = await mlflow<{ metrics?: Point[] }>(`metrics/get-history-bulk-interval?${q}`, { signal });
    for (const p of r.metrics ?? []) out.get(p.run_id)?.push([Number(p.step), num(p.value)]);
  }
  for (const points of out.values()) points.sort((a, b) => a[0] - b[0]);
  return out;
}

export type Value = number | string | undefined;
/** A column's value: "metrics.x", "params.x", "tags.x", "attributes.x". */
export function valueOf(run: Run, column: string): Value {
  const dot = column.indexOf(".");
  const kind = column.slice(0, dot);
  const key = column.slice(dot + 1);
  if (kind === "metrics") {
    const m = run.data.metrics?.find((x) => x.key === key);
    return m && num(m.value);
  }
  if (kind === "params") return run.data.params?.find((x) => x.key === key)?.value;
  if (kind === "tags") return run.data.tags?.find((x) => x.key === key)?.value;
  return (run.info as unknown as Record<string, Value>)[key];
}

export function columnsOf(runs: Run[]): { metrics: string[]; params: string[]; tags: string[] } {
  const metrics = new Set<string>();
  const params = new Set<string>();
  const tags = new Set<string>();
  for (const r of runs) {
    r.data.metrics?.forEach((m) => metrics.add(m.key));
    r.data.params?.forEach((p) => params.add(p.key));
    r.data.tags?.forEach((t) => tags.add(t.key));
  }
  return { metrics: [...metrics].sort(), params: [...params].sort(), tags: [...tags].sort() };
}

/** An axis for values of any kind: numbers where all are numbers, else the different texts in order. */
export interface Axis {
  name: string;
  numeric: boolean;
  low: number;
  high: number;
  texts: string[];
}
export function axisOf(runs: Run[], name: string): Axis {
  const values = runs.map((r) => valueOf(r, name)).filter((v) => v !== undefined);
  const numbers = values.map(num).filter((n) => Number.isFinite(n) && Math.abs(n) < Number.MAX_VALUE);
  const numeric = values.length > 0 && values.every((v) => typeof v === "number" || !Number.isNaN(num(v)) || v === "NaN");
  if (!numeric) {
    const texts = [...new Set(values.map(String))].sort();
    return { name, numeric, low: 0, high: Math.max(texts.length - 1, 1), texts };
  }
  if (!numbers.length) return { name, numeric, low: 0, high: 1, texts: [] };
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  return { name, numeric, low, high: high === low ? low + 1 : high, texts: [] };
}
/** Between 0 and 1 along the axis; undefined for what has no place on it. */
export function along(axis: Axis, v: Value): number | undefined {
  if (v === undefined) return undefined;
  const n = axis.numeric ? num(v) : axis.texts.indexOf(String(v));
  if (!Number.isFinite(n) || Math.abs(n) >= Number.MAX_VALUE || (!axis.numeric && n < 0)) return undefined;
  if (!axis.numeric && axis.texts.length === 1) return 0.5;
  return (n - axis.low) / (axis.high - axis.low);
}

/** Parts of axes, from 0 to 1, that were marked: by column. */
export type Brushes = Record<string, [number, number]>;
/** Whether a run passes through every marked part. What has no place on an axis passes through no part of it. */
export function passes(axes: Axis[], brushes: Brushes, run: Run): boolean {
  return axes.every((a) => {
    const b = brushes[a.name];
    if (!b) return true;
    const t = along(a, valueOf(run, a.name));
    return t !== undefined && t >= b[0] && t <= b[1];
  });
}
export const brushText = (b: Brushes) => Object.entries(b).map(([c, [low, high]]) => `${low.toFixed(3)} ${high.toFixed(3)} ${c}`).join("\n");
export function brushesOf(text: string): Brushes {
  const out: Brushes = {};
  for (const line of text.split("\n")) {
    const m = /^([01]\.\d+) ([01]\.\d+) (.+)$/.exec(line);
    if (m && Number(m[1]) <= Number(m[2])) out[m[3]!] = [Number(m[1]), Number(m[2])];
  }
  return out;
}

/** Round numbers between two. */
export function ticks(low: number, high: number, most = 5): number[] {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const raw = span / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw)!;
  const out: number[] = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) out.push(Math.abs(t) < step * 1e-9 ? 0 : t);
  return out;
}

export interface Field {
  name: string;
  type: string;
}
/** What a model takes and gives, by its MLmodel file; null where it says nothing that can be read. */
export function signature(mlmodel: string): { inputs: Field[]; outputs: Field[] } | null {
  const block = /^signature:\n((?:[ \t].*\n?|\n)*)/m.exec(mlmodel)?.[1];
  if (!block) return null;
  const side = (key: string): Field[] => {
    // A scalar of YAML between quotes, folded over several lines; two quotes in it are one.
    const m = new RegExp(`^\\s+${key}: '((?:[^']|'')*)'`, "m").exec(block);
    if (!m) return [];
    try {
      const doc = JSON.parse(m[1]!.replace(/''/g, "'").replace(/\n\s*/g, " ")) as { name?: string; type?: string; "tensor-spec"?: { dtype?: string; shape?: number[] } }[];
      return doc.map((f, i) => ({ name: f.name ?? `${i}`, type: f["tensor-spec"] ? `${f["tensor-spec"].dtype} [${f["tensor-spec"].shape?.join(", ")}]` : (f.type ?? "") }));
    } catch {
      return [];
    }
  };
  const found = { inputs: side("inputs"), outputs: side("outputs") };
  return found.inputs.length || found.outputs.length ? found : null;
}
