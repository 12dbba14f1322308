// What every page is made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "../api";
import { ago, moment, tone, type Tone } from "../format";
import { place, setQuery } from "../router";
import { Icon, type IconName } from "./icons";

const marks: Record<Tone, IconName> = { good: "check", bad: "cross", busy: "play", wait: "wait", muted: "skip", warn: "cross" };

const words: Record<string, string> = { TRUE: "Ready", FALSE: "Not ready" };
export function label(state: string) {
  const known = words[state.toUpperCase()];
  if (known) return known;
  if (state !== state.toUpperCase()) return state; // CrashLoopBackOff
  const s = state.toLowerCase().replaceAll("_", " ");
  return s.charAt(0).toUpperCase() + s.slice(1);
}

export function Status({ state, text }: { state: string; text?: string }) {
  const t = tone(state);
  return (
    <span class={`status ${t}`}>
      <Icon name={marks[t]} size={13} />
      {text ?? label(state || "unknown")}
    </span>
  );
}

export function When({ at }: { at: number }) {
  return (
    <time title={moment(at)} dateTime={Number.isFinite(at) ? new Date(at).toISOString() : undefined}>
      {ago(at)}
    </time>
  );
}

export function Head(p: { title: ComponentChildren; crumbs?: [string, string][]; children?: ComponentChildren; sub?: ComponentChildren }) {
  return (
    <header class="head">
      {p.crumbs && (
        <nav class="crumbs" aria-label="Breadcrumb">
          {p.crumbs.map(([text, href]) => (
            <a href={href}>{text}</a>
          ))}
        </nav>
      )}
      <div class="head-row">
        <h1>{p.title}</h1>
        <div class="actions">{p.children}</div>
      </div>
      {p.sub && <div class="sub">{p.sub}</div>}
    </header>
  );
}

export function useTitle(text: string) {
  useEffect(() => {
    document.title = text ? `${text} · Millrace` : "Millrace";
  }, [text]);
}

export function Trouble({ error, retry }: { error: Error; retry?: () => void }) {
  const missing = error instanceof ApiError && error.status === 404;
  return (
    <div class="trouble" role="alert">
      <strong>{missing ? "It is not there" : "That did not work"}</strong>
      <p>{error.message}</p>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

/** What shows while there is no data: a skeleton, or the error. */
export function Waiting({ of, lines = 4 }: { of: { error?: Error; reload: () => void }; lines?: number }) {
  if (of.error) return <Trouble error={of.error} retry={of.reload} />;
  return (
    <div class="skeleton" aria-busy="true" aria-label="Loading">
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} />
      ))}
    </div>
  );
}

export function Copy({ text, what = "Copy" }: { text: string; what?: string }) {
  const [done, set] = useState(false);
  return (
    <button
      class="copy"
      type="button"
      aria-label={what}
      title={what}
      onClick={() => {
        void navigator.clipboard?.writeText(text).then(() => {
          set(true);
          setTimeout(() => set(false), 1200);
        });
      }}
    >
      <Icon name={done ? "check" : "copy"} size={14} />
    </button>
  );
}

/** Nothing there yet: what it would be, and the command that makes the first one. */
export function Empty({ icon, title, children, code }: { icon: IconName; title: string; children?: ComponentChildren; code?: string }) {
  return (
    <div class="empty">
      <span class="empty-mark">
        <Icon name={icon} size={26} />
      </span>
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {code && (
        <div class="code">
          <pre tabIndex={0}>{code}</pre>
          <Copy text={code} what="Copy the command" />
        </div>
      )}
    </div>
  );
}

export function Card({ title, more, children, class: c }: { title?: ComponentChildren; more?: ComponentChildren; children: ComponentChildren; class?: string }) {
  return (
    <section class={"card " + (c ?? "")}>
      {title && (
        <div class="card-head">
          <h2>{title}</h2>
          {more}
        </div>
      )}
      {children}
    </section>
  );
}

