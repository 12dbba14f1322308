// The runs of an experiment: a table of any length, a filter that completes itself, columns as one likes, and views to keep.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { mlflow, onChange } from "../api";
import { useData } from "../data";
import { complete, type Names } from "../filter";
import { ago, duration, moment, number, num, time } from "../format";
import { go, place, setQuery, to } from "../router";
import { views } from "../settings";
import { columnsOf, searchRuns, valueOf, type Experiment, type Run } from "../tracking";
import { Button, Card, Empty, Head, Status, Trouble, Waiting, useTitle } from "../ui/parts";
import { bare } from "../ui/plots";

const PAGE = 200;
const ROW = 40;
const MOST_TO_COMPARE = 200;

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

function FilterBox({ value, names, apply }: { value: string; names: Names; apply: (text: string) => void }) {
  const [text, set] = useState(value);
  const [open, show] = useState(false);
  const [at, setAt] = useState(-1);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => set(value), [value]);
  const c = complete(text, box.current?.selectionStart ?? text.length, names);
  const take = (item: string) => {
    const next = text.slice(0, c.from) + item + (item.endsWith(" ") ? "" : " ");
    set(next);
    setAt(-1);
    box.current?.focus();
  };
  const shown = open && c.items.length > 0;
  return (
    <div class="wide-box filter">
      <input
        ref={box}
        type="text"
        class="mono"
        role="combobox"
        aria-label="Filter of runs"
        aria-expanded={shown}
        aria-controls="filter-items"
        aria-autocomplete="list"
        aria-activedescendant={shown && at >= 0 ? `filter-${at}` : undefined}
        placeholder="metrics.loss < 0.1 AND params.optimizer = 'adam'"
        spellcheck={false}
        value={text}
        onInput={(e) => {
          set(e.currentTarget.value);
          show(true);
          setAt(-1);
        }}
        onFocus={() => show(true)}
        onBlur={() => show(false)}
        onKeyDown={(e) => {
          if (e.key === "ArrowDown" && c.items.length) {
            show(true);
            setAt((a) => (a + 1) % c.items.length);
          } else if (e.key === "ArrowUp" && c.items.length) setAt((a) => (a <= 0 ? c.items.length - 1 : a - 1));
          else if (e.key === "Tab" && shown && text.trim()) take(c.items[Math.max(at, 0)]!);
          else if (e.key === "Escape") show(false);
          else if (e.key === "Enter") {
            if (shown && at >= 0) take(c.items[at]!);
            else {
              show(false);
              apply(text.trim());
            }
          } else return;
          e.preventDefault();
        }}
      />
      {shown && (
        <ul id="filter-items" role="listbox" aria-label="What may come next">
          {c.items.map((item, i) => (
            <li id={`filter-${i}`} role="option" aria-selected={i === at} onMouseDown={(e) => (e.preventDefault(), take(item))}>
              {item}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export default function ExperimentPage({ id }: Record<string, string>) {
  const q = place.value.query;
  const filter = q.get("filter") ?? "";
  const order = q.get("order") ?? "";
  const e = useData((signal) => mlflow<{ experiment: Experiment }>("experiments/get", { q: { experiment_id: id }, signal }), [id]);
  const list = useRuns(id!, filter, order);
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
  }, [e.data !== undefined && list.runs.length > 0]);
  useEffect(() => {
    box.current?.scrollTo(0, 0);
    setTop(0);
  }, [filter, order]);

  const first = Math.max(0, Math.floor(top / ROW) - 8);
  const last = Math.min(list.runs.length, Math.ceil((top + high) / ROW) + 8);
  useEffect(() => {
    if (last >= list.runs.length - 60) list.more();
  }, [last, list.runs.length, list.busy]);

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
        <Button kind="main" disabled={compare.length < 2} onClick={() => go(`${to("experiments", id!, "compare")}?runs=${compare.join(",")}`)}>
          Compare {compare.length > 1 ? compare.length : ""}
        </Button>
      </Head>
      <div class="toolbar">
        <FilterBox value={filter} names={names} apply={(f) => setQuery({ filter: f }, false)} />
        <Button aria-expanded={choosing} onClick={() => choose(!choosing)}>
          Columns
        </Button>
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
            <input type="text" aria-label="Name of the view" placeholder="Keep filter, order and columns as …" value={name} onInput={(x) => setName(x.currentTarget.value)} />
            <Button type="submit">Keep the view</Button>
          </form>
        </Card>
      )}
      {list.error && <Trouble error={list.error} retry={list.reload} />}
      {list.changed && top >= ROW && (
        <p class="note">
          There are new results.{" "}
          <button type="button" class="inline" onClick={() => (box.current?.scrollTo(0, 0), list.reload())}>
            Show them
          </button>
        </p>
      )}
      {list.runs.length === 0 ? (
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
            <table aria-rowcount={list.ended ? list.runs.length : -1}>
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
                {list.runs.slice(first, last).map((r, i) => (
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
                {last < list.runs.length && <tr aria-hidden="true" style={{ height: (list.runs.length - last) * ROW }} />}
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
