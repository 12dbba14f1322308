// Runs, definitions and recurring runs of pipelines.
import { kfp } from "../api";
import { useData } from "../data";
import { duration, time } from "../format";
import { go, place, setQuery, to } from "../router";
import { namespace } from "../settings";
import { Next, schedule, ScheduleState, Switch, type Recurring } from "../ui/recurring";
import { Submit, Upload } from "../ui/submit";
import { Button, Empty, Head, Status, Table, Tabs, Trouble, Waiting, When, useTitle } from "../ui/parts";
import type { PipelineRun } from "./home";

export interface Run extends PipelineRun {
  experiment_id?: string;
  recurring_run_id?: string;
  pipeline_version_reference?: { pipeline_id?: string; pipeline_version_id?: string };
  pipeline_spec?: unknown;
  runtime_config?: { parameters?: Record<string, unknown> };
  state_history?: { update_time: string; state: string }[];
}
export interface Pipeline {
  pipeline_id: string;
  display_name: string;
  description?: string;
  created_at: string;
}
const states = ["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"];

export function filterOf(name: string, state: string): string | undefined {
  const predicates: unknown[] = [];
  if (name) predicates.push({ operation: "IS_SUBSTRING", key: "display_name", string_value: name });
  if (state) predicates.push({ operation: "EQUALS", key: "state", string_value: state });
  return predicates.length ? JSON.stringify({ predicates }) : undefined;
}

export const took = (r: PipelineRun) => (r.finished_at && Number.isFinite(time(r.finished_at)) ? duration(time(r.finished_at) - time(r.created_at)) : "");

function Runs() {
  const q = place.value.query;
  const name = q.get("q") ?? "";
  const state = q.get("state") ?? "";
  const page = q.get("page") ?? "";
  const d = useData(
    (signal) =>
      kfp<{ runs?: Run[]; total_size?: number; next_page_token?: string }>(
        "/runs",
        { page_size: 25, page_token: page, ...(page ? {} : { sort_by: "created_at desc", filter: filterOf(name, state) }), namespace: namespace.value },
        { signal },
      ),
    [name, state, page, namespace.value],
    ["pipelines"],
  );
  const rows = d.data?.runs ?? [];
  const plain = !name && !state && !page;
  return (
    <>
      <div class="toolbar">
        <input type="search" aria-label="Runs whose name has" placeholder="Runs whose name has …" value={name} onInput={(e) => setQuery({ q: e.currentTarget.value, page: undefined })} />
        <select aria-label="State" value={state} onChange={(e) => setQuery({ state: e.currentTarget.value, page: undefined })}>
          <option value="">Any state</option>
          {states.map((s) => (
            <option value={s}>{s.charAt(0) + s.slice(1).toLowerCase()}</option>
          ))}
        </select>
      </div>
      {d.error && d.data && <Trouble error={d.error} retry={d.reload} />}
      {!d.data ? (
        <Waiting of={d} lines={8} />
      ) : rows.length === 0 && plain ? (
        <div class="card">
          <Empty icon="pipelines" title="No pipeline has run yet" code={`kfp.Client(host="${location.origin}").create_run_from_pipeline_func(my_pipeline)`}>
            Upload a compiled pipeline and start it here, or submit one from Python:
          </Empty>
        </div>
      ) : rows.length === 0 ? (
        <p class="note">No run matches. Runs are those of namespace {namespace.value || "kubeflow"}.</p>
      ) : (
        <Table
          of="Runs"
          rows={rows}
          href={(r) => to("pipelines", "runs", r.run_id)}
          columns={[
            { head: "Name", cell: (r) => r.display_name },
            { head: "State", cell: (r) => <Status state={r.state ?? "PENDING"} /> },
            { head: "Started", cell: (r) => <When at={time(r.created_at)} />, class: "nowrap" },
            { head: "Took", cell: took, right: true, class: "nowrap" },
            { head: "", cell: (r) => <span class="dim">{r.recurring_run_id ? "scheduled" : ""}</span> },
          ]}
        />
      )}
      {d.data && rows.length > 0 && (
        <div class="pager">
          {d.data.total_size?.toLocaleString("en-US")} in all
          {page && <Button onClick={() => history.back()}>Back</Button>}
          {d.data.next_page_token && <Button onClick={() => setQuery({ page: d.data!.next_page_token }, false)}>Older</Button>}
        </div>
      )}
    </>
  );
}

