"""The Kubernetes API: kubectl apply and get, lists, watch fan-out, memory; millrace up beside kube-apiserver with etcd.

And how quickly a pod starts, on our side only: an API server without a kubelet runs none.
"""

import base64
import json
import os
import pathlib
import resource
import selectors
import shutil
import socket
import ssl
import statistics
import subprocess
import threading
import time
import urllib.parse

import peers
from servers import MILLRACE_PORTS, BenchError, Server, free_offset, free_port, running

TITLE = "Kubernetes API"
APPLIED = 500
STORED = 10_000
WATCHERS = 100
CHANGES = 200
PODS = 30
# What runs, in which image, and the same program outside of a pod.
PROGRAMS = {
    "python3 -c pass": ("python:3.11", ["python3", "-c", "pass"]),
    "true": ("busybox:1.36", ["true"]),
}
NS = "bench"


class Api:
    """One connection to an API server; a lean client, so that its own work does not hide the server's."""

    def __init__(self, kubeconfig: pathlib.Path):
        import yaml

        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = urllib.parse.urlsplit(cluster["server"])
        folder = kubeconfig.parent
        self.context = ssl.create_default_context(cafile=self._file(folder, cluster, "certificate-authority"))
        self.head = f"Host: {self.host.netloc}\r\nAccept: application/json\r\n"
        if user.get("token"):
            self.head += f"Authorization: Bearer {user['token']}\r\n"
        else:
            certificate = self._file(folder, user, "client-certificate")
            self.context.load_cert_chain(certificate, self._file(folder, user, "client-key"))
        self.link = self.connect()
        self.reader = self.link.makefile("rb")

    @staticmethod
    def _file(folder: pathlib.Path, section: dict, key: str) -> str:
        if key in section:
            return section[key]
        path = folder / f"bench-{key}.pem"
        # Written by the first client of a server only: watchers read it in many threads at once.
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(section[key + "-data"]))
        return str(path)

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self.host.hostname, self.host.port), timeout=120)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain, server_hostname=self.host.hostname)

    def send(self, link, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> None:
        head = f"{method} {path} HTTP/1.1\r\n{self.head}"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        link.sendall(head.encode() + b"\r\n" + body)

    def call(self, method: str, path: str, body: dict | None = None, kind: str = "application/json") -> bytes:
        self.send(self.link, method, path, json.dumps(body).encode() if body is not None else b"", kind)
        status = int(self.reader.readline().split()[1])
        length, chunked = 0, False
        while (line := self.reader.readline().strip()) != b"":
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
            chunked |= name == b"transfer-encoding"
        if chunked:
            parts = []
            while (size := int(self.reader.readline(), 16)) > 0:
                parts.append(self.reader.read(size))
                self.reader.readline()
            self.reader.readline()
            data = b"".join(parts)
        else:
            data = self.reader.read(length)
        if status >= 300:
            raise BenchError(f"{method} {path} was answered {status}: {data[:300].decode(errors='replace')}")
        return data


class Side:
    """A server, how kubectl finds it, and its API."""

    def __init__(self, key: str, servers: list[Server], kubeconfig: pathlib.Path):
        self.key = key
        self.servers = servers
        self.kubeconfig = kubeconfig
        self.api = Api(kubeconfig)

    def cpu(self) -> float:
        return sum(server.cpu() for server in self.servers)

    def memory(self) -> dict:
        found = [server.memory() for server in self.servers]
        return {key: sum(one[key] for one in found) for key in ("rss", "pss", "processes")}

    def kubectl(self, program: str, *args: str, **more) -> subprocess.CompletedProcess:
        home = self.kubeconfig.parent / "home"
        home.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run([program, "-n", NS, *args], capture_output=True, text=True, check=False, env=env, **more)
        if done.returncode:
            raise BenchError(f"kubectl {' '.join(args)} on {self.key}: {done.stderr.strip()[-300:]}")
        return done


def start_millrace(context, folder: pathlib.Path) -> Side:
    offset = free_offset()
    args = [context.binary, "up", "--data", folder / "data", "--port-offset", offset]
    server = Server("millrace", args, folder)
    server.wait_ready(MILLRACE_PORTS["tracking"] + offset, "/readyz")
    return Side("millrace", [server], folder / "data" / "kubeconfig")


def start_real(context, folder: pathlib.Path) -> Side:
    """kube-apiserver and etcd as they come: etcd syncs each write, the API server has its usual caches."""
    folder.mkdir(parents=True)
    port, client, peer = free_port(), free_port(), free_port()
    for command in (
        ["openssl", "genrsa", "-out", "sa.key", "2048"],
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "tls.key", "-out"]
        + ["tls.crt", "-subj", "/CN=kube-apiserver", "-addext", "subjectAltName=IP:127.0.0.1"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "tokens.csv").write_text("bench,admin,admin,system:masters\n")
    kubeconfig = folder / "kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(folder / "tls.crt")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "real",
        "clusters": [{"name": "real", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": "bench"}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
    }
    kubeconfig.write_text(json.dumps(document))
    url = f"http://127.0.0.1:{client}"
    etcd = [context.peers["etcd"].program, "--data-dir", folder / "etcd", "--listen-client-urls", url]
    etcd += ["--advertise-client-urls", url, "--listen-peer-urls", f"http://127.0.0.1:{peer}"]
    api = [context.peers["kube-apiserver"].program, f"--etcd-servers={url}", "--bind-address=127.0.0.1"]
    api += [f"--secure-port={port}", "--tls-cert-file=tls.crt", "--tls-private-key-file=tls.key"]
    api += ["--token-auth-file=tokens.csv", "--anonymous-auth=false", "--authorization-mode=RBAC"]
    api += ["--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key"]
    api += ["--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/16"]
    api += ["--endpoint-reconciler-type=none"]
    servers = [Server("etcd", etcd, folder), Server("kube-apiserver", api, folder)]
    deadline = time.monotonic() + 120
    while True:
        try:
            side = Side("kube-apiserver", servers, kubeconfig)
            side.api.call("GET", "/readyz")
            return side
        except (OSError, BenchError, IndexError, ValueError) as error:
            if time.monotonic() > deadline or any(one.popen.poll() is not None for one in servers):
                for one in servers:
                    one.popen.kill()
                raise BenchError(f"kube-apiserver does not come up: {error}") from error
            time.sleep(0.1)


# ---- the cases -------------------------------------------------------------------------------------------------------


def objects(count: int, kind: str) -> list[dict]:
    """Small objects of the size that manifests have."""
    data = {f"key-{i}": f"a value of a few words, number {i}" for i in range(8)}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{kind}-{i:05}", "namespace": NS, "labels": {"kind": kind, "tenth": str(i % 10)}},
            "data": data,
        }
        for i in range(count)
    ]


