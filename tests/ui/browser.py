"""A headless Chromium driven over its DevTools protocol: open a page, read its text, see its requests.

One WebSocket and one tab are all that is used, so no driver program stands between the test and the browser.
"""

import base64
import contextlib
import dataclasses
import json
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import harness
import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The UI's own links to the outside world must not make a test depend on it.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Dialogs and boxes stand still at once.
    "--force-prefers-reduced-motion",
    # Tall, so that tables that draw visible rows only draw all of them.
    "--window-size=1500,1200",
    "--remote-debugging-port=0",
)
PAGE_DEADLINE = 20.0

# Filters and choices of earlier pages are forgotten, so that no test depends on another. The assistant's panel, which
# opens by itself once, counts as seen: its endless animation costs more than all the pages together.
FORGET = "localStorage.clear(); localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
QUIET = 0.2


@dataclasses.dataclass
class Exchange:
    """One request of a page and what became of it."""

    method: str
    url: str
    body: str = ""
    status: int = 0
    failure: str = ""
    ended: bool = False

    def __str__(self):
        asked = f"{self.method} {self.url} {self.body[:300]}".rstrip()
        return f"{asked} -> {self.failure or self.status or 'no answer'}"


class Page:
    """What was asked and said since the page was opened."""

    def __init__(self, url):
        self.url = url
        self.exchanges: dict[str, Exchange] = {}
        self.redirected: list[Exchange] = []
        self.exceptions: list[str] = []
        self.last_activity = time.monotonic()

    def to_server(self) -> list[Exchange]:
        """The requests that left the browser; pages also "load" data: and blob: addresses of their own."""
        every = [*self.redirected, *self.exchanges.values()]
        return [e for e in every if e.url.startswith("http")]

    def under_way(self) -> list[Exchange]:
        # The end of a worker's own script is told to the worker, not to the page.
        return [e for e in self.exchanges.values() if not e.ended and not e.url.endswith(".worker.js")]


