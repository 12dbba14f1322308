"""DeleteObjects (public case 58)."""

import concurrent.futures
import hashlib
from xml.sax.saxutils import escape

import pytest

from . import checksums
from .wire import NAMESPACE, path

ODD = [
    "a&<b>\"'",
    "]]>",
    "&amp;",
    "&#38;",
    "<!-- -->",
    "with space",
    " edge ",
    "tab\tin",
    "line\nfeed",
    "carriage\rreturn",
    "crlf\r\nend",
    "%41",
    "a+b",
    "ü/日本",
    "\U0001f600",
    "a//b",
    "a/../b",
    "dir/",
]


def keys_of(s3, bucket):
    return [
        o["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for o in page.get("Contents", [])
    ]


def document(keys, quiet=False, namespace=True):
    objects = "".join(f"<Object><Key>{escape(k)}</Key></Object>" for k in keys)
    attribute = f' xmlns="{NAMESPACE}"' if namespace else ""
    return f"<Delete{attribute}>{'<Quiet>true</Quiet>' if quiet else ''}{objects}</Delete>".encode()


def delete(wire, bucket, body, headers=None):
    headers = {"Content-MD5": checksums.md5(body)} if headers is None else headers
    return wire.request("POST", path(bucket), {"delete": ""}, headers=headers, body=body)


def fill(wire, bucket, keys):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda k: wire.request("PUT", path(bucket, k), body=b"x"), keys):
            assert answer.status == 200


def test_deletes_and_lists_what_it_deleted(s3, bucket):
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "c"}]})
    assert [d["Key"] for d in answer["Deleted"]] == ["a", "c"]
    assert "Errors" not in answer
    assert keys_of(s3, bucket) == ["b"]


def test_missing_keys_count_as_deleted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="there", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "missing"}, {"Key": "there"}]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == ["missing", "there"]
    assert "Errors" not in answer


def test_the_same_key_twice(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "k"}]})
    assert {d["Key"] for d in answer["Deleted"]} == {"k"}
    assert keys_of(s3, bucket) == []


def test_quiet_lists_errors_only(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "none"}], "Quiet": True})
    assert "Deleted" not in answer
    assert "Errors" not in answer
    assert keys_of(s3, bucket) == []


def test_odd_keys_through_boto3(s3, wire, bucket):
    fill(wire, bucket, [*ODD, "left"])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in ODD]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == sorted(ODD)
    assert keys_of(s3, bucket) == ["left"]


@pytest.mark.parametrize("key", ODD, ids=ascii)
def test_odd_keys_one_by_one(s3, wire, bucket, key):
    fill(wire, bucket, [key])
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert keys_of(s3, bucket) == []


def test_control_characters_as_references(wire, bucket):
    # XML 1.0 has no way to write these; S3 takes and gives numeric references.
    key = "bell\x07end\x01"
    fill(wire, bucket, [key])
    body = b"<Delete><Quiet>true</Quiet><Object><Key>bell&#x7;end&#1;</Key></Object></Delete>"
    answer = delete(wire, bucket, body)
    assert (answer.status, answer.code) == (200, None)
    assert wire.request("HEAD", path(bucket, key)).status == 404


def test_control_characters_as_they_are(s3, wire, bucket):
    # What boto3 sends for such a key. It is no XML: refused whole or understood, but nothing in between.
    key = "bell\x07end"
    fill(wire, bucket, [key, "other"])
    body = b"<Delete><Quiet>true</Quiet><Object><Key>" + key.encode() + b"</Key></Object></Delete>"
    answer = delete(wire, bucket, body)
    if answer.status == 200:
        assert keys_of(s3, bucket) == ["other"]
    else:
        assert answer.failure == (400, "MalformedXML")
        assert keys_of(s3, bucket) == [key, "other"]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("a&amp;b", "a&b"),
        ("&lt;&gt;&quot;&apos;", "<>\"'"),
        ("&#x41;&#66;", "AB"),
        ("&#x1F600;", "\U0001f600"),
        ("<![CDATA[a<b>&c]]>", "a<b>&c"),
        ("a&#13;b", "a\rb"),
        (" x ", " x "),
        ("a<!-- not part of it -->b", "ab"),
    ],
)
def test_ways_to_write_a_key(wire, bucket, written, key):
    fill(wire, bucket, [key])
    answer = delete(wire, bucket, f"<Delete><Object><Key>{written}</Key></Object></Delete>".encode())
    assert answer.status == 200
    assert answer.xml.findtext("Deleted/Key") == key
    assert wire.request("HEAD", path(bucket, key)).status == 404


@pytest.mark.parametrize("namespace", [True, False])
@pytest.mark.parametrize("declaration", [b"", b'<?xml version="1.0" encoding="UTF-8"?>\n'])
def test_document_forms(wire, bucket, namespace, declaration):
    fill(wire, bucket, ["k"])
    answer = delete(wire, bucket, declaration + document(["k"], namespace=namespace))
    assert (answer.status, answer.xml.tag) == (200, "DeleteResult")
    assert NAMESPACE.encode() in answer.body
    assert wire.request("HEAD", path(bucket, "k")).status == 404


