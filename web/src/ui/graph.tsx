// A run drawn: a card for each task with its state, boxes for what holds tasks.
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { tone } from "../format";
import { byPath, curve, INNER_TOP, layout, levels, type Box, type Drawing, type Node, type Spec, type Task } from "../graph";
import { label } from "./parts";

const kinds = { loop: "Loop", condition: "Condition", exit: "Exit handler", pipeline: "Pipeline", task: "Task" };
const pictures: Record<string, string> = {
  good: "M-5 0.5-1.5 4 5-4",
  bad: "M-4-4 4 4M4-4-4 4",
  busy: "M-3-5V5L5 0z",
  wait: "M0-5V0L4 2.5",
  muted: "M-4 0H4",
  warn: "M0-5V1M0 4V4.5",
};
const cut = (s: string, n: number) => (s.length > n ? s.slice(0, n - 1) + "…" : s);

function Mark({ state, x, y }: { state: string; x: number; y: number }) {
  const t = state ? tone(state) : "muted";
  return (
    <g class={`mark ${state ? t : "none"}`} transform={`translate(${x} ${y})`}>
      <circle r="10" />
      {state && <path d={pictures[t]} />}
    </g>
  );
}

export function RunGraph({ spec, tasks, chosen, choose }: { spec: Spec; tasks: Task[]; chosen?: string; choose: (path: string) => void }) {
  const [looking, look] = useState<Record<string, number>>({});
  const [zoom, setZoom] = useState(1);
  const drawing = useMemo(() => layout(levels(spec, byPath(tasks), (p) => looking[p])), [spec, tasks, looking]);
  const scroll = useRef<HTMLDivElement>(null);
  const narrow = Boolean(chosen);
  // As large as there is room for, until someone zooms.
  useLayoutEffect(() => {
    const room = (scroll.current?.clientWidth ?? 0) - 30;
    if (room > 0) setZoom(Math.max(0.45, Math.min(1, room / (drawing.width + 28))));
  }, [drawing.width, narrow]);
  if (drawing.boxes.length === 0) return <p class="note">This pipeline has no tasks.</p>;

  // The title of a shape is what screen readers call it.
  const name = (node: Node) =>
    `${kinds[node.kind]} ${node.title}: ${node.state ? label(node.state) : "Not started"}${node.cached ? ", from the cache" : ""}${node.condition ? `. ${node.condition}` : ""}`;
  const act = (node: Node) => ({
    role: "button" as const,
    tabIndex: 0,
    "aria-pressed": node.path === chosen,
    onClick: (e: Event) => {
      e.stopPropagation();
      choose(node.path);
    },
    onKeyDown: (e: KeyboardEvent) => {
      if (e.key !== "Enter" && e.key !== " ") return;
      e.preventDefault();
      e.stopPropagation();
      choose(node.path);
    },
  });
  const card = ({ node, width, height }: Box) => (
    <g class={`node ${node.path === chosen ? "chosen" : ""}`} {...act(node)} data-path={node.path} data-state={node.state}>
      <title>{name(node)}</title>
      <rect width={width} height={height} rx="9" />
      <Mark state={node.state} x={22} y={height / 2} />
      <text x="42" y={height / 2 - 3} class="node-title">
        {cut(node.title, 21)}
      </text>
      <text x="42" y={height / 2 + 14} class="node-sub">
        {node.state ? label(node.state) : "Not started"}
        {node.cached ? " · cached" : ""}
      </text>
      {node.cached && (
        <path class="node-cached" transform={`translate(${width - 22} ${height / 2 - 9}) scale(.72)`} d="M12 4 4.5 12.5H11L10 20l7.5-9H13z" />
      )}
    </g>
  );
  const group = (b: Box) => {
    const { node, width, height } = b;
    const steps = node.kind === "loop" && node.iterations !== undefined && node.iterations > 0;
    return (
      <g class={`group ${node.path === chosen ? "chosen" : ""}`} data-path={node.path} data-state={node.state}>
        <rect width={width} height={height} rx="12" class="group-box" />
        <g {...act(node)}>
          <title>{name(node)}</title>
          <rect width={steps ? width - 92 : width} height={INNER_TOP - 4} class="group-hit" rx="12" />
          <Mark state={node.state} x={20} y={20} />
          <text x="38" y="17" class="group-kind">
            {kinds[node.kind]}
          </text>
          <text x="38" y="31" class="node-title">
            {cut(node.title, Math.floor((width - (steps ? 130 : 50)) / 7.4))}
          </text>
        </g>
        {steps && (
          <g class="turns" transform={`translate(${width - 90} 8)`}>
            {([["‹", -1, 0], ["›", 1, 62]] as const).map(([sign, step, x]) => {
              const to = node.iteration! + step;
              const off = to < 0 || to >= node.iterations!;
              const turn = () => !off && look({ ...looking, [node.path]: to });
              return (
                <g
                  role="button"
                  tabIndex={off ? -1 : 0}
                  aria-disabled={off}
                  aria-label={step < 0 ? `Iteration before ${node.iteration! + 1} of ${node.title}` : `Iteration after ${node.iteration! + 1} of ${node.title}`}
                  class={off ? "off" : ""}
                  transform={`translate(${x} 0)`}
                  onClick={turn}
                  onKeyDown={(e) => (e.key === "Enter" || e.key === " ") && turn()}
                >
                  <rect width="20" height="22" rx="6" />
                  <text x="10" y="16" text-anchor="middle">
                    {sign}
                  </text>
                </g>
              );
            })}
            <text x="41" y="15.5" text-anchor="middle" class="node-sub">
              {node.iteration! + 1}/{node.iterations}
            </text>
          </g>
        )}
        <g transform={`translate(${b.innerX} ${INNER_TOP})`}>{draw(b.inner!)}</g>
      </g>
    );
  };
  const draw = (d: Drawing) => (
    <>
      {d.lines.map((points) => (
        <path class="edge" d={curve(points)} marker-end="url(#arrow)" />
      ))}
      {d.boxes.map((b) => (
        <g key={b.node.path} transform={`translate(${b.x} ${b.y})`}>
          {b.inner ? group(b) : card(b)}
        </g>
      ))}
    </>
  );
  const margin = 14;
  const width = drawing.width + 2 * margin;
  const height = drawing.height + 2 * margin;
  return (
    <div class="graph">
      <div class="graph-tools">
        <button type="button" class="ghost" aria-label="− smaller" onClick={() => setZoom(Math.max(0.3, zoom / 1.25))}>
          −
        </button>
        <button type="button" class="ghost" aria-label={`${Math.round(zoom * 100)}% of its size: show it as large as it is`} onClick={() => setZoom(1)}>
          {Math.round(zoom * 100)}%
        </button>
        <button type="button" class="ghost" aria-label="+ larger" onClick={() => setZoom(Math.min(2.5, zoom * 1.25))}>
          +
        </button>
      </div>
      <div class="graph-scroll" ref={scroll} tabIndex={0} role="region" aria-label="Graph">
        <svg width={width * zoom} height={height * zoom} viewBox={`${-margin} ${-margin} ${width} ${height}`} role="group" aria-label="Graph of the run">
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
              <path d="M0 0 8 4 0 8z" class="arrow" />
            </marker>
          </defs>
          {draw(drawing)}
        </svg>
      </div>
    </div>
  );
}