class Browser:
    def __init__(self, socket):
        self._socket = socket
        self._next_id = 0
        self.page = Page("about:blank")
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self._call(f"{domain}.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=f"if (location.protocol === 'http:') {{ {FORGET} }}")

    def _call(self, method, **params):
        self._next_id += 1
        wanted = self._next_id
        message = {"id": wanted, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.settimeout(120)
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == wanted:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._event(answer)

    def _event(self, message):
        page = self.page
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                request = params["request"]
                if "redirectResponse" in params and (earlier := page.exchanges.get(params["requestId"])):
                    earlier.status = params["redirectResponse"]["status"]
                    earlier.ended = True
                    page.redirected.append(earlier)
                page.exchanges[params["requestId"]] = Exchange(
                    request["method"], request["url"], request.get("postData", "")
                )
            case "Network.responseReceived":
                if exchange := page.exchanges.get(params["requestId"]):
                    exchange.status = params["response"]["status"]
            case "Network.loadingFinished":
                if exchange := page.exchanges.get(params["requestId"]):
                    exchange.ended = True
            case "Network.loadingFailed":
                if exchange := page.exchanges.get(params["requestId"]):
                    exchange.ended = True
                    # A page that is left, or an effect that is undone, drops its requests: no fault of the server.
                    exchange.failure = "" if params.get("canceled") else params.get("errorText", "failed")
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                page.exceptions.append(details.get("exception", {}).get("description") or details.get("text", ""))
            case _:
                return
        page.last_activity = time.monotonic()

    def listen(self, seconds):
        """Take in what the browser reports for some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                self._event(json.loads(self._socket.recv()))
            except websocket.WebSocketTimeoutException:
                return

    def evaluate(self, expression):
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, url) -> Page:
        """Load the address anew, as a reader does who follows a link from outside for the first time."""
        # A change behind the # alone would not load anything.
        self._call("Page.navigate", url="about:blank")
        self.listen(0.02)
        self.page = Page(url)
        self._call("Page.navigate", url=url)
        return self.page

    def follow(self, fragment) -> Page:
        """Go to another page of the loaded application, as a click on a link in it does."""
        self.page = Page(fragment)
        self.evaluate(f"{FORGET} void (location.hash = {json.dumps(fragment)})")
        return self.page

    def text(self) -> str:
        """The visible text of the page."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def wait_for(self, *texts, deadline=PAGE_DEADLINE) -> str:
        """Until every text shows; answers the page's text then."""
        end = time.monotonic() + deadline
        while True:
            shown = self.text()
            missing = [t for t in texts if t not in shown]
            if not missing:
                return shown
            if time.monotonic() > end:
                raise AssertionError(
                    f"{self.page.url}: not shown after {deadline:g} s: {missing}\n--- shown ---\n{shown[:4000]}\n"
                    "--- requests ---\n"
                    + "\n".join(str(e) for e in self.page.to_server() if "/static-files/" not in e.url)
                )
            self.listen(0.05)

    def wait_until(self, expression, what, deadline=PAGE_DEADLINE):
        """Until a JavaScript expression is true."""
        end = time.monotonic() + deadline
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{self.page.url}: {what}: not so after {deadline:g} s\n{self.text()[:4000]}"
            self.listen(0.05)

    def wait_quiet(self, deadline=PAGE_DEADLINE):
        """Until no request is under way and none was started for a moment."""
        end = time.monotonic() + deadline
        while self.page.under_way() or time.monotonic() - self.page.last_activity < QUIET:
            if time.monotonic() > end:
                hanging = [str(e) for e in self.page.under_way()]
                raise AssertionError(f"{self.page.url}: still busy after {deadline:g} s: {hanging}")
            self.listen(0.05)

    def alerts(self) -> list[str]:
        """Texts of the error and warning boxes that show."""
        return self.evaluate(
            "[...document.querySelectorAll('[role=alert]')].filter(e => e.checkVisibility() && e.innerText.trim())"
            ".map(e => e.innerText)"
        )

    def shows(self, url) -> bool:
        """True when a page below this address is open."""
        return self.evaluate("location.href").startswith(url)

    def click(self, text, deadline=PAGE_DEADLINE):
        """A real mouse click on the innermost visible element with exactly this text."""
        find = (
            "(() => { const shown = e => e.checkVisibility() && e.getBoundingClientRect().width > 0;"
            f" const all = [...document.querySelectorAll('body *')].filter(e => e.innerText?.trim() === {json.dumps(text)} && shown(e));"
            " const e = all.at(-1); if (!e) return null; e.scrollIntoView({block: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        end = time.monotonic() + deadline
        place = before = None
        # In the same place twice: dialogs slide in.
        while not place or place != before:
            assert time.monotonic() < end, (
                f"{self.page.url}: nothing to click with the text {text!r}\n{self.text()[:4000]}"
            )
            self.listen(0.05)
            before, place = place, self.evaluate(find)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self._call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button=button, clickCount=1)

    def type_into(self, selector, text):
        """Put the text into the first element of the selector, as the keyboard does."""
        self.wait_until(f"document.querySelector({json.dumps(selector)})", f"{selector} is there")
        self.evaluate(f"void document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def screenshot(self, path):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            base64.b64decode(self._call("Page.captureScreenshot", format="png", optimizeForSpeed=True)["data"])
        )


def executable() -> str:
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed; on Debian: apt-get install chromium")


@contextlib.contextmanager
def chromium():
    """A browser of its own with a fresh profile, for the length of the block."""
    profile = Path(tempfile.mkdtemp(prefix="millrace-chromium-"))
    try:
        with harness.launch([*FLAGS, f"--user-data-dir={profile}", "about:blank"], command=executable()) as process:
            port_file = profile / "DevToolsActivePort"
            end = time.monotonic() + harness.START_TIMEOUT
            while not (port_file.exists() and len(port_file.read_text().split()) == 2):
                assert process.returncode is None, f"the browser ended at once\n{process.describe()}"
                assert time.monotonic() < end, f"the browser does not answer\n{process.describe()}"
                time.sleep(0.05)
            port = port_file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=10) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            socket = websocket.create_connection(address, timeout=30, suppress_origin=True)
            try:
                yield Browser(socket)
            finally:
                socket.close()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
