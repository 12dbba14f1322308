// One recurring run: what it starts, when it does so next, and what it has started.
import { useState } from "preact/hooks";
import { kfp } from "../api";
import { useData } from "../data";
import { ago, moment, time } from "../format";
import { asText } from "../graph";
import { go, to } from "../router";
import { isOn, nextRuns, schedule, ScheduleState, Switch, type Recurring } from "../ui/recurring";
import { Button, Card, Confirm, Copy, Facts, Head, Long, Status, Table, Waiting, When, useTitle } from "../ui/parts";
import { took, type Pipeline, type Run } from "./pipelines";

export default function RecurringPage({ id }: Record<string, string>) {
  const d = useData((signal) => kfp<Recurring>(`/recurringruns/${encodeURIComponent(id!)}`, {}, { signal }), [id], ["pipelines"]);
  const r = d.data;
  const pipelineId = r?.pipeline_version_reference?.pipeline_id ?? "";
  const pipeline = useData((signal) => (pipelineId ? kfp<Pipeline>(`/pipelines/${encodeURIComponent(pipelineId)}`, {}, { signal }).catch(() => null) : Promise.resolve(null)), [pipelineId]);
  const next = useData((signal) => (r && isOn(r) ? nextRuns({ id }, signal) : Promise.resolve([])), [id, r?.status], ["pipelines"]);
  const made = useData(
    (signal) => kfp<{ runs?: Run[]; total_size?: number }>("/runs", { page_size: 50, sort_by: "created_at desc", namespace: r?.namespace, filter: JSON.stringify({ predicates: [{ operation: "EQUALS", key: "recurring_run_id", string_value: id }] }) }, { signal }),
    [id, r?.namespace],
    ["pipelines"],
  );
  const [asked, ask] = useState(false);
  useTitle(r?.display_name ?? "Recurring run");
  const crumbs: [string, string][] = [
    ["Pipelines", "/pipelines"],
    ["Recurring runs", "/pipelines?tab=recurring"],
  ];
  if (!r)
    return (
      <>
        <Head title="Recurring run" crumbs={crumbs} />
        <Waiting of={d} lines={6} />
      </>
    );
  const bounds = r.trigger?.cron_schedule ?? r.trigger?.periodic_schedule ?? {};
  const parameters = Object.entries(r.runtime_config?.parameters ?? {});
  const runs = made.data?.runs ?? [];
  return (
    <>
      <Head
        title={r.display_name}
        crumbs={crumbs}
        sub={
          <>
            <ScheduleState of={r} />
            <code>{schedule(r)}</code>
            {r.description && <span>{r.description}</span>}
          </>
        }
      >
        <Switch of={r} done={d.reload} />
        <Button kind="danger" icon="trash" onClick={() => ask(true)}>
          Delete
        </Button>
      </Head>
      {r.error?.message && (
        <div class="trouble">
          <strong>Why it made no run the last time</strong>
          <p>{r.error.message}</p>
        </div>
      )}
      <div class="two">
        <Card title="Next runs">
          {!next.data ? (
            <Waiting of={next} lines={3} />
          ) : next.data.length ? (
            <ul class="list">
              {next.data.map((t) => (
                <li>
                  <span class="grow">{moment(t)}</span>
                  <span class="dim">{ago(t)}</span>
                </li>
              ))}
            </ul>
          ) : (
            <p class="dim">{isOn(r) ? "Its time is over." : "None while it is paused."}</p>
          )}
        </Card>
        <Card title="What it starts">
          <Facts
            of={[
              ["Pipeline", pipelineId ? <a href={to("pipelines", "definitions", pipelineId)}>{pipeline.data?.display_name ?? pipelineId}</a> : "brought along"],
              ["Version", r.pipeline_version_reference?.pipeline_version_id ? <code>{r.pipeline_version_reference.pipeline_version_id}</code> : pipelineId ? "the latest" : ""],
              ["Runs at a time", r.max_concurrency ?? ""],
              ["Missed times", r.no_catchup ? "are left out" : "are made up for"],
              ["From", Number.isFinite(time(bounds.start_time)) ? moment(time(bounds.start_time)) : ""],
              ["Until", Number.isFinite(time(bounds.end_time)) ? moment(time(bounds.end_time)) : ""],
              ["Namespace", r.namespace ?? ""],
              ["Made", moment(time(r.created_at))],
              [
                "Id",
                <span>
                  <code>{r.recurring_run_id}</code> <Copy text={r.recurring_run_id} what="Copy the id" />
                </span>,
              ],
            ]}
          />
        </Card>
        <Card title={`Parameters (${parameters.length})`}>{parameters.length ? <Facts of={parameters.map(([k, v]) => [k, <Long text={asText(v)} />])} /> : <p class="dim">Those of the pipeline.</p>}</Card>
        <Card title={`Runs that it made (${made.data?.total_size ?? runs.length})`} class="span">
          {!made.data ? (
            <Waiting of={made} lines={2} />
          ) : runs.length ? (
            <Table
              of="Runs that it made"
              rows={runs}
              href={(x) => to("pipelines", "runs", x.run_id)}
              columns={[
                { head: "Run", cell: (x) => x.display_name },
                { head: "State", cell: (x) => <Status state={x.state ?? "PENDING"} /> },
                { head: "Started", cell: (x) => <When at={time(x.created_at)} />, class: "nowrap" },
                { head: "Took", cell: (x) => took(x), right: true },
              ]}
            />
          ) : (
            <p class="dim">None yet.</p>
          )}
        </Card>
      </div>
      {asked && (
        <Confirm
          title="Delete the recurring run?"
          text={`${r.display_name} makes no further runs. Those that it made stay.`}
          yes="Delete"
          close={() => ask(false)}
          act={() => kfp(`/recurringruns/${encodeURIComponent(id!)}`, {}, { method: "DELETE" }).then(() => go("/pipelines?tab=recurring"))}
        />
      )}
    </>
  );
}
