// One run of a pipeline: its graph, its times, what went in and out, and the log of each step while it runs.
import { useState } from "preact/hooks";
import { kfp, objectUrl } from "../api";
import { useData } from "../data";
import { duration, moment, number, time, tone } from "../format";
import { asText, specOf, type Task } from "../graph";
import { go, place, setQuery, to } from "../router";
import { RunGraph } from "../ui/graph";
import { Icon } from "../ui/icons";
import { Button, Card, Confirm, Copy, Empty, Facts, Head, Long, Status, Table, Tabs, Trouble, Waiting, When, useTitle } from "../ui/parts";
import { Log, Preview } from "../ui/text";
import { took, type Run } from "./pipelines";
import type { Version } from "../ui/submit";

interface Artifact {
  artifact_id: string;
  name: string;
  type: string;
  uri?: string;
  metadata?: Record<string, unknown>;
}

/** Where the object store has an artifact; null for what is stored elsewhere. */
export function placeOf(uri: string | undefined): { bucket: string; key: string } | null {
  const m = /^(?:s3|minio):\/\/([^/]+)\/(.+)$/.exec(uri ?? "");
  return m ? { bucket: m[1]!, key: m[2]! } : null;
}

function Parameters({ of, none }: { of: Record<string, unknown> | undefined; none: string }) {
  const entries = Object.entries(of ?? {});
  if (!entries.length) return <p class="dim">{none}</p>;
  return <Facts of={entries.map(([k, v]) => [k, <Long text={asText(v)} />])} />;
}

function ArtifactCard({ id, slot }: { id: string; slot: string }) {
  const d = useData((signal) => kfp<Artifact>(`/artifacts/${encodeURIComponent(id)}`, {}, { signal }), [id]);
  const [open, show] = useState(false);
  if (!d.data) return <Waiting of={d} lines={1} />;
  const a = d.data;
  const at = placeOf(a.uri);
  const numbers = Object.entries(a.metadata ?? {}).filter(([, v]) => typeof v === "number");
  return (
    <div class="artifact">
      <div class="spread">
        <span>
          <strong>{slot}</strong> <span class="chip">{a.type.replace("system.", "")}</span>
        </span>
        {at && (
          <span class="row">
            <button type="button" class="inline" aria-expanded={open} onClick={() => show(!open)}>
              {open ? "Hide" : "Show"}
            </button>
            <a href={objectUrl(at.bucket, at.key)} download={at.key.split("/").pop()}>
              Download
            </a>
          </span>
        )}
      </div>
      {numbers.length > 0 && <Facts of={numbers.map(([k, v]) => [k, number(v as number)])} />}
      {a.uri && (
        <p class="dim uri">
          {a.uri} <Copy text={a.uri} what="Copy the URI" />
        </p>
      )}
      {open && at && <Preview url={objectUrl(at.bucket, at.key)} name={a.type.endsWith("HTML") ? "page.html" : a.type.endsWith("Markdown") ? "text.md" : at.key} />}
    </div>
  );
}

function Slots({ of, none }: { of: Task["inputs"]; none: string }) {
  const ids = Object.entries(of ?? {}).flatMap(([slot, list]) => (list.artifact_ids ?? []).map((id) => [slot, id] as const));
  if (!ids.length) return <p class="dim">{none}</p>;
  return (
    <div class="stack">
      {ids.map(([slot, id]) => (
        <ArtifactCard key={id} id={id} slot={slot} />
      ))}
    </div>
  );
}

const logUrl = (run: string, t: Task) => `/apis/v1alpha1/runs/${encodeURIComponent(run)}/nodes/${encodeURIComponent(t.task_id)}/log?follow=true`;

