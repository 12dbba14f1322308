"""The dashboard beside MLflow's own web UI: the same runs in both, in a headless Chromium that the bench drives.

Times are taken inside the page, from the start of the navigation (or from the click or the change of the address) to
the first frame in which what was asked for is in the document.
"""

import contextlib
import json
import pathlib
import sqlite3
import statistics
import sys
import time

import peers
import ui_content
from servers import MILLRACE_PORTS, BenchError, Server, free_offset, free_port, running

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "ui")]

TITLE = "Web UI"
SIZES = (10_000, 100_000)
COMPARED = 200
FILTER = "metrics.accuracy > 0.5 and params.lr = '0.3'"
LIMIT = 30.0  # seconds that an answer is waited for
KEYS = "metrics.los"

# __until(test, limit): the moment of the first frame in which test() is true, or -1.
PROBE = """
window.__until = (test, limit) => new Promise((done) => {
  const begin = performance.now();
  const look = () => {
    let there = false;
    try { there = test(); } catch {}
    if (there) done(performance.now());
    else if (performance.now() - begin > limit) done(-1);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
});
window.__slow = 0;
new PerformanceObserver((list) => list.getEntries().forEach((e) => {
  if (e.interactionId) window.__slow = Math.max(window.__slow, e.duration);
})).observe({ type: "event", durationThreshold: 16, buffered: true });
"""


class Ours:
    key = "millrace"
    row, box, check, table = ".runs tbody .row-link", ".filter input", ".runs tbody input[type=checkbox]", ".runs"

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def runs(self, experiment: str) -> str:
        return f"{self.url}/experiments/{experiment}"

    def sort(self, experiment: str) -> str:
        return "document.querySelector('button.sort[title=\"metrics.accuracy\"]').click()"

    def filter(self, experiment: str) -> str:
        return self._go(f"/experiments/{experiment}?filter=" + _quoted(FILTER))

    def compare(self, experiment: str, runs: list[str]) -> tuple[str, str]:
        there = f"document.querySelectorAll('.side-by-side thead th').length > {len(runs)}"
        return self._go(f"/experiments/{experiment}/compare?runs=" + ",".join(runs)), there

    def curves(self, experiment: str, runs: list[str]) -> tuple[str, str]:
        there = f"document.querySelector('[aria-label=\"curve: {len(runs)} curves\"] canvas').width > 100"
        path = f"/experiments/{experiment}/compare?tab=curves&metric=curve&runs="
        return self._go(path + "".join(runs)), there

    @staticmethod
    def _go(path: str) -> str:
        return f"history.pushState(null, '', {json.dumps(path)}); dispatchEvent(new PopStateEvent('popstate'))"


class Theirs:
    key = "mlflow"
    row, box = ".ag-row[row-index='0'] a[href*='/runs/']", "input[data-testid=search-box]"
    check, table = ".ag-row .ag-selection-checkbox input", ".ag-body-viewport"

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def runs(self, experiment: str) -> str:
        return f"{self.url}/#/experiments/{experiment}/runs"

    def sort(self, experiment: str) -> str:
        return self._go(f"#/experiments/{experiment}/runs?orderByKey=metrics.%60accuracy%60&orderByAsc=false")

    def filter(self, experiment: str) -> str:
        return self._go(f"#/experiments/{experiment}/runs?searchFilter=" + _quoted(FILTER))

    def compare(self, experiment: str, runs: list[str]) -> tuple[str, str]:
        there = f"document.querySelector('table').querySelectorAll('a[href*=\"/runs/\"]').length >= {len(runs)}"
        return self._go(f'#/compare-runs?runs={_list(runs)}&experiments=["{experiment}"]'), there

    def curves(self, experiment: str, runs: list[str]) -> tuple[str, str]:
        there = f"document.querySelectorAll('.scatterlayer .trace').length >= {len(runs)}"
        look = 'plot_metric_keys=["curve"]&plot_layout={}&x_axis=step&y_axis_scale=linear&line_smoothness=1'
        look += "&show_point=false&deselected_curves=[]&last_linear_y_axis_range=[]"
        return self._go(f'#/metric?runs={_list(runs)}&metric="curve"&experiments=["{experiment}"]&{look}'), there

    @staticmethod
    def _go(fragment: str) -> str:
        return f"location.hash = {json.dumps(fragment)}"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text)


