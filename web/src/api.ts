// Asking the public APIs, through this origin. Errors are told with what the server said.
import { signal } from "@preact/signals";

export class ApiError extends Error {
  constructor(
    readonly status: number, // 0: no answer
    message: string,
    readonly causes: { field?: string; message?: string }[] = [], // of the Kubernetes API: what is wrong with which field
  ) {
    super(message);
  }
}

/** Whether the server answers; pages show it. */
export const connected = signal(true);

export function errorText(status: number, body: string): string {
  try {
    const doc = JSON.parse(body) as Record<string, unknown>;
    for (const k of ["message", "error_message", "error", "detail"])
      if (typeof doc[k] === "string" && doc[k]) return doc[k] as string;
  } catch {
    const xml = /<Message>([^<]*)<\/Message>/.exec(body) ?? /<p>([^<]*)<\/p>/.exec(body);
    if (xml) return xml[1]!;
    if (body && body.length < 300 && !body.includes("<")) return body.trim();
  }
  return `The server answered ${status}`;
}

function causesOf(body: string): { field?: string; message?: string }[] {
  try {
    const causes = (JSON.parse(body) as { details?: { causes?: unknown } }).details?.causes;
    return Array.isArray(causes) ? causes : [];
  } catch {
    return [];
  }
}

export interface Ask {
  method?: string;
  body?: unknown;
  text?: string; // a body as it is, with `type`
  type?: string;
  accept?: string;
  signal?: AbortSignal;
}

export async function request(path: string, o: Ask = {}): Promise<Response> {
  const headers: Record<string, string> = {};
  if (o.accept) headers["Accept"] = o.accept;
  let body: string | undefined;
  if (o.text !== undefined) {
    body = o.text;
    headers["Content-Type"] = o.type ?? "text/plain";
  } else if (o.body !== undefined) {
    body = JSON.stringify(o.body);
    headers["Content-Type"] = o.type ?? "application/json";
  }
  let answer: Response;
  try {
    answer = await fetch(path, { method: o.method ?? (body === undefined ? "GET" : "POST"), headers, body, signal: o.signal });
  } catch (e) {
    if ((e as Error).name === "AbortError") throw e;
    connected.value = false;
    throw new ApiError(0, "The server does not answer. Is millrace up still running?");
  }
  connected.value = true;
  if (!answer.ok) {
    const text = await answer.text();
    throw new ApiError(answer.status, errorText(answer.status, text), causesOf(text));
  }
  return answer;
}

export async function json<T>(path: string, o?: Ask): Promise<T> {
  const text = await (await request(path, o)).text();
  return (text ? JSON.parse(text) : {}) as T;
}

const query = (q: Record<string, string | number | boolean | undefined>) => {
  const s = new URLSearchParams();
  for (const [k, v] of Object.entries(q)) if (v !== undefined && v !== "") s.set(k, String(v));
  const text = s.toString();
  return text ? "?" + text : "";
};
type Q = Record<string, string | number | boolean | undefined>;

/** The pipelines API. */
export const kfp = <T>(path: string, q: Q = {}, o?: Ask) => json<T>("/apis/v2beta1" + path + query(q), o);
/** MLflow's REST API. */
export const mlflow = <T>(path: string, o?: Ask & { q?: Q }) =>
  json<T>("/dashboard/mlflow/ajax-api/2.0/mlflow/" + path + query(o?.q ?? {}), o);
export const kube = <T>(path: string, q: Q = {}, o?: Ask) => json<T>("/dashboard/kube" + path + query(q), o);
export const kubeText = async (path: string, q: Q = {}, o?: Ask) =>
  (await request("/dashboard/kube" + path + query(q), o)).text();
export const dashboard = <T>(path: string, q: Q = {}, o?: Ask) => json<T>("/dashboard/api/v1/" + path + query(q), o);
/** The address of an artifact of a run. */
export const artifactUrl = (run: string, path: string) =>
  "/dashboard/mlflow/get-artifact" + query({ run_uuid: run, path });
export const objectUrl = (bucket: string, key = "", q: Q = {}) =>
  "/dashboard/s3/" + encodeURIComponent(bucket) + (key ? "/" + key.split("/").map(encodeURIComponent).join("/") : "") + query(q);

// ---- live updates ----------------------------------------------------------------------------------------------

type Listener = () => void;
const wanted = new Map<string, Set<Listener>>();
let source: EventSource | null = null;
let open = "";
let timer: ReturnType<typeof setTimeout> | undefined;

/** Calls `fn` when the topic changed, until the answer is called. */
export function onChange(topic: string, fn: Listener): () => void {
  let set = wanted.get(topic);
  if (!set) wanted.set(topic, (set = new Set()));
  set.add(fn);
  schedule();
  return () => {
    set.delete(fn);
    if (set.size === 0) wanted.delete(topic);
    schedule();
  };
}

function schedule(ms = 50) {
  clearTimeout(timer);
  timer = setTimeout(connect, ms);
}

// A browser opens six connections to a server, however many tabs it has: those in the background hold none.
let away = false;
if (typeof document !== "undefined") {
  const look = (hidden: boolean) => {
    if (hidden === away) return;
    away = hidden;
    schedule(away ? 0 : 50);
  };
  document.addEventListener("visibilitychange", () => look(document.hidden));
  addEventListener("pagehide", () => {
    away = true;
    connect();
  });
  addEventListener("pageshow", () => look(document.hidden));
}
function connect() {
  const topics = away ? "" : [...wanted.keys()].sort().slice(0, 8).join(",");
  if (topics === open && source && source.readyState !== EventSource.CLOSED) return;
  source?.close();
  source = null;
  open = topics;
  if (!topics) return;
  const s = (source = new EventSource("/dashboard/api/v1/live" + query({ topics })));
  s.addEventListener("changed", (e) => wanted.get((e as MessageEvent<string>).data)?.forEach((f) => f()));
  s.addEventListener("ready", () => {
    connected.value = true;
    // What changed before anyone listened is not known.
    for (const set of [...wanted.values()]) set.forEach((f) => f());
  });
  s.onerror = () => {
    if (s !== source) return;
    connected.value = false;
    if (s.readyState === EventSource.CLOSED) {
      open = "";
      schedule(2000);
    }
  };
}
