// Curves. uPlot is loaded with the first page that draws some.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { number } from "../format";
import { theme } from "../settings";

export interface Series {
  name: string;
  points: [number, number][];
}
export const colour = (i: number) => `hsl(${(168 + i * 67) % 360} ${60 + ((i * 13) % 25)}% ${42 + ((i * 7) % 16)}%)`;

export default function Lines({ series, label, height = 220, legend = true }: { series: Series[]; label: string; height?: number; legend?: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [log, setLog] = useState(false);
  useEffect(() => {
    const watch = new ResizeObserver(([e]) => setWidth(Math.floor(e!.contentRect.width)));
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  const positive = series.every((s) => s.points.every(([, y]) => !(y <= 0)));
  useEffect(() => {
    if (!width || !box.current) return;
    const style = getComputedStyle(document.documentElement);
    const dim = style.getPropertyValue("--dim").trim();
    const line = style.getPropertyValue("--line").trim();
    // What is no number has no place on the chart: a gap.
    const fit = (y: number) => (Number.isFinite(y) && Math.abs(y) < Number.MAX_VALUE ? y : null);
    const tables = series.map((s): uPlot.AlignedData => [s.points.map((p) => p[0]), s.points.map((p) => fit(p[1]))]);
    const data = tables.length === 1 ? tables[0]! : uPlot.join(tables);
    const many = series.length > 12;
    const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
    const plot = new uPlot(
      {
        width,
        height,
        scales: { x: { time: false }, y: { distr: log && positive ? 3 : 1 } },
        axes: [axis, { ...axis, size: 62, values: (_u, v) => v.map((x) => (x === null ? "" : number(x))) }],
        series: [{}, ...series.map((s, i) => ({ label: s.name, stroke: colour(i), width: many ? 1 : 1.8, spanGaps: true, points: { show: s.points.length < 2 } }))],
        legend: { show: false },
        cursor: { points: { show: !many }, drag: { x: true, y: false } },
      },
      data,
      box.current,
    );
    return () => plot.destroy();
  }, [width, series, log, height, theme.value]);
  return (
    <figure class="chart">
      <figcaption class="spread">
        <strong>{label}</strong>
        {positive && (
          <label class="dim">
            <input type="checkbox" checked={log} onChange={(e) => setLog(e.currentTarget.checked)} /> log scale
          </label>
        )}
      </figcaption>
      <div ref={box} role="img" aria-label={`${label}: ${series.length} ${series.length === 1 ? "curve" : "curves"}`} />
      {legend && series.length > 1 && series.length <= 24 && (
        <div class="legend">
          {series.map((s, i) => (
            <span>
              <svg width="10" height="10" aria-hidden="true">
                <circle cx="5" cy="5" r="5" fill={colour(i)} />
              </svg>
              {s.name}
            </span>
          ))}
        </div>
      )}
    </figure>
  );
}