type ButtonProps = Omit<JSX.HTMLAttributes<HTMLButtonElement>, "icon"> & { kind?: "main" | "danger" | "plain"; icon?: IconName; disabled?: boolean; type?: "button" | "submit" };
export function Button({ kind = "plain", icon, children, type = "button", ...rest }: ButtonProps) {
  return (
    <button class={`button ${kind}`} type={type} {...rest}>
      {icon && <Icon name={icon} size={15} />}
      {children}
    </button>
  );
}

/** Tabs with an address: the chosen one stands in the query. */
export function Tabs({ of, name = "tab", children }: { of: [string, string][]; name?: string; children: (tab: string) => ComponentChildren }) {
  const now = place.value.query.get(name) ?? of[0]![0];
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const move = (e: KeyboardEvent) => {
    const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const i = of.findIndex(([k]) => k === now);
    const next = of[(i + step + of.length) % of.length]!;
    setQuery({ [name]: next[0] });
    (list.current?.children[of.indexOf(next)] as HTMLElement | undefined)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" ref={list} onKeyDown={move}>
        {of.map(([key, text]) => (
          <button
            type="button"
            role="tab"
            id={`${id}-${key}`}
            aria-selected={key === now}
            aria-controls={`${id}-panel`}
            tabIndex={key === now ? 0 : -1}
            onClick={() => setQuery({ [name]: key })}
          >
            {text}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${now}`} class="panel">
        {children(now)}
      </div>
    </>
  );
}

export function Dialog({ title, close, children, wide }: { title: string; close: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const d = ref.current;
    d?.showModal();
    return () => d?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={close}
      onCancel={close}
      onClick={(e) => e.target === ref.current && close()}
    >
      <div class="dialog">
        <div class="dialog-head">
          <h2>{title}</h2>
          <button type="button" class="ghost" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

/** A question before something that cannot be undone. `act` tells the dialog of trouble by throwing. */
export function Confirm({ title, text, yes, act, close }: { title: string; text: ComponentChildren; yes: string; act: () => Promise<unknown>; close: () => void }) {
  const [error, set] = useState<Error>();
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      {error && <Trouble error={error} />}
      <div class="dialog-foot">
        <Button onClick={close}>Cancel</Button>
        <Button
          kind="danger"
          disabled={busy}
          onClick={() => {
            setBusy(true);
            act().then(close, (e: Error) => {
              set(e);
              setBusy(false);
            });
          }}
        >
          {yes}
        </Button>
      </div>
    </Dialog>
  );
}

export interface Column<T> {
  head: ComponentChildren;
  cell: (row: T) => ComponentChildren;
  right?: boolean;
  class?: string;
}
export function Table<T>({ rows, columns, of, href }: { rows: T[]; columns: Column<T>[]; of: string; href?: (row: T) => string | undefined }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={of}>
      <table>
        <thead>
          <tr>
            {columns.map((c) => (
              <th scope="col" class={(c.right ? "right " : "") + (c.class ?? "")}>
                {c.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const to = href?.(row);
            return (
              <tr>
                {columns.map((c, i) => (
                  <td class={(c.right ? "right " : "") + (c.class ?? "")}>
                    {i === 0 && to ? (
                      <a class="row-link" href={to}>
                        {c.cell(row)}
                      </a>
                    ) : (
                      c.cell(row)
                    )}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export function Facts({ of }: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {of
        .filter(([, v]) => v !== undefined && v !== "" && v !== null)
        .map(([k, v]) => (
          <div>
            <dt>{k}</dt>
            <dd>{v}</dd>
          </div>
        ))}
    </dl>
  );
}

/** A text that may be thousands of characters: the first of them, and the rest where it is asked for. */
export function Long({ text, most = 160 }: { text: string; most?: number }) {
  const [all, set] = useState(false);
  if (text.length <= most) return <span class="value">{text}</span>;
  return (
    <span class="value">
      {all ? text : text.slice(0, most) + "…"}{" "}
      <button type="button" class="inline" onClick={() => set(!all)}>
        {all ? "less" : `all ${text.length.toLocaleString("en-US")} characters`}
      </button>
    </span>
  );
}
