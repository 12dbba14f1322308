// An object as YAML, changed with the server's word on it first: a dry run checks what a save would do.
import { useState } from "preact/hooks";
import { request } from "../api";
import { useData } from "../data";
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

const warnings = (a: Response) => [...(a.headers.get("Warning") ?? "").matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)].map((m) => m[1]!);

export function Editor({ path, done, readonly }: { path: string; done?: () => void; readonly?: boolean }) {
  const d = useData(async (signal) => tidy(await (await request("/dashboard/kube" + path, { accept: "application/yaml", signal })).text()), [path]);
  const [text, type] = useState<string>();
  const [error, fail] = useState<Error>();
  const [said, say] = useState<string[]>([]);
  const send = async (dry: boolean) => {
    fail(undefined);
    say([]);
    try {
      const a = await request(`/dashboard/kube${path}?fieldValidation=Strict&fieldManager=millrace-dashboard${dry ? "&dryRun=All" : ""}`, { method: "PUT", text: text ?? d.data ?? "", type: "application/yaml" });
      say([dry ? "The server would take this." : "Saved.", ...warnings(a)]);
      if (!dry) {
        type(undefined);
        d.reload();
        done?.();
      }
    } catch (e) {
      fail(e as Error);
    }
  };
  if (d.data === undefined) return <Waiting of={d} lines={8} />;
  const changed = text !== undefined && text !== d.data;
  return (
    <div class="stack">
      <textarea class="yaml" aria-label="YAML" rows={24} spellcheck={false} readOnly={readonly} value={text ?? d.data} onInput={(e) => type(e.currentTarget.value)} />
      {error && <Trouble error={error} />}
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
          <Button disabled={!changed} onClick={() => (type(undefined), fail(undefined), say([]))}>
            Undo
          </Button>
        </div>
      )}
    </div>
  );
}
