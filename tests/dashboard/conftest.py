"""One platform filled with real work, and one browser in front of its dashboard."""

import dataclasses
import importlib.util
import json
import pathlib
import time
import urllib.request

import harness
import pytest

from . import content

SCREENSHOTS = harness.REPO_ROOT / "build" / "dashboard-screenshots"
NAMESPACE = "kubeflow-user-example-com"


def _driver():
    """tests/ui/browser.py: the browser that the tests of MLflow's pages drive, too."""
    path = pathlib.Path(__file__).parents[1] / "ui" / "browser.py"
    spec = importlib.util.spec_from_file_location("dashboard_browser", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask(url, method="GET", body=None, kind="application/json"):
    """A JSON answer."""
    data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    headers = {"Content-Type": kind} if data is not None else {}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


@dataclasses.dataclass
class Site:
    """The dashboard in a browser."""

    url: str
    browser: object
    platform: object
    content: content.Content

    def open(self, path, *texts):
        """Load a page by its address alone and wait for texts in it."""
        self.browser.open(self.url + path)
        return self.browser.wait_for(*texts, deadline=60)

    def until(self, expression, what):
        self.browser.wait_until(expression, what, deadline=60)

    def click(self, text):
        self.browser.click(text, deadline=60)

    def press(self, selector):
        """A click on what has no text of its own."""
        self.until(f"document.querySelector({json.dumps(selector)})", f"{selector} is there")
        self.browser.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector, text):
        """Put a text in the place of what an input has."""
        # A dialog that is about to open takes no focus yet, and a page that loads may draw its inputs anew.
        end = time.monotonic() + 60
        find = f"document.querySelector({json.dumps(selector)})"
        while True:
            focused = f"(e => e && (e.focus(), e.select?.(), document.activeElement === e))({find})"
            if self.browser.evaluate(focused):
                self.browser.type_into(selector, text)
                if self.browser.evaluate(f"{find}?.value === {json.dumps(text)}"):
                    return
            assert time.monotonic() < end, f"{selector} does not take {text!r}"
            time.sleep(0.05)

    def yaml(self):
        """What the editor of YAML holds; empty while it is loaded."""
        return self.browser.evaluate("document.querySelector('.yaml')?.value ?? ''")

    def write_yaml(self, text):
        """Put a text in the place of what the editor holds, as someone who selects everything and pastes."""
        self.until("document.querySelector('.yaml')?.shadowRoot?.querySelector('.cm-content')", "the editor is there")
        paste = (
            "(text => { const e = document.querySelector('.yaml').shadowRoot.querySelector('.cm-content'); e.focus();"
            " e.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', code: 'KeyA', keyCode: 65, ctrlKey: true, bubbles: true}));"
            " const t = new DataTransfer(); t.setData('text/plain', text);"
            " e.dispatchEvent(new ClipboardEvent('paste', {clipboardData: t, bubbles: true, cancelable: true})); })"
        )
        self.browser.evaluate(f"{paste}({json.dumps(text)})")
        self.until(f"document.querySelector('.yaml').value === {json.dumps(text)}", "the editor has the text")

    def drag(self, selector, start, end):
        """The mouse pressed in an element at a part of its height (0: top), and released at another."""
        self.until(f"document.querySelector({json.dumps(selector)})", f"{selector} is there")
        x, y, high = self.browser.evaluate(
            f"(e => (e.scrollIntoView({{block: 'center'}}), (r => [r.x + r.width / 2, r.y, r.height])(e.getBoundingClientRect())))"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        for kind, part in (("mouseMoved", start), ("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.browser._call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y + part * high,
                button="none" if kind == "mouseMoved" and part == start else "left",
                buttons=0 if kind == "mouseReleased" or part == start and kind == "mouseMoved" else 1,
                clickCount=1,
            )

    def api(self, path, **more):
        return ask(self.url + path, **more)

    def check(self, shot):
        """Nothing went wrong, nothing of what users stored ran, and nothing sticks out of a page; a picture is kept."""
        self.browser.screenshot(SCREENSHOTS / f"{shot}.png")
        assert self.browser.page.exceptions == [], self.browser.page.exceptions
        failed = [str(e) for e in self.browser.page.to_server() if e.failure or e.status >= 400]
        assert failed == [], failed
        assert self.browser.evaluate("[typeof window.hacked, document.querySelectorAll('[role=alert]').length]") == [
            "undefined",
            0,
        ]
        assert self.browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"

    def width(self, width, height=900):
        self.browser._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def dark(self, on):
        media = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.browser._call("Emulation.setEmulatedMedia", features=media)


def has_pages(url):
    with urllib.request.urlopen(url + "/", timeout=10) as answer:
        return b'id="app"' in answer.read()


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """`millrace up` with work in it."""
    with harness.launch_platform(tmp_path_factory.mktemp("dashboard-up")) as platform:
        if not has_pages(platform.gateway_url):
            pytest.skip("this program was built without its web pages (no Node.js, or no packages for it)")
        patch = pytest.MonkeyPatch()
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        made = content.fill(platform, tmp_path_factory.mktemp("dashboard-work"))
        patch.undo()
        yield platform, made


@pytest.fixture(scope="session")
def site(filled):
    # scripts/setup.sh leaves this mark where the distribution has no browser to install.
    if (harness.REPO_ROOT / "build" / "no-browser").exists():
        pytest.skip("this distribution has no browser that apt installs")
    platform, made = filled
    with _driver().chromium() as browser:
        site = Site(platform.gateway_url, browser, platform, made)
        site.width(1400)
        yield site
