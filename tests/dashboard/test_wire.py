"""The dashboard's addresses over plain HTTP: what is served, how it is kept, what is refused."""

import gzip
import re

import pytest
import requests

FIRST_LOAD = 90_000
ALL = 300_000


@pytest.fixture(scope="module")
def url(filled):
    return filled[0].gateway_url


def assets(url):
    """Every file of the pages, found by following names from the start page, packed."""
    page = requests.get(url + "/", timeout=10)
    seen = {}
    todo = set(re.findall(r"/dashboard/(assets/[\w.-]+)", page.text))
    first = set(todo)
    while todo:
        name = todo.pop()
        answer = requests.get(f"{url}/dashboard/{name}", timeout=10)
        assert answer.status_code == 200, name
        seen[name] = len(gzip.compress(answer.content, 9))
        todo |= {
            f"assets/{n}" for n in re.findall(r"(?:assets|\.)/([\w-]+-[\w-]{8}\.(?:js|css|svg))", answer.text)
        } - set(seen)
    return len(gzip.compress(page.content, 9)), first, seen


def test_the_pages_are_small(url):
    page, first, every = assets(url)
    assert len(every) > 10
    assert page + sum(every[n] for n in first) < FIRST_LOAD
    assert page + sum(every.values()) < ALL


def test_files_are_kept_for_ever_and_the_page_is_not(url):
    page = requests.get(url + "/", timeout=10)
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = requests.get(url + "/", headers={"if-none-match": page.headers["etag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")
    script = re.search(r'src="(/dashboard/assets/[^"]+\.js)"', page.text).group(1)
    answer = requests.get(url + script, headers={"accept-encoding": "gzip"}, timeout=10)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    plain = requests.get(url + script, headers={"accept-encoding": "identity"}, timeout=10)
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content


def test_every_page_has_an_address_and_apis_keep_theirs(url):
    html = {"accept": "text/html"}
    for path in ("/pipelines", "/experiments/1", "/models/x", "/endpoints", "/objects/a/b", "/resources"):
        answer = requests.get(url + path, headers=html, timeout=10)
        assert (answer.status_code, 'id="app"' in answer.text) == (200, True), path
    assert requests.get(url + "/apis/v2beta1/healthz", headers=html, timeout=10).json()["multi_user"] is False
    assert requests.get(url + "/v2/health/live", headers=html, timeout=10).status_code == 200
    assert requests.get(url + "/nothing", headers=html, timeout=10).status_code == 404
    assert requests.get(url + "/", headers={**html, "host": "x.example.com"}, timeout=10).status_code == 404
    assert requests.get(url + "/dashboard/assets/none.js", timeout=10).status_code == 404
    assert requests.get(url + "/readyz", timeout=10).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_sites_reach_no_data(url, headers):
    for path in ("/dashboard/api/v1/overview", "/dashboard/kube/api/v1/pods", "/dashboard/s3/mlpipeline"):
        assert requests.get(url + path, headers=headers, timeout=10).status_code == 403, path
    body = {"metadata": {"name": "made-by-another-site"}}
    made = requests.post(
        url + "/dashboard/kube/api/v1/namespaces/default/configmaps", json=body, headers=headers, timeout=10
    )
    assert made.status_code == 403


def test_secrets_keep_their_values(url):
    kube = url + "/dashboard/kube"
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert requests.get(f"{kube}/api/v1/secrets", timeout=10).status_code == 403
    assert requests.get(f"{kube}/api/v1/secrets?includeObject=None", timeout=10).status_code == 403
    names = requests.get(f"{kube}/api/v1/secrets?includeObject=None", headers={"accept": table}, timeout=10)
    assert (names.status_code, names.json()["kind"]) == (200, "Table")
    assert requests.get(f"{kube}/api/v1/%73ecrets", timeout=10).status_code == 403
    made = requests.post(f"{kube}/apis/rbac.authorization.k8s.io/v1/clusterroles", json={}, timeout=10)
    assert made.status_code == 403
    assert "kubectl" in made.json()["message"]


def test_the_role_of_the_pages_may_be_narrowed(url):
    role = requests.get(
        f"{url}/dashboard/kube/apis/rbac.authorization.k8s.io/v1/clusterroles/millrace-dashboard", timeout=10
    )
    assert role.status_code == 200
    assert role.json()["rules"]


def test_stored_files_are_boxed_in(filled):
    platform, c = filled
    path = f"/dashboard/mlflow/get-artifact?run_uuid={c.best}&path=report.html"
    saved = requests.get(platform.gateway_url + path, timeout=10)
    assert saved.headers["content-disposition"].startswith("attachment")
    shown = requests.get(platform.gateway_url + path + "&inline=1", timeout=10)
    assert "content-disposition" not in shown.headers
    assert shown.headers["content-type"].startswith("text/html")
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    assert shown.headers["x-content-type-options"] == "nosniff"


def test_changes_are_streamed(filled):
    platform, c = filled
    with requests.get(
        platform.gateway_url + "/dashboard/api/v1/live?topics=tracking,pipelines", stream=True, timeout=60
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event:")) == "event: ready"
        requests.post(
            platform.tracking_url + "/api/2.0/mlflow/experiments/set-experiment-tag",
            json={"experiment_id": c.experiment_id, "key": "seen", "value": "yes"},
            timeout=10,
        )
        assert next(line for line in lines if line.startswith("event:")) == "event: changed"
        assert next(lines) == "data: tracking"


def test_what_the_pages_are_made_of_is_told(url):
    answer = requests.get(url + "/dashboard/assets/licences.txt", timeout=10)
    assert answer.headers["content-type"].startswith("text/plain")
    for name in ("preact ", "uplot ", "@dagrejs/dagre ", "@codemirror/view ", "Permission is hereby granted"):
        assert name in answer.text, name
