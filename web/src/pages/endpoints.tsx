// Every InferenceService.
import { kube } from "../api";
import { useData } from "../data";
import { time } from "../format";
import { condition, inside, ISVC, type Isvc } from "../kube";
import { to } from "../router";
import { namespace } from "../settings";
import { Empty, Head, Status, Table, Waiting, When, useTitle } from "../ui/parts";

export default function Endpoints() {
  useTitle("Endpoints");
  const d = useData((signal) => kube<{ items: Isvc[] }>(inside(ISVC, namespace.value, "inferenceservices"), {}, { signal }), [namespace.value], ["kube:serving.kserve.io/v1beta1/inferenceservices"]);
  return (
    <>
      <Head title="Endpoints" sub="Models that answer requests.">
        <a class="button main" href="/models?deploy=1">
          Deploy a model
        </a>
      </Head>
      {!d.data ? (
        <Waiting of={d} />
      ) : d.data.items.length === 0 ? (
        <div class="card">
          <Empty icon="endpoints" title="No model is served" code="kubectl apply -n kubeflow-user-example-com -f inferenceservice.yaml">
            Deploy a registered model with the button above, or apply an InferenceService:
          </Empty>
        </div>
      ) : (
        <Table
          of="Endpoints"
          rows={d.data.items}
          href={(s) => to("endpoints", s.metadata.namespace!, s.metadata.name)}
          columns={[
            { head: "Name", cell: (s) => s.metadata.name },
            { head: "State", cell: (s) => <Status state={condition(s, "Ready")?.status ?? "Unknown"} /> },
            { head: "Model", cell: (s) => <span class="dim">{s.spec.predictor.model?.storageUri ?? "its own container"}</span> },
            { head: "Namespace", cell: (s) => s.metadata.namespace },
            { head: "Made", cell: (s) => <When at={time(s.metadata.creationTimestamp)} />, class: "nowrap" },
          ]}
        />
      )}
    </>
  );
}
