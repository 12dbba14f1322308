"""Bad requests: malformed JSON, wrong types and methods, content types, foreign hosts, paths that try to climb out."""

import json
import re

import pytest

from .api import AJAX, NO_RUN, PROXY, REST, assert_error, metric, missing, unique, wrong_type

BAD = (400, "INVALID_PARAMETER_VALUE")
JSON = {"Content-Type": "application/json"}
CREATE = REST + "/experiments/create"


def alive(api):
    """The server still answers."""
    return api.get("/experiments/get", experiment_id="0")["experiment"]["name"] == "Default"


# Bodies.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"name":',
        b"\xff\xfe",
        b"{}garbage",
        b'{"name":"\xff"}',
        b"null",
        b"{'name': 'x'}",
        b'{"name": "x",}',
        b"<xml/>",
        b"name=x",
        b'{"bogus": 1}',
    ],
)
def test_what_is_not_json_counts_as_empty(api, body):
    assert_error(api.raw("POST", CREATE, body, JSON), *BAD, missing("name"))


@pytest.mark.fix
@pytest.mark.parametrize("body", [b"[]", b'"x"', b"5", b"true", b'[{"name": "x"}]'])
def test_json_that_is_no_object_is_refused(api, body):
    # 500 on the stock server.
    assert_error(api.raw("POST", CREATE, body, JSON), *BAD)


@pytest.mark.fix
@pytest.mark.parametrize("depth", [200, 5_000, 300_000])
@pytest.mark.parametrize("opening, closing", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused_not_run_into(api, depth, opening, closing):
    body = b'{"name":' + opening * depth + b"1" + closing * depth + b"}"
    answer = api.raw("POST", CREATE, body, JSON)
    assert 400 <= answer.status_code < 500
    assert alive(api)


def test_the_last_of_equal_keys_counts(api):
    assert_error(api.raw("POST", CREATE, b'{"name":"a","name":""}', JSON), *BAD, missing("name"))


@pytest.mark.parametrize(
    "value, shown, kind",
    [
        (5, "5", "int"),
        (1.5, "1.5", "float"),
        (True, "true", "bool"),
        (["x"], '["x"]', "list"),
        ({"a": 1}, '{"a":1}', "dict"),
    ],
)
def test_wrong_types_of_a_string(api, value, shown, kind):
    api.fail("POST", "/experiments/create", *BAD, wrong_type(shown, "name", kind), name=value)
    api.fail("POST", "/registered-models/create", *BAD, wrong_type(shown, "name", kind), name=value)


@pytest.mark.parametrize(
    "value, shown, kind", [(5, "5", "int"), ("x", '"x"', "str"), ({"key": "a"}, '{"key":"a"}', "dict")]
)
def test_wrong_types_of_a_list(api, value, shown, kind):
    api.fail("POST", "/experiments/create", *BAD, wrong_type(shown, "tags", kind), name=unique(), tags=value)


def test_unknown_fields_are_ignored(api):
    name = unique()
    api.post("/experiments/create", name=name, bogus={"deep": [1]}, __class__="x")
    assert api.get("/experiments/get-by-name", experiment_name=name)


def test_nulls_count_as_absent(api, experiment):
    info = api.post("/runs/create", experiment_id=experiment, run_name=None, start_time=None, tags=[])["run"]["info"]
    assert info["run_name"]
    assert info["start_time"] == 0


def test_a_failed_request_stores_nothing(api):
    name = unique()
    api.fail("POST", "/experiments/create", *BAD, name=name, artifact_location="s3://b/x#f")
    api.fail("GET", "/experiments/get-by-name", 404, "RESOURCE_DOES_NOT_EXIST", experiment_name=name)


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\x1b[31m", "\u202e", "\ufffe"])
def test_control_characters_do_no_harm(api, run, text):
    assert api.call("POST", "/runs/set-tag", body={"run_id": run, "key": "k", "value": text}).status_code in (200, 400)
    api.fail("GET", "/runs/get", 404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={text} not found", run_id=text)
    assert api.call("POST", "/runs/set-tag", body={"run_id": run, "key": "k", "value": "fine"}).status_code == 200
    assert api.data(run)[1]["k"] == "fine"


# Content types.


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/vnd.api+json"]
)
def test_other_content_types_are_refused(api, kind):
    body = json.dumps({"name": unique()}).encode()
    assert_error(
        api.raw("POST", CREATE, body, {"Content-Type": kind}),
        *BAD,
        "Bad Request. Content-Type must be one of ['application/json'].",
    )


def test_no_content_type(api):
    body = json.dumps({"name": unique()}).encode()
    assert_error(api.raw("POST", CREATE, body), *BAD, "Bad Request. Content-Type header is missing.")


def test_parameters_of_the_content_type_are_fine(api):
    body = json.dumps({"name": unique("ü")}, ensure_ascii=False).encode()
    answer = api.raw("POST", CREATE, body, {"Content-Type": "application/json; charset=utf-8"})
    assert answer.status_code == 200


def test_patch_and_delete_need_no_content_type(api):
    name = api.new_model()
    body = json.dumps({"name": name, "description": "d"}).encode()
    assert api.raw("PATCH", REST + "/registered-models/update", body).status_code == 200
    assert api.raw("DELETE", REST + "/registered-models/delete", body).status_code == 200


# Methods and paths.


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", CREATE),
        ("PUT", CREATE),
        ("POST", REST + "/experiments/get"),
        ("GET", REST + "/runs/log-batch"),
        ("POST", REST + "/registered-models/update"),
        ("GET", AJAX + "/runs/create"),
        ("POST", PROXY + "/x"),
    ],
)
def test_wrong_methods(api, method, path):
    data = None if method == "GET" else b"{}"
    assert api.raw(method, path, data, JSON).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        REST + "/nope",
        REST + "/experiments",
        "/api/1.0/mlflow/experiments/get?experiment_id=0",
        "/api/3.0/mlflow/experiments/get?experiment_id=0",
        "/api/2.0/preview/mlflow/experiments/get?experiment_id=0",
        REST + "/experiments/get/?experiment_id=0",
        "/api/2.0/mlflow/server-info",
    ],
)
def test_unknown_paths(api, path):
    assert api.raw("GET", path).status_code == 404


