// The editor of YAML. A part of its own, loaded when a page first shows one: CodeMirror is larger than all pages together.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, startCompletion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import { EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, placeholder as ghost } from "@codemirror/view";
import { tags as t } from "@lezer/highlight";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { kube } from "../api";
import { headOf } from "../kube";
import { options, schemaOf, spotAt, type OpenApi, type Problem } from "../yaml";

// Colours are those of the page: they pass into the box that the editor stands in.
const look = EditorView.theme({
  "&": { fontSize: "13px", color: "var(--text)", backgroundColor: "var(--card)", border: "1px solid var(--line)", borderRadius: "8px", overflow: "hidden" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "var(--least, 24em)", maxHeight: "70vh", overflow: "auto" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--sunk)", color: "var(--dim)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent-soft) 45%, transparent)" },
  ".cm-placeholder": { color: "var(--dim)" },
  ".cm-tooltip": { backgroundColor: "var(--card)", color: "var(--text)", border: "1px solid var(--line)", borderRadius: "8px", boxShadow: "var(--lift)", maxWidth: "46ch" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 8px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent-soft)", color: "var(--text)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { color: "var(--dim)" },
  ".cm-diagnostic": { overflowWrap: "anywhere" },
});
const colours = syntaxHighlighting(
  HighlightStyle.define([
    { tag: [t.propertyName, t.definition(t.propertyName)], color: "var(--accent)" },
    { tag: t.string, color: "var(--good)" },
    { tag: [t.number, t.bool, t.null, t.keyword], color: "var(--busy)" },
    { tag: t.comment, color: "var(--dim)", fontStyle: "italic" },
    { tag: [t.meta, t.typeName, t.labelName], color: "var(--warn)" },
  ]),
);

const documents = new Map<string, Promise<OpenApi>>();
function openApi(apiVersion: string): Promise<OpenApi> {
  let d = documents.get(apiVersion);
  if (!d) {
    d = kube<OpenApi>(`/openapi/v3/${apiVersion.includes("/") ? "apis" : "api"}/${apiVersion.split("/").map(encodeURIComponent).join("/")}`);
    documents.set(apiVersion, d);
    d.catch(() => documents.delete(apiVersion));
  }
  return d;
}
async function complete(c: CompletionContext): Promise<CompletionResult | null> {
  const text = c.state.doc.toString();
  const spot = spotAt(text, c.pos);
  const head = headOf(text);
  if (!spot || !head.apiVersion || !head.kind || (!c.explicit && spot.key === undefined && !spot.word)) return null;
  try {
    const doc = await openApi(head.apiVersion);
    const found = options(doc, schemaOf(doc, head.apiVersion, head.kind), spot);
    if (!found.length) return null;
    return { from: c.pos - spot.word.length, options: found.map((o) => ({ label: o.label, detail: o.type, info: o.info, apply: o.apply, type: o.type })), validFor: /^[\w./$-]*$/ };
  } catch {
    return null; // a kind that publishes no schema is written without help
  }
}

export interface CodeProps {
  value: string;
  change?: (text: string) => void;
  readonly?: boolean;
  problems?: Problem[];
  placeholder?: string;
}

export default function Code({ value, change, readonly, problems, placeholder }: CodeProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>();
  const told = useRef(change);
  told.current = change;
  const given = useRef(false); // the page changes the text, not its reader
  const locked = useRef(new Compartment());
  useEffect(() => {
    // In a shadow tree: there the editor's styles are sheets, which the content security policy of the page allows.
    const root = host.current!.shadowRoot ?? host.current!.attachShadow({ mode: "open" });
    const v = (view.current = new EditorView({
      parent: root,
      root,
      doc: value,
      extensions: [
        look,
        colours,
        lineNumbers(),
        lintGutter(),
        history(),
        indentOnInput(),
        closeBrackets(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        yaml(),
        autocompletion({ override: [complete], icons: false }),
        // Tab leaves the editor, as it leaves any field; a completion is taken by Enter.
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap, { key: "Alt-Enter", run: startCompletion }]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "YAML", spellcheck: "false", tabindex: "0" }),
        ghost(placeholder ?? ""),
        locked.current.of(EditorState.readOnly.of(Boolean(readonly))),
        EditorView.updateListener.of((u) => u.docChanged && !given.current && told.current?.(u.state.doc.toString())),
      ],
    }));
    // The box has a value like any field has.
    Object.defineProperty(host.current!, "value", { configurable: true, get: () => v.state.doc.toString() });
    return () => v.destroy();
  }, []);
  // Before the next key can come: later, it would put an older text in the place of what was typed meanwhile.
  useLayoutEffect(() => {
    const v = view.current;
    if (!v || v.state.doc.toString() === value) return;
    given.current = true;
    v.dispatch({ changes: { from: 0, to: v.state.doc.length, insert: value } });
    given.current = false;
  }, [value]);
  useEffect(() => view.current?.dispatch({ effects: locked.current.reconfigure(EditorState.readOnly.of(Boolean(readonly))) }), [readonly]);
  useEffect(() => {
    const v = view.current;
    if (!v) return;
    const marks = (problems ?? [])
      .filter((p) => p.line >= 1 && p.line <= v.state.doc.lines)
      .map((p) => {
        const line = v.state.doc.line(p.line);
        return { from: line.from + (line.length - line.text.trimStart().length), to: line.to, severity: "error" as const, message: p.message };
      });
    v.dispatch(setDiagnostics(v.state, marks));
    if (marks.length) v.dispatch({ effects: EditorView.scrollIntoView(marks[0]!.from, { y: "nearest" }) });
  }, [problems]);
  return <div class="yaml" ref={host} />;
}
