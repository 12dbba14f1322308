"""Who may act through the dashboard: people of this machine, and no pod, whatever it says of itself."""

import time
import urllib.request

import pytest

from pipelines import runs as helpers

pytestmark = pytest.mark.binary

PATHS = [
    "/dashboard/kube/api/v1/namespaces",
    "/dashboard/api/v1/overview",
    "/dashboard/s3/",
    "/dashboard/mlflow/api/2.0/mlflow/experiments/search?max_results=1",
]

PROGRAM = """
import json, sys, urllib.error, urllib.request
answers = []
for url in sys.argv[1:]:
    try:
        answers.append([urllib.request.urlopen(url).status, ""])
    except urllib.error.HTTPError as e:
        answers.append([e.code, e.read().decode()])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def api(millrace):
    return helpers.Api(millrace.gateway_url, millrace.data_dir, millrace.s3_url)


@pytest.mark.parametrize("path", PATHS)
def test_people_of_this_machine(path, millrace):
    with urllib.request.urlopen(millrace.gateway_url + path, timeout=30) as answer:
        assert answer.status == 200


def test_a_pod(api, millrace):
    pods = "/api/v1/namespaces/default/pods"
    urls = [millrace.gateway_url + path for path in PATHS]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "dashboard-caller"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "c",
                    "image": "python:3.11",
                    "command": ["python3", "-c", PROGRAM, *urls],
                }
            ],
        },
    }
    api.kube(pods, "POST", pod)
    try:
        end = time.monotonic() + 60
        while (phase := api.kube(f"{pods}/dashboard-caller")["status"].get("phase")) not in ("Succeeded", "Failed"):
            assert time.monotonic() < end, phase
            time.sleep(0.1)
        answers = api.kube(f"{pods}/dashboard-caller/log")
    finally:
        api.kube(f"{pods}/dashboard-caller", "DELETE")
    assert [code for code, _ in answers] == [403] * len(PATHS), answers
    for _, text in answers:
        assert "a pod asks the APIs with its own account" in text
