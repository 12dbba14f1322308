// The input example that was logged with a model, as the values of a form. Pure functions but for the asking.
import { artifactUrl, mlflow, objectUrl, request } from "./api";
import type { Tensor } from "./kube";

const FILE = "serving_input_example.json";

/** Where the example of a model lies, by the URI that an endpoint serves; null where this platform does not have it. */
export async function exampleUrl(uri: string, signal?: AbortSignal): Promise<string | null> {
  const registered = /^models:\/([^/@]+)(?:\/(\d+)|@(.+))$/.exec(uri);
  if (registered) {
    const name = decodeURIComponent(registered[1]!);
    const version = registered[2] ?? (await mlflow<{ model_version: { version: string } }>("registered-models/alias", { q: { name, alias: registered[3] }, signal })).model_version.version;
    return `/dashboard/mlflow/model-versions/get-artifact?${new URLSearchParams({ name, version, path: FILE })}`;
  }
  const logged = /^models:\/(m-[0-9a-f]+)$/.exec(uri);
  if (logged) return `/dashboard/mlflow/ajax-api/2.0/mlflow/logged-models/${logged[1]}/artifacts/files?artifact_file_path=${FILE}`;
  const run = /^runs:\/([0-9a-f]+)\/(.+?)\/?$/.exec(uri);
  if (run) return artifactUrl(run[1]!, `${run[2]}/${FILE}`);
  const stored = /^s3:\/\/([^/]+)\/(.+?)\/?$/.exec(uri.replace(/^mlflow-artifacts:\/+/, "s3://mlflow-artifacts/"));
  return stored ? objectUrl(stored[1]!, `${stored[2]}/${FILE}`) : null;
}

const MOST = 5; // rows of an example that a form shows

/** The values of each input with commas between rows, as the form takes them; undefined where the example has another shape. */
export function exampleValues(doc: unknown, inputs: Tensor[]): Record<string, string> | undefined {
  if (typeof doc !== "object" || doc === null) return undefined;
  const d = doc as { dataframe_split?: { columns?: unknown[]; data?: unknown[][] }; dataframe_records?: Record<string, unknown>[]; inputs?: unknown; instances?: unknown };
  const wide = (t: Tensor) => t.shape?.slice(1).reduce((a, b) => a * Math.max(b, 1), 1) ?? 1;
  let rows: ((name: string, at: number) => unknown)[] | undefined;
  if (d.dataframe_split?.data) {
    const names = (d.dataframe_split.columns ?? []).map(String);
    rows = d.dataframe_split.data.map((r) => (name, at) => r[names.includes(name) ? names.indexOf(name) : at]);
  } else if (d.dataframe_records) rows = d.dataframe_records.map((r) => (name) => r[name]);
  else {
    const given = d.inputs ?? d.instances;
    if (Array.isArray(given)) rows = given.map((r) => (name, at) => (inputs.length === 1 ? r : Array.isArray(r) ? r[at] : typeof r === "object" && r !== null ? (r as Record<string, unknown>)[name] : r));
    else if (typeof given === "object" && given !== null) {
      const lists = given as Record<string, unknown>;
      const first = Object.values(lists)[0];
      rows = Array.from({ length: Array.isArray(first) ? first.length : 1 }, (_, i) => (name) => (Array.isArray(lists[name]) ? (lists[name] as unknown[])[i] : lists[name]));
    }
  }
  if (!rows?.length) return undefined;
  const out: Record<string, string> = {};
  for (const [at, t] of inputs.entries()) {
    // A model without names for its columns takes all of a row at once.
    const whole = inputs.length === 1 && d.dataframe_split?.data && wide(t) > 1;
    const values = rows.slice(0, MOST).flatMap((row, i) => (whole ? d.dataframe_split!.data![i]! : [row(t.name, at)].flat(Infinity)));
    if (values.some((v) => v === undefined || v === null || typeof v === "object" || (typeof v === "string" && v.includes(",")))) return undefined;
    if (values.length !== Math.min(rows.length, MOST) * wide(t)) return undefined;
    out[t.name] = values.map(String).join(", ");
  }
  return out;
}

export async function example(uri: string, inputs: Tensor[], signal?: AbortSignal): Promise<Record<string, string> | undefined> {
  try {
    const url = await exampleUrl(uri, signal);
    return url === null ? undefined : exampleValues(await (await request(url, { signal })).json(), inputs);
  } catch {
    return undefined; // none was logged
  }
}