function Definitions() {
  const d = useData(
    (signal) => kfp<{ pipelines?: Pipeline[] }>("/pipelines", { page_size: 200, sort_by: "created_at desc", namespace: namespace.value }, { signal }),
    [namespace.value],
    ["pipelines"],
  );
  if (!d.data) return <Waiting of={d} />;
  const rows = d.data.pipelines ?? [];
  if (rows.length === 0)
    return (
      <div class="card">
        <Empty icon="pipelines" title="No pipeline is uploaded" code="kfp dsl compile --py pipeline.py --output pipeline.yaml">
          Compile one, then upload the file here:
        </Empty>
      </div>
    );
  return (
    <Table
      of="Pipelines"
      rows={rows}
      href={(p) => to("pipelines", "definitions", p.pipeline_id)}
      columns={[
        { head: "Name", cell: (p) => p.display_name },
        { head: "Description", cell: (p) => <span class="dim">{p.description}</span> },
        { head: "Uploaded", cell: (p) => <When at={time(p.created_at)} />, class: "nowrap" },
      ]}
    />
  );
}

function Schedules() {
  const d = useData(
    (signal) => kfp<{ recurringRuns?: Recurring[] }>("/recurringruns", { page_size: 200, sort_by: "created_at desc", namespace: namespace.value }, { signal }),
    [namespace.value],
    ["pipelines"],
  );
  if (!d.data) return <Waiting of={d} />;
  const rows = d.data.recurringRuns ?? [];
  if (rows.length === 0)
    return (
      <div class="card">
        <Empty icon="loop" title="Nothing is scheduled">
          Choose “Start a run”, then “Again and again”, to run a pipeline by the clock.
        </Empty>
      </div>
    );
  return (
    <Table
      of="Recurring runs"
      rows={rows}
      href={(r) => to("pipelines", "recurring", r.recurring_run_id)}
      columns={[
        { head: "Name", cell: (r) => r.display_name },
        { head: "Schedule", cell: (r) => <code>{schedule(r)}</code> },
        { head: "State", cell: (r) => <ScheduleState of={r} /> },
        { head: "Next run", cell: (r) => <Next of={r} />, class: "nowrap" },
        { head: "Made", cell: (r) => <When at={time(r.created_at)} />, class: "nowrap" },
        { head: "", right: true, cell: (r) => <Switch of={r} done={d.reload} /> },
      ]}
    />
  );
}

export default function Pipelines() {
  useTitle("Pipelines");
  const q = place.value.query;
  const asked = q.get("new");
  return (
    <>
      <Head title="Pipelines" sub="Kubeflow Pipelines: what runs, what could run, what runs by the clock.">
        <Button icon="upload" onClick={() => setQuery({ new: "pipeline" })}>
          Upload a pipeline
        </Button>
        <Button kind="main" icon="play" onClick={() => setQuery({ new: "run" })}>
          Start a run
        </Button>
      </Head>
      <Tabs
        of={[
          ["runs", "Runs"],
          ["definitions", "Definitions"],
          ["recurring", "Recurring runs"],
        ]}
      >
        {(tab) => (tab === "definitions" ? <Definitions /> : tab === "recurring" ? <Schedules /> : <Runs />)}
      </Tabs>
      {asked === "run" && (
        <Submit
          pipeline={q.get("pipeline") ?? undefined}
          clone={q.get("clone") ?? undefined}
          close={() => setQuery({ new: undefined, pipeline: undefined, clone: undefined })}
          done={(id, kind) => go(to("pipelines", kind === "run" ? "runs" : "recurring", id))}
        />
      )}
      {asked === "pipeline" && <Upload close={() => setQuery({ new: undefined })} done={(id) => go(to("pipelines", "definitions", id))} />}
    </>
  );
}
