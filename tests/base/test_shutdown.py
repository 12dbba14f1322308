"""SIGTERM: what was accepted is finished, then the process ends with 0."""

import signal
import time

import harness
import pytest

from .raw import Wire, ask, get, wait_until

PUT = "/api/2.0/mlflow-artifacts/artifacts/stop/slow.bin"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_upload_in_progress_is_finished(tmp_path, stop):
    data = bytes(range(256)) * 2000
    with harness.launch_platform(tmp_path / "data") as platform:
        port = harness.PORT_TRACKING + platform.port_offset
        with Wire(port) as wire, Wire(port) as idle:
            idle.send(get("/version"))
            assert idle.answer().status == 200
            wire.send(get(PUT, f"Content-Length: {len(data)}", method="PUT").encode() + data[:1000])
            time.sleep(0.2)
            platform.proc.popen.send_signal(stop)
            assert idle.is_closed(), "an idle connection must not hold the process"
            for at in range(1000, len(data), 100_000):
                time.sleep(0.1)
                wire.send(data[at : at + 100_000])
            answer = wire.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        assert platform.proc.wait() == 0
    with harness.launch_platform(tmp_path / "data") as platform:
        answer = ask(harness.PORT_TRACKING + platform.port_offset, get(PUT))
        assert (answer.status, answer.body) == (200, data)


def test_new_connections_are_refused_while_stopping(tmp_path):
    with harness.launch_platform(tmp_path / "data") as platform:
        port = harness.PORT_TRACKING + platform.port_offset
        with Wire(port) as wire:
            wire.send(get(PUT, "Content-Length: 10", method="PUT").encode() + b"12345")
            time.sleep(0.2)
            platform.proc.popen.send_signal(signal.SIGTERM)

            def refused():
                try:
                    with Wire(port, timeout=2):
                        return False
                except ConnectionRefusedError:
                    return True

            wait_until(refused, what="the refusal of new connections")
            wire.send("67890")
            assert wire.answer().status == 200
        assert platform.proc.wait() == 0


def test_grace_bounds_the_wait(tmp_path):
    with harness.launch_platform(tmp_path / "data", "--grace", "1") as platform:
        with Wire(harness.PORT_TRACKING + platform.port_offset) as wire:
            wire.send(get(PUT, "Content-Length: 10", method="PUT").encode() + b"12345")
            time.sleep(0.2)
            begin = time.monotonic()
            assert platform.proc.terminate() == 0
            assert 0.5 < time.monotonic() - begin < 5
    with harness.launch_platform(tmp_path / "data") as platform:
        assert ask(harness.PORT_TRACKING + platform.port_offset, get(PUT)).status == 404


def test_an_idle_process_stops_at_once(tmp_path):
    with harness.launch_platform(tmp_path / "data") as platform:
        begin = time.monotonic()
        assert platform.proc.terminate() == 0
        assert time.monotonic() - begin < 2


def test_a_process_that_stops_is_alive_and_not_ready(tmp_path):
    """While tracking waits for an upload, the listeners behind it still answer: do not send me more."""
    with harness.launch_platform(tmp_path / "data") as platform:
        s3 = harness.PORT_S3 + platform.port_offset
        assert ask(s3, get("/readyz")).status == 200
        with Wire(harness.PORT_TRACKING + platform.port_offset) as wire:
            wire.send(get(PUT, "Content-Length: 10", method="PUT") + "01234")
            time.sleep(0.2)
            platform.proc.popen.send_signal(signal.SIGTERM)
            wait_until(lambda: ask(s3, get("/readyz")).status == 503, what="the word that it stops")
            assert ask(s3, get("/readyz")).body == b"not ready: stopping\n"
            assert ask(s3, get("/healthz")).status == 200
            wire.send("56789")
            assert wire.answer().status == 200
        assert platform.proc.wait() == 0
