// The graph of a run: the pipeline's specification joined with what became of its tasks, then laid out level by level.
// Pure functions.
import dagre from "@dagrejs/dagre";

export interface Task {
  task_id: string;
  display_name?: string;
  state?: string;
  start_time?: string;
  end_time?: string;
  create_time?: string;
  pod_name?: string;
  error?: { message?: string };
  inputs?: Record<string, { artifact_ids?: string[] }>;
  outputs?: Record<string, { artifact_ids?: string[] }>;
  state_history?: { update_time: string; state: string }[];
  more?: {
    path?: string;
    key?: string;
    iteration?: number;
    attempts?: number;
    input_parameters?: Record<string, unknown>;
    output_parameters?: Record<string, unknown>;
    cache?: string;
    cached_run_id?: string;
    cached_task_id?: string;
  };
}

export interface TaskSpec {
  componentRef?: { name?: string };
  dependentTasks?: string[];
  taskInfo?: { name?: string };
  triggerPolicy?: { condition?: string; strategy?: string };
  parameterIterator?: unknown;
  artifactIterator?: unknown;
  inputs?: {
    parameters?: Record<string, { taskOutputParameter?: { producerTask?: string } }>;
    artifacts?: Record<string, { taskOutputArtifact?: { producerTask?: string }; componentInputArtifact?: string }>;
  };
}
interface Inputs {
  parameters?: Record<string, { parameterType?: string; defaultValue?: unknown; isOptional?: boolean; description?: string }>;
}
export interface Spec {
  pipelineInfo?: { name?: string; description?: string };
  root?: { dag?: Dag; inputDefinitions?: Inputs };
  components?: Record<string, { dag?: Dag; executorLabel?: string; inputDefinitions?: Inputs }>;
}
interface Dag {
  tasks?: Record<string, TaskSpec>;
}

export type Kind = "task" | "loop" | "condition" | "exit" | "pipeline";
export interface Node {
  path: string;
  title: string;
  kind: Kind;
  state: string; // "" where the run knows nothing of it yet
  cached: boolean;
  condition?: string;
  task?: Task;
  inner?: Level;
  iterations?: number;
  iteration?: number;
}
export interface Level {
  nodes: Node[];
  edges: [string, string][]; // by path
}

/** The specification itself, where Kubernetes-specific settings stand beside it. */
export function specOf(document: unknown): Spec {
  const d = (document ?? {}) as Record<string, unknown>;
  return (d.pipeline_spec ?? d) as Spec;
}

export const byPath = (tasks: Task[]) => new Map(tasks.filter((t) => t.more?.path).map((t) => [t.more!.path!, t]));

/** `choose` names the iteration of a loop that is looked at; the first, where it names none. */
export function levels(spec: Spec, tasks: Map<string, Task>, choose: (path: string) => number | undefined = () => undefined): Level {
  const counts = new Map<string, number>();
  for (const path of tasks.keys()) {
    const m = /^(.*)\/(\d+)$/.exec(path);
    if (m) counts.set(m[1]!, Math.max(counts.get(m[1]!) ?? 0, Number(m[2]) + 1));
  }
  const level = (dag: Dag | undefined, prefix: string, depth: number, skipped = false): Level => {
    const nodes: Node[] = [];
    const edges: [string, string][] = [];
    for (const [key, t] of Object.entries(dag?.tasks ?? {})) {
      const path = prefix ? `${prefix}/${key}` : key;
      const task = tasks.get(path);
      const component = spec.components?.[t.componentRef?.name ?? ""];
      const loop = Boolean(t.parameterIterator ?? t.artifactIterator);
      const node: Node = {
        path,
        title: t.taskInfo?.name || task?.display_name || key,
        kind: loop ? "loop" : !component?.dag ? "task" : t.triggerPolicy?.condition ? "condition" : key.startsWith("exit-handler") ? "exit" : "pipeline",
        state: task?.state ?? (skipped ? "SKIPPED" : ""),
        cached: (task?.more?.cache ?? "").startsWith("hit"),
        condition: t.triggerPolicy?.condition,
        task,
      };
      let inside = path;
      if (loop) {
        node.iterations = counts.get(path);
        if (node.iterations) {
          node.iteration = Math.min(choose(path) ?? 0, node.iterations - 1);
          inside = `${path}/${node.iteration}`;
        }
      }
      // A component may not contain itself; a document from outside might.
      if (component?.dag && depth < 32) node.inner = level(component.dag, inside, depth + 1, node.state === "SKIPPED");
      else if (loop && node.iterations) node.task = tasks.get(inside) ?? task;
      nodes.push(node);
      for (const before of producers(t)) if (dag?.tasks?.[before]) edges.push([prefix ? `${prefix}/${before}` : before, path]);
    }
    return { nodes, edges };
  };
  return level(spec.root?.dag, "", 0);
}

