"""Sixteen clients create, patch, replace and delete at random while the program is killed again and again.

Afterwards nothing that was acknowledged is missing, nothing that was deleted is back, and what every watcher pieced
together from its events is what the store lists. The sequence of operations of each client follows from the seed
(MILLRACE_TEST_SEED); how they interleave does not.
"""

import base64
import contextlib
import json
import os
import pathlib
import random
import secrets
import threading
import time

import harness
import pytest
import requests

from . import wire

CLIENTS = 16
WATCHERS = 4
KILLS = 4
SECONDS_BETWEEN = 1.5
NAMES = [f"o{i}" for i in range(40)]
PLURALS = ("configmaps", "secrets")
SEED = int(os.environ.get("MILLRACE_TEST_SEED") or 20260711)

# What a request ends with when the server dies under it.
LOST = (requests.exceptions.RequestException, OSError)


class World:
    """The server as the clients see it: alive at an address, or gone for a moment."""

    def __init__(self):
        self.ns = "random-" + secrets.token_hex(3)
        self.api = None
        self.generation = 0
        self.up = threading.Event()
        self.no_more_writes = threading.Event()
        self.stop = threading.Event()

    def use(self, kubeconfig):
        self.api = wire.Api(kubeconfig)
        self.generation += 1
        self.up.set()

    def path(self, plural, name=""):
        return f"/api/v1/namespaces/{self.ns}/{plural}" + (f"/{name}" if name else "")


class Client(threading.Thread):
    """One user with a seeded will of his own, and a memory of what he was told."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world = world
        self.pick = random.Random(SEED * 1000 + number)
        self.number = number
        self.written = []  # (plural, name, uid, version, data): acknowledged
        self.deleted = []  # (plural, name, uid): acknowledged
        self.maybe_deleted = set()  # (plural, name): no answer came
        self.increments = self.maybe_increments = 0
        self.refused = 0
        self.error = None

    def run(self):
        generation, session = 0, None
        try:
            while not self.world.no_more_writes.is_set():
                if not self.world.up.wait(0.1):
                    continue
                if generation != self.world.generation:
                    generation = self.world.generation
                    session = self.world.api.new_session()
                try:
                    self.one(session)
                except LOST:
                    time.sleep(0.02)
        except Exception as error:  # shown by the test
            self.error = error

    def call(self, session, method, path, body=None, **more):
        answer = self.world.api.call(method, path, body, session=session, timeout=20, **more)
        # A server on its way down may say so; then the write did not happen.
        if answer.status_code in (429, 503):
            raise ConnectionError(answer.text)
        return answer.status_code, answer.json()

    def one(self, session):
        plural, name = self.pick.choice(PLURALS), self.pick.choice(NAMES)
        where, what = self.world.path(plural, name), self.pick.random()
        data = {"by": self.text(f"{self.number}-{self.pick.randrange(1 << 30)}", plural)}
        if what < 0.35:
            body = {"metadata": {"name": name, "labels": {"mine": "yes"}}, "data": data}
            status, got = self.call(session, "POST", self.world.path(plural), body)
            self.took(plural, status, got, 201, (409,))
        elif what < 0.6:
            status, got = self.call(session, "PATCH", where, {"data": data}, type="application/merge-patch+json")
            self.took(plural, status, got, 200, (404, 409))
        elif what < 0.75:
            status, got = self.call(session, "GET", where)
            if status == 200:
                got["data"] = data
                status, got = self.call(session, "PUT", where, got)
                self.took(plural, status, got, 200, (404, 409))
        elif what < 0.9:
            try:
                status, got = self.call(session, "DELETE", where)
            except LOST:
                self.maybe_deleted.add((plural, name))
                raise
            assert status in (200, 404), got
            if status == 200:
                uid = got["details"]["uid"] if "details" in got else got["metadata"]["uid"]
                self.deleted.append((plural, name, uid))
        else:
            self.increment(session)

    @staticmethod
    def text(value, plural):
        return value if plural == "configmaps" else base64.b64encode(value.encode()).decode()

    def took(self, plural, status, got, success, losses):
        if status in losses:
            self.refused += 1
            return
        assert status == success, f"{status}: {got}"
        meta = got["metadata"]
        self.written.append((plural, meta["name"], meta["uid"], int(meta["resourceVersion"]), got.get("data")))

    def increment(self, session):
        """Read, add one, replace: with a version, so that no two clients add to the same number."""
        where = self.world.path("configmaps", "counter")
        status, got = self.call(session, "GET", where)
        assert status == 200, got
        got["data"]["n"] = str(int(got["data"]["n"]) + 1)
        self.maybe_increments += 1
        status, answer = self.call(session, "PUT", where, got)
        self.maybe_increments -= 1
        assert status in (200, 409), answer
        self.increments += status == 200


class Watcher(threading.Thread):
    """Keeps a copy of one collection by list and watch, as an informer does."""

    def __init__(self, world, plural):
        super().__init__(daemon=True)
        self.world = world
        self.plural = plural
        self.copy = {}
        self.version = None
        self.lists = self.resumed = self.events = 0
        self.error = None

    def run(self):
        generation, session = 0, None
        try:
            while not self.world.stop.is_set():
                if not self.world.up.wait(0.1):
                    continue
                if generation != self.world.generation:
                    generation = self.world.generation
                    session = self.world.api.new_session()
                try:
                    if self.version is None:
                        self.list(session)
                    self.watch(session)
                except LOST:
                    time.sleep(0.02)
        except Exception as error:  # shown by the test
            self.error = error

    def list(self, session):
        got = self.world.api.call("GET", self.world.path(self.plural), session=session, labelSelector="mine=yes")
        if got.status_code in (429, 503):
            raise ConnectionError(got.text)
        assert got.status_code == 200, got.text
        document = got.json()
        self.copy = {one["metadata"]["name"]: self.seen(one) for one in document["items"]}
        self.version = document["metadata"]["resourceVersion"]
        self.lists += 1

    @staticmethod
    def seen(one):
        meta = one["metadata"]
        return meta["uid"], int(meta["resourceVersion"]), one.get("data")

    def watch(self, session):
        query = {"watch": "true", "resourceVersion": self.version, "labelSelector": "mine=yes", "timeoutSeconds": "5"}
        answer = self.world.api.call(
            "GET", self.world.path(self.plural), session=session, stream=True, timeout=10, **query
        )
        with contextlib.closing(answer):
            if answer.status_code == 410:
                self.version = None
                return
            if answer.status_code in (429, 503):
                raise ConnectionError(answer.text)
            assert answer.status_code == 200, answer.text
            self.resumed += 1
            for line in answer.iter_lines(chunk_size=1):
                try:
                    event = json.loads(line)
                except ValueError as broken:  # cut off by the kill
                    raise ConnectionError(line) from broken
                if event["type"] == "ERROR":
                    assert event["object"]["code"] == 410, event
                    self.version = None
                    return
                self.apply(event)

    def apply(self, event):
        one = event["object"]
        name, version = one["metadata"]["name"], int(one["metadata"]["resourceVersion"])
        assert version > int(self.version), f"{event['type']} {name} {version} after {self.version}"
        self.version = str(version)
        self.events += 1
        known = self.copy.get(name)
        if event["type"] == "ADDED":
            assert known is None, f"{name} was added twice: {known}, {one}"
            self.copy[name] = self.seen(one)
        elif event["type"] == "MODIFIED":
            assert known is not None and known[0] == one["metadata"]["uid"], f"{name} changed unknown: {known}, {one}"
            self.copy[name] = self.seen(one)
        else:
            assert event["type"] == "DELETED", event
            assert known is not None and known[0] == one["metadata"]["uid"], f"{name} left unknown: {known}, {one}"
            del self.copy[name]


def kill_and_restart(world, folder, ended):
    """The server's life: started, killed after a while, started again on the same folder."""
    for life in range(KILLS + 1):
        with harness.launch_platform(folder) as platform:
            if life == 0:
                world.api = wire.Api(folder / "kubeconfig")
                prepare(world)
            world.use(folder / "kubeconfig")
            time.sleep(SECONDS_BETWEEN)
            if life == KILLS:
                ended(world)
                return
            world.up.clear()
            platform.proc.kill()


