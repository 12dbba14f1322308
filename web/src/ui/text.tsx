// Texts of machines: logs that follow, files as they are.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { errorText, request } from "../api";

const MOST = 400_000; // characters kept of a log: its end

/** A log that goes on as long as its step does. `url` null: there is none, and `none` says why. */
export function Log({ url, none }: { url: string | null; none?: string }) {
  const [text, set] = useState("");
  const [note, setNote] = useState("");
  const [turn, again] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const stick = useRef(true);
  useEffect(() => {
    set("");
    setNote("");
    if (!url) return;
    const stop = new AbortController();
    void (async () => {
      try {
        const answer = await fetch(url, { signal: stop.signal });
        if (!answer.ok || !answer.body) {
          setNote(errorText(answer.status, await answer.text()));
          return;
        }
        const reader = answer.body.getReader();
        const decoder = new TextDecoder();
        let all = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          all = (all + decoder.decode(value, { stream: true })).slice(-MOST);
          set(all);
        }
        if (!all) setNote("Nothing was printed.");
      } catch {
        if (!stop.signal.aborted) setNote("The log broke off: the server does not answer.");
      }
    })();
    return () => stop.abort();
  }, [url, turn]);
  useEffect(() => {
    const b = box.current;
    if (b && stick.current) b.scrollTop = b.scrollHeight;
  }, [text]);
  if (!url) return <p class="note">{none}</p>;
  return (
    <div class="stack">
      <div
        class="log"
        ref={box}
        tabIndex={0}
        role="log"
        aria-label="Log"
        onScroll={() => {
          const b = box.current!;
          stick.current = b.scrollHeight - b.scrollTop - b.clientHeight < 30;
        }}
      >
        {text}
        {note && <span class="log-note">{note}</span>}
      </div>
      <div class="row">
        <button type="button" class="inline" onClick={() => again(turn + 1)}>
          Read again
        </button>
      </div>
    </div>
  );
}

export function Block({ children, label }: { children: string; label: string }) {
  return (
    <pre class="block" tabIndex={0} aria-label={label}>
      {children}
    </pre>
  );
}

const LARGEST = 1 << 20; // of a text that is shown

/** A stored file, shown by its kind. Nothing of it becomes markup of this page. */
export function Preview({ url, name }: { url: string; name: string }) {
  const kind = kindOf(name);
  const inline = url + (url.includes("?") ? "&" : "?") + "inline=1";
  const [state, set] = useState<{ text?: string; note?: string }>({});
  useEffect(() => {
    set({});
    if (kind === "picture" || kind === "page" || kind === "other") return;
    const stop = new AbortController();
    request(url, { signal: stop.signal })
      .then(async (a) => {
        const size = Number(a.headers.get("Content-Length") ?? 0);
        if (size > 8 * LARGEST) {
          void a.body?.cancel();
          set({ note: "This file is too large to show: download it." });
          return;
        }
        const text = await a.text();
        set({ text: text.slice(0, LARGEST), note: text.length > LARGEST ? "Only the beginning of this file is shown." : undefined });
      })
      .catch((e: Error) => !stop.signal.aborted && set({ note: e.message }));
    return () => stop.abort();
  }, [url]);
  let body: ComponentChildren = null;
  if (kind === "picture") body = <img class="preview-picture" src={inline} alt={name} onError={() => set({ note: "This picture cannot be shown: it is missing or damaged." })} />;
  else if (kind === "page") body = <iframe class="preview-frame" sandbox="allow-scripts" src={inline} title={name} />;
  else if (kind === "other") body = <p class="note">There is no preview of this kind of file. Download it.</p>;
  else if (state.text !== undefined) {
    if (kind === "markdown") body = <Markdown text={state.text} />;
    else if (kind === "table") body = <Rows text={state.text} separator={name.endsWith(".tsv") ? "\t" : ","} />;
    else if (kind === "json") body = <Block label={name}>{pretty(state.text)}</Block>;
    else body = <Block label={name}>{state.text}</Block>;
  } else if (!state.note) body = <p class="dim">Loading …</p>;
  return (
    <div class="stack">
      {state.note && (
        <p class="note" role="status">
          {state.note}
        </p>
      )}
      {body}
    </div>
  );
}

