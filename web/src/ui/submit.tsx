// Starting a run: a version, its parameters, once or by the clock. And uploading a pipeline.
import { useEffect, useState } from "preact/hooks";
import { errorText, kfp } from "../api";
import { useData } from "../data";
import { moment } from "../format";
import { asText, fields, parameter, specOf } from "../graph";
import { namespace } from "../settings";
import type { Pipeline, Run } from "../pages/pipelines";
import { nextRuns } from "./recurring";
import { Button, Dialog, Empty, Trouble, Waiting } from "./parts";

export interface Version {
  pipeline_id: string;
  pipeline_version_id: string;
  display_name: string;
  description?: string;
  created_at: string;
  pipeline_spec?: unknown;
}

export const versionsOf = (pipeline: string, signal?: AbortSignal) =>
  kfp<{ pipeline_versions?: Version[] }>(`/pipelines/${encodeURIComponent(pipeline)}/versions`, { page_size: 100, sort_by: "created_at desc" }, { signal });

interface Props {
  pipeline?: string;
  clone?: string;
  close: () => void;
  done: (id: string, kind: "run" | "recurring") => void;
}

export function Submit({ pipeline, clone, close, done }: Props) {
  const all = useData((signal) => kfp<{ pipelines?: Pipeline[] }>("/pipelines", { page_size: 200, sort_by: "created_at desc", namespace: namespace.value }, { signal }), [namespace.value]);
  const old = useData((signal) => (clone ? kfp<Run>(`/runs/${encodeURIComponent(clone)}`, {}, { signal }) : Promise.resolve(null)), [clone]);
  const [picked, pick] = useState(pipeline ?? "");
  const reference = old.data?.pipeline_version_reference;
  const own = old.data?.pipeline_spec; // of a run that brought its pipeline along
  const chosen = picked || reference?.pipeline_id || (own ? "" : (all.data?.pipelines?.[0]?.pipeline_id ?? ""));
  const versions = useData((signal) => (chosen ? versionsOf(chosen, signal) : Promise.resolve({ pipeline_versions: [] })), [chosen]);
  const [version, pickVersion] = useState("");
  const list: Version[] = versions.data?.pipeline_versions ?? [];
  const v = list.find((x) => x.pipeline_version_id === (version || reference?.pipeline_version_id)) ?? list[0];
  const document = chosen ? v?.pipeline_spec : own;
  const form = fields(specOf(document));
  const [typed, type] = useState<Record<string, string>>({});
  const [name, setName] = useState("");
  const [repeat, setRepeat] = useState("");
  const [cron, setCron] = useState("0 0 * * * *");
  const cronNext = useData((signal) => (repeat === "cron" && cron.trim() ? nextRuns({ cron: cron.trim() }, signal) : Promise.resolve([])), [repeat, cron]);
  const [error, fail] = useState<Error>();
  const [busy, setBusy] = useState(false);

  const before = old.data?.runtime_config?.parameters ?? {};
  const valueOf = (f: { name: string; text: string }) => typed[f.name] ?? (f.name in before ? asText(before[f.name]) : f.text);
  useEffect(() => {
    const first = old.data ? `Clone of ${old.data.display_name}` : (all.data?.pipelines?.find((p) => p.pipeline_id === chosen)?.display_name ?? "");
    if (first) setName(`${first} ${new Date().toLocaleString("sv").slice(0, 16)}`);
  }, [chosen, old.data, all.data]);

  const submit = async () => {
    setBusy(true);
    fail(undefined);
    try {
      const parameters: Record<string, unknown> = {};
      for (const f of form) {
        const text = valueOf(f);
        if (text === "" && f.optional) continue;
        parameters[f.name] = parameter(f, text);
      }
      const body: Record<string, unknown> = {
        display_name: name,
        runtime_config: { parameters },
        ...(chosen ? { pipeline_version_reference: { pipeline_id: chosen, pipeline_version_id: v?.pipeline_version_id } } : { pipeline_spec: own }),
      };
      if (old.data?.experiment_id) body.experiment_id = old.data.experiment_id;
      if (repeat) {
        body.trigger = repeat === "cron" ? { cron_schedule: { cron } } : { periodic_schedule: { interval_second: repeat } };
        body.mode = "ENABLE";
        body.max_concurrency = "1";
        if (namespace.value) body.namespace = namespace.value;
        done((await kfp<{ recurring_run_id: string }>("/recurringruns", {}, { body })).recurring_run_id, "recurring");
      } else {
        done((await kfp<{ run_id: string }>("/runs", {}, { body })).run_id, "run");
      }
    } catch (e) {
      fail(e as Error);
      setBusy(false);
    }
  };

  return (
    <Dialog title={clone ? "Run it again" : "Start a run"} close={close}>
      {!all.data || (clone && old.loading) ? (
        <Waiting of={all} />
      ) : all.data.pipelines?.length || own ? (
        <form
          class="form"
          onSubmit={(e) => {
            e.preventDefault();
            void submit();
          }}
        >
          <label class="field">
            <span>Pipeline</span>
            <select value={chosen} onChange={(e) => (pick(e.currentTarget.value), pickVersion(""), type({}))}>
              {own ? <option value="">The pipeline of that run</option> : null}
              {(all.data.pipelines ?? []).map((p) => (
                <option value={p.pipeline_id}>{p.display_name}</option>
              ))}
            </select>
          </label>
          {chosen && (
            <label class="field">
              <span>Version</span>
              <select value={v?.pipeline_version_id} onChange={(e) => (pickVersion(e.currentTarget.value), type({}))}>
                {list.map((x) => (
                  <option value={x.pipeline_version_id}>{x.display_name}</option>
                ))}
              </select>
            </label>
          )}
          <label class="field">
            <span>Name</span>
            <input type="text" required maxLength={256} value={name} onInput={(e) => setName(e.currentTarget.value)} />
          </label>
          {form.map((f) => (
            <label class="field" key={f.name}>
              <span>{f.name}</span>
              {f.type === "BOOLEAN" ? (
                <select value={valueOf(f)} onChange={(e) => type({ ...typed, [f.name]: e.currentTarget.value })}>
                  {f.optional && <option value="" />}
                  <option>true</option>
                  <option>false</option>
                </select>
              ) : f.type === "LIST" || f.type === "STRUCT" ? (
                <textarea rows={3} value={valueOf(f)} onInput={(e) => type({ ...typed, [f.name]: e.currentTarget.value })} />
              ) : (
                <input type="text" inputMode={f.type.startsWith("NUMBER") ? "decimal" : undefined} required={!f.optional} value={valueOf(f)} onInput={(e) => type({ ...typed, [f.name]: e.currentTarget.value })} />
              )}
              <small>
                {f.type.toLowerCase().replace("_", " ")}
                {f.optional ? ", may be left out" : ""}
                {f.description ? `. ${f.description}` : ""}
              </small>
            </label>
          ))}
          <label class="field">
            <span>When</span>
            <select value={repeat} onChange={(e) => setRepeat(e.currentTarget.value)}>
              <option value="">Now, once</option>
              <option value="3600">Again and again: every hour</option>
              <option value="86400">Again and again: every day</option>
              <option value="cron">Again and again: by a cron expression</option>
            </select>
          </label>
          {repeat === "cron" && (
            <label class="field">
              <span>Cron expression</span>
              <input type="text" required class="mono" value={cron} onInput={(e) => setCron(e.currentTarget.value)} />
              <small>second minute hour day month weekday</small>
              <small role="status">{cronNext.error ? cronNext.error.message : cronNext.data?.length ? `Next: ${cronNext.data.slice(0, 3).map(moment).join("; ")}` : cronNext.data ? "Never" : ""}</small>
            </label>
          )}
          {error && <Trouble error={error} />}
          <div class="dialog-foot">
            <Button onClick={close}>Cancel</Button>
            <Button kind="main" type="submit" disabled={busy || (chosen !== "" && !v)}>
              {repeat ? "Schedule" : "Start"}
            </Button>
          </div>
        </form>
      ) : (
        <Empty icon="pipelines" title="There is no pipeline to run" code="kfp dsl compile --py pipeline.py --output pipeline.yaml">
          Compile one and upload it first:
        </Empty>
      )}
    </Dialog>
  );
}

