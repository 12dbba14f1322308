"""What operators look at: health, readiness, metrics, logs."""

import json
import re
import time

import harness
import pytest

from .raw import ask, get, post, wait_until


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_listener_says_that_it_lives(any_port, path, method):
    assert ask(any_port, get(path, method=method), head=method == "HEAD").status == 200


def test_a_store_that_is_gone_is_alive_and_not_ready(tmp_path):
    """The data folder is moved away: root may write whatever the rights say."""
    data = tmp_path / "data"
    with harness.launch_platform(data) as platform:
        ports = [base + platform.port_offset for base in (harness.PORT_TRACKING, harness.PORT_S3, harness.PORT_GATEWAY)]
        # The node makes folders of the platform's own pods just after the start; the last of each is its log.
        harness.until(lambda: len(list(data.glob("logs/*/*/0.log"))) == 3, "each of them has its log")
        data.rename(tmp_path / "elsewhere")
        for port in ports:
            answer = ask(port, get("/readyz"))
            assert answer.status == 503
            assert answer.body in (b"not ready: database\n", b"not ready: objects\n")
            assert ask(port, get("/healthz")).status == 200
        (tmp_path / "elsewhere").rename(data)
        assert ask(ports[0], get("/readyz")).status == 200


def series(text):
    return {m[1]: float(m[2]) for m in re.finditer(r"^(\S+) ([0-9.e+-]+|\+Inf|NaN)$", text, re.M)}


def test_metrics_count_what_happens(any_port, millrace):
    def read():
        answer = ask(any_port, get("/metrics"))
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return series(answer.body.decode())

    before = read()
    for _ in range(7):
        ask(any_port, get("/healthz"))
    after = read()
    grown = {k for k in after if "requests_total" in k and 'class="2xx"' in k and after[k] - before[k] >= 8}
    assert grown, (before, after)
    assert after["process_resident_memory_bytes"] > 1e6
    assert after["process_cpu_seconds_total"] > 0
    assert any(k.startswith("millrace_http_connections") for k in after)
    assert any(k.startswith("millrace_http_request_seconds_bucket") and 'le="+Inf"' in k for k in after)


def test_metrics_follow_the_text_format(any_port):
    kinds = {}
    for line in ask(any_port, get("/metrics")).body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
        else:
            name = re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line)[0]
            assert name in kinds or re.sub(r"_(bucket|sum|count)$", "", name) in kinds, line


def test_json_logs_are_json(tmp_path):
    log = tmp_path / "log.json"
    with harness.launch_platform(
        tmp_path / "data", "--log-format", "json", "--log-file", log, "--access-log"
    ) as platform:
        port = harness.PORT_TRACKING + platform.port_offset
        ask(port, get('/version?"quoted"', "X-Request-Id: id-\xe9-1"))
        ask(port, post("/api/2.0/mlflow/runs/get", "{"))
        platform.proc.terminate()
        records = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"debug", "info", "warn", "error"} >= {r["level"] for r in records}
    assert all(isinstance(r["message"], str) and abs(r["time_ms"] / 1000 - time.time()) < 60 for r in records)
    requests = [r for r in records if r["message"] == "request" and r["path"] == "/version"]
    assert requests and requests[0]["status"] == 200 and requests[0]["listener"] == "tracking"
    assert isinstance(requests[0]["ms"], float | int)
    assert any(r["message"] == "stopping" for r in records)


def test_text_logs_carry_the_request_id(tmp_path):
    with harness.launch_platform(tmp_path / "data", "--access-log") as platform:
        ask(harness.PORT_GATEWAY + platform.port_offset, get("/healthz", "X-Request-Id: find-me"))
        wait_until(lambda: "request_id=find-me" in platform.proc.stderr(), what="the log record")
        line = next(x for x in platform.proc.stderr().splitlines() if "find-me" in x)
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info ", line), line
        assert "status=200" in line


def test_without_access_log_requests_stay_out_of_it(tmp_path):
    with harness.launch_platform(tmp_path / "data") as platform:
        ask(harness.PORT_GATEWAY + platform.port_offset, get("/healthz", "X-Request-Id: find-me"))
        platform.proc.terminate()
        assert "find-me" not in platform.proc.stderr()
