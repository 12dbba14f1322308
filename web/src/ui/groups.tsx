// Runs in groups: each value that they share, how many have it, and what the metrics came to. The server does the counting.
import { useEffect, useState } from "preact/hooks";
import { useData } from "../data";
import { both, ofGroup, PARENT, quoted } from "../filter";
import { ago, cut, moment, number, num, time } from "../format";
import { place, setQuery, to } from "../router";
import { groupRuns, runsById, searchRuns, type Group } from "../tracking";
import { Icon } from "./icons";
import { Empty, Status, Trouble, Waiting } from "./parts";

const PAGE = 100;
const SHOWN = 20; // runs of a group that unfolds

function Inside({ experiment, filter, metrics, count, columns }: { experiment: string; filter: string | null; metrics: string[]; count: number; columns: number }) {
  const d = useData((signal) => (filter === null ? Promise.resolve({ runs: [] }) : searchRuns({ experiment_ids: [experiment], filter, max_results: SHOWN, order_by: ["attributes.start_time DESC"] }, signal)), [experiment, filter]);
  if (filter === null)
    return (
      <tr class="inside">
        <td colSpan={columns}>No filter can say what these have in common.</td>
      </tr>
    );
  if (!d.data)
    return (
      <tr class="inside">
        <td colSpan={columns}>
          <Waiting of={d} lines={1} />
        </td>
      </tr>
    );
  return (
    <>
      {(d.data.runs ?? []).map((r) => (
        <tr class="inside" key={r.info.run_id}>
          <td>
            <a class="row-link" href={to("experiments", experiment, "runs", r.info.run_id)}>
              {r.info.run_name || r.info.run_id}
            </a>{" "}
            <Status state={r.info.status} />
          </td>
          <td />
          <td title={moment(time(r.info.start_time))}>{ago(time(r.info.start_time))}</td>
          {metrics.map((key) => {
            const m = r.data.metrics?.find((x) => x.key === key);
            return <td class="right">{m ? number(num(m.value)) : <span class="dim">–</span>}</td>;
          })}
        </tr>
      ))}
      <tr class="inside">
        <td colSpan={columns}>
          <button type="button" class="inline" onClick={() => setQuery({ group: undefined, gorder: undefined, filter }, false)}>
            {count > SHOWN ? `All ${count.toLocaleString("en-US")} runs as a table` : "As a table of their own"}
          </button>
        </td>
      </tr>
    </>
  );
}

