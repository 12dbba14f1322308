// Runs side by side, drawn: parallel coordinates and scatter.
import { useState } from "preact/hooks";
import { number } from "../format";
import { along, axisOf, ticks, valueOf, type Axis, type Run } from "../tracking";

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
  const axes = columns.map((c) => axisOf(runs, c));
  const width = Math.max(640, axes.length * 150);
  const height = 360;
  const top = 42;
  const x = (i: number) => 50 + (axes.length < 2 ? 0 : (i * (width - 110)) / (axes.length - 1));
  const y = (t: number) => top + (1 - t) * (height - top - 24);
  const last = axes[axes.length - 1];
  if (axes.length < 2) return <p class="note">Choose at least two columns.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Parallel coordinates">
      <svg width="100%" viewBox={`0 0 ${width} ${height}`} class="plot" role="img" aria-label={`Parallel coordinates of ${runs.length} runs over ${columns.map(bare).join(", ")}`}>
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
          return (
            <path
              d={d}
              fill="none"
              stroke={shade(last && along(last, valueOf(r, last.name)))}
              stroke-width={over === r.info.run_id ? 3 : 1.6}
              opacity={!over || over === r.info.run_id ? 0.85 : 0.15}
              class="plot-line"
              onMouseEnter={() => hover(r.info.run_id)}
              onMouseLeave={() => hover("")}
              onClick={() => open(r)}
            >
              <title>{r.info.run_name}</title>
            </path>
          );
        })}
        {axes.map((a, i) => (
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
          </g>
        ))}
      </svg>
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
