// What runs, what failed, what changed: the platform at a glance.
import { dashboard } from "../api";
import { useData } from "../data";
import { duration, number, num, time } from "../format";
import { to } from "../router";
import { namespace } from "../settings";
import { Icon, type IconName } from "../ui/icons";
import { Card, Empty, Head, Status, Waiting, When, useTitle } from "../ui/parts";

export interface PipelineRun {
  run_id: string;
  display_name: string;
  state?: string;
  created_at: string;
  finished_at?: string;
  error?: { message?: string };
}
export interface Overview {
  version: string;
  namespaces: string[];
  menu: { text: string; link: string }[];
  addresses: Record<string, string>;
  counts: Record<string, number>;
  pipeline_runs: PipelineRun[];
  tracking_runs: {
    run_id: string;
    experiment_id: string;
    experiment_name?: string;
    run_name: string;
    status: string;
    start_time: number;
    metrics: { key: string; value: unknown }[];
  }[];
  models: { name: string; last_updated_timestamp: number; latest_versions?: { version: string }[]; aliases?: { alias: string; version: string }[] }[];
  endpoints: { name: string; namespace: string; ready: boolean; message: string; created: string }[];
  warnings: { time: string; kind: string; name: string; namespace: string; reason: string; message: string }[];
  errors: Record<string, string>;
}

function Tile({ icon, n, text, sub, href, bad }: { icon: IconName; n: number; text: string; sub: string; href: string; bad?: boolean }) {
  return (
    <a class={bad ? "tile bad" : "tile"} href={href}>
      <span class="tile-icon">
        <Icon name={icon} size={20} />
      </span>
      <span class="tile-n">{number(n ?? 0)}</span>
      <span class="tile-text">{text}</span>
      <span class="tile-sub">{sub}</span>
    </a>
  );
}

