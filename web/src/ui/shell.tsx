// The frame around all pages: menu, namespace, search, theme, and a plain word when the server is gone.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { connected, dashboard } from "../api";
import { useData } from "../data";
import type { Overview } from "../pages/home";
import { place } from "../router";
import { namespace, theme } from "../settings";
import { Icon, type IconName } from "./icons";
import { Search } from "./search";

export const searching = signal(false);

const menu: [string, string, IconName][] = [
  ["Home", "/", "home"],
  ["Pipelines", "/pipelines", "pipelines"],
  ["Experiments", "/experiments", "experiments"],
  ["Models", "/models", "models"],
  ["Endpoints", "/endpoints", "endpoints"],
  ["Objects", "/objects", "objects"],
  ["Resources", "/resources", "resources"],
];

const themes = { auto: "light", light: "dark", dark: "auto" } as const;
const themeIcons = { auto: "auto", light: "sun", dark: "moon" } as const;

export function Shell({ children }: { children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const frame = useData(() => dashboard<Pick<Overview, "version" | "namespaces" | "menu">>("frame"), [], ["kube:/v1/namespaces", "kube:/v1/configmaps"]);
  const path = place.value.path;

  useEffect(() => {
    const keys = (e: KeyboardEvent) => {
      // Where the key went to, also inside the editor, which stands in a tree of its own.
      const at = e.composedPath()[0] as HTMLElement;
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) || at.isContentEditable;
      if ((e.key === "k" && (e.ctrlKey || e.metaKey)) || (e.key === "/" && !typing)) {
        e.preventDefault();
        searching.value = true;
      }
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  useEffect(() => setOpen(false), [path]);

  const names = frame.data?.namespaces ?? [];
  return (
    <div class="shell">
      <a class="skip" href="#content" data-outside>
        To the content
      </a>
      <aside class={open ? "side open" : "side"}>
        <a class="brand" href="/">
          <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
            <rect width="32" height="32" rx="8" class="brand-mark" />
            <g fill="none" stroke="#fff" stroke-width="2.2" stroke-linecap="round">
              <circle cx="16" cy="14" r="6" />
              <path d="M16 5v6M16 17v6M7 14h6M19 14h6" />
              <path d="M5 27c2.2-2 4.4-2 6.6 0s4.4 2 6.6 0 4.4-2 6.6 0" class="brand-water" />
            </g>
          </svg>
          <span>Millrace</span>
        </a>
        <nav aria-label="Main">
          {menu.map(([text, href, icon]) => (
            <a href={href} aria-current={(href === "/" ? path === "/" : path === href || path.startsWith(href + "/")) ? "page" : undefined}>
              <Icon name={icon} />
              {text}
            </a>
          ))}
          {(frame.data?.menu ?? []).map((m) => (
            <a href={m.link} target="_blank" rel="noopener" class="extra">
              <Icon name="link" />
              {m.text}
            </a>
          ))}
        </nav>
        <p class="side-foot">
          {frame.data && (
            <>
              Millrace {frame.data.version} · <a href={`/dashboard/assets/licences.txt?${encodeURIComponent(frame.data.version)}`}>Licences</a>
            </>
          )}
        </p>
      </aside>
      {open && <div class="veil" onClick={() => setOpen(false)} />}
      <div class="main">
        <div class="bar" role="banner">
          <button type="button" class="ghost only-narrow" aria-label="Menu" aria-expanded={open} onClick={() => setOpen(!open)}>
            <Icon name="menu" />
          </button>
          <label class="picker">
            <span>Namespace</span>
            <select aria-label="Namespace" value={namespace.value} onChange={(e) => (namespace.value = e.currentTarget.value)}>
              <option value="">All</option>
              {namespace.value && !names.includes(namespace.value) && <option value={namespace.value}>{namespace.value}</option>}
              {names.map((n) => (
                <option value={n}>{n}</option>
              ))}
            </select>
          </label>
          <button type="button" class="find" onClick={() => (searching.value = true)}>
            <Icon name="search" size={16} />
            <span>Search everything</span>
            <kbd aria-hidden="true">Ctrl K</kbd>
          </button>
          <button
            type="button"
            class="ghost"
            aria-label={`Theme: ${theme.value}. Change it`}
            title={`Theme: ${theme.value}`}
            onClick={() => (theme.value = themes[theme.value])}
          >
            <Icon name={themeIcons[theme.value]} />
          </button>
        </div>
        {!connected.value && (
          <div class="gone" role="status">
            The server does not answer. What you see may be old; this page goes on by itself when it is back.
          </div>
        )}
        <main id="content" tabIndex={-1}>
          {children}
        </main>
      </div>
      {searching.value && <Search close={() => (searching.value = false)} />}
    </div>
  );
}