def _list(runs: list[str]) -> str:
    return json.dumps(runs, separators=(",", ":"))


class Reader:
    """A browser in front of one of the two."""

    def __init__(self, browser, side):
        self.browser, self.side = browser, side

    def row(self, name: str) -> str:
        return f"document.querySelector({json.dumps(self.side.row)}).innerText.trim() === '{name}'"

    def _result(self) -> float | None:
        """Milliseconds, or None when it did not come in time."""
        end = time.monotonic() + LIMIT + 5
        while True:
            # The page may be too busy to answer for a long time.
            with contextlib.suppress(Exception):
                took = self.browser.evaluate("window.__took ?? null")
                if took is not None:
                    return took if took >= 0 else None
            if time.monotonic() > end:
                return None
            time.sleep(0.1)

    def open(self, experiment: str, name: str, cold: bool) -> float | None:
        """From the start of the navigation to the row; cold: nothing is in the browser's cache."""
        call = self.browser._call
        if cold:
            call("Network.clearBrowserCache")
        test = f"__until(() => {self.row(name)}, {LIMIT * 1e3}).then(t => window.__took = t)"
        source = f"if (location.protocol === 'http:') {{ {PROBE} {test} }}"
        script = call("Page.addScriptToEvaluateOnNewDocument", source=source)["identifier"]
        self.browser.open(self.side.runs(experiment))
        took = self._result()
        call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        self.rest()
        return took

    def act(self, action: str, there: str) -> float | None:
        """From the action to the frame that has what it asked for."""
        done = "t => window.__took = t < 0 ? t : t - begin"
        self.browser.evaluate(
            f"(() => {{ window.__took = null; const begin = performance.now();"
            f" __until(() => {there}, {LIMIT * 1e3}).then({done}); {action}; }})()"
        )
        took = self._result()
        self.rest()
        return took

    def rest(self) -> None:
        with contextlib.suppress(Exception):
            self.browser.wait_quiet(deadline=5)

    def place(self, selector: str, at: int) -> list:
        find = f"document.querySelectorAll({json.dumps(selector)})[{at}].getBoundingClientRect()"
        return self.browser.evaluate(f"(r => [r.x + r.width / 2, r.y + Math.min(r.height / 2, 200)])({find})")

    def interact(self) -> dict:
        """Real clicks and keys: the longest until its frame was there, as the browser itself measures; then the wheel:
        the longest frame."""
        call = self.browser._call
        self.browser.wait_until(f"document.querySelector({json.dumps(self.side.box)})", "the filter's box", LIMIT)
        self.browser.evaluate("void (window.__slow = 0)")
        self.browser.evaluate(f"void document.querySelector({json.dumps(self.side.box)}).focus()")
        for key in KEYS:
            call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
            call("Input.dispatchKeyEvent", type="keyUp", key=key)
            self.browser.listen(0.05)
        self.browser.evaluate("void document.activeElement.blur()")
        self.browser.listen(0.3)
        for at in range(5):
            x, y = self.place(self.side.check, at)
            for kind in ("mousePressed", "mouseReleased"):
                call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            self.browser.listen(0.15)
        slow = self.browser.evaluate("window.__slow")
        self.browser.evaluate(
            "(() => { window.__frame = 0; let last = performance.now(); const look = () => { const now ="
            " performance.now(); window.__frame = Math.max(window.__frame, now - last); last = now;"
            " if (window.__frame >= 0) requestAnimationFrame(look); }; requestAnimationFrame(look); })()"
        )
        x, y = self.place(self.side.table, 0)
        for _ in range(15):
            call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=200)
            self.browser.listen(0.02)
        frame = self.browser.evaluate("window.__frame")
        return {"slowest_ms": max(slow, 16), "frame_ms": frame}


def _expected(runs: int) -> dict:
    """Names of the rows that come first by default, by accuracy, and under the filter."""
    fits = [n for n in range(runs) if ui_content.accuracy(n, runs) > 0.5 and ui_content.learning_rate(n) == "0.3"]
    best = max(range(runs), key=lambda n: ui_content.accuracy(n, runs))
    return {key: ui_content.name_of(n) for key, n in (("newest", runs - 1), ("best", best), ("fits", fits[-1]))}


