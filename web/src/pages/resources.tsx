// Every kind of the Kubernetes API, and the objects of one as a table.
import { useState } from "preact/hooks";
import { request } from "../api";
import { useData } from "../data";
import { ago, time } from "../format";
import { headOf, inside, kinds, rootOf, table, type Kind } from "../kube";
import { go, place, setQuery, to } from "../router";
import { namespace } from "../settings";
import { Code, marks, Refused } from "../ui/editor";
import { Button, Card, Dialog, Empty, Head, Table, Waiting, useTitle } from "../ui/parts";
import type { Problem } from "../yaml";

const groupTitle = (g: string) => g || "core";

function Apply({ all, close }: { all: Kind[]; close: () => void }) {
  const [text, type] = useState("");
  const [error, fail] = useState<Error>();
  const [at, mark] = useState<Problem[]>([]);
  const [said, say] = useState("");
  const send = async (dry: boolean) => {
    fail(undefined);
    mark([]);
    say("");
    try {
      const h = headOf(text);
      if (!h.apiVersion || !h.kind || !h.name) throw new Error("It needs apiVersion, kind and metadata.name.");
      const [group, version] = h.apiVersion.includes("/") ? h.apiVersion.split("/") : ["", h.apiVersion];
      const k = all.find((x) => x.group === group && x.kind === h.kind);
      if (!k) throw new Error(`There is no kind ${h.kind} in ${h.apiVersion} here.`);
      const ns = k.namespaced ? (h.namespace ?? (namespace.value || "default")) : undefined;
      const path = inside(rootOf(group!, version!), ns, k.plural, h.name);
      await request(`/dashboard/kube${path}?fieldManager=millrace-dashboard&force=true&fieldValidation=Strict${dry ? "&dryRun=All" : ""}`, { method: "PATCH", text, type: "application/apply-patch+yaml" });
      if (dry) say("The server would take this.");
      else {
        go(to("resources", groupTitle(group!), version!, k.plural, ns ?? "-", h.name));
      }
    } catch (e) {
      fail(e as Error);
      mark(marks(text, e));
    }
  };
  return (
    <Dialog title="Apply YAML" close={close} wide>
      <Code problems={at} placeholder={"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  namespace: default\ndata:\n  key: value"} value={text} change={type} />
      {error && <Refused error={error} at={at} />}
      {said && (
        <p class="note" role="status">
          {said}
        </p>
      )}
      <div class="dialog-foot">
        <Button onClick={() => void send(true)}>Check with the server</Button>
        <Button kind="main" onClick={() => void send(false)}>
          Apply
        </Button>
      </div>
    </Dialog>
  );
}

export default function Resources() {
  useTitle("Resources");
  const d = useData((signal) => kinds(signal), []);
  const words = (place.value.query.get("q") ?? "").toLowerCase();
  const applying = place.value.query.has("apply");
  const groups = [...new Set((d.data ?? []).map((k) => k.group))].sort();
  return (
    <>
      <Head title="Resources" sub="Every object of the Kubernetes API, as kubectl sees them.">
        <Button icon="plus" disabled={!d.data} onClick={() => setQuery({ apply: "1" })}>
          Apply YAML
        </Button>
      </Head>
      <div class="toolbar">
        <input type="search" aria-label="Kinds whose name has" placeholder="Kinds whose name has …" value={words} onInput={(e) => setQuery({ q: e.currentTarget.value })} />
      </div>
      {!d.data ? (
        <Waiting of={d} lines={8} />
      ) : (
        <div class="columns">
          {groups.map((g) => {
            const mine = d.data!.filter((k) => k.group === g && k.kind.toLowerCase().includes(words)).sort((a, b) => (a.kind < b.kind ? -1 : 1));
            return mine.length ? (
              <Card title={groupTitle(g)}>
                <div class="kinds">
                  {mine.map((k) => (
                    <a href={to("resources", groupTitle(k.group), k.version, k.plural)}>{k.kind}</a>
                  ))}
                </div>
              </Card>
            ) : null;
          })}
        </div>
      )}
      {applying && d.data && <Apply all={d.data} close={() => setQuery({ apply: undefined })} />}
    </>
  );
}

export function ResourceList({ group, version, plural }: Record<string, string>) {
  const root = rootOf(group!, version!);
  const all = useData((signal) => kinds(signal), []);
  const kind = all.data?.find((k) => groupTitle(k.group) === group && k.plural === plural);
  const ns = kind?.namespaced ? namespace.value : "";
  const words = place.value.query.get("q") ?? "";
  const secret = group === "core" && plural === "secrets";
  const d = useData(
    (signal) => table(inside(root, ns || undefined, plural!), `?limit=1000&includeObject=${secret ? "None" : "Metadata"}`, signal),
    [root, ns, plural, Boolean(kind)],
    [`kube:${group === "core" ? "" : group}/${version}/${plural}`],
  );
  const title = kind?.kind ?? plural!;
  useTitle(title);
  const head = <Head title={title} crumbs={[["Resources", "/resources"]]} sub={<span>{`${group}/${version}`}</span>} />;
  if (!d.data)
    return (
      <>
        {head}
        <Waiting of={d} lines={6} />
      </>
    );
  const shown = d.data.columnDefinitions.map((c, i) => ({ c, i })).filter(({ c }) => c.priority === 0);
  const rows = d.data.rows.filter((r) => r.cells.some((x) => String(x ?? "").includes(words)));
  const spaced = kind?.namespaced && !ns;
  return (
    <>
      {head}
      <div class="toolbar">
        <input type="search" aria-label="Rows that have" placeholder="Rows that have …" value={words} onInput={(e) => setQuery({ q: e.currentTarget.value })} />
      </div>
      {secret && <p class="note">Of Secrets, names and kinds are shown; values are for kubectl.</p>}
      {rows.length === 0 ? (
        <div class="card">
          <Empty icon="resources" title={words ? "No row has this" : `There are none${ns ? ` in ${ns}` : ""}`} />
        </div>
      ) : (
        <Table
          of={title}
          rows={rows}
          href={(r) => (r.object ? to("resources", group!, version!, plural!, r.object.metadata.namespace ?? "-", r.object.metadata.name) : undefined)}
          columns={[
            ...shown.slice(0, 1).map(({ c, i }) => ({ head: c.name, cell: (r: (typeof rows)[number]) => String(r.cells[i] ?? "") })),
            ...(spaced && !secret ? [{ head: "Namespace", cell: (r: (typeof rows)[number]) => <span class="dim">{r.object?.metadata.namespace}</span> }] : []),
            ...shown.slice(1).map(({ c, i }) => ({
              head: c.name,
              cell: (r: (typeof rows)[number]) => {
                const v = r.cells[i];
                if (v === null || v === undefined) return <span class="dim">–</span>;
                return c.type === "date" && Number.isFinite(time(v)) ? ago(time(v)) : String(v).slice(0, 300);
              },
            })),
          ]}
        />
      )}
      {d.data.metadata?.continue && <p class="note">The first 1,000 are shown: choose a namespace, or use kubectl.</p>}
    </>
  );
}