export default function Home() {
  useTitle("");
  const ns = namespace.value;
  const topics = ["tracking", "pipelines", "kube:serving.kserve.io/v1beta1/inferenceservices", "kube:/v1/pods"];
  const d = useData((signal) => dashboard<Overview>("overview", { namespace: ns }, { signal }), [ns], topics);
  if (!d.data)
    return (
      <>
        <Head title="Home" />
        <Waiting of={d} lines={8} />
      </>
    );
  const o = d.data;
  const c = o.counts;
  const n = (k: string) => c[k] ?? 0;
  return (
    <>
      <Head title="Home" sub="Everything on this platform, as it is now.">
        <a class="button main" href="/pipelines?new=run">
          <Icon name="play" size={15} />
          Start a run
        </a>
        <a class="button" href="/models?deploy=1">
          Deploy a model
        </a>
        <a class="button" href="/objects">
          Upload files
        </a>
      </Head>
      {Object.entries(o.errors).map(([room, text]) => (
        <div class="trouble" role="alert">
          <strong>{room} cannot be shown</strong>
          <p>{text}</p>
        </div>
      ))}
      <div class="tiles">
        <Tile
          icon="pipelines"
          n={n("runs_running")}
          text={n("runs_running") === 1 ? "run is running" : "runs are running"}
          sub={`${number(n("runs_succeeded_today"))} succeeded in 24 h`}
          href="/pipelines?state=RUNNING"
        />
        <Tile icon="cross" n={n("runs_failed_today")} text="failed in 24 h" sub={`of ${number(n("pipeline_runs"))} in all`} href="/pipelines?state=FAILED" bad={n("runs_failed_today") > 0} />
        <Tile icon="experiments" n={n("experiments")} text={n("experiments") === 1 ? "experiment" : "experiments"} sub="tracked with MLflow" href="/experiments" />
        <Tile icon="models" n={n("models")} text={n("models") === 1 ? "registered model" : "registered models"} sub="with versions and aliases" href="/models" />
        <Tile
          icon="endpoints"
          n={n("endpoints_ready")}
          text={n("endpoints_ready") === 1 ? "endpoint is ready" : "endpoints are ready"}
          sub={`of ${number(n("endpoints"))}`}
          href="/endpoints"
          bad={n("endpoints_ready") < n("endpoints")}
        />
        <Tile icon="resources" n={n("pods_running")} text={n("pods_running") === 1 ? "pod is running" : "pods are running"} sub={`of ${number(n("pods"))}`} href="/resources/core/v1/pods" />
      </div>
      <div class="columns">
        <Card title="Pipeline runs" more={<a href="/pipelines">All</a>}>
          {o.pipeline_runs.length === 0 ? (
            <Empty icon="pipelines" title="No pipeline has run yet" code="millrace run examples/bank_churn_pipeline/pipeline.yaml --watch">
              Submit one with the SDK, or with this command:
            </Empty>
          ) : (
            <ul class="list">
              {o.pipeline_runs.map((r) => (
                <li>
                  <Status state={r.state ?? "PENDING"} />
                  <a href={to("pipelines", "runs", r.run_id)}>{r.display_name}</a>
                  <span class="dim">
                    {r.finished_at && time(r.finished_at) ? duration(time(r.finished_at) - time(r.created_at)) + " · " : ""}
                    <When at={time(r.created_at)} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Card>
        <Card title="Experiment runs" more={<a href="/experiments">All</a>}>
          {o.tracking_runs.length === 0 ? (
            <Empty icon="experiments" title="Nothing is tracked yet" code={`export MLFLOW_TRACKING_URI=${o.addresses.tracking}\npython -c "import mlflow; mlflow.log_metric('hello', 1)"`}>
              Any script that logs with MLflow shows up here:
            </Empty>
          ) : (
            <ul class="list">
              {o.tracking_runs.map((r) => (
                <li>
                  <Status state={r.status} />
                  <a href={to("experiments", r.experiment_id, "runs", r.run_id)}>{r.run_name}</a>
                  <span class="dim">
                    {r.metrics[0] ? `${r.metrics[0].key} ${number(num(r.metrics[0].value))} · ` : ""}
                    <When at={time(r.start_time)} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Card>
        <Card title="Endpoints" more={<a href="/endpoints">All</a>}>
          {o.endpoints.length === 0 ? (
            <Empty icon="endpoints" title="No model is served yet" code="kubectl apply -f inferenceservice.yaml">
              Deploy a version from its page under Models, or apply an InferenceService:
            </Empty>
          ) : (
            <ul class="list">
              {o.endpoints.map((e) => (
                <li>
                  <Status state={e.ready ? "True" : "False"} />
                  <a href={to("endpoints", e.namespace, e.name)}>{e.name}</a>
                  <span class="dim">{e.ready ? e.namespace : e.message || e.namespace}</span>
                </li>
              ))}
            </ul>
          )}
        </Card>
        <Card title="Models" more={<a href="/models">All</a>}>
          {o.models.length === 0 ? (
            <Empty icon="models" title="No model is registered yet" code={`mlflow.register_model("runs:/RUN_ID/model", "my-model")`}>
              Register what a run logged:
            </Empty>
          ) : (
            <ul class="list">
              {o.models.map((m) => (
                <li>
                  <span class="chip">v{m.latest_versions?.[0]?.version ?? "–"}</span>
                  <a href={to("models", m.name)}>{m.name}</a>
                  <span class="dim">
                    {(m.aliases ?? []).map((a) => "@" + a.alias).join(" ")} <When at={time(m.last_updated_timestamp)} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Card>
        {o.warnings.length > 0 && (
          <Card title="Warnings" class="span" more={<a href="/resources/core/v1/events">All events</a>}>
            <ul class="list">
              {o.warnings.slice(0, 8).map((w) => (
                <li>
                  <Status state="WARNING" text={w.reason} />
                  <span class="grow">
                    <strong>
                      {w.kind} {w.namespace}/{w.name}
                    </strong>{" "}
                    {w.message}
                  </span>
                  <span class="dim">
                    <When at={time(w.time)} />
                  </span>
                </li>
              ))}
            </ul>
          </Card>
        )}
      </div>
    </>
  );
}