function producers(t: TaskSpec): Set<string> {
  const from = new Set(t.dependentTasks ?? []);
  for (const p of Object.values(t.inputs?.parameters ?? {})) if (p.taskOutputParameter?.producerTask) from.add(p.taskOutputParameter.producerTask);
  for (const a of Object.values(t.inputs?.artifacts ?? {})) if (a.taskOutputArtifact?.producerTask) from.add(a.taskOutputArtifact.producerTask);
  return from;
}

// ---- layout ----------------------------------------------------------------------------------------------------

export const WIDTH = 196;
export const HEIGHT = 54;
const HEAD = 40;
const PAD = 16;

export interface Box {
  node: Node;
  x: number; // of its corner, within its level
  y: number;
  width: number;
  height: number;
  inner?: Drawing;
  innerX?: number;
}
export interface Drawing {
  width: number;
  height: number;
  boxes: Box[];
  lines: { x: number; y: number }[][];
}

export function layout(level: Level): Drawing {
  const g = new dagre.graphlib.Graph();
  g.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 40, marginx: 0, marginy: 0 });
  g.setDefaultEdgeLabel(() => ({}));
  const inner = new Map<string, Drawing>();
  for (const n of level.nodes) {
    let width = WIDTH;
    let height = HEIGHT;
    if (n.inner?.nodes.length) {
      const d = layout(n.inner);
      inner.set(n.path, d);
      width = Math.max(WIDTH + 2 * PAD, d.width + 2 * PAD);
      height = HEAD + d.height + PAD;
    }
    g.setNode(n.path, { width, height });
  }
  for (const [a, b] of level.edges) g.setEdge(a, b);
  if (level.nodes.length) dagre.layout(g);
  const boxes = level.nodes.map((node): Box => {
    const at = g.node(node.path);
    const d = inner.get(node.path);
    return { node, x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height, inner: d, innerX: d ? (at.width - d.width) / 2 : undefined };
  });
  const size = g.graph();
  return {
    width: Math.max(size.width ?? 0, 0),
    height: Math.max(size.height ?? 0, 0),
    boxes,
    lines: g.edges().map((e) => g.edge(e).points),
  };
}
export const INNER_TOP = HEAD;

/** A smooth line through points, downwards. */
export function curve(points: { x: number; y: number }[]): string {
  if (points.length < 2) return "";
  let d = `M${points[0]!.x} ${points[0]!.y}`;
  for (let i = 1; i < points.length; i++) {
    const a = points[i - 1]!;
    const b = points[i]!;
    const m = (a.y + b.y) / 2;
    d += ` C${a.x} ${m} ${b.x} ${m} ${b.x} ${b.y}`;
  }
  return d;
}

// ---- parameters of a submission ----------------------------------------------------------------------------------

export interface Field {
  name: string;
  type: string;
  optional: boolean;
  text: string; // the default, as it is typed
  description?: string;
}
export function fields(spec: Spec): Field[] {
  return Object.entries(spec.root?.inputDefinitions?.parameters ?? {}).map(([name, p]) => ({
    name,
    type: p.parameterType ?? "STRING",
    optional: Boolean(p.isOptional) || p.defaultValue !== undefined,
    text: p.defaultValue === undefined ? "" : asText(p.defaultValue),
    description: p.description,
  }));
}
export const asText = (v: unknown) => (typeof v === "string" ? v : JSON.stringify(v));

/** What was typed as a value of the parameter's type. Throws with a sentence for the reader. */
export function parameter(field: Pick<Field, "name" | "type">, typed: string): unknown {
  const what = (kind: string) => new Error(`${field.name} must be ${kind}`);
  switch (field.type) {
    case "NUMBER_INTEGER": {
      const n = Number(typed);
      if (typed.trim() === "" || !Number.isInteger(n)) throw what("a whole number");
      return n;
    }
    case "NUMBER_DOUBLE": {
      const n = Number(typed);
      if (typed.trim() === "" || !Number.isFinite(n)) throw what("a number");
      return n;
    }
    case "BOOLEAN":
      if (typed !== "true" && typed !== "false") throw what("true or false");
      return typed === "true";
    case "LIST":
    case "STRUCT":
    case "TASK_CONFIG": {
      let v: unknown;
      try {
        v = JSON.parse(typed);
      } catch {
        throw what(field.type === "LIST" ? "a JSON list, like [1, 2]" : 'a JSON object, like {"a": 1}');
      }
      if (Array.isArray(v) !== (field.type === "LIST") || typeof v !== "object" || v === null) throw what(field.type === "LIST" ? "a JSON list, like [1, 2]" : 'a JSON object, like {"a": 1}');
      return v;
    }
    default:
      return typed;
  }
}
