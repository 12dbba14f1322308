// All experiments.
import { useState } from "preact/hooks";
import { mlflow } from "../api";
import { useData } from "../data";
import { time } from "../format";
import { go, place, setQuery, to } from "../router";
import type { Experiment } from "../tracking";
import { Button, Dialog, Empty, Head, Table, Trouble, Waiting, When, useTitle } from "../ui/parts";

function like(words: string): string {
  const quote = words.includes("'") ? '"' : "'";
  return words && !words.includes(quote) ? `name ILIKE ${quote}%${words}%${quote}` : "";
}

function Create({ close }: { close: () => void }) {
  const [name, set] = useState("");
  const [error, fail] = useState<Error>();
  return (
    <Dialog title="New experiment" close={close}>
      <form
        class="form"
        onSubmit={(e) => {
          e.preventDefault();
          mlflow<{ experiment_id: string }>("experiments/create", { body: { name } }).then((r) => go(to("experiments", r.experiment_id)), fail);
        }}
      >
        <label class="field">
          <span>Name</span>
          <input type="text" required value={name} onInput={(e) => set(e.currentTarget.value)} />
        </label>
        {error && <Trouble error={error} />}
        <div class="dialog-foot">
          <Button onClick={close}>Cancel</Button>
          <Button kind="main" type="submit">
            Create
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export default function Experiments() {
  useTitle("Experiments");
  const words = place.value.query.get("q") ?? "";
  const [making, make] = useState(false);
  const d = useData(
    (signal) => mlflow<{ experiments?: Experiment[] }>("experiments/search", { body: { max_results: 1000, order_by: ["last_update_time DESC"], filter: like(words) }, signal }),
    [words],
    ["tracking"],
  );
  const rows = d.data?.experiments ?? [];
  return (
    <>
      <Head title="Experiments" sub="What was tried, with MLflow.">
        <Button icon="plus" onClick={() => make(true)}>
          New experiment
        </Button>
      </Head>
      <div class="toolbar">
        <input type="search" aria-label="Experiments whose name has" placeholder="Experiments whose name has …" value={words} onInput={(e) => setQuery({ q: e.currentTarget.value })} />
      </div>
      {!d.data ? (
        <Waiting of={d} />
      ) : rows.length === 0 && words ? (
        <p class="note">No experiment has this in its name.</p>
      ) : (
        <Table
          of="Experiments"
          rows={rows}
          href={(e) => to("experiments", e.experiment_id)}
          columns={[
            { head: "Name", cell: (e) => e.name },
            { head: "Last change", cell: (e) => <When at={time(e.last_update_time)} />, class: "nowrap" },
            { head: "Made", cell: (e) => <When at={time(e.creation_time)} />, class: "nowrap" },
            { head: "Id", cell: (e) => <span class="dim">{e.experiment_id}</span>, right: true },
          ]}
        />
      )}
      {d.data && !words && rows.length <= 1 && (
        <div class="card">
          <Empty icon="experiments" title="Track the first experiment" code={`import mlflow\nmlflow.set_experiment("my-experiment")\nwith mlflow.start_run():\n    mlflow.log_param("depth", 4)\n    mlflow.log_metric("loss", 0.2)`}>
            With MLFLOW_TRACKING_URI set to this platform, this makes one with a run in it:
          </Empty>
        </div>
      )}
      {making && <Create close={() => make(false)} />}
    </>
  );
}
