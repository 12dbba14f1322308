// An object as YAML, changed with the server's word on it first: a dry run checks what a save would do.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, request } from "../api";
import { useData } from "../data";
import { problems, type Problem } from "../yaml";
import type { CodeProps } from "./code";
import { Button, Trouble, Waiting } from "./parts";

/** Managed fields tell of tools, not of the object; they are the server's to keep. */
export function tidy(yaml: string): string {
  const out: string[] = [];
  let skipping = false;
  for (const line of yaml.split("\n")) {
    if (/^ {2}managedFields:/.test(line)) skipping = true;
    else if (skipping && /^( {2}[^\s-]|\S)/.test(line)) skipping = false;
    if (!skipping) out.push(line);
  }
  return out.join("\n");
}

/** The editor, and until it is there (or when it does not come) a plain field. */
export function Code(props: CodeProps) {
  const [part, set] = useState<{ C?: ComponentType<CodeProps>; failed?: boolean }>({});
  useEffect(() => {
    let left = false;
    import("./code").then(
      (m) => !left && set({ C: m.default }),
      () => !left && set({ failed: true }),
    );
    return () => void (left = true);
  }, []);
  if (part.C) return <part.C {...props} />;
  if (!part.failed) return <Waiting of={{ reload: () => undefined }} lines={8} />;
  return <textarea class="yaml" aria-label="YAML" rows={24} spellcheck={false} readOnly={props.readonly} placeholder={props.placeholder} value={props.value} onInput={(e) => props.change?.(e.currentTarget.value)} />;
}

/** What the server refuses, at its lines. */
export function marks(text: string, error: unknown): Problem[] {
  return error instanceof ApiError ? problems(text, error.message, error.causes) : [];
}

export function Refused({ error, at }: { error: Error; at: Problem[] }) {
  if (!at.length) return <Trouble error={error} />;
  return (
    <div class="trouble" role="alert">
      <strong>The server would not take this</strong>
      <ul>
        {at.map((p) => (
          <li>
            Line {p.line}: {p.message}
          </li>
        ))}
      </ul>
    </div>
  );
}

const warnings = (a: Response) => [...(a.headers.get("Warning") ?? "").matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)].map((m) => m[1]!);

export function Editor({ path, done, readonly }: { path: string; done?: () => void; readonly?: boolean }) {
  const d = useData(async (signal) => tidy(await (await request("/dashboard/kube" + path, { accept: "application/yaml", signal })).text()), [path]);
  const [text, type] = useState<string>();
  const [error, fail] = useState<Error>();
  const [at, mark] = useState<Problem[]>([]);
  const [said, say] = useState<string[]>([]);
  const clear = () => (fail(undefined), mark([]), say([]));
  const send = async (dry: boolean) => {
    clear();
    const body = text ?? d.data ?? "";
    try {
      const a = await request(`/dashboard/kube${path}?fieldValidation=Strict&fieldManager=millrace-dashboard${dry ? "&dryRun=All" : ""}`, { method: "PUT", text: body, type: "application/yaml" });
      say([dry ? "The server would take this." : "Saved.", ...warnings(a)]);
      if (!dry) {
        type(undefined);
        d.reload();
        done?.();
      }
    } catch (e) {
      fail(e as Error);
      mark(marks(body, e));
    }
  };
  if (d.data === undefined) return <Waiting of={d} lines={8} />;
  const changed = text !== undefined && text !== d.data;
  return (
    <div class="stack">
      <Code value={text ?? d.data} change={type} readonly={readonly} problems={at} />
      {error && <Refused error={error} at={at} />}
      {said.length > 0 && (
        <p class="note" role="status">
          {said.join(" ")}
        </p>
      )}
      {!readonly && (
        <div class="row">
          <Button disabled={!changed} onClick={() => void send(true)}>
            Check with the server
          </Button>
          <Button kind="main" disabled={!changed} onClick={() => void send(false)}>
            Save
          </Button>
          <Button disabled={!changed} onClick={() => (type(undefined), clear(), d.reload())}>
            Undo
          </Button>
          <span class="dim">
            <kbd>Ctrl Space</kbd> says what may stand here
          </span>
        </div>
      )}
    </div>
  );
}
