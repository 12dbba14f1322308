"""Watches: what they replay, how selectors turn changes into coming and going, bookmarks, and kubectl's use of them."""

import contextlib
import json
import socket
import threading
import time

import pytest

from .record.shapes import configmap


@pytest.fixture
def maps(ns):
    return f"/api/v1/namespaces/{ns}/configmaps"


class Events:
    """Reads a watch in the background."""

    def __init__(self, api, path, **query):
        self.items = []
        self.ended = threading.Event()
        self._new = threading.Condition()
        self._session = api.new_session()
        query = {"watch": "true", "timeoutSeconds": "60", **query}
        self.answer = api.call("GET", path, session=self._session, stream=True, timeout=60, **query)
        assert self.answer.status_code == 200, self.answer.text
        self._socket = self.answer.raw.connection.sock
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            for line in self.answer.iter_lines(chunk_size=1):
                with self._new:
                    self.items.append(json.loads(line))
                    self._new.notify_all()
        except Exception:  # the test closes the connection under us
            pass
        self.ended.set()

    def wait(self, count, timeout=20):
        """The first `count` events as (type, name)."""
        deadline = time.monotonic() + timeout
        with self._new:
            while len(self.items) < count:
                assert self._new.wait(deadline - time.monotonic()), f"only {self.short()}"
        return self.short()[:count]

    def short(self):
        return [(event["type"], event["object"]["metadata"].get("name")) for event in self.items]

    def close(self):
        # Not answer.close(): that would wait for the reader, who waits for the server.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(10)


@pytest.fixture
def watch(api):
    opened = []

    def open_one(path, **query):
        opened.append(Events(api, path, **query))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def mine(path, **query):
    """Without what controllers put into every namespace."""
    return {"fieldSelector": "metadata.name!=kube-root-ca.crt", **query}


def test_changes_in_order(api, maps, watch):
    version = api.get(maps)["metadata"]["resourceVersion"]
    seen = watch(maps, resourceVersion=version, **mine(maps))
    api.post(maps, configmap(data={"n": "0"}))
    for n in range(1, 4):
        api.patch(maps + "/cm", {"data": {"n": str(n)}})
    api.delete(maps + "/cm")
    assert seen.wait(5) == [("ADDED", "cm")] + [("MODIFIED", "cm")] * 3 + [("DELETED", "cm")]
    assert [event["object"]["data"]["n"] for event in seen.items] == ["0", "1", "2", "3", "3"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen.items]
    assert versions == sorted(set(versions)) and versions[0] > int(version)
    assert seen.items[0]["object"]["kind"] == "ConfigMap"


def test_replays_what_came_after_the_version(api, maps, watch):
    first = api.post(maps, configmap("a"))["metadata"]["resourceVersion"]
    api.post(maps, configmap("b"))
    api.delete(maps + "/b")
    assert watch(maps, resourceVersion=first, **mine(maps)).wait(2) == [("ADDED", "b"), ("DELETED", "b")]


@pytest.mark.parametrize("version", [None, "0"])
def test_without_a_version_begins_with_what_is_there(api, maps, watch, version):
    api.post(maps, configmap("a"))
    api.post(maps, configmap("b"))
    query = mine(maps) if version is None else mine(maps, resourceVersion=version)
    seen = watch(maps, **query)
    assert sorted(seen.wait(2)) == [("ADDED", "a"), ("ADDED", "b")]
    api.post(maps, configmap("c"))
    assert seen.wait(3)[2] == ("ADDED", "c")


def test_label_selector_turns_changes_into_coming_and_going(api, maps, watch):
    version = api.get(maps)["metadata"]["resourceVersion"]
    seen = watch(maps, resourceVersion=version, labelSelector="on=yes")
    api.post(maps, configmap("never"))
    api.post(maps, configmap("x"))
    api.patch(maps + "/x", {"metadata": {"labels": {"on": "yes"}}})
    api.patch(maps + "/x", {"data": {"a": "1"}})
    api.patch(maps + "/x", {"metadata": {"labels": {"on": "no"}}})
    api.patch(maps + "/x", {"data": {"a": "2"}})
    api.patch(maps + "/x", {"metadata": {"labels": {"on": "yes"}}})
    api.delete(maps + "/x")
    assert seen.wait(5) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x"), ("ADDED", "x"), ("DELETED", "x")]
    # What leaves is shown as it was while it still belonged, in the version of the change.
    assert seen.items[2]["object"]["metadata"]["labels"] == {"on": "yes"}


def test_one_object_by_field_selector(api, maps, watch):
    version = api.get(maps)["metadata"]["resourceVersion"]
    seen = watch(maps, resourceVersion=version, fieldSelector="metadata.name=b")
    for name in "abc":
        api.post(maps, configmap(name))
    api.delete(maps + "/b")
    assert seen.wait(2) == [("ADDED", "b"), ("DELETED", "b")]


def test_all_namespaces(api, ns, maps, watch):
    version = api.get("/api/v1/configmaps")["metadata"]["resourceVersion"]
    seen = watch(
        "/api/v1/configmaps", resourceVersion=version, fieldSelector=f"metadata.namespace={ns},metadata.name=a"
    )
    api.post(maps, configmap("a"))
    assert seen.wait(1) == [("ADDED", "a")]


