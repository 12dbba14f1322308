"""Raw requests to a Kubernetes API server, recorded cases, and what of an answer may differ between two runs.

A case is a list of steps; a step is one request:

  method, path, query   `{ns}` stands for the namespace of the run, `{rv:2}`, `{uid:2}` and `{continue:2}` for what
                        step 2 answered
  body or text          a document, or the bytes as they are
  type, accept          Content-Type and Accept, application/json when not given
  until                 repeat (a GET) until it is answered this status: something has to happen first
  watch                 the answer is a stream of this many events
  setup                 only the status counts
  drop                  paths of the answer that are not compared (`status`, `metadata.generation`)

The recorded file has the same with `status`, `answer` (or `plain`) and `warnings` in each step.
"""

import base64
import json
import pathlib
import re
import tempfile
import time
import urllib.parse

import requests
import urllib3
import yaml

urllib3.disable_warnings()

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "corpus" / "kube"


class Api:
    """One user of one API server, as a kubeconfig describes it."""

    def __init__(self, kubeconfig):
        self.kubeconfig = str(kubeconfig)
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        context = next(c for c in config["contexts"] if c["name"] == config["current-context"])["context"]
        cluster = next(c for c in config["clusters"] if c["name"] == context["cluster"])["cluster"]
        user = next(u for u in config["users"] if u["name"] == context["user"])["user"]
        self.server = cluster["server"].rstrip("/")
        self._folder = tempfile.TemporaryDirectory()
        self.ca = self._file(cluster, "certificate-authority") or False
        self.cert = None
        self.token = user.get("token")
        if self._has(user, "client-certificate"):
            self.cert = (self._file(user, "client-certificate"), self._file(user, "client-key"))
        self.session = self.new_session()

    @staticmethod
    def _has(section, key):
        return key in section or key + "-data" in section

    def _file(self, section, key):
        if key in section:
            return section[key]
        if key + "-data" not in section:
            return None
        file = pathlib.Path(self._folder.name) / key
        file.write_bytes(base64.b64decode(section[key + "-data"]))
        return str(file)

    def new_session(self, token=None):
        """A session of its own, as this user or as the bearer of another token; they are not safe for many threads."""
        session = requests.Session()
        session.trust_env = False
        session.verify = self.ca
        if token or self.token:
            session.headers["Authorization"] = "Bearer " + (token or self.token)
        elif self.cert:
            session.cert = self.cert
        return session

    def call(self, method, path, body=None, *, type=None, accept=None, session=None, timeout=30, stream=False, **query):
        headers = {"Accept": accept or "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = type or "application/json"
            data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body)
        url = self.server + path
        if query:
            url += ("&" if "?" in path else "?") + urllib.parse.urlencode(query)
        return (session or self.session).request(
            method, url, data=data, headers=headers, timeout=timeout, stream=stream, allow_redirects=False
        )

    def get(self, path, **query):
        return self._ok("GET", path, None, query)

    def post(self, path, body, **query):
        return self._ok("POST", path, body, query)

    def put(self, path, body, **query):
        return self._ok("PUT", path, body, query)

    def delete(self, path, **query):
        return self._ok("DELETE", path, None, query)

    def patch(self, path, body, type="application/merge-patch+json", **query):
        return self._ok("PATCH", path, body, query, type)

    def _ok(self, method, path, body, query, type=None):
        answer = self.call(method, path, body, type=type, **query)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:600]}"
        return answer.json()

    def wait_for(self, path, condition, timeout=30):
        """The object at path once the condition holds for it."""
        deadline = time.monotonic() + timeout
        while True:
            answer = self.call("GET", path)
            if answer.status_code == 200 and condition(answer.json()):
                return answer.json()
            assert time.monotonic() < deadline, f"{path} did not get there: {answer.status_code} {answer.text[:800]}"
            time.sleep(0.05)

    def wait_gone(self, path, timeout=30):
        deadline = time.monotonic() + timeout
        while (answer := self.call("GET", path)).status_code != 404:
            assert time.monotonic() < deadline, f"{path} is still there: {answer.text[:800]}"
            time.sleep(0.05)

    def make_namespace(self, name):
        """A namespace that pods can be created in: a real server without controllers makes no service account."""
        self.post("/api/v1/namespaces", {"metadata": {"name": name}})
        path = f"/api/v1/namespaces/{name}/serviceaccounts"
        for _ in range(20):
            if self.call("GET", path + "/default").status_code == 200:
                return
            time.sleep(0.02)
        self.call("POST", path, {"metadata": {"name": "default"}})

    def remove_namespace(self, name):
        self.call("DELETE", "/api/v1/namespaces/" + name)