def prepare(world):
    world.api.make_namespace(world.ns)
    world.api.post(world.path("configmaps"), {"metadata": {"name": "counter"}, "data": {"n": "0"}})


def settle_and_compare(world, clients, watchers):
    world.no_more_writes.set()
    for one in clients:
        one.join(30)
        assert not one.is_alive() and one.error is None, one.error
    lists = {}
    for plural in PLURALS:
        document = world.api.get(world.path(plural), labelSelector="mine=yes")
        lists[plural] = {one["metadata"]["name"]: Watcher.seen(one) for one in document["items"]}

    def agree(watcher):
        return watcher.copy == lists[watcher.plural]

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not all(agree(one) or one.error for one in watchers):
        time.sleep(0.1)
    for one in watchers:
        assert one.error is None, f"watcher of {one.plural}: {one.error}"
        assert agree(one), f"watcher of {one.plural}: {wire.difference(lists[one.plural], one.copy)}"
    check_acknowledged(lists, clients)
    counter = int(world.api.get(world.path("configmaps", "counter"))["data"]["n"])
    sure = sum(one.increments for one in clients)
    assert sure <= counter <= sure + sum(one.maybe_increments for one in clients)
    assert sure and sum(len(one.deleted) for one in clients) > CLIENTS, "hardly anything was done"


def check_acknowledged(lists, clients):
    deleted = {entry for one in clients for entry in one.deleted}
    maybe = {entry for one in clients for entry in one.maybe_deleted}
    for plural, name, uid in deleted:
        there = lists[plural].get(name)
        assert there is None or there[0] != uid, f"{plural}/{name} {uid} is back"
    for plural, name, uid, version, data in (entry for one in clients for entry in one.written):
        there = lists[plural].get(name)
        if there is not None and there[0] == uid:
            assert there[1] >= version, f"{plural}/{name}: version {version} was acknowledged, {there[1]} is there"
            assert there[1] > version or there[2] == data, f"{plural}/{name}: another content in version {version}"
        else:
            gone = (plural, name, uid) in deleted or (plural, name) in maybe
            assert gone, f"{plural}/{name} {uid} of version {version} was acknowledged and is gone"


@pytest.mark.slow
def test_watchers_and_store_agree(tmp_path):
    world = World()
    clients = [Client(world, n) for n in range(CLIENTS)]
    watchers = [Watcher(world, PLURALS[n % len(PLURALS)]) for n in range(WATCHERS)]

    def finish(world):
        settle_and_compare(world, clients, watchers)

    for one in (*clients, *watchers):
        one.start()
    try:
        given = os.environ.get("MILLRACE_TEST_KUBECONFIG")
        if given:
            # The test itself under test: a server that is not ours is not killed.
            world.api = wire.Api(given)
            prepare(world)
            world.use(given)
            time.sleep(SECONDS_BETWEEN * 3)
            finish(world)
            world.api.remove_namespace(world.ns)
        else:
            kill_and_restart(world, pathlib.Path(tmp_path) / "data", finish)
    finally:
        world.no_more_writes.set()
        world.stop.set()
        print(
            f"seed {SEED}: {sum(len(one.written) for one in clients)} writes, {sum(one.events for one in watchers)} events"
        )
