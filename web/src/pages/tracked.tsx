// One run of an experiment: what it was given, what it measured, what it left behind.
import { useMemo, useState } from "preact/hooks";
import { artifactUrl, mlflow, request } from "../api";
import { useData } from "../data";
import { bytes, duration, moment, number, num, time } from "../format";
import { place, setQuery, to } from "../router";
import { PARENT } from "../filter";
import { history, parentOf, searchRuns, signature, type Run } from "../tracking";
import Lines from "../ui/chart";
import { Icon } from "../ui/icons";
import { Card, Copy, Empty, Facts, Head, Long, Status, Table, Tabs, Waiting, When, useTitle } from "../ui/parts";
import { Markdown, Preview } from "../ui/text";

interface File {
  path: string;
  is_dir?: boolean;
  file_size?: string | number;
}
interface Logged {
  model: { info: { model_id: string; name: string; model_type?: string; status?: string; artifact_uri?: string; registrations?: { name: string; version: string }[] }; data?: { metrics?: { key: string; value: unknown }[] } };
}

function Metric({ run, name, live }: { run: string; name: string; live: boolean }) {
  const d = useData((signal) => history([run], name, signal), [run, name], live ? ["tracking"] : []);
  const series = useMemo(() => [{ name, points: d.data?.get(run) ?? [] }], [d.data]);
  if (!d.data) return <Waiting of={d} lines={2} />;
  return (
    <Card>
      <Lines label={name} series={series} height={190} />
    </Card>
  );
}

function Folder({ run, path, chosen, depth }: { run: string; path: string; chosen: string; depth: number }) {
  const d = useData((signal) => mlflow<{ files?: File[] }>("artifacts/list", { q: { run_id: run, path }, signal }), [run, path]);
  const [open, set] = useState<Set<string>>(() => new Set());
  if (!d.data) return <Waiting of={d} lines={2} />;
  const files = [...(d.data.files ?? [])].sort((a, b) => Number(b.is_dir ?? false) - Number(a.is_dir ?? false) || (a.path < b.path ? -1 : 1));
  if (!files.length && depth === 0) return <p class="dim">Nothing was stored.</p>;
  return (
    <ul class="files">
      {files.map((f) => {
        const name = f.path.split("/").pop();
        const unfolded = open.has(f.path) || chosen.startsWith(f.path + "/");
        return (
          <li>
            <button
              type="button"
              class={chosen === f.path ? "file on" : "file"}
              aria-expanded={f.is_dir ? unfolded : undefined}
              aria-current={chosen === f.path ? "true" : undefined}
              onClick={() => {
                if (!f.is_dir) setQuery({ file: f.path });
                else {
                  const next = new Set(open);
                  unfolded ? next.delete(f.path) : next.add(f.path);
                  set(next);
                }
              }}
            >
              <Icon name={f.is_dir ? "folder" : "file"} size={16} />
              <span class="grow">{name}</span>
              {!f.is_dir && <span class="dim">{bytes(Number(f.file_size ?? 0))}</span>}
            </button>
            {f.is_dir && unfolded && depth < 30 && <Folder run={run} path={f.path} chosen={chosen} depth={depth + 1} />}
          </li>
        );
      })}
    </ul>
  );
}

function Models({ ids }: { ids: string[] }) {
  const d = useData((signal) => Promise.all(ids.slice(0, 20).map((i) => mlflow<Logged>(`logged-models/${encodeURIComponent(i)}`, { signal }))), [ids]);
  if (!d.data) return <Waiting of={d} lines={2} />;
  return (
    <Table
      of="Models of this run"
      rows={d.data.map((m) => m.model)}
      columns={[
        { head: "Model", cell: (m) => <strong>{m.info.name}</strong> },
        { head: "Kind", cell: (m) => m.info.model_type ?? "" },
        { head: "Signature", cell: (m) => <Signature model={m.info.model_id} /> },
        { head: "Id", cell: (m) => <code>{m.info.model_id}</code> },
        { head: "Registered as", cell: (m) => (m.info.registrations ?? []).map((r) => <a href={to("models", r.name)}>{`${r.name} v${r.version} `}</a>) },
        { head: "Metrics", cell: (m) => (m.data?.metrics ?? []).map((x) => `${x.key} ${number(num(x.value))}`).join(", ") },
      ]}
    />
  );
}

