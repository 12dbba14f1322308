// One endpoint: how it is, what it serves, its log, its traffic, and a form that tries it.
import { useEffect, useMemo, useState } from "preact/hooks";
import { json, kube, kubeText, request } from "../api";
import { useData } from "../data";
import { example } from "../example";
import { duration, moment, number, time } from "../format";
import { condition, eventTime, inferBody, inside, ISVC, sample, type Isvc, type KEvent, type KObject, type Sample, type Tensor } from "../kube";
import { go, to } from "../router";
import Lines from "../ui/chart";
import { Button, Card, Confirm, Copy, Empty, Facts, Head, Status, Table, Tabs, Trouble, Waiting, When, useTitle } from "../ui/parts";
import { Block, Log } from "../ui/text";
import { Editor } from "../ui/editor";

interface Metadata {
  name: string;
  inputs?: Tensor[];
  outputs?: Tensor[];
}

function Traffic({ model }: { model: string }) {
  const [points, set] = useState<{ t: number; s: Sample }[]>([]);
  const [missing, miss] = useState(false);
  useEffect(() => {
    let left = false;
    const look = () =>
      request("/metrics")
        .then((a) => a.text())
        .then((text) => !left && (miss(!text.includes(`model="${model}"`)), set((p) => [...p, { t: Date.now() / 1000, s: sample(text, model) }].slice(-90))))
        .catch(() => undefined);
    void look();
    const timer = setInterval(look, 2000);
    return () => {
      left = true;
      clearInterval(timer);
    };
  }, [model]);
  const series = useMemo(() => {
    const rate: [number, number][] = [];
    const late: [number, number][] = [];
    for (let i = 1; i < points.length; i++) {
      const a = points[i - 1]!;
      const b = points[i]!;
      const x = b.t - points[points.length - 1]!.t;
      const done = b.s.good + b.s.bad - a.s.good - a.s.bad;
      rate.push([x, Math.max(0, done / (b.t - a.t))]);
      const n = b.s.answers - a.s.answers;
      if (n > 0) late.push([x, ((b.s.seconds - a.s.seconds) / n) * 1000]);
    }
    return { rate: [{ name: "requests a second", points: rate }], late: [{ name: "milliseconds", points: late }] };
  }, [points]);
  const last = points[points.length - 1]?.s;
  return (
    <Card title="Traffic" more={<span class="dim">{last ? `${number(last.good)} answered, ${number(last.bad)} refused since the start` : ""}</span>}>
      {missing ? (
        <p class="dim">This program measures only models that it serves itself.</p>
      ) : (
        <div class="two">
          <Lines label="Requests a second" series={series.rate} height={150} />
          <Lines label="Mean time of an answer, ms" series={series.late} height={150} />
        </div>
      )}
    </Card>
  );
}

const plain = (t: Tensor) => (t.datatype === "BYTES" ? "" : t.datatype === "BOOL" ? "true" : "0");

interface Served {
  ns: string;
  name: string;
  uri: string;
  ready: boolean; // before that nobody answers
}