_CELL = (
    (re.compile(r"\b\d+[smhdy](\d+[smhd])?\b"), "{age}"),
    (re.compile(r":3\d{4}/"), ":{port}/"),
    (re.compile(r"^(10\.0|127\.\d+)\.\d+\.\d+$"), "{ip}"),
)


def _cell(value):
    if isinstance(value, str) and value != "65s":  # the one duration that a case fixes
        for pattern, with_ in _CELL:
            value = pattern.sub(with_, value)
    return value


# ---- what differs from run to run --------------------------------------------------------------------------------

_RANDOM = (
    (re.compile(r"kube-api-access-[a-z0-9]{5}"), "kube-api-access-{x}"),
    (re.compile(r"too old resource version: \d+ \(\d+\)"), "too old resource version: {rv} ({rv})"),
    (re.compile(r"Too large resource version: \d+, current: \d+"), "Too large resource version: {rv}, current: {rv}"),
    (re.compile(r"0x[0-9a-f]{8,}"), "{pointer}"),
    (re.compile(r'("resourceVersion\\*":\\*")\d+'), r"\1{rv}"),
    (re.compile(r'(resourceVersion: ")\d+"'), r'\1{rv}"'),
    (re.compile(r"(ResourceVersion in (?:the precondition|record)) \(\d+\)"), r"\1 ({rv})"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "{uid}"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\b"), "{time}"),
)


_CONTROLLERS_ANNOTATIONS = ("deployment.kubernetes.io/revision", "node.alpha.kubernetes.io/ttl")


def _name(item):
    if not isinstance(item, dict):
        return None
    return ((item.get("object") or item).get("metadata") or {}).get("name")


def mask(value, namespace, *, managed=False, inside=""):
    """The answer without what no two runs have in common."""
    if isinstance(value, list):
        return [mask(one, namespace, managed=managed, inside=inside) for one in value]
    if isinstance(value, str):
        for pattern, with_ in _RANDOM:
            value = pattern.sub(with_, value)
        return value.replace(namespace, "{ns}") if namespace else value
    if not isinstance(value, dict):
        return value
    out = {}
    for key, one in value.items():
        if key == "managedFields" and not managed:
            continue
        if key == "resourceVersion" and isinstance(one, str):
            out[key] = "{rv}" if one else ""
        elif key == "continue" and isinstance(one, str):
            out[key] = "{continue}" if one else ""
        elif key in ("clusterIP", "clusterIPs") and one not in ("None", ["None"], ""):
            out[key] = "{ip}"
        elif key == "nodePort" and isinstance(one, int):
            out[key] = "{port}"
        elif key == "columnDefinitions":
            # The descriptions are prose of the server's, not something that a client relies on.
            out[key] = [{k: v for k, v in column.items() if k != "description"} for column in one]
        elif key in ("items", "rows") and isinstance(one, list):
            # Controllers put this one into every namespace; the cases are recorded without controllers.
            mine = [item for item in one if _name(item) != "kube-root-ca.crt"]
            out[key] = mask(mine, namespace, managed=managed, inside=key)
        elif key == "annotations" and isinstance(one, dict):
            # These too come from controllers, at a time of their own.
            own = {k: v for k, v in one.items() if k not in _CONTROLLERS_ANNOTATIONS}
            if own or not one:
                out[key] = mask(own, namespace, managed=managed, inside=key)
        elif key == "cells" and isinstance(one, list):
            out[key] = [_cell(mask(cell, namespace)) for cell in one]
        else:
            # Keys as well: managedFields name list items by their keys.
            out[mask(key, namespace)] = mask(one, namespace, managed=managed, inside=key)
    if "generateName" in out and isinstance(out.get("name"), str) and out["name"].startswith(out["generateName"]):
        tail = out["name"][len(out["generateName"]) :]
        out["name"] = out["generateName"] + ("{x}" if re.fullmatch(r"[bcdfghjklmnpqrstvwxz2456789]{5}", tail) else tail)
    return out


def drop(value, path):
    """Removes `a.b.c` from a document; `[]` after a name goes into every item of a list."""
    name, _, rest = path.partition(".")
    many = name.endswith("[]")
    name = name.removesuffix("[]")
    if not isinstance(value, dict) or name not in value:
        return
    if not rest:
        del value[name]
    elif many:
        for one in value[name]:
            drop(one, rest)
    else:
        drop(value[name], rest)


# ---- cases -------------------------------------------------------------------------------------------------------


class Run:
    """Plays the steps of one case in one namespace."""

    def __init__(self, api, namespace):
        self.api = api
        self.namespace = namespace
        self.answers = []

    def fill(self, text):
        def one(match):
            answer = self.answers[int(match[2])]
            meta = answer.get("metadata", {}) if isinstance(answer, dict) else {}
            return str(meta.get({"rv": "resourceVersion"}.get(match[1], match[1]), ""))

        return re.sub(r"\{(rv|uid|continue|name):(\d+)\}", one, text.replace("{ns}", self.namespace))

    def play(self, step, managed=False):
        """(status, masked answer, plain text, warnings) of one step."""
        path = self.fill(step["path"])
        body = step.get("text")
        if body is None and "body" in step:
            body = json.dumps(step["body"])
        if body is not None:
            body = self.fill(body)
        if "query" in step:
            path += "?" + urllib.parse.urlencode({k: self.fill(str(v)) for k, v in step["query"].items()})
        headers = {"type": step.get("type"), "accept": step.get("accept")}
        if "watch" in step:
            return self._watch(step, path, headers, managed)
        deadline = time.monotonic() + 15
        while True:
            answer = self.api.call(step["method"], path, body, **headers)
            if "until" not in step or answer.status_code == step["until"] or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        try:
            document = answer.json()
        except ValueError:
            document = None
        self.answers.append(document)
        masked = mask(document, self.namespace, managed=managed)
        for gone in step.get("drop", ()):
            drop(masked, gone)
        plain = mask(answer.text, self.namespace) if document is None else None
        warnings = answer.headers.get("Warning")
        texts = re.findall(r'299 - "((?:[^"\\]|\\.)*)"', warnings) if warnings else []
        return answer.status_code, masked, plain, [mask(t, self.namespace) for t in texts]

    def _watch(self, step, path, headers, managed):
        answer = self.api.call("GET", path, None, stream=True, **headers)
        events = []
        if answer.status_code == 200 and step["watch"]:
            for line in answer.iter_lines():
                events.append(json.loads(line))
                if len(events) == step["watch"]:
                    break
            answer.close()
        elif answer.status_code == 200:
            events = [json.loads(line) for line in answer.iter_lines()]
        else:
            events = answer.json()
        self.answers.append(events)
        masked = mask(events, self.namespace, managed=managed)
        for gone in step.get("drop", ()):
            for event in masked if isinstance(masked, list) else [masked]:
                drop(event, gone)
        return answer.status_code, masked, None, []


def widen(value):
    """Undoes the recorder's `{"repeat": [character, count]}`."""
    if isinstance(value, dict):
        if set(value) == {"repeat"}:
            return value["repeat"][0] * value["repeat"][1]
        return {key: widen(one) for key, one in value.items()}
    return [widen(one) for one in value] if isinstance(value, list) else value


def load(name):
    """The recorded cases of one corpus file."""
    with (CORPUS / name).open() as lines:
        return [widen(json.loads(line)) for line in lines]


def difference(want, got, path=""):
    """Where two documents differ, a line each, in the manner of a field path; numbers are equal by value."""
    if isinstance(want, dict) and isinstance(got, dict):
        out = []
        for key in list(want) + [k for k in got if k not in want]:
            where = f"{path}.{key}" if path else key
            if key not in got:
                out.append(f"missing {where}: {_short(want[key])}")
            elif key not in want:
                out.append(f"too much {where}: {_short(got[key])}")
            else:
                out += difference(want[key], got[key], where)
        return out
    if isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return [f"{path}: want {_short(want)}, got {_short(got)}"]
        return [line for i, (a, b) in enumerate(zip(want, got)) for line in difference(a, b, f"{path}[{i}]")]
    if want == got and isinstance(want, bool) == isinstance(got, bool):
        return []
    return [f"{path}: want {_short(want)}, got {_short(got)}"]


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 400 else text[:400] + "..."
