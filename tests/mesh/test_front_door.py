"""VirtualServices are live at the front door: what kubectl applies routes the next request."""

import json
import re
import sys
import urllib.parse

import harness
import pytest
import requests
from harness import until
from kube.conftest import Cli

from .conftest import documents, service

MANIFEST = harness.shared_dir() / "data" / "seed-manifests" / "04-mlflow-virtualservice.yaml"


@pytest.fixture
def front(millrace):
    def ask(path, host=None, method="GET", **more):
        headers = {**({"Host": host} if host else {}), **more.pop("headers", {})}
        return requests.request(
            method,
            millrace.gateway_url + path,
            headers=headers,
            timeout=20,
            allow_redirects=False,
            **more,
        )

    return ask


def rule(host, *http, name="rule"):
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {
            "gateways": ["kubeflow/kubeflow-gateway"],
            "hosts": [host],
            "http": list(http),
        },
    }


def to(*names, **more):
    share = [{"destination": {"host": n}, **({"weight": w} if w else {})} for n, w in names]
    return {"route": share, **more}


def answered_by(answer):
    return answer.json()["name"] if answer.status_code == 200 else None


@pytest.fixture
def mlflow_rule(kubectl, front):
    kubectl("apply", "-n", "kubeflow", "-f", MANIFEST)
    until(lambda: front("/mlflow/health").status_code == 200, "/mlflow/ leads to tracking")
    yield
    kubectl("delete", "-n", "kubeflow", "-f", MANIFEST)


@pytest.mark.usefixtures("mlflow_rule")
class TestMlflow:
    def test_the_folder_is_found_without_its_slash(self, front):
        answer = front("/mlflow")
        assert (answer.status_code, answer.headers["Location"]) == (301, "/mlflow/")

    def test_api_and_ajax_answer_below_the_prefix(self, front):
        for path in (
            "/mlflow/api/2.0/mlflow/experiments/search",
            "/mlflow/ajax-api/2.0/mlflow/experiments/search",
        ):
            answer = front(path, method="POST", json={"max_results": 5, "filter": "name = 'Default'"})
            assert answer.status_code == 200, answer.text
            assert any(e["name"] == "Default" for e in answer.json()["experiments"])

    def test_the_client_logs_through_it(self, millrace):
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=millrace.gateway_url + "/mlflow")
        run = client.create_run("0")
        client.log_metric(run.info.run_id, "m", 3.5)
        client.set_terminated(run.info.run_id)
        assert client.get_run(run.info.run_id).data.metrics == {"m": 3.5}


@pytest.mark.binary
def test_the_web_page_finds_its_files_below_the_prefix(tmp_path, kubectl_program):
    with harness.launch_platform(tmp_path, env={"VIRTUAL_ENV": sys.prefix}) as platform:
        kubectl = Cli(kubectl_program, tmp_path / "kubeconfig", "kubeflow", tmp_path)
        kubectl("apply", "-f", MANIFEST)
        url = platform.gateway_url + "/mlflow/"
        page = until(
            lambda: "<script" in (r := requests.get(url, timeout=10)).text and r,
            "the page is there",
        )
        files = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page.text)
        assert files
        for name in files:
            path = urllib.parse.urljoin(url, name)
            assert path.startswith(url), name
            assert requests.get(path, timeout=10).status_code == 200, path


def test_without_a_rule_the_program_answers_itself(front):
    assert front("/v2/health/ready").status_code == 200


def test_hosts_paths_headers_and_weights(kubectl, upstream, front, ns):
    a, b = upstream("a"), upstream("b")
    host = f"{ns}.example.com"
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(
            *service("a", a),
            *service("b", b),
            rule(
                host,
                {"match": [{"headers": {"x-version": {"exact": "b"}}}], **to(("b", 0))},
                {
                    "match": [{"uri": {"prefix": "/cut/"}}],
                    "rewrite": {"uri": "/"},
                    **to(("a", 0)),
                },
                {"match": [{"uri": {"exact": "/share"}}], **to(("a", 50), ("b", 50))},
                {
                    "match": [{"uri": {"prefix": "/only"}, "method": {"exact": "POST"}}],
                    **to(("b", 0)),
                },
                {
                    "match": [{"uri": {"prefix": "/go"}}],
                    "redirect": {"uri": "/there", "redirectCode": 302},
                },
                {
                    "match": [{"uri": {"prefix": "/slow"}}],
                    "timeout": "0.3s",
                    **to(("a", 0)),
                },
            ),
        ),
    )
    until(lambda: front("/cut/x", host).status_code == 200, "the rule is live")
    cut = front("/cut/x/y?z=1", host).json()
    assert (cut["name"], cut["path"]) == ("a", "/x/y?z=1")
    assert cut["headers"]["host"] == host
    assert cut["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert answered_by(front("/any", host, headers={"X-Version": "b"})) == "b"
    assert {answered_by(front("/share", host)) for _ in range(60)} == {"a", "b"}
    assert answered_by(front("/only", host, method="POST", data="hello")) == "b"
    assert front("/only", host).status_code == 404
    moved = front("/go/away", host)
    assert (moved.status_code, moved.headers["Location"]) == (
        302,
        f"http://{host}/there",
    )
    late = front("/slow", host)
    assert (late.status_code, late.text) == (504, "upstream request timeout")
    assert front("/cut/x", "other." + host).status_code == 404


def test_a_change_and_an_end_of_a_rule_show(kubectl, upstream, front, ns):
    a, b = upstream("a"), upstream("b")
    host = f"{ns}.example.com"
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(*service("a", a), *service("b", b), rule(host, to(("a", 0)))),
    )
    until(lambda: answered_by(front("/", host)) == "a", "the rule is live")
    kubectl("apply", "-f", "-", input=documents(rule(host, to(("b", 0)))))
    until(lambda: answered_by(front("/", host)) == "b", "the change is live")
    kubectl("delete", "endpoints", "b")
    until(lambda: front("/", host).status_code == 503, "nobody is there")
    assert front("/", host).text == "no healthy upstream"
    kubectl("delete", "virtualservice", "rule")
    until(lambda: front("/", host).status_code == 404, "the rule is gone")


def test_subsets_need_a_destination_rule(kubectl, upstream, front, ns):
    host = f"{ns}.example.com"
    route = {"route": [{"destination": {"host": "a", "subset": "v1"}}]}
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(*service("a", upstream("a")), rule(host, route)),
    )
    until(lambda: front("/", host).status_code == 503, "a subset without a rule is nobody")


def test_a_rule_that_is_not_effective_says_so(kubectl, front, ns):
    lost = rule(f"{ns}.example.com", to(("a", 0)))
    lost["spec"]["gateways"] = ["no-such-gateway"]
    kubectl("apply", "-f", "-", input=documents(lost))

    def condition():
        found = json.loads(kubectl("get", "virtualservice", "rule", "-o", "json"))
        return [c for c in found.get("status", {}).get("conditions", []) if c["type"] == "Reconciled"]

    (told,) = until(condition, "the condition is there")
    assert told["status"] == "False"
    assert "no-such-gateway does not exist" in told["message"]
    until(lambda: "RuleNotEffective" in kubectl("get", "events"), "an event tells it")