function Signature({ model }: { model: string }) {
  const d = useData(
    async (signal) => signature(await (await request(`/dashboard/mlflow/ajax-api/2.0/mlflow/logged-models/${encodeURIComponent(model)}/artifacts/files?artifact_file_path=MLmodel`, { signal })).text()),
    [model],
  );
  if (!d.data) return <span class="dim">{d.loading ? "" : "none"}</span>;
  const side = (title: string, fields: { name: string; type: string }[]) => (
    <span class="chips">
      <span class="dim">{title}</span>
      {fields.slice(0, 40).map((f) => (
        <span class="chip">
          {f.name} {f.type}
        </span>
      ))}
    </span>
  );
  return (
    <span class="stack">
      {side("takes", d.data.inputs)}
      {side("gives", d.data.outputs)}
    </span>
  );
}

/** The run that this one belongs to, and those that belong to it. */
function Family({ run }: { run: Run }) {
  const up = parentOf(run);
  const parent = useData((signal) => (up ? mlflow<{ run: Run }>("runs/get", { q: { run_id: up }, signal }).then((r) => r.run, () => null) : Promise.resolve(null)), [up]);
  const below = useData((signal) => searchRuns({ experiment_ids: [run.info.experiment_id], filter: `${PARENT} = '${run.info.run_id}'`, max_results: 50, order_by: ["attributes.start_time DESC"] }, signal), [run.info.run_id], ["tracking"]);
  const runs = below.data?.runs ?? [];
  if (!up && !runs.length) return null;
  const keys = [...new Set(runs.flatMap((r) => r.data.metrics?.map((m) => m.key) ?? []))].sort().slice(0, 4);
  const all = `${to("experiments", run.info.experiment_id)}?filter=${encodeURIComponent(`${PARENT} = '${run.info.run_id}'`)}`;
  return (
    <Card title={runs.length ? "Runs below this one" : "Nested"} class="span" more={runs.length > 0 && <a href={all}>{below.data?.next_page_token ? "All of them" : "As a table"}</a>}>
      {up && (
        <p>
          It belongs to {parent.data ? <a href={to("experiments", parent.data.info.experiment_id, "runs", up)}>{parent.data.info.run_name || up}</a> : <code>{up}</code>}.
        </p>
      )}
      {runs.length > 0 && (
        <Table
          of="Runs below this one"
          rows={runs}
          href={(r) => to("experiments", r.info.experiment_id, "runs", r.info.run_id)}
          columns={[
            { head: "Run", cell: (r) => r.info.run_name || r.info.run_id },
            { head: "State", cell: (r) => <Status state={r.info.status} /> },
            ...keys.map((k) => ({ head: k, right: true, cell: (r: Run) => ((m) => (m ? number(num(m.value)) : "–"))(r.data.metrics?.find((x) => x.key === k)) })),
            { head: "Started", cell: (r) => <When at={time(r.info.start_time)} />, class: "nowrap" },
          ]}
        />
      )}
    </Card>
  );
}

