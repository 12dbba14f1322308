"""A thin REST client for the tests: plain requests, so that a test says exactly what goes over the wire."""

import http.client
import re
import uuid
from urllib.parse import urlsplit

import requests

REST = "/api/2.0/mlflow"
AJAX = "/ajax-api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"
NO_RUN = "0" * 32


def unique(prefix="x"):
    """A name that no other test uses: all tests share one server."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def metric(key, value=1.0, timestamp=1, step=0, **more):
    return {"key": key, "value": value, "timestamp": timestamp, "step": step, **more}


def pair(key, value):
    return {"key": key, "value": value}


def pairs(**items):
    return [pair(k, v) for k, v in items.items()]


def as_dict(items):
    """[{key, value}, ...] as a dict; a repeated key is a fault of the server."""
    result = {item["key"]: item["value"] for item in items}
    assert len(result) == len(items)
    return result


def assert_error(response, status, code, message=None):
    """Check status, error shape and, where given, the text: a str must be equal, a compiled pattern must match."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    body = response.json()
    assert body["error_code"] == code, body
    assert isinstance(body["message"], str)
    # The stock server adds two more keys, both optional for clients.
    assert set(body) <= {"error_code", "message", "sqlstate", "error_class"}
    if isinstance(message, re.Pattern):
        assert message.search(body["message"]), body["message"]
    elif message is not None:
        assert body["message"] == message
    return body["message"]


def missing(parameter):
    return (
        f"Missing value for required parameter '{parameter}'. "
        "See the API docs for more information about request parameters."
    )


def wrong_type(shown, parameter, kind):
    return (
        f"Invalid value {shown} for parameter '{parameter}' supplied:  Hint: Value was of type '{kind}'. "
        "See the API docs for more information about request parameters."
    )


class Api:
    """Calls against one server. `post`, `get`, `patch`, `delete` insist on 200 and answer the JSON."""

    def __init__(self, url, prefix=REST):
        self.url = url
        self.prefix = prefix
        self.http = requests.Session()

    def call(self, method, path, /, *, query=None, body=None, **more):
        if body is not None:
            more["json"] = body
        return self.http.request(method, self.url + self.prefix + path, params=query, timeout=60, **more)

    def raw(self, method, path, /, data=None, headers=None):
        """A request whose path and headers go out as written: requests would tidy up '..' and content types."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        headers = dict(headers or {})
        try:
            connection.putrequest(method, parts.path + path, skip_host="Host" in headers, skip_accept_encoding=True)
            if data is not None:
                headers.setdefault("Content-Length", str(len(data)))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            response = requests.Response()
            response.status_code = answer.status
            response.headers = requests.structures.CaseInsensitiveDict(answer.getheaders())
            response._content = answer.read()
            return response
        finally:
            connection.close()

    def _ok(self, response):
        assert response.status_code == 200, f"{response.status_code}: {response.text[:2000]}"
        return response.json()

    def post(self, path, /, **body):
        return self._ok(self.call("POST", path, body=body))

    def patch(self, path, /, **body):
        return self._ok(self.call("PATCH", path, body=body))

    def delete(self, path, /, **body):
        return self._ok(self.call("DELETE", path, body=body))

    def get(self, path, /, **query):
        return self._ok(self.call("GET", path, query=query))

    def fail(self, method, path, status, code, message=None, /, **fields):
        """The call is refused with this status, code and text; fields go to the query of a GET, else to the body."""
        part = "query" if method == "GET" else "body"
        return assert_error(self.call(method, path, **{part: fields}), status, code, message)

    # What most tests need first.

    def new_experiment(self, **fields):
        fields.setdefault("name", unique("exp"))
        return self.post("/experiments/create", **fields)["experiment_id"]

    def new_run(self, experiment_id, **fields):
        return self.post("/runs/create", experiment_id=experiment_id, **fields)["run"]["info"]["run_id"]

    def run(self, run_id):
        return self.get("/runs/get", run_id=run_id)["run"]

    def data(self, run_id):
        """Params, tags and latest metrics of a run as three dicts."""
        data = self.run(run_id)["data"]
        return tuple(as_dict(data.get(part, [])) for part in ("params", "tags", "metrics"))

    def history(self, run_id, key, **query):
        answer = self.get("/metrics/get-history", run_id=run_id, metric_key=key, **query)
        return [(m["step"], m["timestamp"], m["value"]) for m in answer.get("metrics", [])]

    def new_model(self, **fields):
        fields.setdefault("name", unique("model"))
        return self.post("/registered-models/create", **fields)["registered_model"]["name"]

    def new_version(self, name, **fields):
        fields.setdefault("source", "s3://bucket/path")
        return self.post("/model-versions/create", name=name, **fields)["model_version"]["version"]

    def new_logged_model(self, experiment_id, **fields):
        answer = self.post("/logged-models", experiment_id=experiment_id, **fields)
        return answer["model"]["info"]["model_id"]