function Step({ run, task, close }: { run: string; task: Task; close: () => void }) {
  const full = useData((signal) => kfp<Task>(`/runs/${encodeURIComponent(run)}/tasks/${encodeURIComponent(task.task_id)}`, {}, { signal }), [task.task_id, task.state]);
  const t = full.data ?? task;
  const begun = time(t.start_time);
  const ended = time(t.end_time);
  const tab = place.value.query.get("step") ?? (task.pod_name ? "log" : "facts");
  const cached = t.more?.cached_run_id;
  const tabs: [string, string][] = [
    ["log", "Log"],
    ["facts", "Details"],
    ["io", "Inputs and outputs"],
  ];
  return (
    <aside class="step" aria-label={`Step ${t.display_name}`}>
      <div class="spread">
        <h2>{t.display_name ?? t.more?.key}</h2>
        <button type="button" class="ghost" aria-label="Close the step" onClick={close}>
          <Icon name="close" />
        </button>
      </div>
      <div class="row">
        <Status state={task.state ?? "PENDING"} />
        {cached && <span class="chip accent">from the cache</span>}
        <span class="dim">{Number.isFinite(begun) && Number.isFinite(ended) ? duration(ended - begun) : ""}</span>
      </div>
      {t.error?.message && (
        <div class="trouble">
          <strong>Why it failed</strong>
          <p>{t.error.message}</p>
        </div>
      )}
      <div class="tabs" role="group" aria-label="Of this step">
        {tabs.map(([key, text]) => (
          <button type="button" aria-pressed={tab === key} class={tab === key ? "on" : ""} onClick={() => setQuery({ step: key })}>
            {text}
          </button>
        ))}
      </div>
      {tab === "log" ? (
        <Log
          key={task.task_id + (task.pod_name ?? "")}
          url={task.pod_name && !cached ? logUrl(run, task) : null}
          none={cached ? "This step did not run: its outputs are those of an earlier run with the same inputs." : "This step has no log: no program ran for it."}
        />
      ) : tab === "io" ? (
        <div class="stack">
          <h3>Input parameters</h3>
          <Parameters of={t.more?.input_parameters} none="None." />
          <h3>Input artifacts</h3>
          <Slots of={t.inputs} none="None." />
          <h3>Output parameters</h3>
          <Parameters of={t.more?.output_parameters} none="None." />
          <h3>Output artifacts</h3>
          <Slots of={t.outputs} none="None." />
        </div>
      ) : (
        <Facts
          of={[
            ["Path", <code>{t.more?.path ?? ""}</code>],
            ["Started", moment(begun)],
            ["Ended", moment(ended)],
            ["Attempts", t.more?.attempts ? String(t.more.attempts) : ""],
            ["Pod", t.pod_name ? <a href={to("resources", "core", "v1", "pods", "kubeflow", t.pod_name)}>{t.pod_name}</a> : ""],
            ["Cache", t.more?.cache ?? ""],
            ["Outputs of", cached ? <a href={to("pipelines", "runs", cached)}>run {cached.slice(0, 8)}</a> : ""],
            ["Task", <code>{t.task_id}</code>],
          ]}
        />
      )}
    </aside>
  );
}

function Gantt({ tasks, run }: { tasks: Task[]; run: Run }) {
  const now = Date.now();
  const rows = tasks
    .filter((t) => t.more?.path && Number.isFinite(time(t.start_time)))
    .map((t) => ({ t, from: time(t.start_time), to: Number.isFinite(time(t.end_time)) ? time(t.end_time) : now }))
    .sort((a, b) => a.from - b.from || (a.t.more!.path! < b.t.more!.path! ? -1 : 1))
    .slice(0, 500);
  if (!rows.length) return <p class="note">No step has started.</p>;
  const begin = Math.min(time(run.created_at), ...rows.map((r) => r.from));
  const end = Math.max(...rows.map((r) => r.to), begin + 1000);
  const at = (t: number) => ((t - begin) / (end - begin)) * 100;
  return (
    <div class="gantt" role="list" aria-label="Steps by their time">
      {rows.map(({ t, from, to: until }) => (
        <button type="button" role="listitem" class="gantt-row" onClick={() => setQuery({ tab: "graph", task: t.more!.path })}>
          <span class="gantt-name">{t.more!.path}</span>
          <span class="gantt-line">
            <svg width="100%" height="18" aria-hidden="true">
              <rect class={`bar-${tone(t.state ?? "")}`} x={`${at(from)}%`} width={`${Math.max(at(until) - at(from), 0.6)}%`} y="3" height="12" rx="4" />
            </svg>
          </span>
          <span class="dim nowrap">{t.more?.cached_run_id ? "cached" : duration(until - from)}</span>
        </button>
      ))}
      <div class="spread dim">
        <span>{moment(begin)}</span>
        <span>{moment(end)}</span>
      </div>
    </div>
  );
}

function Outputs({ tasks }: { tasks: Task[] }) {
  const all = tasks.flatMap((t) => Object.entries(t.outputs ?? {}).flatMap(([slot, l]) => (l.artifact_ids ?? []).map((id) => ({ t, slot, id }))));
  if (!all.length)
    return (
      <div class="card">
        <Empty icon="file" title="No artifact was made yet">
          Steps with artifacts among their outputs, such as metrics, models and data sets, list them here.
        </Empty>
      </div>
    );
  return (
    <div class="two">
      {all.slice(0, 200).map(({ t, slot, id }) => (
        <Card title={t.more?.path ?? t.display_name}>
          <ArtifactCard id={id} slot={slot} />
        </Card>
      ))}
    </div>
  );
}

const over = (state?: string) => ["SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"].includes(state ?? "");