export function Groups({ experiment, filter, by, metrics }: { experiment: string; filter: string; by: string; metrics: string[] }) {
  // The column of a metric may have gone since the order was chosen.
  const wanted = place.value.query.get("gorder") ?? "";
  const sorts = ["value", "count", "start_time", ...metrics.map((m) => `metrics.\`${m}\``)];
  const order = sorts.some((s) => wanted === `${s} ASC` || wanted === `${s} DESC`) ? wanted : "count DESC";
  const [more, setMore] = useState<{ of: string; groups: Group[]; token?: string; error?: Error; busy?: boolean }>({ of: "", groups: [] });
  const [open, unfold] = useState<Set<string>>(new Set());
  const at = by.indexOf(".");
  const body = { experiment_ids: [experiment], filter, group_by: by[at + 1] === "`" ? by : `${by.slice(0, at + 1)}${quoted(by.slice(at + 1))}`, metrics, order_by: order, max_results: PAGE };
  const key = JSON.stringify(body);
  const d = useData((signal) => groupRuns(body, signal), [key], ["tracking"]);
  useEffect(() => {
    unfold(new Set());
  }, [by, filter]);
  // Pages after the first belong to the answer that they continue.
  const follows = more.of === key ? more : { of: key, groups: [] as Group[], token: d.data?.next_page_token, error: undefined, busy: false };
  const groups = [...(d.data?.groups ?? []), ...follows.groups];
  const ids = by === PARENT ? groups.flatMap((g) => g.value ?? []) : [];
  const names = useData((signal) => Promise.all(Array.from({ length: Math.ceil(ids.length / 200) }, (_, i) => runsById(experiment, ids.slice(200 * i, 200 * i + 200), signal))).then((x) => x.flat()), [experiment, ids.join()]);
  if (!d.data) return <Waiting of={d} lines={8} />;
  if (groups.length === 0)
    return (
      <div class="card">
        <Empty icon="experiments" title={filter ? "No run matches this filter" : "No run yet"} />
      </div>
    );
  const columns = 3 + metrics.length;
  const head = (sort: string, text: string, right = false) => {
    const up = order === sort + " ASC";
    const down = order === sort + " DESC";
    return (
      <th scope="col" class={right ? "right" : ""} aria-sort={up ? "ascending" : down ? "descending" : undefined}>
        <button type="button" class="sort" onClick={() => setQuery({ gorder: sort + (down ? " ASC" : " DESC") })}>
          {text}
          <span aria-hidden="true">{up ? " ↑" : down ? " ↓" : ""}</span>
        </button>
      </th>
    );
  };
  const title = (g: Group) => {
    if (g.value === undefined) return <em class="dim">{by === PARENT ? "No parent" : "Not set"}</em>;
    const run = by === PARENT && names.data?.find((r) => r.info.run_id === g.value);
    if (run) return run.info.run_name || g.value;
    return g.value === "" ? <em class="dim">Empty</em> : cut(g.value, 120);
  };
  return (
    <>
      <div class="scroll runs groups" tabIndex={0} role="region" aria-label="Groups of runs">
        <table>
          <thead>
            <tr>
              {head("value", by === PARENT ? "Parent run" : by.slice(at + 1).replaceAll("`", ""))}
              {head("count", "Runs", true)}
              {head("start_time", "Last started")}
              {metrics.map((m) => head(`metrics.\`${m}\``, `${m}, mean`, true))}
            </tr>
          </thead>
          <tbody>
            {groups.map((g) => {
              const name = g.value === undefined ? "\0" : g.value;
              const unfolded = open.has(name);
              const own = ofGroup(by, g.value);
              return (
                <>
                  <tr key={name}>
                    <td title={(g.value ?? "").slice(0, 500)}>
                      <button
                        type="button"
                        class="fold wide"
                        aria-expanded={unfolded}
                        onClick={() => {
                          const next = new Set(open);
                          if (!next.delete(name)) next.add(name);
                          unfold(next);
                        }}
                      >
                        <Icon name={unfolded ? "down" : "right"} size={13} /> {title(g)}
                      </button>
                    </td>
                    <td class="right">{g.count.toLocaleString("en-US")}</td>
                    <td title={moment(time(g.last_start_time))}>{ago(time(g.last_start_time))}</td>
                    {g.metrics.map((m) => (
                      <td class="right" title={`${m.count.toLocaleString("en-US")} of ${g.count.toLocaleString("en-US")} runs have it`}>
                        {m.count === 0 ? (
                          <span class="dim">–</span>
                        ) : (
                          <>
                            {m.mean !== undefined ? number(num(m.mean)) : m.count === 1 ? number(num(m.min)) : "–"}
                            {m.count > 1 && (
                              <span class="range">
                                {number(num(m.min))} … {number(num(m.max))}
                              </span>
                            )}
                          </>
                        )}
                      </td>
                    ))}
                  </tr>
                  {unfolded && <Inside experiment={experiment} filter={own === null ? null : both(filter, own)} metrics={metrics} count={g.count} columns={columns} />}
                </>
              );
            })}
          </tbody>
        </table>
      </div>
      {follows.error && <Trouble error={follows.error} />}
      <div class="pager" role="status">
        {groups.length.toLocaleString("en-US")} {groups.length === 1 ? "group" : "groups"}
        {follows.token && (
          <button
            type="button"
            class="button"
            disabled={follows.busy}
            onClick={() => {
              setMore({ ...follows, busy: true });
              groupRuns({ ...body, page_token: follows.token }).then(
                (r) => setMore({ of: key, groups: [...follows.groups, ...r.groups], token: r.next_page_token }),
                (error: Error) => setMore({ ...follows, error, busy: false }),
              );
            }}
          >
            More groups
          </button>
        )}
      </div>
    </>
  );
}
