// Kubernetes objects as the pages need them. Pure functions but for the asking.
import { json, kube } from "./api";

export interface Meta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { kind: string; name: string; apiVersion: string }[];
}
export interface KObject {
  apiVersion: string;
  kind: string;
  metadata: Meta;
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}
export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}
export interface Isvc extends KObject {
  spec: {
    predictor: { model?: { storageUri?: string; modelFormat?: { name?: string }; protocolVersion?: string; runtime?: string }; canaryTrafficPercent?: number; minReplicas?: number; serviceAccountName?: string };
  };
  status?: {
    url?: string;
    conditions?: Condition[];
    components?: Record<string, { url?: string; latestReadyRevision?: string; latestCreatedRevision?: string; latestRolledoutRevision?: string; previousRolledoutRevision?: string; traffic?: { revisionName?: string; percent?: number; latestRevision?: boolean; tag?: string }[] }>;
    modelStatus?: { states?: { activeModelState?: string; targetModelState?: string }; transitionStatus?: string; lastFailureInfo?: { message?: string; reason?: string } };
  };
}
export interface KEvent extends KObject {
  type?: string;
  reason?: string;
  message?: string;
  count?: number;
  lastTimestamp?: string;
  eventTime?: string;
  involvedObject?: { kind?: string; name?: string; namespace?: string };
}

export const ISVC = "/apis/serving.kserve.io/v1beta1";
export const inside = (root: string, ns: string | undefined, plural: string, name = "") =>
  `${root}${ns ? "/namespaces/" + encodeURIComponent(ns) : ""}/${plural}${name ? "/" + encodeURIComponent(name) : ""}`;

export const condition = (o: KObject, type: string) => (o.status?.conditions as Condition[] | undefined)?.find((c) => c.type === type);

export interface Kind {
  group: string; // "" is core
  version: string;
  plural: string;
  kind: string;
  namespaced: boolean;
  verbs: string[];
}
interface Discovery {
  items: { metadata: { name?: string }; versions: { version: string; resources?: { resource: string; responseKind: { kind: string }; scope: string; verbs: string[] }[] }[] }[];
}
const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/** Every kind that can be listed, in the version that its group prefers. */
export async function kinds(signal?: AbortSignal): Promise<Kind[]> {
  const docs = await Promise.all(["/api", "/apis"].map((p) => kube<Discovery>(p, {}, { accept, signal })));
  const out: Kind[] = [];
  for (const doc of docs)
    for (const g of doc.items ?? []) {
      const seen = new Set<string>();
      for (const v of g.versions)
        for (const r of v.resources ?? [])
          if (r.verbs.includes("list") && !seen.has(r.resource)) {
            seen.add(r.resource);
            out.push({ group: g.metadata.name ?? "", version: v.version, plural: r.resource, kind: r.responseKind.kind, namespaced: r.scope === "Namespaced", verbs: r.verbs });
          }
    }
  return out;
}
export const rootOf = (group: string, version: string) => (group === "" || group === "core" ? `/api/${version}` : `/apis/${group}/${version}`);

export interface TableDoc {
  columnDefinitions: { name: string; type: string; format?: string; priority: number; description?: string }[];
  rows: { cells: unknown[]; object?: KObject }[];
  metadata?: { continue?: string; remainingItemCount?: number };
}
export const table = (path: string, q: string, signal?: AbortSignal) => json<TableDoc>(`/dashboard/kube${path}${q}`, { accept: "application/json;as=Table;v=v1;g=meta.k8s.io", signal });

export const eventTime = (e: KEvent) => e.lastTimestamp || e.eventTime || e.metadata.creationTimestamp || "";

/** What a document of YAML says it is, without reading all of YAML. */
export function headOf(text: string): { apiVersion?: string; kind?: string; name?: string; namespace?: string } {
  const find = (key: string, indent: string) => new RegExp(`^${indent}${key}:\\s*["']?([^"'\\s#]+)`, "m").exec(text)?.[1];
  const meta = /^metadata:\s*\n((?:[ \t]+.*\n?|\s*\n)*)/m.exec(text)?.[1] ?? "";
  const within = (key: string) => new RegExp(`^[ \\t]+${key}:\\s*["']?([^"'\\s#]+)`, "m").exec(meta)?.[1];
  return { apiVersion: find("apiVersion", ""), kind: find("kind", ""), name: within("name"), namespace: within("namespace") };
}

export interface Sample {
  good: number;
  bad: number;
  seconds: number;
  answers: number;
}
/** What the metrics of the program say of a model so far. */
export function sample(text: string, model: string): Sample {
  const s = { good: 0, bad: 0, seconds: 0, answers: 0 };
  const mark = `model="${model}"`;
  for (const line of text.split("\n")) {
    if (!line.includes(mark) || line.startsWith("#")) continue;
    const name = line.slice(0, line.indexOf("{"));
    const value = Number(line.slice(line.lastIndexOf(" ") + 1)) || 0;
    if (name.endsWith("success_total")) s.good += value;
    else if (name.endsWith("failure_total")) s.bad += value;
    else if (/_duration(_seconds)?_sum$/.test(name)) s.seconds += value;
    else if (/_duration(_seconds)?_count$/.test(name)) s.answers += value;
  }
  return s;
}

export interface Tensor {
  name: string;
  datatype: string;
  shape?: number[];
}
/** A request of the V2 protocol from what was typed for each input: numbers or texts with commas. Throws for readers. */
export function inferBody(inputs: Tensor[], typed: Record<string, string>): { inputs: unknown[] } {
  let rows = 0;
  const out = inputs.map((t) => {
    const texts = (typed[t.name] ?? "").split(",").map((s) => s.trim());
    const data = texts.map((s): unknown => {
      if (t.datatype === "BYTES") return s;
      if (t.datatype === "BOOL") {
        if (s !== "true" && s !== "false") throw new Error(`${t.name}: write true or false`);
        return s === "true";
      }
      const n = Number(s);
      if (s === "" || Number.isNaN(n)) throw new Error(`${t.name}: “${s}” is not a number`);
      if (/^U?INT/.test(t.datatype) && !Number.isInteger(n)) throw new Error(`${t.name}: ${s} is not a whole number`);
      return n;
    });
    const wide = t.shape?.slice(1).reduce((a, b) => a * Math.max(b, 1), 1) ?? 1;
    const mine = data.length / wide;
    if (!Number.isInteger(mine)) throw new Error(`${t.name} takes ${wide} values for each row`);
    if (rows && mine !== rows) throw new Error(`${t.name} has ${mine} rows, others have ${rows}`);
    rows = mine;
    return { name: t.name, datatype: t.datatype, shape: wide > 1 ? [mine, ...t.shape!.slice(1)] : [mine, 1].slice(0, Math.max(t.shape?.length ?? 1, 1)), data };
  });
  return { inputs: out };
}
