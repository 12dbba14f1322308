// One registered model: its versions side by side, where each came from and where it serves.
import { useState } from "preact/hooks";
import { kube, mlflow } from "../api";
import { useData } from "../data";
import { number, num, time } from "../format";
import { condition, ISVC, type Isvc } from "../kube";
import { go, place, setQuery, to } from "../router";
import type { Run } from "../tracking";
import { Deploy, type ModelVersion, type Registered } from "../ui/deploy";
import { Icon } from "../ui/icons";
import { Button, Card, Confirm, Dialog, Head, Status, Table, Tabs, Trouble, Waiting, When, useTitle } from "../ui/parts";
import { Markdown } from "../ui/text";

function Alias({ model, version, close, done }: { model: string; version: string; close: () => void; done: () => void }) {
  const [name, set] = useState("champion");
  const [error, fail] = useState<Error>();
  return (
    <Dialog title={`An alias of version ${version}`} close={close}>
      <form
        class="form"
        onSubmit={(e) => {
          e.preventDefault();
          mlflow("registered-models/alias", { body: { name: model, alias: name, version } }).then(() => (done(), close()), fail);
        }}
      >
        <label class="field">
          <span>Alias</span>
          <input type="text" required value={name} onInput={(e) => set(e.currentTarget.value)} />
          <small>It moves here from the version that has it now.</small>
        </label>
        {error && <Trouble error={error} />}
        <div class="dialog-foot">
          <Button onClick={close}>Cancel</Button>
          <Button kind="main" type="submit">
            Set
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Which version an endpoint serves, by the URI of its model. */
export function serves(uri: string | undefined, model: string, v: ModelVersion): boolean {
  if (!uri) return false;
  if (uri === `models:/${model}/${v.version}`) return true;
  return (v.aliases ?? []).some((a) => uri === `models:/${model}@${a}`);
}

export default function Model({ name }: Record<string, string>) {
  useTitle(name!);
  const quote = name!.includes("'") ? '"' : "'";
  const m = useData((signal) => mlflow<{ registered_model: Registered }>("registered-models/get", { q: { name }, signal }), [name], ["tracking"]);
  const v = useData((signal) => mlflow<{ model_versions?: ModelVersion[] }>("model-versions/search", { q: { filter: `name=${quote}${name}${quote}`, max_results: 200, order_by: "version_number DESC" }, signal }), [name], ["tracking"]);
  const versions = v.data?.model_versions ?? [];
  const runIds = [...new Set(versions.map((x) => x.run_id).filter(Boolean))].slice(0, 50) as string[];
  const runs = useData((signal) => Promise.all(runIds.map((i) => mlflow<{ run: Run }>("runs/get", { q: { run_id: i }, signal }).then((r) => r.run, () => null))), [runIds]);
  const services = useData((signal) => kube<{ items: Isvc[] }>(`${ISVC}/inferenceservices`, {}, { signal }), [], ["kube:serving.kserve.io/v1beta1/inferenceservices"]);
  const [asked, askFor] = useState<[string, string]>(["", ""]);
  const deploying = place.value.query.get("deploy") ?? "";
  const ask = (what: [string, string]) => (what[0] === "deploy" ? setQuery({ deploy: what[1] }) : (askFor(what), setQuery({ deploy: undefined })));
  const [error, fail] = useState<Error>();
  if (!m.data || !v.data)
    return (
      <>
        <Head title={name} crumbs={[["Models", "/models"]]} />
        <Waiting of={m.data ? v : m} lines={6} />
      </>
    );
  const runOf = (x: ModelVersion) => runs.data?.find((r) => r?.info.run_id === x.run_id) ?? undefined;
  const served = (x: ModelVersion) => (services.data?.items ?? []).filter((s) => serves(s.spec.predictor.model?.storageUri, name!, x));
  const metrics = [...new Set(versions.flatMap((x) => runOf(x)?.data.metrics?.map((k) => k.key) ?? []))].sort();
  const params = [...new Set(versions.flatMap((x) => runOf(x)?.data.params?.map((k) => k.key) ?? []))].sort();
  const reload = () => (m.reload(), v.reload());
  const sideRows = [...metrics.map((k) => ["metric", k] as const), ...params.map((k) => ["parameter", k] as const)];
  const value = (x: ModelVersion, kind: string, key: string) => {
    const r = runOf(x);
    if (kind === "parameter") return r?.data.params?.find((p) => p.key === key)?.value.slice(0, 100) ?? "–";
    const found = r?.data.metrics?.find((p) => p.key === key);
    return found ? number(num(found.value)) : "–";
  };
  return (
    <>
      <Head title={name} crumbs={[["Models", "/models"]]} sub={m.data.registered_model.description ? <Markdown text={m.data.registered_model.description} /> : undefined}>
        <Button kind="main" icon="endpoints" disabled={!versions.length} onClick={() => ask(["deploy", versions[0]!.version])}>
          Deploy
        </Button>
      </Head>
      {error && <Trouble error={error} />}
      <Tabs
        of={[
          ["versions", "Versions"],
          ["side", "Side by side"],
          ["lineage", "Lineage"],
        ]}
      >
        {(tab) =>
          tab === "side" ? (
            <div class="scroll" tabIndex={0} role="region" aria-label="Versions side by side">
              <table class="side-by-side">
                <thead>
                  <tr>
                    <th scope="col">Version</th>
                    {versions.slice(0, 50).map((x) => (
                      <th scope="col">
                        v{x.version} {(x.aliases ?? []).map((a) => "@" + a).join(" ")}
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {sideRows.map(([kind, key]) => {
                    const all = versions.slice(0, 50).map((x) => value(x, kind, key));
                    return (
                      <tr class={new Set(all).size > 1 ? "differs" : ""}>
                        <th scope="row">
                          {key} <span class="dim">{kind}</span>
                        </th>
                        {all.map((t) => (
                          <td>{t}</td>
                        ))}
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          ) : tab === "lineage" ? (
            <div class="stack">
              {versions.slice(0, 30).map((x) => {
                const r = runOf(x);
                const data = r?.inputs?.dataset_inputs ?? [];
                return (
                  <div class="lineage card">
                    <div>
                      <h3>Data</h3>
                      {data.length ? data.map((s) => <p>{s.dataset.name}</p>) : <p class="dim">not logged</p>}
                    </div>
                    <Icon name="right" />
                    <div>
                      <h3>Run</h3>
                      {r ? <a href={to("experiments", r.info.experiment_id, "runs", r.info.run_id)}>{r.info.run_name}</a> : <p class="dim">unknown</p>}
                    </div>
                    <Icon name="right" />
                    <div>
                      <h3>Version</h3>
                      <span class="chip">v{x.version}</span> {(x.aliases ?? []).map((a) => <span class="chip accent">@{a}</span>)}
                    </div>
                    <Icon name="right" />
                    <div>
                      <h3>Endpoints</h3>
                      {served(x).length ? served(x).map((s) => <a href={to("endpoints", s.metadata.namespace!, s.metadata.name)}>{s.metadata.name} </a>) : <p class="dim">none</p>}
                    </div>
                  </div>
                );
              })}
            </div>
          ) : versions.length === 0 ? (
            <Card>
              <p class="dim">It has no versions.</p>
            </Card>
          ) : (
            <Table
              of="Versions"
              rows={versions}
              columns={[
                { head: "Version", cell: (x) => <strong>v{x.version}</strong> },
                {
                  head: "Aliases",
                  cell: (x) => (
                    <span class="chips">
                      {(x.aliases ?? []).map((a) => (
                        <button
                          type="button"
                          class="chip accent"
                          title="Take the alias away"
                          onClick={() => mlflow("registered-models/alias", { q: { name, alias: a }, method: "DELETE" }).then(reload, fail)}
                        >
                          @{a} ×
                        </button>
                      ))}
                      <button type="button" class="inline" onClick={() => ask(["alias", x.version])}>
                        set
                      </button>
                    </span>
                  ),
                },
                { head: "State", cell: (x) => <Status state={x.status ?? ""} /> },
                {
                  head: "Made by",
                  cell: (x) => {
                    const r = runOf(x);
                    return r ? <a href={to("experiments", r.info.experiment_id, "runs", r.info.run_id)}>{r.info.run_name}</a> : <span class="dim">{x.source}</span>;
                  },
                },
                { head: "Description", cell: (x) => <span class="dim">{x.description}</span> },
                { head: "Serves at", cell: (x) => served(x).map((s) => <a href={to("endpoints", s.metadata.namespace!, s.metadata.name)}><Status state={condition(s, "Ready")?.status ?? "Unknown"} text={s.metadata.name} /></a>) },
                { head: "Registered", cell: (x) => <When at={time(x.creation_timestamp)} />, class: "nowrap" },
                {
                  head: "",
                  right: true,
                  cell: (x) => (
                    <span class="row">
                      <Button onClick={() => ask(["deploy", x.version])}>Deploy</Button>
                      <Button kind="danger" icon="trash" aria-label={`Delete version ${x.version}`} onClick={() => ask(["delete", x.version])} />
                    </span>
                  ),
                },
              ]}
            />
          )
        }
      </Tabs>
      {asked[0] === "alias" && <Alias model={name!} version={asked[1]} close={() => ask(["", ""])} done={reload} />}
      {deploying && <Deploy key={deploying} model={name} version={deploying} close={() => setQuery({ deploy: undefined })} />}
      {asked[0] === "delete" && (
        <Confirm title="Delete the version?" text={`Version ${asked[1]} of ${name} leaves the registry. Its run and files stay.`} yes="Delete" close={() => ask(["", ""])} act={() => mlflow("model-versions/delete", { method: "DELETE", body: { name, version: asked[1] } }).then(() => (versions.length > 1 ? reload() : go("/models")))} />
      )}
    </>
  );
}