export function kindOf(name: string) {
  const base = name.split("/").pop()!.toLowerCase();
  const ending = base.includes(".") ? base.split(".").pop()! : "";
  if (["png", "jpg", "jpeg", "gif", "webp", "svg", "bmp"].includes(ending)) return "picture";
  if (["html", "htm"].includes(ending)) return "page";
  if (ending === "md") return "markdown";
  if (["csv", "tsv"].includes(ending)) return "table";
  if (["json", "ipynb", "geojson"].includes(ending)) return "json";
  if (["zip", "gz", "tar", "pkl", "pickle", "skops", "onnx", "parquet", "bin", "npy", "npz", "h5", "pt", "joblib", "ubj", "safetensors", "pdf", "mp4", "wav"].includes(ending)) return "other";
  return "text";
}

function pretty(text: string) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** The fields of separated values; quotes may hold separators, quotes and line ends. */
export function cells(text: string, separator: string, most = 500): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let quoted = false;
  for (let i = 0; i < text.length && rows.length < most; i++) {
    const c = text[i]!;
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') {
        field += '"';
        i++;
      } else if (c === '"') quoted = false;
      else field += c;
    } else if (c === '"' && field === "") quoted = true;
    else if (c === separator) {
      row.push(field);
      field = "";
    } else if (c === "\n") {
      row.push(field.replace(/\r$/, ""));
      rows.push(row);
      row = [];
      field = "";
    } else field += c;
  }
  if (field !== "" || row.length) rows.push([...row, field]);
  return rows;
}

function Rows({ text, separator }: { text: string; separator: string }) {
  const rows = cells(text, separator);
  const [head, ...rest] = rows;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>
            {(head ?? []).map((h) => (
              <th scope="col">{h}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rest.map((r) => (
            <tr>
              {r.map((v) => (
                <td>{v}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Headings, lists, quotes, code, emphasis, links: what notes are written with. */
export function Markdown({ text }: { text: string }) {
  const out: ComponentChildren[] = [];
  const lines = text.split("\n");
  let i = 0;
  while (i < lines.length) {
    const line = lines[i]!;
    if (line.startsWith("```")) {
      const code: string[] = [];
      while (++i < lines.length && !lines[i]!.startsWith("```")) code.push(lines[i]!);
      i++;
      out.push(<Block label="Code">{code.join("\n")}</Block>);
      continue;
    }
    const head = /^(#{1,6})\s+(.*)/.exec(line);
    if (head) {
      const H = `h${Math.min(head[1]!.length + 2, 6)}` as "h3";
      out.push(<H>{inline(head[2]!)}</H>);
      i++;
      continue;
    }
    if (/^\s*([-*]|\d+\.)\s+/.test(line)) {
      const items: ComponentChildren[] = [];
      const ordered = /^\s*\d/.test(line);
      while (i < lines.length && /^\s*([-*]|\d+\.)\s+/.test(lines[i]!)) items.push(<li>{inline(lines[i++]!.replace(/^\s*([-*]|\d+\.)\s+/, ""))}</li>);
      out.push(ordered ? <ol>{items}</ol> : <ul>{items}</ul>);
      continue;
    }
    if (line.trim() === "") {
      i++;
      continue;
    }
    const words: string[] = [];
    while (i < lines.length && lines[i]!.trim() !== "" && !/^(#{1,6}\s|```|\s*([-*]|\d+\.)\s)/.test(lines[i]!)) words.push(lines[i++]!);
    if (words.length === 0) words.push(lines[i++]!);
    out.push(<p>{inline(words.join(" "))}</p>);
  }
  return <div class="markdown">{out}</div>;
}

function inline(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  const pattern = /\*\*([^*]+)\*\*|\*([^*]+)\*|`([^`]+)`|\[([^\]]+)\]\((https?:\/\/[^)\s]+)\)/g;
  let at = 0;
  for (let m = pattern.exec(text); m; m = pattern.exec(text)) {
    out.push(text.slice(at, m.index));
    if (m[1]) out.push(<strong>{m[1]}</strong>);
    else if (m[2]) out.push(<em>{m[2]}</em>);
    else if (m[3]) out.push(<code>{m[3]}</code>);
    else
      out.push(
        <a href={m[5]} target="_blank" rel="noopener noreferrer">
          {m[4]}
        </a>,
      );
    at = m.index + m[0].length;
  }
  out.push(text.slice(at));
  return out;
}
