// The runs of an experiment: a table of any length, a filter that completes itself, columns as one likes, and views to keep.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { mlflow, onChange } from "../api";
import { useData } from "../data";
import { both, CHILD, PARENT } from "../filter";
import { ago, duration, moment, number, num, time } from "../format";
import { go, place, setQuery, to } from "../router";
import { views } from "../settings";
import { columnsOf, groupRuns, parentOf, searchRuns, valueOf, type Experiment, type Run } from "../tracking";
import { FilterBox } from "../ui/filter-box";
import { Groups } from "../ui/groups";
import { Icon } from "../ui/icons";
import { Button, Card, Empty, Head, Status, Trouble, Waiting, useTitle } from "../ui/parts";
import { bare } from "../ui/plots";

const PAGE = 200;
const ROW = 40;
const MOST_TO_COMPARE = 500;
const MOST_BELOW = 1000;

/** Pages of runs as they are scrolled to. */
function useRuns(id: string, filter: string, order: string) {
  const [state, set] = useState<{ runs: Run[]; token?: string; error?: Error; busy: boolean; ended: boolean }>({ runs: [], busy: true, ended: false });
  const [turn, again] = useState(0);
  const [changed, setChanged] = useState(false);
  const stop = useRef<AbortController>();
  // One question at a time: what an effect sees of `busy` is of the last drawing, and a page asked for twice shows twice.
  const asking = useRef(false);
  const ask = (token?: string) =>
    searchRuns({ experiment_ids: [id], filter, order_by: order ? [order] : ["attributes.start_time DESC"], max_results: PAGE, page_token: token }, stop.current!.signal);
  const mineStill = (mine: AbortController) => {
    if (mine.signal.aborted) return false;
    asking.current = false;
    return true;
  };
  useEffect(() => {
    stop.current?.abort();
    const mine = (stop.current = new AbortController());
    asking.current = true;
    set((s) => ({ ...s, busy: true, error: undefined }));
    setChanged(false);
    ask().then(
      (r) => mineStill(mine) && set({ runs: r.runs ?? [], token: r.next_page_token, busy: false, ended: !r.next_page_token }),
      (error: Error) => mineStill(mine) && set((s) => ({ ...s, error, busy: false, ended: true })),
    );
    return () => mine.abort();
  }, [id, filter, order, turn]);
  useEffect(() => onChange("tracking", () => setChanged(true)), []);
  const more = () => {
    if (asking.current || state.busy || state.ended) return;
    const mine = stop.current!;
    asking.current = true;
    set((s) => ({ ...s, busy: true }));
    ask(state.token).then(
      (r) => mineStill(mine) && set((s) => ({ runs: [...s.runs, ...(r.runs ?? [])], token: r.next_page_token, busy: false, ended: !r.next_page_token })),
      (error: Error) => mineStill(mine) && set((s) => ({ ...s, error, busy: false, ended: true })),
    );
  };
  return { ...state, more, changed, reload: () => again((n) => n + 1) };
}