def test_dry_run_and_no_change_are_not_seen(api, maps, watch):
    made = api.post(maps, configmap(data={"a": "1"}))
    seen = watch(maps, resourceVersion=made["metadata"]["resourceVersion"], **mine(maps))
    api.patch(maps + "/cm", {"data": {"a": "2"}}, dryRun="All")
    api.patch(maps + "/cm", {"data": {"a": "1"}})
    api.patch(maps + "/cm", {"data": {"a": "3"}})
    seen.wait(1)
    assert [event["object"]["data"] for event in seen.items] == [{"a": "3"}]


def test_ends_after_its_time(api, maps, watch):
    version = api.get(maps)["metadata"]["resourceVersion"]
    seen = watch(maps, resourceVersion=version, timeoutSeconds="1")
    assert seen.ended.wait(20)


@pytest.mark.binary  # a real server does so only with an etcd of version 3.5 or newer
def test_bookmark_when_asked(api, maps, watch):
    """A bookmark carries nothing but a version; with sendInitialEvents one ends the list."""
    api.post(maps, configmap("a"))
    seen = watch(
        maps,
        allowWatchBookmarks="true",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        labelSelector="!none",
        timeoutSeconds="20",
    )
    deadline = time.monotonic() + 20
    while "BOOKMARK" not in [event["type"] for event in seen.items] and time.monotonic() < deadline:
        time.sleep(0.02)
    marks = [event for event in seen.items if event["type"] == "BOOKMARK"]
    assert marks, seen.short()
    meta = marks[0]["object"]["metadata"]
    assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(meta["resourceVersion"]) > 0
    assert ("ADDED", "a") in seen.short()


def test_many_watchers_see_the_same(api, maps, watch):
    version = api.get(maps)["metadata"]["resourceVersion"]
    watchers = [watch(maps, resourceVersion=version, **mine(maps)) for _ in range(20)]
    for i in range(10):
        api.post(maps, configmap(f"m{i}"))
    for one in watchers:
        one.wait(10)
    assert all(one.items == watchers[0].items for one in watchers)


def test_watch_of_one_object_by_path(api, maps, watch):
    made = api.post(maps, configmap("a"))
    seen = watch(maps.replace("/api/v1/", "/api/v1/watch/") + "/a", resourceVersion=made["metadata"]["resourceVersion"])
    api.post(maps, configmap("b"))
    api.delete(maps + "/a")
    assert seen.wait(1) == [("DELETED", "a")]


def test_kubectl_get_watch(kubectl, api, maps):
    api.post(maps, configmap("a"))
    process = kubectl.popen("get", "configmap", "a", "-w", "-o", "jsonpath={.data.n};")
    try:
        seen = ""
        for n in ("1", "2"):
            time.sleep(0.5)
            api.patch(maps + "/a", {"data": {"n": n}})
        while not seen.endswith("2;"):
            seen += process.stdout.read(1)
        # The first of them may or may not have been there when the watch began.
        assert seen in (";1;2;", "1;2;", "2;")
    finally:
        process.kill()
        process.communicate()


def test_kubectl_wait(kubectl, api, maps):
    api.post(maps, configmap("a"))
    process = kubectl.popen("wait", "configmap/a", "--for=jsonpath={.data.state}=done", "--timeout=30s")
    time.sleep(0.3)
    api.patch(maps + "/a", {"data": {"state": "done"}})
    out, error = process.communicate(timeout=40)
    assert (process.returncode, out) == (0, "configmap/a condition met\n"), error
    process = kubectl.popen("wait", "configmap/a", "--for=delete", "--timeout=30s")
    time.sleep(0.3)
    api.delete(maps + "/a")
    out, error = process.communicate(timeout=40)
    assert (process.returncode, out) == (0, "configmap/a condition met\n"), error


def test_kubectl_wait_gives_up(kubectl, api, maps):
    api.post(maps, configmap("a"))
    error = kubectl.fails("wait", "configmap/a", "--for=jsonpath={.data.state}=done", "--timeout=1s")
    assert "timed out waiting for the condition on configmaps/a" in error


@pytest.mark.binary
def test_clients_that_go_away_leave_no_connections(millrace, api, maps):
    """Watches that nothing happens to, and logs that nobody writes, end with their clients."""

    ours = set()

    def open_at_the_server():
        """How many of our connections the server holds, by the machine's own table of sockets."""
        held = 0
        for table in ("tcp", "tcp6"):
            with open(f"/proc/net/{table}") as lines:
                for line in list(lines)[1:]:
                    _, local, remote, state, *_ = line.split()
                    at, of = (int(end.rsplit(":", 1)[1], 16) for end in (local, remote))
                    # Established, or closed by the other side alone.
                    held += at == port and of in ours and state in ("01", "08")
        return held

    watches = [Events(api, maps, labelSelector="never=there", timeoutSeconds="600") for _ in range(20)]
    pods = "/api/v1/namespaces/kubeflow/pods"
    name = next(p["metadata"]["name"] for p in api.get(pods)["items"] if p["metadata"]["name"].startswith("minio-"))
    log = api.call("GET", f"{pods}/{name}/log", session=api.new_session(), stream=True, follow="true")
    assert log.status_code == 200
    sockets = [*(one._socket for one in watches), log.raw.connection.sock]
    ours.update(one.getsockname()[1] for one in sockets)
    port = sockets[0].getpeername()[1]
    assert open_at_the_server() == 21
    for one in watches:
        one.close()
    log.raw.connection.sock.close()
    log.close()
    end = time.monotonic() + 60
    while held := open_at_the_server():
        assert time.monotonic() < end, held
        time.sleep(0.2)
