// Runs side by side: what differs, how they relate, how they learned.
import { useMemo, useState } from "preact/hooks";
import { useData } from "../data";
import { number, num, time, duration } from "../format";
import { go, place, setQuery, to } from "../router";
import { columnsOf, history, runsById, valueOf, type Run } from "../tracking";
import Lines from "../ui/chart";
import { Card, Head, Status, Tabs, Waiting, useTitle } from "../ui/parts";
import { bare, Parallel, Scatter } from "../ui/plots";

function Curves({ runs, metric }: { runs: Run[]; metric: string }) {
  const ids = runs.map((r) => r.info.run_id);
  const d = useData((signal) => history(ids, metric, signal), [ids, metric]);
  const series = useMemo(() => runs.map((r) => ({ name: r.info.run_name, points: d.data?.get(r.info.run_id) ?? [] })), [d.data]);
  if (!d.data) return <Waiting of={d} lines={3} />;
  return <Lines label={metric} series={series} height={320} />;
}

export default function Compare({ id }: Record<string, string>) {
  useTitle("Compare runs");
  const q = place.value.query;
  // Many ids stand without commas between them, so that an address of 500 is not too long to be asked for.
  const ids = (q.get("runs") ?? "").split(",").flatMap((s) => (/^([0-9a-f]{32}){2,}$/.test(s) ? s.match(/.{32}/g)! : s ? [s] : []));
  const d = useData((signal) => runsById(id!, ids, signal), [ids.join(",")]);
  const [same, showSame] = useState(true);
  const runs = d.data ?? [];
  const names = useMemo(() => columnsOf(runs), [d.data]);
  const all = [...names.params.map((p) => "params." + p), ...names.metrics.map((m) => "metrics." + m)];
  const open = (r: Run) => go(to("experiments", id!, "runs", r.info.run_id));
  const crumbs: [string, string][] = [
    ["Experiments", "/experiments"],
    ["Runs", to("experiments", id!)],
  ];
  if (!d.data || runs.length === 0)
    return (
      <>
        <Head title="Compare runs" crumbs={crumbs} />
        {d.data ? <p class="note">None of these runs is there. Choose some in the table of runs.</p> : <Waiting of={d} />}
      </>
    );
  const differs = (c: string) => new Set(runs.map((r) => String(valueOf(r, c)))).size > 1;
  const rows = all.filter((c) => same || differs(c));
  const varying = all.filter(differs);
  const axes = (q.get("axes") ?? "").split("\n").filter((c) => all.includes(c));
  const shown = axes.length ? axes : [...varying.filter((c) => c.startsWith("params.")).slice(0, 5), ...varying.filter((c) => c.startsWith("metrics.")).slice(0, 3)];
  const x = q.get("x") ?? varying.find((c) => c.startsWith("params.")) ?? all[0] ?? "";
  const y = q.get("y") ?? varying.find((c) => c.startsWith("metrics.")) ?? all[all.length - 1] ?? "";
  const metric = q.get("metric") ?? names.metrics[0] ?? "";
  const select = (name: string, label: string, value: string, of: string[]) => (
    <label class="row">
      {label}
      <select value={value} onChange={(e) => setQuery({ [name]: e.currentTarget.value })}>
        {of.map((c) => (
          <option value={c}>{c}</option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <Head title={`Comparing ${runs.length} runs`} crumbs={crumbs} />
      <Tabs
        of={[
          ["table", "Side by side"],
          ["parallel", "Parallel coordinates"],
          ["scatter", "Scatter"],
          ["curves", "Curves"],
        ]}
      >
        {(tab) =>
          tab === "parallel" ? (
            <>
              <fieldset class="card chooser">
                <legend class="hidden">Axes</legend>
                <div class="checks">
                  {all.map((c) => (
                    <label>
                      <input type="checkbox" checked={shown.includes(c)} onChange={(e) => setQuery({ axes: (e.currentTarget.checked ? [...shown, c] : shown.filter((s) => s !== c)).join("\n") })} /> {bare(c)}
                    </label>
                  ))}
                </div>
              </fieldset>
              <Parallel runs={runs} columns={shown} open={open} />
            </>
          ) : tab === "scatter" ? (
            <>
              <div class="toolbar">
                {select("x", "Across", x, all)}
                {select("y", "Upwards", y, all)}
              </div>
              <Scatter runs={runs} x={x} y={y} open={open} />
            </>
          ) : tab === "curves" ? (
            metric ? (
              <Card>
                <div class="toolbar">{select("metric", "Metric", metric, names.metrics)}</div>
                <Curves runs={runs} metric={metric} />
              </Card>
            ) : (
              <p class="note">These runs have no metrics.</p>
            )
          ) : (
            <>
              <div class="toolbar">
                <label>
                  <input type="checkbox" checked={!same} onChange={(e) => showSame(!e.currentTarget.checked)} /> Only what differs
                </label>
              </div>
              <div class="scroll" tabIndex={0} role="region" aria-label="Runs side by side">
                <table class="side-by-side">
                  <thead>
                    <tr>
                      <th scope="col">Run</th>
                      {runs.map((r) => (
                        <th scope="col">
                          <a href={to("experiments", id!, "runs", r.info.run_id)}>{r.info.run_name}</a>
                        </th>
                      ))}
                    </tr>
                  </thead>
                  <tbody>
                    <tr>
                      <th scope="row">State</th>
                      {runs.map((r) => (
                        <td>
                          <Status state={r.info.status} />
                        </td>
                      ))}
                    </tr>
                    <tr>
                      <th scope="row">Took</th>
                      {runs.map((r) => (
                        <td>{duration(time(r.info.end_time) - time(r.info.start_time))}</td>
                      ))}
                    </tr>
                    {rows.map((c) => (
                      <tr class={differs(c) ? "differs" : ""}>
                        <th scope="row">
                          {bare(c)} <span class="dim">{c.split(".")[0]!.slice(0, -1)}</span>
                        </th>
                        {runs.map((r) => {
                          const v = valueOf(r, c);
                          return <td>{v === undefined ? "–" : c.startsWith("metrics.") ? number(num(v)) : String(v).slice(0, 200)}</td>;
                        })}
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </>
          )
        }
      </Tabs>
    </>
  );
}
