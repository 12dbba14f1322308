import { render, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import Home from "./pages/home";
import { routes } from "./pages";
import { listen, match, place } from "./router";
import "./style.css";
import { Empty, Trouble, Waiting } from "./ui/parts";
import { Shell } from "./ui/shell";

type Page = ComponentType<Record<string, string>>;
const loaded = new Map<string, Page>([["/", Home as Page]]);

function View() {
  const path = place.value.path;
  const [, again] = useState(0);
  const [error, setError] = useState<Error>();
  let pattern = "";
  let values: Record<string, string> = {};
  for (const p of ["/", ...Object.keys(routes)]) {
    const m = match(p, path);
    if (m) {
      pattern = p;
      values = m;
      break;
    }
  }
  const page = loaded.get(pattern);
  useEffect(() => {
    setError(undefined);
    if (!pattern || loaded.has(pattern)) return;
    let left = false;
    routes[pattern]!().then(
      (m) => {
        loaded.set(pattern, m.default as Page);
        if (!left) again((n) => n + 1);
      },
      () => !left && setError(new Error("This page could not be loaded. Is millrace up still running?")),
    );
    return () => {
      left = true;
    };
  }, [pattern]);
  if (!pattern)
    return (
      <Empty icon="search" title="There is no page at this address">
        <a href="/">Home</a>
      </Empty>
    );
  if (error) return <Trouble error={error} retry={() => location.reload()} />;
  if (!page) return <Waiting of={{ reload: () => undefined }} />;
  const P = page;
  return <P key={path} {...values} />;
}

listen();
render(
  <Shell>
    <View />
  </Shell>,
  document.getElementById("app")!,
);