export default function Tracked({ experiment, id }: Record<string, string>) {
  const d = useData((signal) => mlflow<{ run: Run }>("runs/get", { q: { run_id: id }, signal }), [id], ["tracking"]);
  const r = d.data?.run;
  useTitle(r?.info.run_name ?? "Run");
  const crumbs: [string, string][] = [
    ["Experiments", "/experiments"],
    ["Runs", to("experiments", experiment!)],
  ];
  if (!r)
    return (
      <>
        <Head title="Run" crumbs={crumbs} />
        <Waiting of={d} lines={8} />
      </>
    );
  const metrics = [...(r.data.metrics ?? [])].sort((a, b) => (a.key < b.key ? -1 : 1));
  const params = r.data.params ?? [];
  const tags = r.data.tags ?? [];
  const note = tags.find((t) => t.key === "mlflow.note.content")?.value;
  const own = tags.filter((t) => !t.key.startsWith("mlflow."));
  const models = (r.outputs?.model_outputs ?? []).map((m) => m.model_id);
  const data = r.inputs?.dataset_inputs ?? [];
  const file = place.value.query.get("file") ?? "";
  const running = r.info.status === "RUNNING";
  const tag = (k: string) => tags.find((t) => t.key === k)?.value ?? "";
  return (
    <>
      <Head
        title={r.info.run_name || r.info.run_id}
        crumbs={crumbs}
        sub={
          <>
            <Status state={r.info.status} />
            <span>
              started <When at={time(r.info.start_time)} />
            </span>
            {r.info.end_time ? <span>took {duration(time(r.info.end_time) - time(r.info.start_time))}</span> : null}
          </>
        }
      />
      <Tabs
        of={[
          ["overview", "Overview"],
          ["metrics", `Metrics (${metrics.length})`],
          ["artifacts", "Artifacts"],
        ]}
      >
        {(tab) =>
          tab === "metrics" ? (
            metrics.length ? (
              <div class="two">
                {metrics.slice(0, 60).map((m) => (
                  <Metric key={m.key} run={id!} name={m.key} live={running} />
                ))}
              </div>
            ) : (
              <div class="card">
                <Empty icon="experiments" title="Nothing was measured" code={`mlflow.log_metric("loss", 0.2, step=1)`} />
              </div>
            )
          ) : tab === "artifacts" ? (
            <div class="browse">
              <Card title="Files">
                <Folder run={id!} path="" chosen={file} depth={0} />
              </Card>
              <Card
                title={file ? file.split("/").pop() : "Preview"}
                more={
                  file && (
                    <a class="button" href={artifactUrl(id!, file)} download={file.split("/").pop()}>
                      <Icon name="download" size={15} /> Download
                    </a>
                  )
                }
              >
                {file ? <Preview key={file} url={artifactUrl(id!, file)} name={file} /> : <p class="dim">Choose a file.</p>}
              </Card>
            </div>
          ) : (
            <div class="two">
              {note && (
                <Card title="Notes" class="span">
                  <Markdown text={note} />
                </Card>
              )}
              <Card title={`Metrics (${metrics.length})`}>{metrics.length ? <Facts of={metrics.map((m) => [m.key, <strong>{number(num(m.value))}</strong>])} /> : <p class="dim">None.</p>}</Card>
              <Card title={`Parameters (${params.length})`}>{params.length ? <Facts of={params.map((p) => [p.key, <Long text={p.value} />])} /> : <p class="dim">None.</p>}</Card>
              <Family run={r} />
              {models.length > 0 && (
                <Card title="Models" class="span">
                  <Models ids={models} />
                </Card>
              )}
              {data.length > 0 && (
                <Card title="Data" class="span">
                  <Table
                    of="Data sets"
                    rows={data}
                    columns={[
                      { head: "Data set", cell: (x) => <strong>{x.dataset.name}</strong> },
                      { head: "Digest", cell: (x) => <code>{x.dataset.digest}</code> },
                      { head: "Used for", cell: (x) => x.tags?.find((t) => t.key === "mlflow.data.context")?.value ?? "" },
                    ]}
                  />
                </Card>
              )}
              <Card title="Run">
                <Facts
                  of={[
                    [
                      "Id",
                      <span>
                        <code>{r.info.run_id}</code> <Copy text={r.info.run_id} what="Copy the id" />
                      </span>,
                    ],
                    ["Started", moment(time(r.info.start_time))],
                    ["Ended", moment(time(r.info.end_time))],
                    ["By", tag("mlflow.user")],
                    ["Source", tag("mlflow.source.name")],
                    ["Commit", tag("mlflow.source.git.commit")],
                    ["Artifacts", <span class="uri">{r.info.artifact_uri}</span>],
                  ]}
                />
              </Card>
              <Card title={`Tags (${own.length})`}>{own.length ? <Facts of={own.map((t) => [t.key, <Long text={t.value} />])} /> : <p class="dim">None.</p>}</Card>
            </div>
          )
        }
      </Tabs>
    </>
  );
}
