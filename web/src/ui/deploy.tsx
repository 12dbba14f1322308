// A registered version as an InferenceService.
import { useState } from "preact/hooks";
import { kube, mlflow } from "../api";
import { useData } from "../data";
import { inside, ISVC } from "../kube";
import { go, to } from "../router";
import { namespace } from "../settings";
import { Button, Dialog, Trouble } from "./parts";

export interface ModelVersion {
  name: string;
  version: string;
  creation_timestamp: number;
  description?: string;
  source?: string;
  run_id?: string;
  status?: string;
  status_message?: string;
  aliases?: string[];
  tags?: { key: string; value: string }[];
}
export interface Registered {
  name: string;
  description?: string;
  creation_timestamp: number;
  last_updated_timestamp: number;
  latest_versions?: ModelVersion[];
  aliases?: { alias: string; version: string }[];
  tags?: { key: string; value: string }[];
}
const USER_NAMESPACE = "kubeflow-user-example-com";

/** A name that Kubernetes takes, from any. */
export const dnsName = (s: string) =>
  s
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 40) || "model";

export function Deploy({ model, version, close }: { model?: string; version?: string; close: () => void }) {
  const all = useData((signal) => mlflow<{ registered_models?: Registered[] }>("registered-models/search", { q: { max_results: 200 }, signal }), []);
  const spaces = useData((signal) => kube<{ items: { metadata: { name: string } }[] }>("/api/v1/namespaces", {}, { signal }), []);
  const [picked, pick] = useState(model ?? "");
  const chosen = all.data?.registered_models?.find((m) => m.name === picked) ?? (model ? undefined : all.data?.registered_models?.[0]);
  const [which, setWhich] = useState(version ?? "");
  const [name, setName] = useState("");
  const [ns, setNs] = useState(namespace.value || USER_NAMESPACE);
  const [canary, setCanary] = useState("");
  const [error, fail] = useState<Error>();
  const title = chosen?.name ?? model ?? "";
  const choice = which || chosen?.latest_versions?.[0]?.version || "1";
  const service = name || dnsName(title);
  const send = async () => {
    const path = inside(ISVC, ns, "inferenceservices", service);
    const predictor: Record<string, unknown> = { model: { modelFormat: { name: "mlflow" }, protocolVersion: "v2", storageUri: choice.startsWith("@") ? `models:/${title}${choice}` : `models:/${title}/${choice}` } };
    if (canary) predictor.canaryTrafficPercent = Number(canary);
    const body = { apiVersion: "serving.kserve.io/v1beta1", kind: "InferenceService", metadata: { name: service, namespace: ns, labels: { "app.kubernetes.io/managed-by": "millrace-dashboard" } }, spec: { predictor } };
    try {
      // Server-side apply: a first deployment and a next version are the same request.
      await kube(path, { fieldManager: "millrace-dashboard", force: true }, { method: "PATCH", body, type: "application/apply-patch+yaml" });
      go(to("endpoints", ns, service));
    } catch (e) {
      fail(e as Error);
    }
  };
  return (
    <Dialog title="Deploy a model" close={close}>
      <form
        class="form"
        onSubmit={(e) => {
          e.preventDefault();
          void send();
        }}
      >
        {model ? null : (
          <label class="field">
            <span>Model</span>
            <select value={title} onChange={(e) => (pick(e.currentTarget.value), setWhich(""))}>
              {(all.data?.registered_models ?? []).map((m) => (
                <option value={m.name}>{m.name}</option>
              ))}
            </select>
          </label>
        )}
        <label class="field">
          <span>Version or alias</span>
          <input type="text" required list="versions" value={choice} onInput={(e) => setWhich(e.currentTarget.value)} />
          <datalist id="versions">
            {(chosen?.aliases ?? []).map((a) => (
              <option value={"@" + a.alias} />
            ))}
          </datalist>
          <small>A number, or @alias</small>
        </label>
        <label class="field">
          <span>Name of the endpoint</span>
          <input type="text" required pattern="[a-z]([-a-z0-9]*[a-z0-9])?" value={service} onInput={(e) => setName(e.currentTarget.value)} />
          <small>One that is there gets the version as its next revision.</small>
        </label>
        <label class="field">
          <span>Namespace</span>
          <select value={ns} onChange={(e) => setNs(e.currentTarget.value)}>
            {(spaces.data?.items ?? []).map((s) => (
              <option>{s.metadata.name}</option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Traffic for it, where another revision serves already</span>
          <select value={canary} onChange={(e) => setCanary(e.currentTarget.value)}>
            <option value="">All</option>
            <option value="10">10 %, as a canary</option>
            <option value="50">50 %</option>
          </select>
        </label>
        {error && <Trouble error={error} />}
        <div class="dialog-foot">
          <Button onClick={close}>Cancel</Button>
          <Button kind="main" type="submit" disabled={!title}>
            Deploy
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
