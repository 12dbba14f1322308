"""The files of the web UI over plain HTTP: types, caching, and nothing from outside their folder."""

import re

import pytest
import requests

pytestmark = pytest.mark.binary


@pytest.fixture(params=["up_url", "prefixed_url"])
def url(request):
    return request.getfixturevalue(request.param)


def main_script(url):
    page = requests.get(f"{url}/", timeout=10)
    assert page.status_code == 200
    return re.search(r'src="(static-files/static/js/main\.[0-9a-f]+\.js)"', page.text).group(1)


def test_the_start_page_is_asked_for_again_each_time(url):
    page = requests.get(f"{url}/", timeout=10)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    again = requests.get(f"{url}/", headers={"if-none-match": page.headers["etag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


def test_scripts_are_kept_by_the_browser(url, ui_folder):
    script = main_script(url)
    answer = requests.get(f"{url}/{script}", timeout=10)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=2419200"
    assert answer.content == (ui_folder / script.removeprefix("static-files/")).read_bytes()
    again = requests.get(f"{url}/{script}", headers={"if-none-match": answer.headers["etag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


def test_scripts_travel_compressed(url):
    with requests.get(
        f"{url}/{main_script(url)}", headers={"accept-encoding": "gzip"}, stream=True, timeout=10
    ) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in answer.headers["vary"].lower()
        packed = len(answer.raw.read())
    plain = requests.get(f"{url}/{main_script(url)}", headers={"accept-encoding": "identity"}, timeout=10)
    assert "content-encoding" not in plain.headers
    assert packed < len(plain.content) / 2


@pytest.mark.parametrize(
    ("path", "kinds"),
    # Both names of the icon's type are in use.
    [("favicon.ico", {"image/vnd.microsoft.icon", "image/x-icon"}), ("manifest.json", {"application/json"})],
)
def test_other_files(url, ui_folder, path, kinds):
    answer = requests.get(f"{url}/static-files/{path}", timeout=10)
    assert answer.headers["content-type"] in kinds
    assert answer.content == (ui_folder / path).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "static-files/absent.js",
        "static-files/static",
        "static-files/",
        "static-files/../../../version.py",
        "static-files/%2e%2e/%2e%2e/%2e%2e/version.py",
        "static-files/..%2f..%2f..%2fversion.py",
        "static-files/%252e%252e/%252e%252e/%252e%252e/version.py",
        "static-files//etc/passwd",
        "static-files/%2fetc%2fpasswd",
        "static-files/index.html%00.js",
        "index.html",
        "experiments/1",
    ],
)
def test_nothing_else_is_given_out(url, path):
    # Sent as written: requests itself would take the dots away.
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", f"{url}/x"))
        prepared.url = f"{url}/{path}"
        answer = session.send(prepared, timeout=10)
    assert answer.status_code in (400, 404), answer.text[:200]
    assert "VERSION" not in answer.text
    assert "root:" not in answer.text


def test_the_prefix_leads_to_its_page(prefixed_url):
    answer = requests.get(prefixed_url, allow_redirects=False, timeout=10)
    assert answer.status_code == 308
    assert answer.headers["location"].endswith("/mlflow/")
    assert requests.get(prefixed_url, timeout=10).status_code == 200


@pytest.mark.parametrize("path", ["/", "/static-files/favicon.ico", "/graphql", "/ajax-api/3.0/mlflow/server-info"])
def test_nothing_is_outside_of_the_prefix(prefixed_url, path):
    assert requests.get(prefixed_url.removesuffix("/mlflow") + path, timeout=10).status_code == 404
