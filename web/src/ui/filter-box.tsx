// The filter of runs: what may come next is offered as it is typed.
import { useEffect, useRef, useState } from "preact/hooks";
import { complete, type Names } from "../filter";

export function FilterBox({ value, names, apply }: { value: string; names: Names; apply: (text: string) => void }) {
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
