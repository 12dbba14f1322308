"""The seed document, walked from "Configure MySQL Database" to "Expected Response" and its "Useful Commands".

The commands are the document's own, byte for byte, run by the real kubectl, helm, mysql and curl against one
`millrace up --mysql`; the manifests are used unchanged. Only the Helm step takes the project's chart instead of one
from the internet. Steps depend on each other, as they do for a reader: they stand in one module, in order.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
import botocore.exceptions
import harness
import pytest
from kube.conftest import find_program

DATA = harness.shared_dir() / "data"
MANIFESTS = DATA / "seed-manifests"
USER_NAMESPACE = "kubeflow-user-example-com"
UUID4 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")

pytestmark = [pytest.mark.slow, pytest.mark.binary]


class Walk:
    """A reader's shell: PATH with the real tools, KUBECONFIG from `millrace kubeconfig`."""

    def __init__(self, platform, home):
        self.platform = platform
        self.tools = home / "bin"
        self.tools.mkdir()
        for name, version in (("kubectl", (1, 28)), ("helm", (3, 0))):
            (self.tools / name).symlink_to(find_program(name, version))
        kubeconfig = harness.run_once(["kubeconfig", "--data", platform.data_dir]).stdout.strip()
        assert pathlib.Path(kubeconfig).is_file()
        self.env = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "HOME": str(home),
            "KUBECONFIG": kubeconfig,
            "LANG": "C.UTF-8",
        }

    def run(self, command, *, input=None, timeout=60, check=True):
        """A command line of the document."""
        done = subprocess.run(
            shlex.split(command.replace("\\\n", " ")),
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.env,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def apply(self, file, *more):
        return self.run(shlex.join(["kubectl", "apply", "-f", str(MANIFESTS / file), *more]))

    @contextlib.contextmanager
    def background(self, command, port):
        """A port-forward of the document: runs until the block ends, once its port takes connections."""
        assert port_is_free(port), f"the document's port {port} is taken on this machine"
        process = subprocess.Popen(
            shlex.split(command), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            first = process.stdout.readline()
            assert re.match(rf"Forwarding from 127\.0\.0\.1:{port} -> \d+", first), first + process.stderr.read()
            yield process
        finally:
            process.terminate()
            process.wait(10)


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def from_document(heading, language="bash"):
    """The first block of code under a heading of the document."""
    text = (DATA / "seed.md").read_text()
    section = text[text.index(heading) :]
    return re.search(rf"```{language}\n(.*?)```", section, re.DOTALL).group(1)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    data = tmp_path_factory.mktemp("seed-data")
    home = tmp_path_factory.mktemp("seed-home")
    # MLflow's web UI is taken from the Python environment that has the mlflow package.
    with harness.launch_platform(data, "--mysql", env={"VIRTUAL_ENV": sys.prefix}) as platform:
        yield Walk(platform, home)


def test_01_mysql_takes_the_documents_sql(walk):
    walk.run("kubectl wait pod -n kubeflow -l app=mysql --for=condition=Ready --timeout=120s", timeout=130)
    with walk.background("kubectl port-forward svc/mysql -n kubeflow 3306:3306", 3306):
        sql = from_document("Execute the following SQL commands", "sql")
        assert sql.strip() == (MANIFESTS / "11-mlflow-database.sql").read_text().strip()
        walk.run("mysql -h 127.0.0.1 -u root", input=sql)
        shown = walk.run("mysql -h 127.0.0.1 -u root -N -e 'SHOW DATABASES'").stdout.split()
        assert "mlflow" in shown
        # The new user works with its password, and only with it.
        mine = walk.run("mysql -h 127.0.0.1 -u mlflow_user -pmlflow_password123 mlflow -N -e 'SELECT CURRENT_USER()'")
        assert mine.stdout.strip() == "mlflow_user@%"
        wrong = walk.run("mysql -h 127.0.0.1 -u mlflow_user -pwrong mlflow -e 'SELECT 1'", check=False)
        assert wrong.returncode != 0 and "Access denied" in wrong.stderr


def test_02_minio_has_the_bucket(walk):
    with walk.background("kubectl port-forward svc/minio-service -n kubeflow 9000:9000", 9000):
        s3 = boto3.client(
            "s3",
            endpoint_url="http://localhost:9000",
            aws_access_key_id="minio",
            aws_secret_access_key="minio123",
            region_name="us-east-1",
        )
        # The platform has made it already; creating it again is what the reader does.
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket="mlflow-artifacts")
        assert "mlflow-artifacts" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
        with pytest.raises(botocore.exceptions.ClientError):
            s3.head_bucket(Bucket="another")


def test_03_helm_installs_mlflow(walk):
    command = (MANIFESTS / "14-helm-install.sh").read_text()
    assert command.strip() == from_document("2. **Install MLflow**").strip()
    chart = harness.REPO_ROOT / "charts" / "mlflow"
    done = walk.run(command.replace("community-charts/mlflow", str(chart)), timeout=120)
    assert "STATUS: deployed" in done.stdout
    listed = json.loads(walk.run("helm list -n kubeflow -o json").stdout)
    assert [(r["name"], r["status"]) for r in listed] == [("mlflow", "deployed")]
    walk.run("kubectl rollout status deployment/mlflow -n kubeflow --timeout=60s", timeout=70)


def test_04_policies_are_taken_and_said_to_be_unenforced(walk):
    done = walk.apply("01-mysql-authorizationpolicy-destinationrule.yaml")
    assert done.stdout.splitlines() == [
        "authorizationpolicy.security.istio.io/mysql created",
        "destinationrule.networking.istio.io/ml-pipeline-mysql created",
    ]
    assert "Warning:" in done.stderr and "not enforced" in done.stderr
    assert walk.apply("02-mlflow-networkpolicy.yaml").stdout == (
        "networkpolicy.networking.k8s.io/mlflow-allow-ingress created\n"
    )
    done = walk.apply("03-mlflow-authorizationpolicy.yaml")
    assert done.stdout == "authorizationpolicy.security.istio.io/allow-mlflow-all-sources created\n"
    assert "PATCH" in done.stderr, "the list of methods leaves out one that the registry uses"
    # A condition says it to those who look later.
    walk.run(
        "kubectl wait authorizationpolicy/mysql -n kubeflow --for=condition=Enforced=False --timeout=20s", timeout=30
    )
    # Applied again, nothing changes.
    assert walk.apply("02-mlflow-networkpolicy.yaml").stdout == (
        "networkpolicy.networking.k8s.io/mlflow-allow-ingress unchanged\n"
    )


def test_05_the_virtual_service_opens_mlflow(walk):
    assert walk.apply("04-mlflow-virtualservice.yaml").stdout == "virtualservice.networking.istio.io/mlflow created\n"
    base = walk.platform.gateway_url
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"{base}/mlflow/health", timeout=5) as answer:
                assert answer.read() == b"OK"
            break
        except OSError:
            assert time.monotonic() < deadline, "the route did not open"
            time.sleep(0.1)
    request = urllib.request.Request(
        f"{base}/mlflow/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 10}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert [e["name"] for e in json.load(answer)["experiments"]] == ["Default"]
    with urllib.request.urlopen(f"{base}/mlflow/", timeout=10) as answer:
        page = answer.read().decode()
    assert "<title>MLflow</title>" in page
    # The page's own scripts are there under the prefix.
    script = re.search(r'src="(?:\./)?(static-files/[^"]+\.js)"', page).group(1)
    with urllib.request.urlopen(f"{base}/mlflow/{script}", timeout=10) as answer:
        assert answer.status == 200 and len(answer.read()) > 1000


def test_06_the_dashboard_takes_the_menu_entry(walk):
    item = json.loads((MANIFESTS / "05-dashboard-menu-item.json").read_text())
    get = "kubectl get configmap centraldashboard-config -n kubeflow -o json"
    links = json.loads(json.loads(walk.run(get).stdout)["data"]["links"])
    links["menuLinks"].append(item)
    patch = json.dumps({"data": {"links": json.dumps(links)}})
    walk.run(
        shlex.join(
            ["kubectl", "patch", "configmap", "centraldashboard-config", "-n", "kubeflow", "--type=merge", "-p", patch]
        )
    )
    links = json.loads(json.loads(walk.run(get).stdout)["data"]["links"])
    assert item in links["menuLinks"]


def test_07_notebooks_may_use_pipelines(walk):
    assert walk.apply("06-poddefault.yaml").stdout == "poddefault.kubeflow.org/access-ml-pipeline created\n"
    assert walk.apply("07-rolebinding.yaml").stdout == (
        "rolebinding.rbac.authorization.k8s.io/allow-kubeflow-user-example-com-kubeflow-edit created\n"
    )
    who = f"system:serviceaccount:{USER_NAMESPACE}:default-editor"

    def may(verb, group, resource, namespace):
        """As the pipelines' API server asks it of the cluster."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": who,
                "resourceAttributes": {"namespace": namespace, "verb": verb, "group": group, "resource": resource},
            },
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        answer = walk.run(f"kubectl create --raw {path} -f -", input=json.dumps(review)).stdout
        return json.loads(answer)["status"]["allowed"]

    assert may("create", "pipelines.kubeflow.org", "runs", "kubeflow")
    assert not may("create", "pipelines.kubeflow.org", "runs", "default")
    assert not may("get", "", "secrets", "kube-system")
    assert walk.run(f"kubectl auth can-i create pods -n kubeflow --as {who}").stdout == "yes\n"
    refused = walk.run(f"kubectl auth can-i get secrets -n kube-system --as {who}", check=False)
    assert refused.stdout == "no\n" and refused.returncode == 1


def test_08_the_model_is_served(walk):
    assert walk.apply("08-minio-secret.yaml").stdout == "secret/minio-kserve-secret created\n"
    assert walk.apply("09-serviceaccount.yaml").stdout == "serviceaccount/sa-minio-kserve created\n"
    # The artifact path that the document's InferenceService names.
    manifest = (MANIFESTS / "10-inferenceservice.yaml").read_text()
    bucket, prefix = re.search(r's3://([^/]+)/([^"]+)"', manifest).groups()
    s3 = boto3.client(
        "s3",
        endpoint_url=walk.platform.s3_url,
        aws_access_key_id="minio",
        aws_secret_access_key="minio123",
        region_name="us-east-1",
    )
    model = DATA / "models" / "vector-models" / "bankchurn-model" / "model"
    for path in sorted(p for p in model.rglob("*") if p.is_file()):
        s3.upload_file(str(path), bucket, prefix + str(path.relative_to(model)))
    # It names no namespace: the context's is taken.
    assert walk.apply("10-inferenceservice.yaml").stdout == (
        "inferenceservice.serving.kserve.io/bankchurn-model created\n"
    )
    walk.run(
        f"kubectl wait inferenceservice/bankchurn-model -n {USER_NAMESPACE} --for=condition=Ready --timeout=60s",
        timeout=70,
    )


def test_09_the_expected_response(walk):
    command = from_document("1. **Port Forward KServe Service**").strip()
    assert command == (
        "kubectl port-forward svc/bankchurn-model-predictor-00001-private -n kubeflow-user-example-com 18080:8012"
    )
    with walk.background(command, 18080):
        done = subprocess.run(
            ["sh", str(MANIFESTS / "12-infer-request.sh")],
            capture_output=True,
            text=True,
            timeout=30,
            env=walk.env,
            check=True,
        )
    ours = json.loads(done.stdout)
    theirs = json.loads((MANIFESTS / "13-infer-expected-response.json").read_text())
    assert list(ours) == list(theirs), "the order of the fields is the document's"
    assert UUID4.match(ours.pop("id")) and UUID4.match(theirs.pop("id"))
    assert ours == theirs


def test_10_useful_commands(walk):
    commands = [
        line for line in (MANIFESTS / "15-useful-commands.sh").read_text().splitlines() if line.startswith("kubectl")
    ]
    get_all, logs, get_isvc, watch = commands
    shown = walk.run(get_all).stdout
    for name in (
        "pod/mlflow-",
        "service/mlflow ",
        "deployment.apps/mlflow ",
        "replicaset.apps/mlflow-",
        "service/mysql ",
    ):
        assert name in shown, shown
    assert "Running" in shown
    with urllib.request.urlopen(f"{walk.platform.tracking_url}/version", timeout=5) as answer:
        answer.read()
    time.sleep(0.5)
    assert "/version" in walk.run(logs).stdout
    rows = walk.run(get_isvc).stdout.splitlines()
    assert rows[0].split() == [
        "NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE",
    ]  # fmt: skip
    name, url, ready, latest, revision, _age = rows[1].split()
    assert (name, ready, latest, revision) == ("bankchurn-model", "True", "100", "bankchurn-model-predictor-00001")
    assert url == f"http://bankchurn-model-{USER_NAMESPACE}.example.com"
    process = subprocess.Popen(shlex.split(watch), env=walk.env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().split()[:3] == ["NAME", "READY", "STATUS"]
        walk.run("kubectl create configmap noise -n kubeflow")
        walk.run("kubectl rollout restart deployment/minio -n kubeflow")
        deadline = time.monotonic() + 30
        seen = ""
        while "Terminating" not in seen and "ContainerCreating" not in seen and "Pending" not in seen:
            assert time.monotonic() < deadline, seen
            seen += process.stdout.readline()
    finally:
        process.kill()
        process.wait(10)


def test_11_troubleshooting_commands(walk):
    text = (DATA / "seed.md").read_text()
    section = text[text.index("### Common Issues") : text.index("### Useful Commands")]
    commands = re.findall(r"`(kubectl [^`]+)`", section)
    assert len(commands) == 3
    mysql, minio, logs = (walk.run(c).stdout for c in commands)
    assert mysql.splitlines()[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert mysql.splitlines()[1].split()[0] == "mysql" and "3306/TCP" in mysql
    assert minio.splitlines()[1].split()[0] == "minio-service" and "9000/TCP" in minio
    assert "bankchurn-model" in logs and "/v2/models/bankchurn-model/infer" in logs


def test_12_curl_is_the_real_one(walk):
    """The walk used real programs, not something of the tests' own."""
    for tool in ("kubectl", "helm", "mysql", "curl"):
        assert shutil.which(tool, path=walk.env["PATH"]), tool
