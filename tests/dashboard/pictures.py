"""The pictures of the dashboard in README.md, taken anew: `.venv/bin/python -m tests.dashboard.pictures`.

They show the platform that the tests fill, so a change of the pages is seen in them by one command.
"""

import base64
import math
import pathlib
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import harness

from . import content
from .conftest import NAMESPACE, Site, _driver

IMAGES = harness.REPO_ROOT / "docs" / "images"


def pages(c):
    """Of each picture: the address, a text that is there when all is drawn, and how high it is."""
    runs = ",".join(c.runs)
    marked = "&brush=0.500%201.000%20metrics.accuracy"
    return {
        "pipeline-run": (f"/pipelines/runs/{c.pipeline_run}?task=split", "splitting 250 rows", 900),
        "compare": (f"/experiments/{c.experiment_id}/compare?runs={runs}&tab=parallel{marked}", "pass through", 760),
        "endpoint": (f"/endpoints/{NAMESPACE}/{c.endpoint}", "Ask it from a shell", 860),
    }


def ask(site, stop):
    """Requests to the endpoint, now more and now fewer of them."""
    body = {
        "inputs": [
            {"name": n, "datatype": "FP64", "shape": [2, 1], "data": [v, 50]} for n, v in (("age", 20), ("balance", 1))
        ]
    }
    begin = time.monotonic()
    while not stop.is_set():
        name = site.content.endpoint
        site.api(f"/serving/{NAMESPACE}/{name}/v2/models/{name}/infer", method="POST", body=body)
        time.sleep(0.02 + 0.015 * math.sin((time.monotonic() - begin) / 4))


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        with harness.launch_platform(work / "up") as platform, _driver().chromium() as browser:
            site = Site(platform.gateway_url, browser, platform, content.fill(platform, work))
            IMAGES.mkdir(exist_ok=True)
            for name, (path, text, height) in pages(site.content).items():
                site.width(1400, height)
                site.open(path, text)
                site.until("!document.querySelector('.skeleton')", "everything is loaded")
                stop = threading.Event()
                if name == "endpoint":
                    threading.Thread(target=ask, args=(site, stop), daemon=True).start()
                browser.listen(40 if name == "endpoint" else 2)  # charts have some points then
                stop.set()
                shot = browser._call("Page.captureScreenshot", format="webp", quality=82)["data"]
                (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(shot))
                print(f"{name}.webp", (IMAGES / f"{name}.webp").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