export default function ExperimentPage({ id }: Record<string, string>) {
  const q = place.value.query;
  const filter = q.get("filter") ?? "";
  const order = q.get("order") ?? "";
  const group = q.get("group") ?? "";
  const nested = q.get("nested") === "1" && !group;
  const e = useData((signal) => mlflow<{ experiment: Experiment }>("experiments/get", { q: { experiment_id: id }, signal }), [id]);
  const list = useRuns(id!, nested ? both(filter, `${PARENT} IS NULL`) : filter, order);
  // Which runs have runs below them, and how many.
  const parents = useData((signal) => groupRuns({ experiment_ids: [id], filter: `${PARENT} IS NOT NULL`, group_by: PARENT, max_results: 1000 }, signal), [id], ["tracking"]);
  const below = useMemo(() => new Map((parents.data?.groups ?? []).map((g) => [g.value ?? "", g.count])), [parents.data]);
  const [unfolded, unfold] = useState<Map<string, Run[]>>(new Map());
  const [untold, setUntold] = useState<Error>(); // why runs below one do not show
  const [picked, pick] = useState<Set<string>>(new Set());
  const [top, setTop] = useState(0);
  const [high, setHigh] = useState(600);
  const [choosing, choose] = useState(false);
  const [name, setName] = useState("");
  const box = useRef<HTMLDivElement>(null);
  useTitle(e.data?.experiment.name ?? "Experiment");

  const names = useMemo(() => columnsOf(list.runs.slice(0, 1000)), [list.runs]);
  const all = [...names.metrics.map((m) => "metrics." + m), ...names.params.map((p) => "params." + p), ...names.tags.filter((t) => !t.startsWith("mlflow.")).map((t) => "tags." + t)];
  const asked = q.get("columns");
  const columns = asked !== null ? asked.split("\n").filter(Boolean) : [...names.metrics.slice(0, 4).map((m) => "metrics." + m), ...names.params.slice(0, 4).map((p) => "params." + p)];
  const setColumns = (c: string[]) => setQuery({ columns: c.length ? c.join("\n") : "\n" });

  // New runs show by themselves where that moves nothing under the reader's eyes.
  useEffect(() => {
    if (list.changed && top < ROW) list.reload();
  }, [list.changed, top]);
  useEffect(() => {
    const b = box.current;
    if (!b) return;
    const watch = new ResizeObserver(() => setHigh(b.clientHeight));
    watch.observe(b);
    return () => watch.disconnect();
  }, [e.data !== undefined && list.runs.length > 0 && !group]);
  useEffect(() => {
    box.current?.scrollTo(0, 0);
    setTop(0);
    unfold(new Map());
  }, [id, filter, order]);

  const rows = useMemo(() => (nested ? list.runs.flatMap((r) => [r, ...(unfolded.get(r.info.run_id) ?? [])]) : list.runs), [list.runs, unfolded, nested]);
  const first = Math.max(0, Math.floor(top / ROW) - 8);
  const last = Math.min(rows.length, Math.ceil((top + high) / ROW) + 8);
  useEffect(() => {
    if (!group && last >= rows.length - 60) list.more();
  }, [last, rows.length, list.busy, group]);
  const turn = (r: Run) => {
    const next = new Map(unfolded);
    if (next.delete(r.info.run_id)) return unfold(next);
    searchRuns({ experiment_ids: [id], filter: `${PARENT} = '${r.info.run_id}'`, order_by: order ? [order] : ["attributes.start_time DESC"], max_results: MOST_BELOW }).then((found) => {
      setUntold(undefined);
      unfold((now) => new Map(now).set(r.info.run_id, found.runs ?? []));
    }, setUntold);
  };

  const sortable = (column: string, text: string) => {
    const key = column.startsWith("attributes.") ? column : column.replace(/\.(.*)$/, ".`$1`");
    const up = order === key + " ASC";
    const down = order === key + " DESC";
    return (
      <th scope="col" aria-sort={up ? "ascending" : down ? "descending" : undefined} class={column.startsWith("metrics.") ? "right" : ""}>
        <button type="button" class="sort" title={column} onClick={() => setQuery({ order: down ? key + " ASC" : up ? undefined : key + " DESC" })}>
          {text}
          <span aria-hidden="true">{up ? " ↑" : down ? " ↓" : ""}</span>
        </button>
      </th>
    );
  };

  const crumbs: [string, string][] = [["Experiments", "/experiments"]];
  if (!e.data)
    return (
      <>
        <Head title="Experiment" crumbs={crumbs} />
        <Waiting of={e} lines={8} />
      </>
    );
  const mine = Object.entries(views.value).filter(([k]) => k.startsWith(id + "\n"));
  const compare = [...picked];
  return (
    <>
      <Head title={e.data.experiment.name} crumbs={crumbs} sub={<span>{e.data.experiment.artifact_location}</span>}>
        <Button kind="main" disabled={compare.length < 2} onClick={() => go(`${to("experiments", id!, "compare")}?runs=${compare.join(compare.length > 200 ? "" : ",")}`)}>
          Compare {compare.length > 1 ? compare.length : ""}
        </Button>
      </Head>
      <div class="toolbar">
        <FilterBox value={filter} names={names} apply={(f) => setQuery({ filter: f }, false)} />
        <Button aria-expanded={choosing} onClick={() => choose(!choosing)}>
          Columns
        </Button>
        <select aria-label="Group by" value={group} onChange={(x) => setQuery({ group: x.currentTarget.value, gorder: undefined }, false)}>
          <option value="">No groups</option>
          {below.size > 0 || group === PARENT ? <option value={PARENT}>By parent run</option> : null}
          <option value="attributes.status">By state</option>
          <option value="attributes.user_id">By user</option>
          {[...all.filter((c) => !c.startsWith("metrics.")), ...(group && !all.includes(group) && !group.startsWith("attributes.") && group !== PARENT ? [group] : [])].map((c) => (
            <option value={c}>
              By {c.split(".")[0]!.slice(0, -1)} {bare(c).slice(0, 60)}
            </option>
          ))}
        </select>
        {below.size > 0 && !group && (
          <label class="row">
            <input type="checkbox" checked={nested} onChange={(x) => setQuery({ nested: x.currentTarget.checked ? "1" : undefined })} /> Nested
          </label>
        )}
        {mine.length > 0 && (
          <select aria-label="Saved views" value="" onChange={(x) => x.currentTarget.value && go(place.value.path + "?" + views.value[x.currentTarget.value])}>
            <option value="">Views …</option>
            {mine.map(([k]) => (
              <option value={k}>{k.slice(id!.length + 1)}</option>
            ))}
          </select>
        )}
      </div>
      {choosing && (
        <Card class="chooser">
          <fieldset>
            <legend>Columns</legend>
            <div class="checks">
              {all.map((c) => (
                <label>
                  <input type="checkbox" checked={columns.includes(c)} onChange={(x) => setColumns(x.currentTarget.checked ? [...columns, c] : columns.filter((y) => y !== c))} /> {bare(c)} <span class="dim">{c.split(".")[0]!.slice(0, -1)}</span>
                </label>
              ))}
            </div>
          </fieldset>
          <form
            class="row"
            onSubmit={(x) => {
              x.preventDefault();
              if (name.trim()) views.value = { ...views.value, [`${id}\n${name.trim()}`]: q.toString() };
              setName("");
              choose(false);
            }}
          >
            <input type="text" aria-label="Name of the view" placeholder="Keep filter, order, groups and columns as …" value={name} onInput={(x) => setName(x.currentTarget.value)} />
            <Button type="submit">Keep the view</Button>
            {mine.map(([k]) => (
              <button type="button" class="chip" title="Forget this view" onClick={() => (views.value = Object.fromEntries(Object.entries(views.value).filter(([x]) => x !== k)))}>
                {k.slice(id!.length + 1)} ×
              </button>
            ))}
          </form>
        </Card>
      )}
      {list.error && <Trouble error={list.error} retry={list.reload} />}
      {nested && untold && <Trouble error={untold} />}
      {list.changed && top >= ROW && (
        <p class="note">
          There are new results.{" "}
          <button type="button" class="inline" onClick={() => (box.current?.scrollTo(0, 0), list.reload())}>
            Show them
          </button>
        </p>
      )}
      {group && list.runs.length === 0 && list.busy ? (
        <Waiting of={list} lines={8} /> // its runs say which metrics there are
      ) : group ? (
        <Groups experiment={id!} filter={filter} by={group} metrics={columns.filter((c) => c.startsWith("metrics.")).map(bare).slice(0, 8)} />
      ) : list.runs.length === 0 ? (
        list.busy ? (
          <Waiting of={list} lines={8} />
        ) : filter ? (
          <p class="note">No run matches this filter.</p>
        ) : (
          <div class="card">
            <Empty icon="experiments" title="No run yet" code={`mlflow.set_experiment(experiment_id="${id}")\nmlflow.log_metric("loss", 0.2)`} />
          </div>
        )
      ) : (
        <>
          <div class="scroll runs" ref={box} tabIndex={0} role="region" aria-label="Runs" onScroll={(x) => setTop(x.currentTarget.scrollTop)}>
            <table aria-rowcount={list.ended ? rows.length : -1}>
              <thead>
                <tr>
                  <th scope="col">
                    <input
                      type="checkbox"
                      aria-label="All shown runs"
                      checked={picked.size > 0 && list.runs.slice(0, MOST_TO_COMPARE).every((r) => picked.has(r.info.run_id))}
                      onChange={(x) => pick(new Set(x.currentTarget.checked ? list.runs.slice(0, MOST_TO_COMPARE).map((r) => r.info.run_id) : []))}
                    />
                  </th>
                  {sortable("attributes.run_name", "Run")}
                  {sortable("attributes.status", "State")}
                  {sortable("attributes.start_time", "Started")}
                  <th scope="col">Took</th>
                  {columns.map((c) => sortable(c, bare(c)))}
                </tr>
              </thead>
              <tbody>
                {first > 0 && <tr aria-hidden="true" style={{ height: first * ROW }} />}
                {rows.slice(first, last).map((r, i) => (
                  <tr key={r.info.run_id} aria-rowindex={first + i + 2}>
                    <td>
                      <input
                        type="checkbox"
                        aria-label={`Choose ${r.info.run_name}`}
                        checked={picked.has(r.info.run_id)}
                        onChange={(x) => {
                          const next = new Set(picked);
                          x.currentTarget.checked ? next.add(r.info.run_id) : next.delete(r.info.run_id);
                          pick(next);
                        }}
                      />
                    </td>
                    <td>
                      {nested && below.has(r.info.run_id) && (
                        <button type="button" class="fold" aria-expanded={unfolded.has(r.info.run_id)} aria-label={`The ${below.get(r.info.run_id)} runs below ${r.info.run_name}`} onClick={() => turn(r)}>
                          <Icon name={unfolded.has(r.info.run_id) ? "down" : "right"} size={13} />
                          {below.get(r.info.run_id)}
                        </button>
                      )}
                      {parentOf(r) && (
                        <span class={nested ? "child in" : "child"} title="It belongs to another run">
                          {CHILD}
                        </span>
                      )}
                      <a class="row-link" href={to("experiments", id!, "runs", r.info.run_id)}>
                        {r.info.run_name || r.info.run_id}
                      </a>
                    </td>
                    <td>
                      <Status state={r.info.status} />
                    </td>
                    <td title={moment(time(r.info.start_time))}>{ago(time(r.info.start_time))}</td>
                    <td>{r.info.end_time ? duration(time(r.info.end_time) - time(r.info.start_time)) : ""}</td>
                    {columns.map((c) => {
                      const v = valueOf(r, c);
                      return (
                        <td class={c.startsWith("metrics.") ? "right" : ""} title={v === undefined ? "" : String(v).slice(0, 500)}>
                          {v === undefined ? <span class="dim">–</span> : c.startsWith("metrics.") ? number(num(v)) : String(v).slice(0, 80)}
                        </td>
                      );
                    })}
                  </tr>
                ))}
                {last < rows.length && <tr aria-hidden="true" style={{ height: (rows.length - last) * ROW }} />}
              </tbody>
            </table>
          </div>
          <div class="pager" role="status">
            {list.runs.length.toLocaleString("en-US")} {list.ended ? "runs" : "runs so far; scroll for more"}
          </div>
        </>
      )}
    </>
  );
}
