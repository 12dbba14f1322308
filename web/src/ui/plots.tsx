// Runs side by side, drawn: parallel coordinates and scatter.
import { useMemo, useRef, useState } from "preact/hooks";
import { number } from "../format";
import { place, setQuery, to } from "../router";
import { along, axisOf, brushesOf, brushText, passes, ticks, valueOf, type Axis, type Brushes, type Run } from "../tracking";

const short = (s: string, n: number) => (s.length > n ? s.slice(0, n - 1) + "…" : s);
export const bare = (column: string) => column.slice(column.indexOf(".") + 1);
const shade = (t: number | undefined) => (t === undefined ? "var(--dim)" : `hsl(${215 - t * 195} 70% 48%)`);

function marks(a: Axis): [number, string][] {
  if (!a.numeric) return a.texts.slice(0, 12).map((t) => [along(a, t) ?? 0, short(t, 14)]);
  const list = ticks(a.low, a.high, 4);
  return list.map((t) => [(t - a.low) / (a.high - a.low), number(t)]);
}

export function Parallel({ runs, columns, open }: { runs: Run[]; columns: string[]; open: (run: Run) => void }) {
  const [over, hover] = useState("");
  // What is being marked: events may come faster than drawings.
  const [drag, draw] = useState<{ column: string; from: number; to: number }>();
  const held = useRef<typeof drag>();
  const pull = (d: typeof drag) => {
    held.current = d;
    draw(d);
  };
  const svg = useRef<SVGSVGElement>(null);
  const axes = columns.map((c) => axisOf(runs, c));
  const kept = brushesOf(place.value.query.get("brush") ?? "");
  const pulled: [number, number] | undefined = drag && [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
  const brushes: Brushes = drag && pulled ? { ...kept, [drag.column]: pulled } : kept;
  const marked = columns.filter((c) => brushes[c]);
  const inside = useMemo(() => runs.filter((r) => passes(axes, brushes, r)), [runs, columns.join("\n"), brushText(brushes)]);
  const chosen = new Set(inside.map((r) => r.info.run_id));
  const width = Math.max(640, axes.length * 150);
  const height = 360;
  const top = 42;
  const x = (i: number) => 50 + (axes.length < 2 ? 0 : (i * (width - 110)) / (axes.length - 1));
  const y = (t: number) => top + (1 - t) * (height - top - 24);
  const last = axes[axes.length - 1];
  if (axes.length < 2) return <p class="note">Choose at least two columns.</p>;
  const keep = (b: Brushes) => setQuery({ brush: brushText(b) || undefined });
  const without = (column: string) => Object.fromEntries(Object.entries(kept).filter(([c]) => c !== column));
  // Where the pointer is along an axis: the drawing is scaled to the page.
  const at = (e: PointerEvent) => {
    const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.current!.getScreenCTM()!.inverse());
    const t = 1 - (p.y - top) / (height - top - 24);
    return Math.min(1, Math.max(0, t));
  };
  const value = (a: Axis, t: number) => (a.numeric ? number(a.low + t * (a.high - a.low)) : `${Math.round(t * 100)} %`);
  return (
    <div class="stack">
      <div class="scroll" tabIndex={0} role="region" aria-label="Parallel coordinates">
        <svg ref={svg} width="100%" viewBox={`0 0 ${width} ${height}`} class="plot" role="group" aria-label={`Parallel coordinates of ${runs.length} runs over ${columns.map(bare).join(", ")}`}>
          {runs.map((r) => {
            let d = "";
            let pen = "M";
            axes.forEach((a, i) => {
              const t = along(a, valueOf(r, a.name));
              if (t === undefined) {
                pen = "M";
                return;
              }
              d += `${pen}${x(i)} ${y(t)}`;
              pen = "L";
            });
            const out = !chosen.has(r.info.run_id);
            return (
              <path
                d={d}
                fill="none"
                stroke={out ? "var(--dim)" : shade(last && along(last, valueOf(r, last.name)))}
                stroke-width={over === r.info.run_id ? 3 : 1.6}
                opacity={over === r.info.run_id ? 0.95 : out ? 0.1 : over ? 0.15 : 0.85}
                class={out ? "plot-line out" : "plot-line"}
                onMouseEnter={() => hover(r.info.run_id)}
                onMouseLeave={() => hover("")}
                onClick={() => open(r)}
              >
                <title>{r.info.run_name}</title>
              </path>
            );
          })}
          {axes.map((a, i) => {
            const b = brushes[a.name];
            return (
              <g transform={`translate(${x(i)} 0)`}>
                <line y1={y(1)} y2={y(0)} class="plot-axis" />
                <text y="20" text-anchor="middle" class="plot-name">
                  {short(bare(a.name), 18)}
                </text>
                {marks(a).map(([t, text]) => (
                  <text x="7" y={y(t) + 4} class="plot-tick">
                    {text}
                  </text>
                ))}
                {b && <rect class="plot-brush" x="-7" width="14" y={y(b[1])} height={Math.max(2, y(b[0]) - y(b[1]))} rx="3" />}
                <rect
                  class="plot-hit"
                  x="-14"
                  width="28"
                  y={y(1) - 6}
                  height={y(0) - y(1) + 12}
                  data-axis={a.name}
                  tabIndex={0}
                  role="slider"
                  aria-orientation="vertical"
                  aria-label={`Least ${bare(a.name)}: arrows move it, with Shift the most, Escape takes both away`}
                  aria-valuemin={0}
                  aria-valuemax={100}
                  aria-valuenow={Math.round((b?.[0] ?? 0) * 100)}
                  aria-valuetext={b ? `${value(a, b[0])} to ${value(a, b[1])}` : "all"}
                  onPointerDown={(e) => {
                    e.preventDefault();
                    try {
                      e.currentTarget.setPointerCapture(e.pointerId);
                    } catch {
                      // A pointer that has gone already.
                    }
                    pull({ column: a.name, from: at(e), to: at(e) });
                  }}
                  onPointerMove={(e) => held.current?.column === a.name && pull({ ...held.current, to: at(e) })}
                  onPointerUp={(e) => {
                    const d = held.current;
                    if (d?.column !== a.name) return;
                    const low = Math.min(d.from, at(e));
                    const high = Math.max(d.from, at(e));
                    pull(undefined);
                    // A click takes the mark away.
                    keep(high - low < 0.015 ? without(a.name) : { ...kept, [a.name]: [low, high] });
                  }}
                  onPointerCancel={() => pull(undefined)}
                  onKeyDown={(e) => {
                    const step = e.key === "ArrowUp" ? 0.05 : e.key === "ArrowDown" ? -0.05 : 0;
                    if (e.key === "Escape") keep(without(a.name));
                    else if (step) {
                      const [low, high] = kept[a.name] ?? [0, 1];
                      keep({ ...kept, [a.name]: e.shiftKey ? [low, Math.max(low, Math.min(1, high + step))] : [Math.min(high, Math.max(0, low + step)), high] });
                    } else return;
                    e.preventDefault();
                  }}
                />
              </g>
            );
          })}
        </svg>
      </div>
      <div class="toolbar">
        <span role="status">{marked.length ? `${inside.length} of ${runs.length} runs pass through what is marked` : "Drag along an axis to mark a part of it."}</span>
        {marked.length > 0 && (
          <>
            <button type="button" class="button" onClick={() => keep({})}>
              Clear the marks
            </button>
            <button type="button" class="button" disabled={inside.length < 2 || inside.length === runs.length} onClick={() => setQuery({ runs: inside.map((r) => r.info.run_id).join(inside.length > 200 ? "" : ","), brush: undefined }, false)}>
              Compare only these
            </button>
          </>
        )}
      </div>
      {marked.length > 0 && (
        <div class="chips">
          {inside.slice(0, 60).map((r) => (
            <a class="chip" href={to("experiments", r.info.experiment_id, "runs", r.info.run_id)}>
              {short(r.info.run_name || r.info.run_id, 40)}
            </a>
          ))}
          {inside.length > 60 && <span class="dim">and {inside.length - 60} more</span>}
        </div>
      )}
    </div>
  );
}