def test_1000_keys_are_allowed(s3, wire, bucket):
    keys = [f"run/{n:04}" for n in range(1000)]
    fill(wire, bucket, keys[::10])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == keys
    assert keys_of(s3, bucket) == []


def test_1001_keys_are_refused_whole(s3, wire, bucket, refused):
    fill(wire, bucket, ["0", "1000"])
    with refused(400, "MalformedXML"):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": str(n)} for n in range(1001)]})
    assert keys_of(s3, bucket) == ["0", "1000"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Delete></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Remove><Object><Key>k</Key></Object></Remove>",
        b"<Delete><Object><Key>k</Key></Object></Delete><more/>",
        b'{"Objects":[{"Key":"k"}]}',
        b"<Delete><Object><Key>k</Key></Object><Object><Key>\xff</Key></Object></Delete>",
        b"<Delete><Object><Key>k&nope;</Key></Object></Delete>",
    ],
)
def test_malformed_documents(wire, bucket, body):
    fill(wire, bucket, ["k"])
    answer = delete(wire, bucket, body)
    assert answer.status == 400
    # S3 has a code of its own for no body at all.
    assert answer.code == "MalformedXML" or (not body and answer.code == "MissingRequestBodyError")
    assert wire.request("HEAD", path(bucket, "k")).status == 200


def test_entities_are_not_expanded(wire, bucket):
    # A document type is never needed here; a nest of entities would grow without bound.
    levels = "".join(f'<!ENTITY e{n + 1} "' + f"&e{n};" * 10 + '">' for n in range(11))
    bomb = f'<!DOCTYPE d [<!ENTITY e0 "x">{levels}]><Delete><Object><Key>&e11;</Key></Object></Delete>'.encode()
    assert delete(wire, bucket, bomb).failure == (400, "MalformedXML")
    outside = b'<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&f;</Key></Object></Delete>'
    answer = delete(wire, bucket, outside)
    assert answer.failure == (400, "MalformedXML")
    assert b"root:" not in answer.body


def test_deep_nesting_is_refused(wire, bucket):
    deep = b"<Delete>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Delete>"
    assert delete(wire, bucket, deep).failure == (400, "MalformedXML")


@pytest.mark.parametrize("algorithm", checksums.NAMES)
def test_any_checksum_header_will_do(wire, bucket, algorithm):
    fill(wire, bucket, ["k"])
    body = document(["k"])
    headers = {
        "x-amz-sdk-checksum-algorithm": algorithm,
        checksums.header(algorithm): checksums.of(algorithm, body),
    }
    assert delete(wire, bucket, body, headers).status == 200
    assert wire.request("HEAD", path(bucket, "k")).status == 404


@pytest.mark.parametrize(
    "headers",
    [{"Content-MD5": checksums.md5(b"x")}, *({checksums.header(a): checksums.of(a, b"x")} for a in checksums.NAMES)],
    ids=lambda h: next(iter(h)),
)
def test_wrong_checksum(wire, bucket, headers):
    fill(wire, bucket, ["k"])
    assert delete(wire, bucket, document(["k"]), headers).failure == (400, "BadDigest")
    assert wire.request("HEAD", path(bucket, "k")).status == 200


def test_without_any_checksum(wire, bucket):
    fill(wire, bucket, ["k"])
    assert delete(wire, bucket, document(["k"]), {}).failure == (400, "InvalidRequest")
    assert wire.request("HEAD", path(bucket, "k")).status == 200


def test_unknown_bucket(s3, bucket_name, refused):
    with refused(404, "NoSuchBucket"):
        s3.delete_objects(Bucket=bucket_name(), Delete={"Objects": [{"Key": "k"}]})


def test_null_version(s3, bucket):
    # How test suites and `mc rb --force` empty a bucket: list versions, delete them by id.
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    objects = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [(d["Key"], d["VersionId"]) for d in answer["Deleted"]] == [("a", "null"), ("b", "null")]
    assert keys_of(s3, bucket) == []
    s3.delete_bucket(Bucket=bucket)


def test_a_key_too_long_is_an_error_of_its_own(s3, wire, bucket):
    # One bad key does not spoil the others: it gets an entry under Errors, or deletes nothing as a missing key.
    fill(wire, bucket, ["k"])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "x" * 1025}, {"Key": "k"}]})
    assert "k" in [d["Key"] for d in answer["Deleted"]]
    assert keys_of(s3, bucket) == []


def test_empty_query_value_forms(wire, bucket):
    body = document(["k"])
    headers = {"Content-MD5": checksums.md5(body)}
    signed = wire.signed_headers("POST", path(bucket), {"delete": ""}, headers, hashlib.sha256(body).hexdigest())
    for target in (f"/{bucket}?delete", f"/{bucket}?delete="):
        assert wire.plain("POST", target, signed, body).status == 200