/** A package to a new pipeline, or as a new version of one. */
export function Upload({ pipeline, close, done }: { pipeline?: string; close: () => void; done: (id: string) => void }) {
  const [file, choose] = useState<File>();
  const [name, setName] = useState("");
  const [error, fail] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const send = async () => {
    if (!file) return;
    setBusy(true);
    fail(undefined);
    const body = new FormData();
    body.append("uploadfile", file);
    const q = new URLSearchParams(pipeline ? { name, pipelineid: pipeline } : { name });
    if (!pipeline && namespace.value) q.set("namespace", namespace.value);
    try {
      const answer = await fetch(`/apis/v2beta1/pipelines/upload${pipeline ? "_version" : ""}?${q}`, { method: "POST", body });
      const text = await answer.text();
      if (!answer.ok) throw new Error(errorText(answer.status, text));
      done((JSON.parse(text) as { pipeline_id: string }).pipeline_id);
    } catch (e) {
      fail(e as Error);
      setBusy(false);
    }
  };
  return (
    <Dialog title={pipeline ? "Upload a version" : "Upload a pipeline"} close={close}>
      <form
        class="form"
        onSubmit={(e) => {
          e.preventDefault();
          void send();
        }}
      >
        <label class="field">
          <span>Compiled pipeline</span>
          <input
            type="file"
            accept=".yaml,.yml,.json,.zip,.gz"
            required
            onChange={(e) => {
              const f = e.currentTarget.files?.[0];
              choose(f);
              if (f && !name) setName(f.name.replace(/\.(ya?ml|json|zip|tar\.gz|tgz)$/, ""));
            }}
          />
          <small>What the SDK's compiler writes: .yaml, .zip or .tar.gz</small>
        </label>
        <label class="field">
          <span>Name</span>
          <input type="text" required value={name} onInput={(e) => setName(e.currentTarget.value)} />
        </label>
        {error && <Trouble error={error} />}
        <div class="dialog-foot">
          <Button onClick={close}>Cancel</Button>
          <Button kind="main" type="submit" disabled={busy || !file}>
            Upload
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