def timed(side: Side, work) -> dict:
    cpu, begin = side.cpu(), time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "cpu_s": side.cpu() - cpu}


def fill(side: Side, count: int) -> None:
    """Objects over several connections; how long it takes is no case of its own."""
    todo = objects(count, "stored")
    failures: list[Exception] = []

    def some(part: list[dict]) -> None:
        try:
            api = Api(side.kubeconfig)
            for one in part:
                api.call("POST", f"/api/v1/namespaces/{NS}/configmaps", one)
        except (OSError, BenchError) as error:
            failures.append(error)

    threads = [threading.Thread(target=some, args=(todo[n::8],)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if failures:
        raise BenchError(f"{side.key}: {failures[0]}")


def fan_out(side: Side, watchers: int, changes: int) -> dict:
    """Changes one object and waits until every watcher has seen every change."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    api = side.api
    path = f"/api/v1/namespaces/{NS}/secrets"
    version = json.loads(api.call("GET", path))["metadata"]["resourceVersion"]
    selector = selectors.DefaultSelector()
    for _ in range(watchers):
        link = api.connect()
        api.send(link, "GET", f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=300")
        link.settimeout(0)
        selector.register(link, selectors.EVENT_READ)
    api.call("POST", path, {"metadata": {"name": "flag"}})
    done = threading.Event()
    counts = {"events": 0}

    def read() -> None:
        while counts["events"] < watchers * (changes + 1):
            for key, _ in selector.select(timeout=60):
                try:
                    while data := key.fileobj.recv(1 << 16):
                        counts["events"] += data.count(b'"type":"ADDED"') + data.count(b'"type":"MODIFIED"')
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
        done.set()

    reader = threading.Thread(target=read, daemon=True)
    begin, cpu = time.perf_counter(), side.cpu()
    reader.start()
    for number in range(changes):
        body = {"metadata": {"annotations": {"n": str(number)}}}
        api.call("PATCH", path + "/flag", body, "application/merge-patch+json")
    if not done.wait(120):
        raise BenchError(f"{side.key}: {counts['events']} of {watchers * (changes + 1)} events arrived")
    seconds = time.perf_counter() - begin
    used = side.cpu() - cpu
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    selector.close()
    api.call("DELETE", path + "/flag")
    return {"seconds": seconds, "cpu_s": used, "events": counts["events"]}


def measure(context, side: Side, kubectl: str, manifest: pathlib.Path) -> dict:
    """Every case once. Names of cases are the keys."""
    found = {}
    side.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NS}})
    side.kubectl(kubectl, "get", "configmaps")  # its cache of what the server has
    found[f"kubectl apply, {APPLIED} new objects"] = timed(
        side, lambda: side.kubectl(kubectl, "apply", "-f", str(manifest))
    )
    found[f"kubectl apply, {APPLIED} unchanged"] = timed(
        side, lambda: side.kubectl(kubectl, "apply", "-f", str(manifest))
    )
    found[f"kubectl apply --server-side, {APPLIED}"] = timed(
        side, lambda: side.kubectl(kubectl, "apply", "--server-side", "--force-conflicts", "-f", str(manifest))
    )
    found[f"kubectl get, {APPLIED} objects"] = timed(side, lambda: side.kubectl(kubectl, "get", "configmaps"))
    side.kubectl(kubectl, "delete", "configmaps", "-l", "kind=applied", "--wait=false")
    fill(side, STORED)
    path = f"/api/v1/namespaces/{NS}/configmaps"
    listed = json.loads(side.api.call("GET", path + "?labelSelector=kind%3Dstored"))
    if len(listed["items"]) != STORED:
        raise BenchError(f"{side.key} lists {len(listed['items'])} of {STORED} objects")
    found[f"list of {STORED:,} objects"] = timed(side, lambda: side.api.call("GET", path))
    found[f"list of a tenth of {STORED:,} by label"] = timed(
        side, lambda: side.api.call("GET", path + "?labelSelector=tenth%3D3")
    )
    found["get of one"] = timed(side, lambda: [side.api.call("GET", path + "/stored-00042") for _ in range(500)])
    found["get of one"] = {key: value / 500 for key, value in found["get of one"].items()}
    found[f"{CHANGES} changes to {WATCHERS} watchers"] = fan_out(side, WATCHERS, CHANGES)
    found["memory"] = side.memory()
    return found


# ---- pods ------------------------------------------------------------------------------------------------------------


def watch_pods(side: Side, seen: dict, ready: threading.Event, failures: list) -> None:
    """Notes when each phase of each pod is first seen, until the server ends the watch."""
    path = f"/api/v1/namespaces/{NS}/pods"
    try:
        version = json.loads(side.api.call("GET", path))["metadata"]["resourceVersion"]
        link = side.api.connect()
        side.api.send(link, "GET", f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=600")
        lines = link.makefile("rb")
        while lines.readline().strip():
            pass  # the head of the answer
        ready.set()
        for line in lines:  # an event is a line; the lengths of chunks are lines too
            now = time.perf_counter()
            if line.startswith(b"{"):
                pod = json.loads(line)["object"]
                key = (pod["metadata"]["name"], pod.get("status", {}).get("phase", ""))
                seen.setdefault(key, now)
    except (OSError, BenchError, KeyError, ValueError) as error:
        failures.append(error)
        ready.set()


def pod_starts(side: Side) -> dict:
    """Milliseconds from the POST of a pod until its watch says that it runs and that it is over, of each pod."""
    seen: dict = {}
    failures: list[Exception] = []
    ready = threading.Event()
    threading.Thread(target=watch_pods, args=(side, seen, ready, failures), daemon=True).start()
    ready.wait(30)
    api = Api(side.kubeconfig)
    found = {}
    for number, (name, (image, command)) in enumerate(PROGRAMS.items()):
        running, ended = [], []
        for count in range(PODS + 1):
            pod = f"pod-{number}-{count}"
            container = {"name": "main", "image": image, "command": command}
            document = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": pod, "namespace": NS},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            }
            begin = time.perf_counter()
            api.call("POST", f"/api/v1/namespaces/{NS}/pods", document)
            while (pod, "Succeeded") not in seen:
                if failures or (pod, "Failed") in seen or time.perf_counter() - begin > 120:
                    phases = [phase for one, phase in seen if one == pod]
                    raise BenchError(f"pod {pod} of {image} does not end well: {failures[:1] or phases}")
                time.sleep(0.001)
            over = seen[pod, "Succeeded"]
            if count:  # the first one makes the environment
                running.append((min(seen.get((pod, "Running"), over), over) - begin) * 1e3)
                ended.append((over - begin) * 1e3)
        found[name] = {"image": image, "running_ms": running, "ended_ms": ended, "own_ms": own_time(command)}
    return found


def own_time(command: list[str]) -> list[float]:
    """Milliseconds of the same program started by this one."""
    times = []
    for _ in range(PODS):
        begin = time.perf_counter()
        subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin"})
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def pods(rounds: list[dict]) -> list[dict]:
    out = []
    for name in rounds[0]:
        case = {"name": name, "image": rounds[0][name]["image"], "rounds": [one[name] for one in rounds]}
        for field in ("running_ms", "ended_ms", "own_ms"):
            case[field] = statistics.median(statistics.median(one[name][field]) for one in rounds)
        out.append(case)
    return out


# ---- all of it -------------------------------------------------------------------------------------------------------


def run(context) -> dict:
    context.peers["kube-apiserver"] = peers.kube_apiserver()
    context.peers["etcd"] = peers.etcd()
    kubectl = shutil.which("kubectl") or str(peers.ROOT / "build" / "tools" / "bin" / "kubectl")
    if not os.access(kubectl, os.X_OK):
        raise BenchError("there is no kubectl; run: scripts/setup.sh --test")
    work = context.settings.work / "kube"
    work.mkdir()
    manifest = work / "manifest.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(APPLIED, "applied")}))
    starts = {"millrace": start_millrace}
    if not (context.peers["kube-apiserver"].missing or context.peers["etcd"].missing):
        starts["kube-apiserver"] = start_real
    rounds: dict = {key: [] for key in starts}
    started: list[dict] = []
    for number in range(context.settings.rounds):
        for key, start in starts.items():
            # Each round on an empty folder: what a round left behind must not cost the next.
            side = start(context, work / f"{key}-{number}")
            with running(side.servers):
                rounds[key].append(measure(context, side, kubectl, manifest))
                if key == "millrace":
                    started.append(pod_starts(side))
            shutil.rmtree(work / f"{key}-{number}", ignore_errors=True)
            print(f"  round {number + 1} of {key}: done", flush=True)
    return {"cases": cases(rounds), "memory": memory(rounds), "pods": pods(started)}


def cases(rounds: dict) -> list[dict]:
    out = []
    for name in [name for name in rounds["millrace"][0] if name != "memory"]:
        case = {"name": name, "sides": {}, "ratios": {}}
        for key, runs in rounds.items():
            values = [one[name] for one in runs]
            case["sides"][key] = {
                "ms": statistics.median(one["seconds"] for one in values) * 1e3,
                "cpu_ms": statistics.median(one["cpu_s"] for one in values) * 1e3,
                "rounds": values,
            }
        for key in [key for key in rounds if key != "millrace"]:
            pairs = list(zip(rounds["millrace"], rounds[key]))
            case["ratios"][key] = {
                "time": statistics.median(b[name]["seconds"] / a[name]["seconds"] for a, b in pairs),
                "cpu": statistics.median(b[name]["cpu_s"] / max(a[name]["cpu_s"], 1e-6) for a, b in pairs),
            }
        out.append(case)
    return out


def memory(rounds: dict) -> dict:
    return {
        key: {field: statistics.median(one["memory"][field] for one in runs) for field in ("rss", "pss", "processes")}
        for key, runs in rounds.items()
    }
