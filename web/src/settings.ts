// What the viewer chose, kept in this browser.
import { effect, signal } from "@preact/signals";

function kept<T>(name: string, start: T) {
  const key = "millrace." + name;
  let first = start;
  try {
    const text = localStorage.getItem(key);
    if (text !== null) first = JSON.parse(text) as T;
  } catch {
    // A browser that keeps nothing, or something that is not ours.
  }
  const s = signal<T>(first);
  effect(() => {
    try {
      localStorage.setItem(key, JSON.stringify(s.value));
    } catch {
      // as above
    }
  });
  return s;
}

export const namespace = kept("namespace", ""); // "": all
export const theme = kept<"auto" | "light" | "dark">("theme", "auto");
export const views = kept<Record<string, string>>("views", {}); // saved views of run tables: name -> query

effect(() => {
  if (typeof document !== "undefined") document.documentElement.dataset.theme = theme.value;
});
