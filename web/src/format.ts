// Numbers, times and sizes as people read them. Pure functions.

/** A number of an API, where NaN and infinities come as texts. */
export function num(v: unknown): number {
  if (typeof v === "number") return v;
  if (typeof v !== "string") return NaN;
  if (v === "Infinity" || v === "inf") return Infinity;
  if (v === "-Infinity" || v === "-inf") return -Infinity;
  return v.trim() === "" ? NaN : Number(v);
}

/** MLflow's SQL schema keeps infinities as the largest double. */
const LARGEST = Number.MAX_VALUE;

export function number(v: number): string {
  if (Number.isNaN(v)) return "NaN";
  if (v >= LARGEST) return "∞";
  if (v <= -LARGEST) return "−∞";
  if (Number.isInteger(v) && Math.abs(v) < 1e15) return v.toLocaleString("en-US");
  const size = Math.abs(v);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return v.toExponential(3);
  return String(Number(v.toPrecision(5)));
}

export function bytes(n: number): string {
  if (!Number.isFinite(n) || n < 0) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 ? n : n.toFixed(n < 10 ? 1 : 0)} ${units[i]}`;
}

/** Milliseconds since 1970 of what an API calls a time; NaN where it says none. */
export function time(v: unknown): number {
  if (typeof v === "number") return v > 0 ? v : NaN;
  if (typeof v !== "string" || v === "") return NaN;
  if (/^\d+$/.test(v)) return Number(v) > 0 ? Number(v) : NaN;
  const t = Date.parse(v);
  return t > 0 ? t : NaN; // 1970 is how "never" is written
}

export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "–";
  if (ms === 0) return "< 1 s"; // times of whole seconds
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${Math.round(s % 60)} s`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h ${m % 60} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

export function ago(t: number, now = Date.now()): string {
  if (!Number.isFinite(t)) return "–";
  const s = Math.round((now - t) / 1000);
  if (s < -5) return "in " + short(-s);
  if (s < 5) return "just now";
  return short(s) + " ago";
}
function short(s: number): string {
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 86400 * 2) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** In the viewer's zone. */
export const moment = (t: number) =>
  Number.isFinite(t) ? new Date(t).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "–";

export const cut = (s: string, most = 200) => (s.length > most ? s.slice(0, most) + "…" : s);

export type Tone = "good" | "bad" | "busy" | "wait" | "muted" | "warn";

/** One word for the states of all the APIs. */
export function tone(state: string): Tone {
  switch (state.toUpperCase()) {
    case "SUCCEEDED":
    case "FINISHED":
    case "READY":
    case "TRUE":
    case "ACTIVE":
    case "COMPLETED":
    case "BOUND":
    case "ENABLED":
      return "good";
    case "FAILED":
    case "ERROR":
    case "KILLED":
    case "FALSE":
    case "FAILED_REGISTRATION":
      return "bad";
    case "RUNNING":
    case "CANCELING":
      return "busy";
    case "PENDING":
    case "SCHEDULED":
    case "PENDING_REGISTRATION":
    case "UNKNOWN":
    case "CONTAINERCREATING":
      return "wait";
    case "CRASHLOOPBACKOFF":
    case "WARNING":
      return "warn";
    default:
      return "muted";
  }
}
