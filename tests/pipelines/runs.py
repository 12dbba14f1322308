"""Submitting runs and looking at what became of them, by the SDK and by REST."""

import base64
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import harness
import pytest
import yaml
from kfp import compiler

NAMESPACE = "kubeflow"  # where runs of a request that names none have their pods
FINAL = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}


def compiled(function, folder):
    """The package of a pipeline or component function, as the SDK writes it."""
    path = folder / "package.yaml"
    compiler.Compiler().compile(function, str(path))
    return path


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def processes(text):
    """Command lines of this machine's processes that hold `text`, apart from those that look for it."""
    out = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in out.splitlines() if text in line and not line.startswith("Z")]


class Api:
    """JSON over HTTP: the pipelines API at `base`, and the Kubernetes API by the platform's kubeconfig."""

    def __init__(self, base, data_dir, s3_url):
        self.base = base.rstrip("/")
        self.data_dir = data_dir
        self.s3 = boto3.client(
            "s3",
            endpoint_url=s3_url,
            aws_access_key_id=harness.S3_ACCESS_KEY,
            aws_secret_access_key=harness.S3_SECRET_KEY,
            region_name="us-east-1",
        )
        self._kube = None

    def call(self, method, path, body=None, raw=False):
        """(status, answer) of a request; `path` begins after /apis/v2beta1 unless it names an API itself."""
        prefix = "" if path.startswith("/apis/") else "/apis/v2beta1"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + prefix + path,
            data=data,
            method=method,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                content = answer.read()
                return answer.status, content if raw else json.loads(content or b"{}")
        except urllib.error.HTTPError as e:
            content = e.read()
            try:
                return e.code, json.loads(content)
            except ValueError:
                return e.code, {"message": content.decode(errors="replace")}

    def get(self, path):
        status, answer = self.call("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    def create_run(self, spec, parameters=None, name="run"):
        return self.call(
            "POST",
            "/runs",
            {
                "display_name": name,
                "pipeline_spec": spec,
                "runtime_config": {"parameters": parameters or {}},
            },
        )

    def run(self, spec, parameters=None, name="run"):
        status, answer = self.create_run(spec, parameters, name)
        assert status == 200, answer
        return Run(self, answer["run_id"])

    def kube(self, path, method="GET", body=None):
        """An answer of the Kubernetes API."""
        if self._kube is None:
            config = yaml.safe_load((self.data_dir / "kubeconfig").read_text())
            cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
            context = ssl.create_default_context(
                cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
            )
            pem = self.data_dir / "test-client.pem"
            pem.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            context.load_cert_chain(pem)
            self._kube = (cluster["server"], context)
        server, context = self._kube
        request = urllib.request.Request(
            server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="session")
def api(platform_url, millrace):
    return Api(platform_url, millrace.data_dir, millrace.s3_url)


class Run:
    """A run that was submitted. `api` is its last state as the API gave it."""

    def __init__(self, api, run_id):
        self._api = api
        self.id = run_id
        self.api = {}

    def refresh(self):
        self.api = self._api.get(f"/runs/{self.id}")
        return self

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        pause = 0.02
        while self.refresh().api["state"] not in FINAL:
            assert time.monotonic() < end, f"never over: {self.describe()}"
            time.sleep(pause)
            pause = min(pause * 1.3, 0.3)
        return self

    @property
    def state(self):
        return self.api["state"]

    def until(self, predicate, seconds=30):
        end = time.monotonic() + seconds
        while not predicate(self.refresh()):
            assert time.monotonic() < end, f"never so: {self.describe()}"
            time.sleep(0.03)

    def tasks(self):
        """Details of the run's tasks by their path, asked for anew; the root is left out."""
        answer = self._api.get(f"/runs/{self.id}/tasks")
        return {t["more"]["path"]: t for t in answer["tasks"] if t["more"].get("path")}

    def states(self):
        return {path: d["state"] for path, d in self.tasks().items()}

    def log(self, path):
        node = urllib.parse.quote(path, safe="")
        status, content = self._api.call("GET", f"/apis/v1alpha1/runs/{self.id}/nodes/{node}/log", raw=True)
        assert status == 200, (path, status, content)
        return content.decode(errors="replace")

    def artifacts(self, path, name, side="outputs"):
        """The artifacts of one output (or input) of a task."""
        ids = self.tasks()[path].get(side, {}).get(name, {}).get("artifact_ids", [])
        return [self._api.get(f"/artifacts/{i}") for i in ids]

    def read(self, path, name):
        """The content of an output artifact that is one file."""
        (artifact,) = self.artifacts(path, name)
        bucket, _, key = artifact["uri"].removeprefix("s3://").partition("/")
        return self._api.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()

    def error(self, path=""):
        """The text of a task's error; of the run itself where no path is given."""
        of = self.tasks()[path] if path else self.api
        return of.get("error", {}).get("message", "")

    def pod(self, path):
        return self._api.kube(f"/api/v1/namespaces/{NAMESPACE}/pods/{self.tasks()[path]['pod_name']}")

    def kube(self, path):
        return self._api.kube(path)

    def describe(self):
        lines = [f"run {self.id} {self.api.get('state')} {self.api.get('error', '')}"]
        for path, d in self.tasks().items():
            lines.append(f"  {path}: {d['state']} {d.get('error', '')}")
        return "\n".join(lines)
