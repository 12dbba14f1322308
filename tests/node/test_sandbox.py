"""What a process in a pod sees: files, users, names, Services, its account."""

from kube.record.shapes import service


def test_the_sandbox_has_its_own_view(pods, tmp_path):
    (tmp_path / "secret").write_text("x")
    script = f"""
import os, sys
print(os.path.exists({str(tmp_path)!r}), os.getpid() < 10, os.getcwd())
for p in ("/usr/x", "/etc/passwd2"):
    try:
        open(p, "w").close(); print(p, "written")
    except OSError as e:
        print(p, type(e).__name__)
open("/tmp/mine", "w").close()
status = dict(l.split(":\\t") for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
print("NoNewPrivs", status["NoNewPrivs"].strip())
print("admin", bool(int(status["CapEff"], 16) >> 21 & 1))
"""
    pods.start("view", "python", "-c", script, container={"workingDir": "/work"})
    pods.phase("view", "Succeeded")
    assert pods.logs("view").splitlines() == [
        "False True /work",
        "/usr/x OSError",
        "/etc/passwd2 written",
        "NoNewPrivs 1",
        "admin False",
    ]


def test_user_and_read_only_root(pods):
    pods.start(
        "user",
        "sh",
        "-c",
        "id -u; touch /x || echo no",
        image="busybox",
        container={"securityContext": {"runAsUser": 1234, "readOnlyRootFilesystem": True}},
    )
    pods.phase("user", "Succeeded")
    lines = pods.logs("user").splitlines()
    assert {"1234", "no"} <= set(lines)  # the order of the two streams is nobody's promise


def test_run_as_non_root_refuses_root(pods):
    pods.start(
        "nonroot",
        "true",
        image="busybox",
        spec={"securityContext": {"runAsNonRoot": True}},
    )
    pods.until_event("nonroot", "Failed", "runAsNonRoot")
    assert pods.state("nonroot")["state"]["waiting"]["reason"] == "CreateContainerConfigError"


def test_hosts_hostname_and_service_environment(pods):
    pods.start("names", "sh", "-c", "hostname; cat /etc/hosts; env", image="busybox")
    pod = pods.phase("names", "Succeeded")
    out = pods.logs("names")
    assert out.splitlines()[0] == "names"
    assert f"{pod['status']['podIP']}\tnames" in out
    assert "KUBERNETES_SERVICE_HOST=127.0.0.1" in out


def test_services_of_the_namespace_have_their_short_names(pods):
    pods.apply(
        service("web", [{"port": 80, "targetPort": 8080}], selector={"app": "web"}),
        pods.server("server", meta={"labels": {"app": "web"}}),
    )
    pods.ready("server")
    full = f"web.{pods.kubectl.namespace}.svc.cluster.local"
    script = f"""
import urllib.request, time
for name in ("web", {full!r}):
    for attempt in range(100):
        try:
            print(urllib.request.urlopen("http://" + name, timeout=5).read().decode()); break
        except OSError as e:
            last = e; time.sleep(0.1)
    else:
        print(name, last)
"""
    pods.start("client", "python", "-c", script)
    pods.phase("client", "Succeeded")
    assert pods.logs("client") == "server\nserver\n"


def test_the_service_account_is_mounted_and_works(pods):
    script = """
import json, ssl, os, urllib.request
d = "/var/run/secrets/kubernetes.io/serviceaccount/"
ns = open(d + "namespace").read()
url = "https://%s:%s/api/v1/namespaces/%s" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"], ns)
r = urllib.request.Request(url, headers={"Authorization": "Bearer " + open(d + "token").read()})
try:
    print(urllib.request.urlopen(r, context=ssl.create_default_context(cafile=d + "ca.crt")).status)
except urllib.error.HTTPError as e:
    print(json.load(e)["message"])
print(ns)
"""
    pods.start("account", "python", "-c", script)
    pods.phase("account", "Succeeded")
    first, second = pods.logs("account").splitlines()
    assert second == pods.kubectl.namespace
    assert first == "200" or f"system:serviceaccount:{second}:default" in first


def test_no_token_when_not_wanted(pods):
    pods.start(
        "bare",
        "sh",
        "-c",
        "ls /var/run/secrets/kubernetes.io 2>/dev/null || echo none",
        image="busybox",
        spec={"automountServiceAccountToken": False},
    )
    pods.phase("bare", "Succeeded")
    assert pods.logs("bare") == "none\n"
