// Data of a page: asked for when it opens, again when what it stands on changes, and when the server says so.
import { useEffect, useRef, useState } from "preact/hooks";
import { onChange } from "./api";

export interface Data<T> {
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  reload: () => void;
}

export function useData<T>(ask: (signal: AbortSignal) => Promise<T>, deps: unknown[], topics: string[] = []): Data<T> {
  const [state, set] = useState<{ data?: T; error?: Error; loading: boolean }>({ loading: true });
  const [turn, next] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;
  const key = useRef<string>();
  const text = JSON.stringify(deps);

  useEffect(() => {
    const stop = new AbortController();
    // Other things are asked for: what is shown is not theirs. The same again: it stays until the answer is there.
    if (key.current !== text) set({ loading: true });
    key.current = text;
    latest.current(stop.signal).then(
      (data) => !stop.signal.aborted && set({ data, loading: false }),
      (error: Error) => !stop.signal.aborted && set((s) => ({ data: s.data, error, loading: false })),
    );
    return () => stop.abort();
  }, [text, turn]);

  useEffect(() => {
    const reload = () => next((n) => n + 1);
    const offs = topics.map((t) => onChange(t, reload));
    return () => offs.forEach((off) => off());
  }, [topics.join(",")]);

  return { data: state.data, error: state.error, loading: state.loading, reload: () => next((n) => n + 1) };
}
