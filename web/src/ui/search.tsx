// Ctrl-K: one box for pages, things and actions.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { dashboard } from "../api";
import { go } from "../router";
import { Icon } from "./icons";

interface Found {
  kind: string;
  title: string;
  detail: string;
  link: string;
}
const pages: Found[] = [
  ["Home", "/"],
  ["Pipelines", "/pipelines"],
  ["Pipeline definitions", "/pipelines?tab=definitions"],
  ["Recurring runs", "/pipelines?tab=recurring"],
  ["Experiments", "/experiments"],
  ["Models", "/models"],
  ["Endpoints", "/endpoints"],
  ["Objects", "/objects"],
  ["Resources", "/resources"],
].map(([title, link]) => ({ kind: "Page", title: title!, detail: "", link: link! }));

export function Search({ close }: { close: () => void }) {
  const ref = useRef<HTMLDialogElement>(null);
  const [words, setWords] = useState("");
  const [found, setFound] = useState<Found[]>([]);
  const [at, setAt] = useState(0);
  const [note, setNote] = useState("");

  // Before the next frame: what is typed right after the shortcut is for this box.
  useLayoutEffect(() => {
    const d = ref.current;
    d?.showModal();
    return () => d?.close();
  }, []);
  useEffect(() => {
    setAt(0);
    if (!words.trim()) {
      setFound([]);
      setNote("");
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      dashboard<{ items: Found[]; errors: Record<string, string> }>("search", { q: words }, { signal: stop.signal }).then(
        (r) => {
          setFound(r.items);
          const rooms = Object.keys(r.errors);
          setNote(rooms.length ? `Not searched: ${rooms.join(", ")}` : "");
        },
        (e: Error) => !stop.signal.aborted && setNote(e.message),
      );
    }, 120);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [words]);

  const needle = words.trim().toLowerCase();
  const items = [...pages.filter((p) => p.title.toLowerCase().includes(needle)), ...found];
  const choose = (f?: Found) => {
    if (!f) return;
    close();
    go(f.link);
  };
  const keys = (e: KeyboardEvent) => {
    if (e.key === "ArrowDown") setAt((a) => Math.min(a + 1, items.length - 1));
    else if (e.key === "ArrowUp") setAt((a) => Math.max(a - 1, 0));
    else if (e.key === "Enter") choose(items[at]);
    else return;
    e.preventDefault();
  };
  useEffect(() => {
    document.getElementById(`found-${at}`)?.scrollIntoView({ block: "nearest" });
  }, [at]);

  return (
    <dialog ref={ref} class="search" aria-label="Search everything" onClose={close} onClick={(e) => e.target === ref.current && close()}>
      <div class="search-box">
        <Icon name="search" />
        <input
          autoFocus
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls="found"
          aria-activedescendant={items.length ? `found-${at}` : undefined}
          aria-label="Search runs, pipelines, models, endpoints, resources"
          placeholder="Runs, pipelines, models, endpoints, resources …"
          value={words}
          onInput={(e) => setWords(e.currentTarget.value)}
          onKeyDown={keys}
        />
        <kbd>Esc</kbd>
      </div>
      <ul id="found" role="listbox" aria-label="Results">
        {items.map((f, i) => (
          <li id={`found-${i}`} role="option" aria-selected={i === at} onMouseMove={() => setAt(i)} onClick={() => choose(f)}>
            <span class="found-kind">{f.kind}</span>
            <span class="found-title">{f.title}</span>
            <span class="found-detail">{f.detail}</span>
          </li>
        ))}
      </ul>
      {items.length === 0 && <p class="search-note">Nothing has a name with “{words}” in it.</p>}
      {note && <p class="search-note">{note}</p>}
    </dialog>
  );
}
