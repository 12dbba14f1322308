// The registry.
import { mlflow } from "../api";
import { useData } from "../data";
import { time } from "../format";
import { place, setQuery, to } from "../router";
import { Deploy, type Registered } from "../ui/deploy";
import { Button, Empty, Head, Table, Waiting, When, useTitle } from "../ui/parts";

export default function Models() {
  useTitle("Models");
  const words = place.value.query.get("q") ?? "";
  const quote = words.includes("'") ? '"' : "'";
  const filter = words && !words.includes(quote) ? `name ILIKE ${quote}%${words}%${quote}` : "";
  const d = useData((signal) => mlflow<{ registered_models?: Registered[] }>("registered-models/search", { q: { max_results: 200, filter, order_by: "last_updated_timestamp DESC" }, signal }), [words], ["tracking"]);
  const rows = d.data?.registered_models ?? [];
  return (
    <>
      <Head title="Models" sub="What is registered, in its versions.">
        <Button kind="main" icon="endpoints" onClick={() => setQuery({ deploy: "1" })}>
          Deploy a model
        </Button>
      </Head>
      <div class="toolbar">
        <input type="search" aria-label="Models whose name has" placeholder="Models whose name has …" value={words} onInput={(e) => setQuery({ q: e.currentTarget.value })} />
      </div>
      {!d.data ? (
        <Waiting of={d} />
      ) : rows.length === 0 ? (
        words ? (
          <p class="note">No model has this in its name.</p>
        ) : (
          <div class="card">
            <Empty icon="models" title="No model is registered yet" code={`mlflow.register_model("runs:/RUN_ID/model", "churn")`}>
              Register one that a run logged:
            </Empty>
          </div>
        )
      ) : (
        <Table
          of="Models"
          rows={rows}
          href={(m) => to("models", m.name)}
          columns={[
            { head: "Name", cell: (m) => m.name },
            { head: "Latest", cell: (m) => <span class="chip">v{Math.max(0, ...(m.latest_versions ?? []).map((v) => Number(v.version)))}</span> },
            {
              head: "Aliases",
              cell: (m) => (
                <span class="chips">
                  {(m.aliases ?? []).map((a) => (
                    <span class="chip accent">
                      @{a.alias} v{a.version}
                    </span>
                  ))}
                </span>
              ),
            },
            { head: "Description", cell: (m) => <span class="dim">{m.description}</span> },
            { head: "Last change", cell: (m) => <When at={time(m.last_updated_timestamp)} />, class: "nowrap" },
          ]}
        />
      )}
      {place.value.query.get("deploy") && <Deploy close={() => setQuery({ deploy: undefined })} />}
    </>
  );
}