@contextlib.contextmanager
def reader(side):
    """A browser of its own: what an earlier page goes on doing is not the next one's business."""
    import browser

    with browser.chromium() as one:
        yield Reader(one, side)


def measure(context, sides: list, content: dict) -> list[dict]:
    """The cases, one after the other for both sides."""
    times: dict = {}

    def note(case: str, side, value) -> None:
        times.setdefault(case, {}).setdefault(side.key, []).append(value)
        print(f"    {side.key}, {case}: " + ("not in time" if value is None else f"{value:,.0f} ms"), flush=True)

    def turn(number: int) -> list:
        return sides if number == 0 else sides[:1]  # the peer takes its time: once

    for runs, (experiment, _) in content.items():
        wanted = _expected(runs)
        name = f"{runs:,} runs: "
        for number in range(context.settings.rounds):
            for side in turn(number):
                with reader(side) as at:
                    note(name + "first rows, nothing cached", side, at.open(experiment, wanted["newest"], True))
                    note(name + "first rows, seen before", side, at.open(experiment, wanted["newest"], False))
                    note(name + "sorted by a metric", side, at.act(side.sort(experiment), at.row(wanted["best"])))
                    at.open(experiment, wanted["newest"], False)
                    note(name + "filtered", side, at.act(side.filter(experiment), at.row(wanted["fits"])))
    runs, (experiment, ids) = list(content.items())[-1]
    newest = _expected(runs)["newest"]
    for number in range(context.settings.rounds):
        for side in turn(number):
            for case, call in (
                (f"compare of {COMPARED} runs", lambda s: s.compare(experiment, ids[:COMPARED])),
                (f"{len(ids)} curves drawn", lambda s: s.curves(experiment, ids)),
            ):
                with reader(side) as at:
                    at.open(experiment, newest, False)
                    note(case, side, at.act(*call(side)))
            with reader(side) as at:
                at.open(experiment, newest, False)
                found = at.interact()
            note("slowest answer to a click or a key", side, found["slowest_ms"])
            note("longest frame while scrolling", side, found["frame_ms"])
    cases = []
    for name, by_side in times.items():
        case = {"name": name, "sides": {}}
        for key, values in by_side.items():
            known = [value for value in values if value is not None]
            middle = statistics.median(known) if len(known) == len(values) else None
            case["sides"][key] = {"ms": middle, "rounds": values}
        cases.append(case)
    return cases


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)
        other.execute("pragma journal_mode = delete")


def run(context) -> dict:
    try:
        import browser
    except ModuleNotFoundError as error:
        raise BenchError(f"the browser's driver needs {error.name}; run: make setup") from error
    try:
        browser.executable()
    except FileNotFoundError as error:
        raise BenchError(str(error)) from error
    ours, theirs = context.settings.work / "ui-millrace", context.settings.work / "ui-mlflow"
    context.peers["mlflow"] = peers.mlflow()
    offset = free_offset()
    server = Server("millrace", [context.binary, "up", "--data", ours / "data", "--port-offset", offset], ours)
    servers, sides = [server], [Ours(MILLRACE_PORTS["gateway"] + offset)]
    content, filled = {}, time.monotonic()
    with running(servers):
        port = MILLRACE_PORTS["tracking"] + offset
        server.wait_ready(port, "/readyz")
        for runs in (size // (20 if context.quick else 1) for size in SIZES):
            print(f"  writing {runs:,} runs ...", flush=True)
            content[runs] = ui_content.fill(port, f"with-{runs}", runs)
        filled = time.monotonic() - filled
        if not context.peers["mlflow"].missing:
            _copy(ours / "data" / "millrace.db", theirs / "mlflow.db")
            port = free_port()
            args = [context.peers["mlflow"].program, "server", "--host", "127.0.0.1", "--port", port]
            args += [
                "--backend-store-uri",
                f"sqlite:///{theirs}/mlflow.db",
                "--artifacts-destination",
                theirs / "files",
            ]
            servers.append(Server("mlflow", args, theirs))
            servers[-1].wait_ready(port, "/health")
            servers[-1].settle()
            sides.append(Theirs(port))
        with browser.chromium() as one:
            version = one._call("Browser.getVersion")["product"]
        cases = measure(context, sides, content)
    return {"cases": cases, "browser": version, "curves": ui_content.CURVES, "fill_s": filled, "sizes": list(content)}
