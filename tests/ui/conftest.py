"""One browser for all, and two servers with real work in them: the whole platform, and tracking below a path."""

import dataclasses
import importlib.util
import os
import pathlib
import sys
from urllib.parse import urlsplit

import harness
import pytest

from . import browser as driver

SCREENSHOTS = harness.REPO_ROOT / "build" / "ui-screenshots"

# Texts with which the application tells that something did not work.
TROUBLE = (
    "something went wrong",
    "can't load",
    "couldn't load",
    "could not load",
    "unable to load",
    "failed to load",
    "load error",
    "not found",
    "internal server error",
    "not supported",
)

# What the application asks for and does without: (path, statuses). Nothing else may fail.
OPTIONAL = (
    # Users and the assistant are parts that the server does not have; the stock server has no users either.
    ("/ajax-api/2.0/mlflow/users/current", {404}),
    ("/ajax-api/3.0/mlflow/assistant/", {404}),
    # Asked before an experiment is created: is the name free?
    ("/ajax-api/2.0/mlflow/experiments/get-by-name", {404}),
    # A download link is asked for first; without one the file comes through the server.
    ("/model-versions/get-artifact", {501}),
)


@dataclasses.dataclass
class Site:
    """A server with its web UI, and the browser in front of it."""

    name: str
    url: str
    browser: driver.Browser
    content: object = None

    def open(self, fragment, *texts):
        """Load a page from scratch and wait for texts in it."""
        self.browser.open(f"{self.url}/{fragment}")
        return self.browser.wait_for(*texts)

    def go(self, fragment):
        """Go to a page in the running application where that is possible: loading it costs a second each time."""
        # The open tree of artifacts does not look at the address any more.
        if self.browser.shows(self.url) and "/artifacts" not in fragment:
            self.browser.follow(fragment)
        else:
            self.open(fragment)

    def check(self, *texts, shot):
        """The page has come to rest, shows the texts and no trouble; a picture of it is kept."""
        self.browser.wait_for(*texts)
        self.browser.wait_quiet()
        self.browser.screenshot(SCREENSHOTS / self.name / f"{shot}.png")
        shown = self.browser.text()
        assert not [t for t in texts if t not in shown], shown
        lowered = shown.lower()
        assert not [t for t in TROUBLE if t in lowered], shown
        assert self.browser.alerts() == []
        assert [str(e) for e in self.failed_requests()] == []
        assert self.browser.page.exceptions == []
        return shown

    def failed_requests(self):
        host = urlsplit(self.url).netloc
        # Pictures of the documentation's site are beyond the server's power (and beyond this browser's reach).
        ours = [e for e in self.browser.page.to_server() if urlsplit(e.url).netloc == host]
        return [e for e in ours if e.failure or (e.status >= 400 and not self._optional(e))]

    def _optional(self, exchange):
        path = urlsplit(exchange.url).path.removeprefix(urlsplit(self.url).path)
        return any(path.startswith(start) and exchange.status in statuses for start, statuses in OPTIONAL)


@pytest.fixture(scope="session")
def ui_folder():
    """The built web UI of the mlflow package in the environment of the tests."""
    # Not imported: that takes seconds.
    folder = pathlib.Path(importlib.util.find_spec("mlflow").origin).parent / "server" / "js" / "build"
    assert (folder / "index.html").is_file(), f"the mlflow package has no web UI in {folder}"
    return folder


@pytest.fixture(scope="session")
def browser():
    # scripts/setup.sh leaves this mark where the distribution has no browser to install.
    if (pathlib.Path(__file__).parents[2] / "build" / "no-browser").exists():
        pytest.skip("this distribution has no browser that apt installs")
    with driver.chromium() as running:
        yield running


@pytest.fixture(scope="session")
def fill():
    """content.fill, with a client that fails at once instead of trying for minutes."""
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Imported late: mlflow takes seconds.
    from . import content

    yield content.fill
    patch.undo()


@pytest.fixture(scope="session")
def up_url(tmp_path_factory):
    """`millrace up` of its own, so that the lists hold what was put there; it finds the UI by the active environment."""
    given = os.environ.get("MILLRACE_TEST_TRACKING")
    if given:
        yield given.rstrip("/")
        return
    with harness.launch_platform(tmp_path_factory.mktemp("ui-up"), env={"VIRTUAL_ENV": sys.prefix}) as platform:
        yield platform.tracking_url


@pytest.fixture(scope="session")
def prefixed_url(tmp_path_factory, ui_folder):
    """`millrace tracking --static-prefix /mlflow`, with the folder of the UI given."""
    folder = tmp_path_factory.mktemp("ui-prefix")
    with harness.launch_tracking(folder, "--mlflow-ui", ui_folder, static_prefix="/mlflow") as process:
        yield process.url


@pytest.fixture(scope="session")
def up_site(up_url, browser, fill):
    return Site("up", up_url, browser, fill(up_url))


@pytest.fixture(scope="session")
def prefixed_site(prefixed_url, browser, fill):
    return Site("static-prefix", prefixed_url, browser, fill(prefixed_url))
