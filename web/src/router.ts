// Every page has an address. Paths are matched by patterns with {names}; the query holds what a page lets one choose.
import { signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
}

const here = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search) });
export const place = signal<Place>(typeof location === "undefined" ? { path: "/", query: new URLSearchParams() } : here());

export function go(to: string, replace = false) {
  if (to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  const before = place.value.path;
  place.value = here();
  if (before !== place.value.path && !replace) {
    document.getElementById("content")?.scrollTo(0, 0);
    window.scrollTo(0, 0);
  }
}

/** Changes parts of the query; undefined and "" remove a part. */
export function setQuery(parts: Record<string, string | undefined>, replace = true) {
  const query = new URLSearchParams(place.value.query);
  for (const [k, v] of Object.entries(parts)) v ? query.set(k, v) : query.delete(k);
  const text = query.toString();
  go(place.value.path + (text ? "?" + text : ""), replace);
}

/** The values of a pattern's {names} in a path, decoded; null when it does not match. A last {name...} takes the rest. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const want = pattern.split("/").filter(Boolean);
  const have = path.split("/").filter(Boolean);
  const out: Record<string, string> = {};
  for (let i = 0; i < want.length; i++) {
    const w = want[i]!;
    if (w.startsWith("{") && w.endsWith("...}")) {
      out[w.slice(1, -4)] = have.slice(i).map(decode).join("/");
      return out;
    }
    const h = have[i];
    if (h === undefined) return null;
    if (w.startsWith("{")) out[w.slice(1, -1)] = decode(h);
    else if (w !== h) return null;
  }
  return want.length === have.length ? out : null;
}

function decode(s: string) {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

/** A path of encoded parts. */
export const to = (...parts: (string | number)[]) => "/" + parts.map((p) => encodeURIComponent(String(p))).join("/");

export function listen() {
  addEventListener("popstate", () => (place.value = here()));
  // Links are plain <a>: the browser's own ways to open them elsewhere work.
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element).closest?.("a");
    if (!a || a.target || a.hasAttribute("download") || a.dataset.outside !== undefined) return;
    const url = new URL(a.href, location.href);
    if (url.origin !== location.origin || !isPage(url.pathname)) return;
    e.preventDefault();
    go(url.pathname + url.search);
  });
}

const roots = ["", "pipelines", "experiments", "models", "endpoints", "objects", "resources"];
export const isPage = (path: string) => roots.includes(path.split("/")[1] ?? "");
