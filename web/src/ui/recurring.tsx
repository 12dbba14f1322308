// Recurring runs: what the list of them and the page of one have in common.
import { useState } from "preact/hooks";
import { dashboard, kfp } from "../api";
import { useData } from "../data";
import { ago, duration, moment } from "../format";
import { Button, Status } from "./parts";

export interface Recurring {
  recurring_run_id: string;
  display_name: string;
  description?: string;
  status?: string;
  mode?: string;
  created_at: string;
  max_concurrency?: string;
  no_catchup?: boolean;
  experiment_id?: string;
  namespace?: string;
  service_account?: string;
  error?: { message?: string };
  runtime_config?: { parameters?: Record<string, unknown> };
  pipeline_version_reference?: { pipeline_id?: string; pipeline_version_id?: string };
  trigger?: { cron_schedule?: { cron?: string; start_time?: string; end_time?: string }; periodic_schedule?: { interval_second?: string; start_time?: string; end_time?: string } };
}

export function schedule(r: Recurring) {
  const cron = r.trigger?.cron_schedule?.cron;
  if (cron) return cron;
  const s = Number(r.trigger?.periodic_schedule?.interval_second ?? 0);
  return s ? `every ${duration(s * 1000)}` : "once";
}
export const isOn = (r: Recurring) => r.status !== "DISABLED";

/** The server says when, by its own clock and the zone of cron texts: of a recurring run by its id, of a cron text as it is typed. */
export const nextRuns = (q: { id?: string; cron?: string }, signal?: AbortSignal) => dashboard<{ times: number[] }>("schedule", q, { signal }).then((r) => r.times);

export function ScheduleState({ of: r }: { of: Recurring }) {
  return <Status state={r.error?.message ? "FAILED" : (r.status ?? "ENABLED")} text={r.error?.message ? "Failing" : undefined} />;
}

export function Next({ of: r }: { of: Recurring }) {
  const d = useData((signal) => (isOn(r) ? nextRuns({ id: r.recurring_run_id }, signal) : Promise.resolve([])), [r.recurring_run_id, r.status], ["pipelines"]);
  const t = d.data?.[0];
  if (t === undefined) return <span class="dim">–</span>;
  return <time title={moment(t)}>{ago(t)}</time>;
}

export function Switch({ of: r, done }: { of: Recurring; done: () => void }) {
  const [error, fail] = useState<Error>();
  return (
    <>
      <Button
        icon={isOn(r) ? "wait" : "play"}
        aria-label={`${isOn(r) ? "Pause" : "Go on with"} ${r.display_name}`}
        onClick={() =>
          kfp(`/recurringruns/${encodeURIComponent(r.recurring_run_id)}:${isOn(r) ? "disable" : "enable"}`, {}, { method: "POST" }).then(() => {
            fail(undefined);
            done();
          }, fail)
        }
      >
        {isOn(r) ? "Pause" : "Go on"}
      </Button>
      {error && <span role="alert">{error.message}</span>}
    </>
  );
}