function Try({ ns, name, uri, ready }: Served) {
  const base = `/serving/${encodeURIComponent(ns)}/${encodeURIComponent(name)}/v2/models/${encodeURIComponent(name)}`;
  const d = useData((signal) => (ready ? json<Metadata>(base, { signal }) : Promise.resolve(null)), [base, ready]);
  const [typed, type] = useState<Record<string, string>>({});
  const [raw, setRaw] = useState<string>();
  const [answer, set] = useState<{ text?: string; error?: Error; ms?: number }>({});
  const inputs = d.data?.inputs ?? [];
  // What was logged with the model as an example of its input stands in the form at first.
  const logged = useData((signal) => (d.data ? example(uri, d.data.inputs ?? [], signal).then((e) => e ?? null) : Promise.resolve(null)), [uri, d.data]);
  const values = Object.fromEntries(inputs.map((t) => [t.name, typed[t.name] ?? logged.data?.[t.name] ?? plain(t)]));
  const send = async () => {
    set({});
    try {
      const text = raw ?? JSON.stringify(inferBody(inputs, values));
      const begin = performance.now();
      const a = await request(`${base}/infer`, { text, type: "application/json" });
      const said = await a.text();
      set({ text: JSON.stringify(JSON.parse(said), null, 2), ms: performance.now() - begin });
    } catch (e) {
      set({ error: e as Error });
    }
  };
  if (!ready) return <p class="note">It answers no requests yet.</p>;
  if (!d.data || logged.loading) return <Waiting of={d} />;
  return (
    <div class="two">
      <Card title="Request" more={logged.data && <span class="dim">from the model's input example</span>}>
        <form
          class="form"
          onSubmit={(e) => {
            e.preventDefault();
            void send();
          }}
        >
          {raw === undefined && inputs.length > 0 ? (
            <div class="try">
              {inputs.map((t) => (
                <label class="field">
                  <span>{t.name}</span>
                  <input type="text" value={values[t.name]} onInput={(e) => type({ ...typed, [t.name]: e.currentTarget.value })} />
                  <small>{t.datatype}</small>
                </label>
              ))}
            </div>
          ) : (
            <label class="field">
              <span>Body</span>
              <textarea rows={14} value={raw ?? ""} onInput={(e) => setRaw(e.currentTarget.value)} spellcheck={false} />
            </label>
          )}
          <p class="dim">Several rows: values with commas.</p>
          <div class="row">
            <Button kind="main" type="submit" icon="play">
              Send
            </Button>
            <Button
              onClick={() => {
                if (raw !== undefined) return setRaw(undefined);
                try {
                  setRaw(JSON.stringify(inferBody(inputs, values), null, 2));
                } catch {
                  setRaw('{"inputs": []}');
                }
              }}
            >
              {raw === undefined ? "As JSON" : "As a form"}
            </Button>
          </div>
        </form>
      </Card>
      <Card title="Answer" more={answer.ms !== undefined && <span class="dim">{duration(Math.max(answer.ms, 1))}</span>}>
        {answer.error ? <Trouble error={answer.error} /> : answer.text ? <Block label="Answer">{answer.text}</Block> : <p class="dim">Nothing was sent yet.</p>}
      </Card>
    </div>
  );
}

function Logs({ ns, name }: { ns: string; name: string }) {
  const d = useData((signal) => kube<{ items: KObject[] }>(inside("/api/v1", ns, "pods"), { labelSelector: `serving.kserve.io/inferenceservice=${name}` }, { signal }), [ns, name], ["kube:/v1/pods"]);
  const [pod, pick] = useState("");
  const [container, pickContainer] = useState("");
  if (!d.data) return <Waiting of={d} />;
  const pods = d.data.items;
  const chosen = pods.find((p) => p.metadata.name === pod) ?? pods[0];
  if (!chosen)
    return (
      <Card>
        <Empty icon="endpoints" title="No pod runs for it now" />
      </Card>
    );
  const containers = ((chosen.spec?.containers as { name: string }[]) ?? []).map((c) => c.name);
  const c = containers.includes(container) ? container : containers[0]!;
  return (
    <div class="stack">
      <div class="toolbar">
        <select aria-label="Pod" value={chosen.metadata.name} onChange={(e) => pick(e.currentTarget.value)}>
          {pods.map((p) => (
            <option>{p.metadata.name}</option>
          ))}
        </select>
        <select aria-label="Container" value={c} onChange={(e) => pickContainer(e.currentTarget.value)}>
          {containers.map((x) => (
            <option>{x}</option>
          ))}
        </select>
      </div>
      <Log url={`/dashboard/kube${inside("/api/v1", ns, "pods", chosen.metadata.name)}/log?follow=true&tailLines=2000&container=${encodeURIComponent(c)}`} />
    </div>
  );
}

export function Events({ ns, of }: { ns: string | undefined; of: (e: KEvent) => boolean }) {
  const d = useData((signal) => kube<{ items: KEvent[] }>(inside("/api/v1", ns, "events"), {}, { signal }), [ns], ["kube:/v1/events"]);
  if (!d.data) return <Waiting of={d} />;
  const rows = d.data.items.filter(of).sort((a, b) => (eventTime(a) < eventTime(b) ? 1 : -1));
  if (!rows.length) return <p class="note">Nothing was said about it.</p>;
  return (
    <Table
      of="Events"
      rows={rows}
      columns={[
        { head: "When", cell: (e) => <When at={time(eventTime(e))} />, class: "nowrap" },
        { head: "Kind", cell: (e) => <Status state={e.type === "Warning" ? "WARNING" : "muted"} text={e.reason} /> },
        { head: "Of", cell: (e) => `${e.involvedObject?.kind} ${e.involvedObject?.name}` },
        { head: "What", cell: (e) => e.message },
        { head: "Times", cell: (e) => e.count ?? 1, right: true },
      ]}
    />
  );
}

export default function Endpoint({ ns, name }: Record<string, string>) {
  const path = inside(ISVC, ns, "inferenceservices", name);
  const d = useData((signal) => kube<Isvc>(path, {}, { signal }), [path], ["kube:serving.kserve.io/v1beta1/inferenceservices"]);
  const [asked, ask] = useState(false);
  const [error, fail] = useState<Error>();
  useTitle(name!);
  const crumbs: [string, string][] = [["Endpoints", "/endpoints"]];
  if (!d.data)
    return (
      <>
        <Head title={name} crumbs={crumbs} />
        <Waiting of={d} lines={6} />
      </>
    );
  const s = d.data;
  const ready = condition(s, "Ready");
  const parts = s.status?.components ?? {};
  const traffic = parts.predictor?.traffic ?? [];
  const uri = s.spec.predictor.model?.storageUri ?? "";
  const registered = /^models:\/([^/@]+)[/@]/.exec(uri)?.[1];
  const origin = `${location.origin}/serving/${ns}/${name}`;
  const share = (percent: number | null) => kube(path, {}, { method: "PATCH", body: { spec: { predictor: { canaryTrafficPercent: percent } } }, type: "application/merge-patch+json" }).then(() => (fail(undefined), d.reload()), fail);
  return (
    <>
      <Head title={name} crumbs={crumbs} sub={<><Status state={ready?.status ?? "Unknown"} /><span>{ns}</span>{ready?.message && <span>{ready.message}</span>}</>}>
        <Button kind="danger" icon="trash" onClick={() => ask(true)}>
          Delete
        </Button>
      </Head>
      {error && <Trouble error={error} />}
      {s.status?.modelStatus?.lastFailureInfo?.message && (
        <div class="trouble">
          <strong>{s.status.modelStatus.lastFailureInfo.reason}</strong>
          <p>{s.status.modelStatus.lastFailureInfo.message}</p>
        </div>
      )}
      <Tabs
        of={[
          ["overview", "Overview"],
          ["try", "Try it"],
          ["details", "Details"],
          ["logs", "Logs"],
          ["events", "Events"],
          ["yaml", "YAML"],
        ]}
      >
        {(tab) =>
          tab === "try" ? (
            <Try ns={ns!} name={name!} uri={uri} ready={ready?.status === "True"} />
          ) : tab === "logs" ? (
            <Logs ns={ns!} name={name!} />
          ) : tab === "events" ? (
            <Events ns={ns} of={(e) => (e.involvedObject?.name ?? "").startsWith(name!)} />
          ) : tab === "yaml" ? (
            <Editor path={path} done={d.reload} />
          ) : tab === "details" ? (
            <Table
              of="Conditions"
              rows={s.status?.conditions ?? []}
              columns={[
                { head: "Condition", cell: (c) => <strong>{c.type}</strong> },
                { head: "State", cell: (c) => <Status state={c.status} text={c.status} /> },
                { head: "Reason", cell: (c) => c.reason },
                { head: "Message", cell: (c) => c.message },
                { head: "Since", cell: (c) => <When at={time(c.lastTransitionTime)} />, class: "nowrap" },
              ]}
            />
          ) : (
            <div class="stack">
              <div class="two">
                <Card title="Endpoint">
                  <Facts
                    of={[
                      [
                        "From here",
                        <span>
                          {origin} <Copy text={origin} what="Copy the address" />
                        </span>,
                      ],
                      ["By host", s.status?.url ?? ""],
                      ["Model", registered ? <a href={to("models", registered)}>{uri}</a> : uri],
                      ["Format", s.spec.predictor.model?.modelFormat?.name ?? ""],
                      ["Protocol", s.spec.predictor.model?.protocolVersion ?? ""],
                      ["Model is", s.status?.modelStatus?.states?.activeModelState ?? s.status?.modelStatus?.states?.targetModelState ?? ""],
                      ["Made", moment(time(s.metadata.creationTimestamp))],
                    ]}
                  />
                </Card>
                <Card title="Revisions">
                  {traffic.length ? (
                    <ul class="list">
                      {traffic.map((t) => (
                        <li>
                          <strong class="nowrap">{t.percent ?? 0} %</strong>
                          <span class="grow">{t.revisionName}</span>
                          <span class="dim">{t.latestRevision ? "latest" : "before it"}</span>
                        </li>
                      ))}
                    </ul>
                  ) : (
                    <p class="dim">No revision has traffic yet.</p>
                  )}
                  {(parts.predictor?.previousRolledoutRevision || traffic.length > 1) && (
                    <div class="row">
                      {[10, 50].map((p) => (
                        <Button onClick={() => void share(p)}>{p} % to the latest</Button>
                      ))}
                      <Button onClick={() => void share(null)}>All to the latest</Button>
                      <Button kind="danger" onClick={() => void share(0)}>
                        Roll back
                      </Button>
                    </div>
                  )}
                </Card>
              </div>
              <Traffic model={name!} />
              <Card title="Ask it from a shell">
                <Curl ns={ns!} name={name!} uri={uri} origin={origin} ready={ready?.status === "True"} />
              </Card>
            </div>
          )
        }
      </Tabs>
      {asked && <Confirm title="Delete the endpoint?" text={`${name} stops answering at once. The model stays in the registry.`} yes="Delete" close={() => ask(false)} act={() => kubeText(path, {}, { method: "DELETE" }).then(() => go("/endpoints"))} />}
    </>
  );
}

function Curl({ ns, name, uri, origin, ready }: Served & { origin: string }) {
  const base = `/serving/${encodeURIComponent(ns)}/${encodeURIComponent(name)}/v2/models/${encodeURIComponent(name)}`;
  const d = useData((signal) => (ready ? json<Metadata>(base, { signal }) : Promise.resolve(null)), [base, ready]);
  const inputs = d.data?.inputs ?? [];
  const logged = useData((signal) => (inputs.length ? example(uri, inputs, signal).then((e) => e ?? null) : Promise.resolve(null)), [uri, inputs]);
  let body = '{"inputs": []}';
  if (inputs.length) {
    try {
      body = JSON.stringify(inferBody(inputs, Object.fromEntries(inputs.map((t) => [t.name, logged.data?.[t.name] ?? plain(t)])))).replaceAll("'", "'\\''");
    } catch {
      // An example that the form does not take is none for the shell either.
    }
  }
  const text = `curl ${origin}/v2/models/${name}/infer \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
  return (
    <div class="code">
      <pre tabIndex={0}>{text}</pre>
      <Copy text={text} what="Copy the command" />
    </div>
  );
}