export function Scatter({ runs, x: cx, y: cy, open }: { runs: Run[]; x: string; y: string; open: (run: Run) => void }) {
  const ax = axisOf(runs, cx);
  const ay = axisOf(runs, cy);
  const width = 760;
  const height = 380;
  const px = (t: number) => 70 + t * (width - 110);
  const py = (t: number) => 20 + (1 - t) * (height - 70);
  const dots = runs.flatMap((r) => {
    const a = along(ax, valueOf(r, cx));
    const b = along(ay, valueOf(r, cy));
    return a === undefined || b === undefined ? [] : [{ r, a, b }];
  });
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Scatter">
      <svg width="100%" viewBox={`0 0 ${width} ${height}`} class="plot" role="img" aria-label={`${bare(cy)} over ${bare(cx)}, ${dots.length} runs`}>
        {marks(ay).map(([t, text]) => (
          <g>
            <line x1={px(0)} x2={px(1)} y1={py(t)} y2={py(t)} class="plot-grid" />
            <text x={px(0) - 8} y={py(t) + 4} text-anchor="end" class="plot-tick">
              {text}
            </text>
          </g>
        ))}
        {marks(ax).map(([t, text]) => (
          <text x={px(t)} y={height - 30} text-anchor="middle" class="plot-tick">
            {text}
          </text>
        ))}
        <text x={(px(0) + px(1)) / 2} y={height - 8} text-anchor="middle" class="plot-name">
          {short(bare(cx), 40)}
        </text>
        <text x={px(0)} y="13" text-anchor="middle" class="plot-name">
          {short(bare(cy), 30)}
        </text>
        {dots.map(({ r, a, b }) => (
          <circle cx={px(a)} cy={py(b)} r="5.5" class="plot-dot" fill={shade(b)} onClick={() => open(r)}>
            <title>{`${r.info.run_name}: ${number(a * (ax.high - ax.low) + ax.low)}, ${number(b * (ay.high - ay.low) + ay.low)}`}</title>
          </circle>
        ))}
      </svg>
      {dots.length < runs.length && <p class="dim pad">{runs.length - dots.length} runs have no number there.</p>}
    </div>
  );
}
