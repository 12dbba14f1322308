// Data of a page: asked for when it opens, again when what it stands on changes, and when the server says so.
import { useEffect, useRef, useState } from "preact/hooks";
import { onChange } from "./api";

export interface Data<T> {
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  reload: () => void;
}

const LONGEST = 30_000; // milliseconds between two reloads that changes ask for

export function useData<T>(ask: (signal: AbortSignal) => Promise<T>, deps: unknown[], topics: string[] = []): Data<T> {
  const [state, set] = useState<{ data?: T; error?: Error; loading: boolean }>({ loading: true });
  const [turn, next] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;
  const key = useRef<string>();
  const text = JSON.stringify(deps);
  // Of the last request: whether it is under way, how long it took and when it ended; and a change that came meanwhile.
  const last = useRef({ busy: false, took: 0, ended: 0, changed: false });
  const changed = useRef<() => void>(() => undefined);

  useEffect(() => {
    const stop = new AbortController();
    const began = Date.now();
    // Other things are asked for: what is shown is not theirs. The same again: it stays until the answer is there.
    if (key.current !== text) set({ loading: true });
    key.current = text;
    last.current.busy = true;
    const end = () => {
      Object.assign(last.current, { busy: false, took: Date.now() - began, ended: Date.now() });
      if (last.current.changed) changed.current();
    };
    latest.current(stop.signal).then(
      (data) => {
        if (stop.signal.aborted) return;
        set({ data, loading: false });
        end();
      },
      (error: Error) => {
        if (stop.signal.aborted) return;
        set((s) => ({ data: s.data, error, loading: false }));
        end();
      },
    );
    return () => stop.abort();
  }, [text, turn]);

  useEffect(() => {
    // What takes long is not asked for at each of many changes, and never given up for the next one.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const reload = (changed.current = () => {
      const l = last.current;
      l.changed = l.busy;
      if (l.busy) return;
      timer ??= setTimeout(
        () => {
          timer = undefined;
          next((n) => n + 1);
        },
        Math.min(Math.max(0, l.ended + 4 * l.took - Date.now()), LONGEST),
      );
    });
    const offs = topics.map((t) => onChange(t, reload));
    return () => {
      clearTimeout(timer);
      offs.forEach((off) => off());
    };
  }, [topics.join(",")]);

  return { data: state.data, error: state.error, loading: state.loading, reload: () => next((n) => n + 1) };
}