def test_query_of_a_get(api):
    assert api.get("/experiments/get", experiment_id=["0", "1"])["experiment"]["experiment_id"] == "0"
    api.fail("GET", "/experiments/get", *BAD, missing("experiment_id"), nothing="0")
    answer = api.raw("GET", REST + "/experiments/get?experiment_id=%ff")
    assert_error(answer, *BAD, re.compile("Experiment ID must be a valid integer"))
    answer = api.raw("GET", REST + "/experiments/get?experiment_id=%")
    assert_error(answer, *BAD, re.compile("Experiment ID must be a valid integer"))


def test_bool_in_a_query_in_any_letter_case(api, experiment):
    model = api.new_logged_model(experiment)
    api.delete(f"/logged-models/{model}")
    for value in ("true", "True", "TRUE"):
        assert api.get(f"/logged-models/{model}", allow_deleted=value)["model"]["info"]["model_id"] == model
    for value in ("false", "False"):
        api.fail("GET", f"/logged-models/{model}", 404, "RESOURCE_DOES_NOT_EXIST", allow_deleted=value)


@pytest.mark.parametrize("run_id", ["x", "!!", "x" * 300, "../../x", "' OR 1=1 --", "%00", "🙂"])
def test_odd_run_ids_are_unknown_runs(api, run_id):
    api.fail("GET", "/runs/get", 404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found", run_id=run_id)
    api.fail(
        "POST",
        "/runs/set-tag",
        404,
        "RESOURCE_DOES_NOT_EXIST",
        f"Run with id={run_id} not found",
        run_id=run_id,
        key="k",
        value="v",
    )
    api.fail(
        "POST",
        "/runs/log-metric",
        404,
        "RESOURCE_DOES_NOT_EXIST",
        f"Run with id={run_id} not found",
        run_id=run_id,
        **metric("m"),
    )


@pytest.mark.parametrize(
    "number", ["-1", pytest.param(str(2**63), marks=pytest.mark.fix), pytest.param("9" * 30, marks=pytest.mark.fix)]
)
def test_odd_experiment_numbers(api, number):
    # The stock server fails with 500 beyond 64 bits.
    answer = api.call("GET", "/experiments/get", query={"experiment_id": number})
    assert answer.status_code in (400, 404)
    assert alive(api)


# Meta calls, security.


def test_health_and_version(api):
    health = api.raw("GET", "/health")
    assert (health.status_code, health.content) == (200, b"OK")
    version = api.raw("GET", "/version")
    assert (version.status_code, version.content) == (200, b"3.18.0")


def test_server_info(api):
    for prefix in ("/api/3.0/mlflow", "/ajax-api/3.0/mlflow"):
        info = api.http.get(api.url + prefix + "/server-info").json()
        assert info["store_type"] == "SqlStore"
        assert info["workspaces_enabled"] is False
        assert info["artifact_serving_enabled"] is True
        assert isinstance(info["multipart_uploads_enabled"], bool)


GET_DEFAULT = REST + "/experiments/get?experiment_id=0"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"])
def test_foreign_host_names_are_refused(api, host):
    answer = api.raw("GET", GET_DEFAULT, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.text == "Invalid Host header - possible DNS rebinding attack detected"
    # Probes may come under any name.
    for path in ("/health", "/version"):
        assert api.raw("GET", path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5", "10.1.2.3:5000", "192.168.0.7", "172.16.0.1:80"]
)
def test_local_and_private_hosts_pass(api, host):
    assert api.raw("GET", GET_DEFAULT, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example"])
@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", CREATE),
        ("POST", AJAX + "/experiments/create"),
        ("PUT", PROXY + "/origin-test"),
        ("DELETE", REST + "/registered-models/delete"),
    ],
)
def test_writes_from_foreign_pages_are_refused(api, origin, method, path):
    answer = api.raw(method, path, json.dumps({"name": unique()}).encode(), {**JSON, "Origin": origin})
    assert (answer.status_code, answer.text) == (403, "Cross-origin request blocked")


def test_local_pages_may_write_and_others_may_read(api):
    body = json.dumps({"name": unique()}).encode()
    assert api.raw("POST", CREATE, body, {**JSON, "Origin": "http://localhost:3000"}).status_code == 200
    assert api.raw("GET", GET_DEFAULT, headers={"Origin": "http://evil.example"}).status_code == 200


def test_security_headers(api):
    for answer in (
        api.raw("GET", GET_DEFAULT),
        api.raw("GET", REST + "/nope"),
        api.raw("GET", "/health"),
        api.raw("POST", CREATE, b"{}", JSON),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_preflight(api):
    ask = {"Access-Control-Request-Method": "POST"}
    ok = api.raw("OPTIONS", CREATE, headers={**ask, "Origin": "http://localhost:3000"})
    assert ok.status_code == 200
    assert ok.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    refused = api.raw("OPTIONS", CREATE, headers={**ask, "Origin": "http://evil.example"})
    assert refused.status_code == 400
    assert "Access-Control-Allow-Origin" not in refused.headers


# Paths that try to climb out of the artifact root, written raw so that no client tidies them.

CLIMBS = [
    "../x",
    "%2e%2e/x",
    "..%2fx",
    "%2e%2e%2fx",
    "a/../../b",
    "a/../b",
    "a%2f..%2f..%2fb",
    "%252e%252e/x",
    "..",
    "%2e%2e",
    ".%2e/x",
    "..%252fx",
    "a/..",
]


@pytest.mark.parametrize("path", CLIMBS)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_climbing_paths_are_refused(api, experiment, run, method, path):
    target = f"{PROXY}/{experiment}/{run}/artifacts/{path}"
    answer = api.raw(method, target, b"x" if method == "PUT" else None)
    assert_error(answer, *BAD, "Invalid path")


@pytest.mark.parametrize("path", ["../x", "..", "/etc", "%2e%2e", "a/../b", "%252e%252e/x", "/"])
def test_climbing_in_listings_is_refused(api, run, path):
    answer = api.http.get(api.url + PROXY, params={"path": path})
    assert_error(answer, *BAD, "Invalid path")
    api.fail("GET", "/artifacts/list", *BAD, "Invalid path", run_id=run, path=path)


@pytest.mark.fix
@pytest.mark.parametrize(
    "path", ["%2fetc/passwd", "/etc/passwd", "./x", "a/./b", "%2e/x", "a%00b", "%00", "http:%2f%2fhost%2fx"]
)
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_paths_that_are_not_canonical_are_refused(api, experiment, run, method, path):
    # The stock server answers 500 to some of the writes and stores a NUL under another name.
    target = f"{PROXY}/{experiment}/{run}/artifacts/{path}"
    answer = api.raw(method, target, b"x" if method == "PUT" else None)
    if method == "GET":
        assert answer.status_code in (400, 404)
    else:
        assert_error(answer, *BAD)
    assert api.get("/artifacts/list", run_id=run) == {"root_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts"}


@pytest.mark.parametrize(
    "path", ["..%5cx", "%5c%5chost%5cx", "a%5c..%5c..%5cb", "C%3A%5Cx", "%c0%ae%c0%ae/x", "~root/x"]
)
def test_tricks_of_other_systems_are_plain_names(api, experiment, run, path):
    # Backslashes, drive letters, overlong UTF-8 and home marks mean nothing here: refused or kept inside of the run.
    target = f"{PROXY}/{experiment}/{run}/artifacts/{path}"
    answer = api.raw("PUT", target, b"inside")
    if answer.status_code == 200:
        assert api.raw("GET", target).content == b"inside"
        assert len(api.get("/artifacts/list", run_id=run)["files"]) == 1
    else:
        assert_error(answer, *BAD)


def test_a_run_cannot_be_read_through_another(api, experiment):
    first, second = api.new_run(experiment), api.new_run(experiment)
    url = f"{PROXY}/{experiment}/{first}/artifacts/secret.txt"
    assert api.raw("PUT", url, b"secret").status_code == 200
    for path in (f"../../{first}/artifacts/secret.txt", f"..%2F..%2F{first}%2Fartifacts%2Fsecret.txt"):
        answer = api.raw("GET", f"/get-artifact?run_id={second}&path={path}")
        assert_error(answer, *BAD, "Invalid path")


# Very large requests.


def test_a_long_name_in_a_large_body(api):
    api.fail(
        "POST", "/experiments/create", *BAD, "'name' exceeds the maximum length of 500 characters", name="x" * 3_000_000
    )


def test_a_long_query(api):
    answer = api.raw("GET", f"{REST}/runs/get?run_id=" + "x" * 20_000)
    assert answer.status_code in (404, 414, 431)
    assert alive(api)


def test_a_filter_of_many_clauses(api, experiment):
    text = " AND ".join(["params.a = 'b'"] * 50)
    assert api.post("/runs/search", experiment_ids=[experiment], filter=text) == {}


def test_a_long_filter_of_nonsense(api, experiment):
    api.fail(
        "POST",
        "/runs/search",
        *BAD,
        re.compile(r"^Invalid clause\(s\) in filter string: "),
        experiment_ids=[experiment],
        filter="x" * 5000,
    )


def test_answers_are_json_with_whole_numbers(api, experiment):
    run = api.new_run(experiment, start_time=1_700_000_000_000)
    text = api.call("GET", "/runs/get", query={"run_id": run}).text
    assert re.search(r'"start_time": 1700000000000\b', text)
    assert api.call("GET", "/runs/get", query={"run_id": run}).headers["Content-Type"] == "application/json"
    # Indented by two, as people read these answers with curl.
    assert text.startswith('{\n  "run": {\n    "info": {\n')
    assert api.call("POST", "/runs/delete", body={"run_id": run}).text.split() == ["{}"]


def test_unknown_run_everywhere(api):
    for method, path, fields in (
        ("GET", "/artifacts/list", {}),
        ("POST", "/runs/delete", {}),
        ("POST", "/runs/restore", {}),
        ("POST", "/runs/update", {"status": "FAILED"}),
        ("POST", "/runs/log-inputs", {"datasets": []}),
        ("POST", "/runs/log-batch", {}),
        ("POST", "/runs/log-parameter", {"key": "k", "value": "v"}),
    ):
        api.fail(
            method, path, 404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={NO_RUN} not found", run_id=NO_RUN, **fields
        )