export default function RunPage({ id }: Record<string, string>) {
  const live = ["run:" + id!];
  const run = useData((signal) => kfp<Run>(`/runs/${encodeURIComponent(id!)}`, {}, { signal }), [id], live);
  const list = useData((signal) => kfp<{ tasks?: Task[] }>(`/runs/${encodeURIComponent(id!)}/tasks`, {}, { signal }), [id], live);
  const ref = run.data?.pipeline_version_reference;
  const version = useData(
    (signal) =>
      ref?.pipeline_id && ref.pipeline_version_id && !run.data?.pipeline_spec
        ? kfp<Version>(`/pipelines/${encodeURIComponent(ref.pipeline_id)}/versions/${encodeURIComponent(ref.pipeline_version_id)}`, {}, { signal })
        : Promise.resolve(null),
    [ref?.pipeline_version_id, Boolean(run.data?.pipeline_spec)],
  );
  const [asked, ask] = useState("");
  const [error, fail] = useState<Error>();
  useTitle(run.data?.display_name ?? "Run");
  const crumbs: [string, string][] = [["Pipelines", "/pipelines"], ["Runs", "/pipelines"]];
  if (!run.data)
    return (
      <>
        <Head title="Run" crumbs={crumbs} />
        <Waiting of={run} lines={8} />
      </>
    );
  const r = run.data;
  const tasks = list.data?.tasks ?? [];
  const document = r.pipeline_spec ?? version.data?.pipeline_spec;
  const chosen = place.value.query.get("task") ?? "";
  const found = tasks.find((t) => t.more?.path === chosen);
  const act = (verb: string) => kfp(`/runs/${encodeURIComponent(id!)}:${verb}`, {}, { method: "POST" }).then(() => (fail(undefined), run.reload(), list.reload()), fail);
  const done = tasks.filter((t) => t.more?.path && over(t.state)).length;
  const known = tasks.filter((t) => t.more?.path).length;
  return (
    <>
      <Head
        title={r.display_name}
        crumbs={crumbs}
        sub={
          <>
            <Status state={r.state ?? "PENDING"} />
            <span>
              started <When at={time(r.created_at)} />
            </span>
            {took(r) && <span>took {took(r)}</span>}
            {!over(r.state) && known > 0 && (
              <span>
                {done} of {known} tasks are over
              </span>
            )}
          </>
        }
      >
        {!over(r.state) && (
          <Button kind="danger" onClick={() => ask("terminate")}>
            Terminate
          </Button>
        )}
        {(r.state === "FAILED" || r.state === "CANCELED") && <Button onClick={() => void act("retry")}>Retry</Button>}
        <Button icon="copy" onClick={() => go(`/pipelines?new=run&clone=${encodeURIComponent(id!)}`)}>
          Clone
        </Button>
        <Button kind="danger" icon="trash" aria-label="Delete this run" onClick={() => ask("delete")} />
      </Head>
      {error && <Trouble error={error} />}
      {r.error?.message && (
        <div class="trouble">
          <strong>The run failed</strong>
          <p>{r.error.message}</p>
        </div>
      )}
      <Tabs
        of={[
          ["graph", "Graph"],
          ["timeline", "Timeline"],
          ["outputs", "Artifacts"],
          ["details", "Details"],
        ]}
      >
        {(tab) =>
          tab === "timeline" ? (
            <Card>
              <Gantt tasks={tasks} run={r} />
            </Card>
          ) : tab === "outputs" ? (
            <Outputs tasks={tasks} />
          ) : tab === "details" ? (
            <div class="two">
              <Card title="Run">
                <Facts
                  of={[
                    ["Id", <code>{r.run_id}</code>],
                    ["Created", moment(time(r.created_at))],
                    ["Finished", moment(time(r.finished_at))],
                    ["Pipeline", ref?.pipeline_id ? <a href={to("pipelines", "definitions", ref.pipeline_id)}>{specOf(document).pipelineInfo?.name ?? ref.pipeline_id}</a> : (specOf(document).pipelineInfo?.name ?? "")],
                    ["By schedule", r.recurring_run_id ? <a href="/pipelines?tab=recurring">{r.recurring_run_id}</a> : ""],
                  ]}
                />
              </Card>
              <Card title="Parameters">
                <Parameters of={r.runtime_config?.parameters} none="The pipeline's own defaults." />
              </Card>
              <Card title="What happened" class="span">
                <Table
                  of="States"
                  rows={r.state_history ?? []}
                  columns={[
                    { head: "State", cell: (h) => <Status state={h.state} /> },
                    { head: "Since", cell: (h) => moment(time(h.update_time)) },
                  ]}
                />
              </Card>
            </div>
          ) : (
            <div class={found ? "split" : ""}>
              {document ? (
                <RunGraph spec={specOf(document)} tasks={tasks} chosen={chosen} choose={(p) => setQuery({ task: p === chosen ? undefined : p, step: undefined })} />
              ) : version.error ? (
                <p class="note">The pipeline's version is gone, and with it the graph. The timeline has the steps.</p>
              ) : (
                <Waiting of={version} />
              )}
              {found && <Step key={chosen} run={id!} task={found} close={() => setQuery({ task: undefined, step: undefined })} />}
              {chosen && !found && list.data && <p class="note">This task has not started yet.</p>}
            </div>
          )
        }
      </Tabs>
      {asked === "terminate" && (
        <Confirm title="Terminate the run?" text="Steps that run are ended; those that have not started never do." yes="Terminate" close={() => ask("")} act={() => kfp(`/runs/${encodeURIComponent(id!)}:terminate`, {}, { method: "POST" })} />
      )}
      {asked === "delete" && (
        <Confirm title="Delete the run?" text={`${r.display_name}, its logs and its place in the lists go. Stored artifacts stay.`} yes="Delete" close={() => ask("")} act={() => kfp(`/runs/${encodeURIComponent(id!)}`, {}, { method: "DELETE" }).then(() => go("/pipelines"))} />
      )}
    </>
  );
}
