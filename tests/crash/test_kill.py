"""Nothing lost: the process is killed again and again while eight writers write, and everything that it had answered is
found whole; what it had not answered is there whole or not at all.
"""

import contextlib
import hashlib
import http.client
import json
import random
import signal
import threading
import time
import urllib.parse
from xml.etree import ElementTree

import harness

from objects import sigv4

ROUNDS = 20
BUCKET = "crash"
MIB = 1 << 20
# Dots in names are ElementTree's namespaces, which no check here needs.
NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def content(key, attempt):
    """The bytes of one attempt at a key: of a size and a text of their own, and cheap to make again."""
    rng = random.Random(f"{key}/{attempt}")
    size = rng.choice([24, 100, 4096, 65_537, 300_000])
    block = rng.randbytes(64)
    return (block * (size // 64 + 1))[:size]


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Gone(Exception):
    """The server went away: an answer did not come, or not whole."""


class Api:
    """One thread's kept-alive connections to one life of the platform."""

    def __init__(self, platform):
        self.platform = platform
        self.connections = {}
        self.signer = sigv4.Signer(harness.S3_ACCESS_KEY, harness.S3_SECRET_KEY)

    def _send(self, url, method, target, body, headers):
        host = urllib.parse.urlsplit(url).netloc
        try:
            if host not in self.connections:
                self.connections[host] = http.client.HTTPConnection(host, timeout=20)
            self.connections[host].request(method, target, body, headers)
            answer = self.connections[host].getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as e:
            self.connections.pop(host, None)
            raise Gone(str(e)) from e

    def close(self):
        for connection in self.connections.values():
            connection.close()

    def track(self, path, body=None, **query):
        target = "/api/2.0/mlflow/" + path + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else json.dumps(body)
        status, _, text = self._send(
            self.platform.tracking_url,
            "GET" if body is None else "POST",
            target,
            data,
            {"Content-Type": "application/json"},
        )
        assert status == 200, (path, status, text[:300])
        return json.loads(text)

    def s3(self, method, key="", query=(), body=b""):
        path = f"/{BUCKET}" + (f"/{sigv4.encode(key, keep_slash=True)}" if key else "")
        host = urllib.parse.urlsplit(self.platform.s3_url).netloc
        headers = self.signer.sign(method, path, list(query), {"Host": host}, sha(body))
        target = path + ("?" + "&".join(f"{sigv4.encode(k)}={sigv4.encode(v)}" for k, v in query) if query else "")
        status, headers, data = self._send(self.platform.s3_url, method, target, body, headers)
        assert status in (200, 204), (method, key, status, data[:300])
        return headers, data


class Ledger:
    """What the writers tried and what was answered, over all lives of the server."""

    def __init__(self):
        self.metrics = []  # (run, key, step, value) answered
        self.params = []  # (run, key, value) answered
        self.batches = []  # (run, tag, answered): a tag, metrics and params that stand or fall together
        self.runs = []  # (run id, tag value) answered
        self.versions = []  # (model, version, source) answered
        self.tried = {}  # object key -> {sha256: number of the attempt}
        self.stored = {}  # object key -> number of the last attempt that was answered
        self.lock = threading.Lock()

    def try_object(self, key, attempt, data):
        with self.lock:
            self.tried.setdefault(key, {})[sha(data)] = attempt

    def object_answered(self, key, attempt):
        with self.lock:
            self.stored[key] = attempt


# Each writer: one write of number i in round r, which is in the ledger once it is answered.


def write_metric(api, book, run, r, i):
    metric = {"run_id": run, "key": "loss", "value": i * 100 + r, "timestamp": 1_700_000_000_000 + i, "step": i}
    api.track("runs/log-metric", metric)
    book.metrics.append((run, "loss", i, metric["value"]))


def write_param(api, book, run, r, i):
    api.track("runs/log-parameter", {"run_id": run, "key": f"p{i}", "value": f"{r}/{i}"})
    book.params.append((run, f"p{i}", f"{r}/{i}"))


def write_batch(api, book, run, r, i):
    body = {
        "run_id": run,
        "metrics": [{"key": f"b{i}.{k}", "value": k, "timestamp": 1, "step": 0} for k in range(20)],
        "params": [{"key": f"b{i}.{k}", "value": "x" * 100} for k in range(5)],
        "tags": [{"key": f"b{i}", "value": str(r)}],
    }
    entry = [run, f"b{i}", False]
    book.batches.append(entry)
    api.track("runs/log-batch", body)
    entry[2] = True


def write_run(api, book, run, r, i):
    body = {
        "experiment_id": "0",
        "run_name": f"r{r}-{i}",
        "start_time": 1,
        "tags": [{"key": "mark", "value": f"{r}/{i}"}],
    }
    answer = api.track("runs/create", body)
    book.runs.append((answer["run"]["info"]["run_id"], f"{r}/{i}"))


def write_version(api, book, run, r, i):
    source = f"mlflow-artifacts:/0/{run}/artifacts/model-{i}"
    answer = api.track("model-versions/create", {"name": "crash-model", "source": source, "run_id": run})
    book.versions.append(("crash-model", answer["model_version"]["version"], source))


def put(api, book, key, attempt):
    data = content(key, attempt)
    book.try_object(key, attempt, data)
    api.s3("PUT", key, body=data)
    book.object_answered(key, attempt)


def write_object(api, book, run, r, i):
    put(api, book, f"new/{r}/{i}", 0)


def write_over_object(api, book, run, r, i):
    put(api, book, f"over/{i % 3}", r * 100_000 + i)


def write_multipart(api, book, run, r, i):
    key = f"parts/{r}/{i}"
    parts = [bytes([65 + i % 26]) * (5 * MIB), content(key, 1) + b"end"]
    book.try_object(key, 0, b"".join(parts))
    _, made = api.s3("POST", key, [("uploads", "")])
    upload = ElementTree.fromstring(made).findtext(NS + "UploadId")
    tags = []
    for number, data in enumerate(parts, 1):
        headers, _ = api.s3("PUT", key, [("partNumber", str(number)), ("uploadId", upload)], data)
        tags.append(headers["ETag"])
    xml = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{t}</ETag></Part>" for n, t in enumerate(tags, 1))
    _, done = api.s3(
        "POST", key, [("uploadId", upload)], f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode()
    )
    assert b"<Error>" not in done, done
    book.object_answered(key, 0)


WRITERS = [
    write_metric,
    write_param,
    write_batch,
    write_run,
    write_version,
    write_object,
    write_over_object,
    write_multipart,
]


def write_until_gone(writer, platform, book, run, r, failures):
    api = Api(platform)
    try:
        i = 0
        while True:
            writer(api, book, run, r, i)
            i += 1
    except Gone:
        pass
    except BaseException as e:  # a wrong answer: the test must fail, not the thread alone
        failures.append((writer.__name__, repr(e)))
    finally:
        api.close()


# ---- what must be there ----


def check_tracking(api, book):
    runs = {}

    def run_data(run):
        if run not in runs:
            data = api.track("runs/get", run_id=run)["run"]["data"]
            runs[run] = {
                kind: {e["key"]: e["value"] for e in data.get(kind, [])} for kind in ("params", "tags", "metrics")
            }
        return runs[run]

    histories = {}
    for run, key, step, value in book.metrics:
        if (run, key) not in histories:
            points = api.track("metrics/get-history", run_id=run, metric_key=key, max_results=25000)["metrics"]
            histories[run, key] = {(int(p.get("step", 0)), p["value"]) for p in points}
        assert (step, value) in histories[run, key], f"lost metric {key} of {run} at step {step}"
    for run, key, value in book.params:
        assert run_data(run)["params"].get(key) == value, f"lost param {key} of {run}"
    for run, tag, answered in book.batches:
        data = run_data(run)
        present = [tag in data["tags"]]
        present += [f"{tag}.{k}" in data["metrics"] for k in range(20)]
        present += [f"{tag}.{k}" in data["params"] for k in range(5)]
        assert len(set(present)) == 1, f"half a batch {tag} of {run}: {present}"
        assert present[0] or not answered, f"lost batch {tag} of {run}"
    for run, mark in book.runs:
        assert run_data(run)["tags"]["mark"] == mark, f"lost run {run}"
    for model, version, source in book.versions:
        found = api.track("model-versions/get", name=model, version=version)["model_version"]
        assert found["source"] == source, f"version {version} of {model} is another"


def list_keys(api):
    keys, token = [], None
    while True:
        query = [("list-type", "2")] + ([("continuation-token", token)] if token else [])
        root = ElementTree.fromstring(api.s3("GET", query=query)[1])
        keys += [e.findtext(NS + "Key") for e in root.findall(NS + "Contents")]
        token = root.findtext(NS + "NextContinuationToken")
        if not token:
            return keys


def check_objects(api, book, only_round=None):
    """Every object that shows is one whole attempt, and never older than the last answered one."""
    listed = set(list_keys(api))
    assert set(book.stored) <= listed, f"lost objects {sorted(set(book.stored) - listed)[:5]}"
    for key in listed:
        if only_round is not None and not key.startswith((f"new/{only_round}/", f"parts/{only_round}/", "over/")):
            continue
        headers, data = api.s3("GET", key)
        assert int(headers["Content-Length"]) == len(data)
        attempt = book.tried.get(key, {}).get(sha(data))
        assert attempt is not None, f"{key} holds {len(data)} bytes that nobody wrote"
        assert attempt >= book.stored.get(key, -1), f"{key} holds what was replaced"


def fresh(book, done):
    """A ledger of what came since the lengths in `done`."""
    part = Ledger()
    for name in ("metrics", "params", "batches", "runs", "versions"):
        setattr(part, name, getattr(book, name)[done.get(name, 0) :])
        done[name] = len(getattr(book, name))
    return part


def test_nothing_answered_is_lost(tmp_path):
    rng = random.Random()
    book, done, failures = Ledger(), {}, []
    written = 0

    for r in range(ROUNDS):
        if r % 5 == 4:
            # A crash in the middle of starting must not hurt what is there either.
            with harness.launch(
                ["up", "--data", tmp_path / "data", "--port-offset", harness.free_port_offset()]
            ) as starting:
                time.sleep(rng.uniform(0, 0.08))
                starting.popen.send_signal(signal.SIGKILL)
                starting.wait()
        with harness.launch_platform(tmp_path / "data") as platform:
            with contextlib.closing(Api(platform)) as api:
                if r == 0:
                    api.s3("PUT")
                    api.track("registered-models/create", {"name": "crash-model"})
                else:
                    check_tracking(api, fresh(book, done))
                    check_objects(api, book, only_round=r - 1)
                run = api.track("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
            threads = [
                threading.Thread(target=write_until_gone, args=(writer, platform, book, run, r, failures))
                for writer in WRITERS
            ]
            for t in threads:
                t.start()
            time.sleep(rng.uniform(0.1, 0.7))
            assert platform.proc.returncode is None, platform.proc.describe()
            platform.proc.popen.send_signal(signal.SIGKILL)
            for t in threads:
                t.join(30)
                assert not t.is_alive()
            assert not failures, failures

    with harness.launch_platform(tmp_path / "data") as platform, contextlib.closing(Api(platform)) as api:
        check_tracking(api, book)
        check_objects(api, book)

    # The test is only worth its name if every writer had something answered, and if enough was under way.
    assert all([book.metrics, book.params, book.runs, book.versions, book.stored])
    assert any(answered for _, _, answered in book.batches)
    assert any(key.startswith("parts/") for key in book.stored)
    written = (
        len(book.metrics) + len(book.params) + len(book.batches) + len(book.runs) + len(book.versions) + len(book.tried)
    )
    assert written > 20 * ROUNDS, written
