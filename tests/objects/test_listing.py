"""Listings: ListObjectsV2 and ListObjects (V1), against a model in Python."""

import random

import boto3
import harness
import pytest
from botocore.config import Config

from . import checksums
from .wire import NAMESPACE, path

# Byte order, not any locale's and not UTF-16's: U+FFFF comes before U+10000.
KEYS = sorted(
    [
        "a",
        "a/",
        "a/1",
        "a/2",
        "a/b/1",
        "a/b/2",
        "a/c",
        "a-",
        "a0",
        "ab",
        "b/1",
        "b/2/3",
        "b//x",
        "c",
        "dir/x",
        "dir/y",
        "dir2",
        "Z",
        "z",
        "é",
        "日本/1",
        "日本/2",
        "\uffff",
        "\U00010000",
        "%41",
        "x y",
        "x+y",
        "~",
    ],
    key=str.encode,
)


def expected(keys, prefix="", delimiter="", after=None):
    """What a listing shows: (kind, name) in order. A common prefix shows when any of its keys does."""
    entries = []
    for key in keys:
        if not key.startswith(prefix) or (after is not None and key.encode() <= after.encode()):
            continue
        rest = key[len(prefix) :]
        cut = rest.find(delimiter) if delimiter else -1
        entry = ("key", key) if cut < 0 else ("prefix", prefix + rest[: cut + len(delimiter)])
        if entry not in entries:
            entries.append(entry)
    return entries


def shown(page):
    """(kind, name) of one page, merged into the order in which the listing went."""
    entries = [("key", o["Key"]) for o in page.get("Contents", [])]
    entries += [("prefix", p["Prefix"]) for p in page.get("CommonPrefixes", [])]
    return sorted(entries, key=lambda e: e[1].encode())


def in_order(entries):
    return sorted(entries, key=lambda e: e[1].encode())


@pytest.fixture(scope="module")
def listed(wire, module_bucket):
    for key in random.Random(5).sample(KEYS, len(KEYS)):
        assert wire.request("PUT", path(module_bucket, key), body=key.encode()).status == 200
    return module_bucket


def test_all_keys_in_byte_order(s3, listed):
    answer = s3.list_objects_v2(Bucket=listed)
    assert [o["Key"] for o in answer["Contents"]] == KEYS
    assert (answer["KeyCount"], answer["MaxKeys"], answer["IsTruncated"]) == (len(KEYS), 1000, False)
    assert answer["Name"] == listed
    assert "NextContinuationToken" not in answer
    for entry in answer["Contents"]:
        assert entry["ETag"] == checksums.etag(entry["Key"].encode())
        assert entry["Size"] == len(entry["Key"].encode())
        assert entry["StorageClass"] == "STANDARD"
        assert "Owner" not in entry


def test_v1_all_keys(s3, listed):
    answer = s3.list_objects(Bucket=listed)
    assert [o["Key"] for o in answer["Contents"]] == KEYS
    assert answer["IsTruncated"] is False
    assert "NextMarker" not in answer
    assert all(entry["Owner"]["ID"] for entry in answer["Contents"])


CASES = [
    {},
    {"Prefix": "a"},
    {"Prefix": "a/"},
    {"Prefix": "none"},
    {"Prefix": "日"},
    {"Prefix": "x+"},
    {"Prefix": "%4"},
    {"Delimiter": "/"},
    {"Delimiter": "/", "Prefix": "a"},
    {"Delimiter": "/", "Prefix": "a/"},
    {"Delimiter": "/", "Prefix": "a/b"},
    {"Delimiter": "/", "Prefix": "b/"},
    {"Delimiter": "/", "Prefix": "日本"},
    {"Delimiter": "//"},
    {"Delimiter": "b"},
    {"Delimiter": "/b/"},
    {"Delimiter": "本"},
    {"Delimiter": " "},
    {"Delimiter": "+"},
    {"Delimiter": "nowhere"},
    {"Delimiter": ""},
    {"Delimiter": "/", "Prefix": "/"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_prefix_and_delimiter(s3, listed, case):
    want = in_order(expected(KEYS, case.get("Prefix", ""), case.get("Delimiter", "")))
    for operation in (s3.list_objects_v2, s3.list_objects):
        answer = operation(Bucket=listed, **case)
        assert shown(answer) == want
        if operation == s3.list_objects_v2:  # boto3 leaves the prefix of the older listing encoded
            assert answer.get("Prefix", "") == case.get("Prefix", "")
        if case.get("Delimiter"):
            assert answer["Delimiter"] == case["Delimiter"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pages_of_every_size_add_up(s3, listed, case):
    want = in_order(expected(KEYS, case.get("Prefix", ""), case.get("Delimiter", "")))
    for size in (1, 2, 3, 7):
        got, token, pages = [], {}, 0
        while True:
            page = s3.list_objects_v2(Bucket=listed, MaxKeys=size, **case, **token)
            entries = shown(page)
            assert page["KeyCount"] == len(entries) <= size
            got += entries
            pages += 1
            assert pages <= len(want) + 1
            if not page["IsTruncated"]:
                break
            # Only the last page may be short: a common prefix counts as one.
            assert len(entries) == size
            token = {"ContinuationToken": page["NextContinuationToken"]}
        assert got == want
        assert pages == max(1, -(-len(want) // size))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_v1_pages_add_up(s3, listed, case):
    want = in_order(expected(KEYS, case.get("Prefix", ""), case.get("Delimiter", "")))
    for size in (1, 2, 5):
        got, marker, pages = [], "", 0
        while True:
            page = s3.list_objects(Bucket=listed, MaxKeys=size, Marker=marker, **case)
            entries = shown(page)
            got += entries
            pages += 1
            assert pages <= len(want) + 1
            assert page.get("Marker", "") == marker
            if not page["IsTruncated"]:
                break
            # NextMarker comes only with a delimiter; else the last key is the next marker.
            assert ("NextMarker" in page) == bool(case.get("Delimiter"))
            marker = page.get("NextMarker") or entries[-1][1]
        assert got == want


def test_start_after(s3, listed):
    for after in ("", "a", "a/1", "a/zzz", "b", "é", "\U00010000", "~~~~"):
        answer = s3.list_objects_v2(Bucket=listed, StartAfter=after)
        assert shown(answer) == in_order(expected(KEYS, after=after))
        assert answer.get("StartAfter", "") == after


def test_start_after_with_prefix(s3, listed):
    answer = s3.list_objects_v2(Bucket=listed, StartAfter="a/2", Prefix="a/")
    assert [o["Key"] for o in answer["Contents"]] == ["a/b/1", "a/b/2", "a/c"]
    assert s3.list_objects_v2(Bucket=listed, StartAfter="b", Prefix="a/")["KeyCount"] == 0


def test_the_token_outweighs_start_after(s3, listed):
    first = s3.list_objects_v2(Bucket=listed, StartAfter="a", MaxKeys=2)
    second = s3.list_objects_v2(
        Bucket=listed, StartAfter="a", MaxKeys=2, ContinuationToken=first["NextContinuationToken"]
    )
    assert shown(first) + shown(second) == expected(KEYS, after="a")[:4]
    assert second["ContinuationToken"] == first["NextContinuationToken"]


def test_a_token_outlives_the_key_it_stopped_at(s3, bucket):
    for key in "abcd":
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    first = s3.list_objects_v2(Bucket=bucket, MaxKeys=2)
    for key in "ab":
        s3.delete_object(Bucket=bucket, Key=key)
    second = s3.list_objects_v2(Bucket=bucket, ContinuationToken=first["NextContinuationToken"])
    assert [o["Key"] for o in second["Contents"]] == ["c", "d"]


def test_v1_marker_need_not_exist(s3, listed):
    answer = s3.list_objects(Bucket=listed, Marker="a/1zzz")
    assert shown(answer) == in_order(expected(KEYS, after="a/1zzz"))


def test_fetch_owner(s3, listed):
    entries = s3.list_objects_v2(Bucket=listed, FetchOwner=True, MaxKeys=3)["Contents"]
    assert len({e["Owner"]["ID"] for e in entries}) == 1
    assert entries[0]["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]
    assert "Owner" not in s3.list_objects_v2(Bucket=listed, FetchOwner=False, MaxKeys=1)["Contents"][0]


def test_max_keys_zero(s3, listed):
    for operation in (s3.list_objects_v2, s3.list_objects):
        answer = operation(Bucket=listed, MaxKeys=0)
        assert (answer["IsTruncated"], answer["MaxKeys"]) == (False, 0)
        assert shown(answer) == []
    assert s3.list_objects_v2(Bucket=listed, MaxKeys=0)["KeyCount"] == 0


@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "99999999999999999999"])
@pytest.mark.parametrize("version", [{"list-type": "2"}, {}])
def test_bad_max_keys(wire, listed, value, version):
    answer = wire.request("GET", path(listed), {"max-keys": value, **version})
    assert answer.failure == (400, "InvalidArgument")


def test_max_keys_over_1000_is_1000(s3, listed):
    assert s3.list_objects_v2(Bucket=listed, MaxKeys=5000)["MaxKeys"] == 1000


def test_more_than_1000_keys(s3, wire, bucket):
    import concurrent.futures

    keys = [f"k{n:04}" for n in range(1003)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(a.status == 200 for a in pool.map(lambda k: wire.request("PUT", path(bucket, k)), keys))
    first = s3.list_objects_v2(Bucket=bucket)
    assert (first["KeyCount"], first["IsTruncated"]) == (1000, True)
    found = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in p["Contents"]]
    assert found == keys
    # V1, without a delimiter: boto3 goes on from the last key.
    found = [o["Key"] for p in s3.get_paginator("list_objects").paginate(Bucket=bucket) for o in p["Contents"]]
    assert found == keys


def test_bad_continuation_token(wire, listed):
    answer = wire.request("GET", path(listed), {"list-type": "2", "prefix": "a", "continuation-token": "nonsense"})
    assert answer.failure == (400, "InvalidArgument")


@pytest.mark.parametrize("version", [{"list-type": "2"}, {}])
def test_bad_encoding_type(wire, listed, version):
    answer = wire.request("GET", path(listed), {"encoding-type": "base64", **version})
    assert answer.failure == (400, "InvalidArgument")


def test_encoding_type_url_covers_every_name(wire, bucket):
    wire.request("PUT", path(bucket, "p q/ü+é"), body=b"x")
    wire.request("PUT", path(bucket, "p q/d&/1"), body=b"x")
    query = {"encoding-type": "url", "prefix": "p q/", "delimiter": "&/", "max-keys": "1"}
    v2 = wire.request("GET", path(bucket), {"list-type": "2", "start-after": "p q", **query}).xml
    assert v2.findtext("EncodingType") == "url"
    # A space may come as %20 or as +; everything else outside the unreserved set and "/" is encoded.
    assert v2.findtext("Prefix").replace("+", "%20") == "p%20q/"
    assert v2.findtext("StartAfter").replace("+", "%20") == "p%20q"
    assert v2.findtext("Delimiter") == "%26/"
    assert v2.findtext("CommonPrefixes/Prefix").replace("+", "%20") == "p%20q/d%26/"
    v1 = wire.request("GET", path(bucket), {"marker": "p q/d&/", **query}).xml
    assert v1.findtext("Marker").replace("+", "%20") == "p%20q/d%26/"
    assert v1.findtext("Contents/Key").replace("+", "%20") == "p%20q/%C3%BC%2B%C3%A9"


def test_names_come_plain_without_encoding_type(wire, bucket):
    wire.request("PUT", path(bucket, "p q/ü+&<"), body=b"x")
    root = wire.request("GET", path(bucket), {"list-type": "2", "prefix": "p q/ü"}).xml
    assert not root.findtext("EncodingType")
    assert root.findtext("Prefix") == "p q/ü"
    assert root.findtext("Contents/Key") == "p q/ü+&<"


def test_documents(wire, listed):
    for query in ({"list-type": "2"}, {}):
        answer = wire.request("GET", path(listed), {"prefix": "a", "max-keys": "2", **query})
        assert answer.headers["Content-Type"].startswith("application/xml")
        root = answer.xml
        assert root.tag == "ListBucketResult"
        assert f'xmlns="{NAMESPACE}"'.encode() in answer.body
        assert root.findtext("IsTruncated") == "true"
        assert root.find("Prefix") is not None
    assert wire.request("GET", path(listed), {"list-type": "2", "prefix": "a"}).xml.find("Marker") is None
    assert wire.request("GET", path(listed), {"prefix": "a"}).xml.find("KeyCount") is None


def test_path_with_trailing_slash_is_the_bucket(wire, listed):
    answer = wire.request("GET", path(listed) + "/", {"list-type": "2", "max-keys": "1"})
    assert (answer.status, answer.xml.findtext("Name")) == (200, listed)


def test_empty_bucket(s3, bucket):
    answer = s3.list_objects_v2(Bucket=bucket)
    assert (answer["KeyCount"], answer["IsTruncated"], "Contents" in answer) == (0, False, False)


def test_unknown_bucket(s3, bucket_name, refused):
    for operation in (s3.list_objects_v2, s3.list_objects):
        with refused(404, "NoSuchBucket"):
            operation(Bucket=bucket_name())


def test_listing_follows_writes_at_once(s3, bucket):
    for number in range(30):
        s3.put_object(Bucket=bucket, Key=f"{number:02}", Body=b"x")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == number + 1
    for number in range(30):
        s3.delete_object(Bucket=bucket, Key=f"{number:02}")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 29 - number


def test_resource_filter(millrace, listed):
    # What KServe's storage initializer does: the V1 listing through boto3's resource.
    resource = boto3.resource(
        "s3",
        endpoint_url=millrace.s3_url,
        region_name="us-east-1",
        aws_access_key_id=harness.S3_ACCESS_KEY,
        aws_secret_access_key=harness.S3_SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )
    found = [o.key for o in resource.Bucket(listed).objects.filter(Prefix="a/")]
    assert found == [k for k in KEYS if k.startswith("a/")]


def test_random_trees_against_the_model(s3, wire, bucket):
    pick = random.Random(20)
    keys = set()
    while len(keys) < 120:
        keys.add("".join(pick.choice(["a", "b", "/", "ü", "-", "//", "\U0001f600"]) for _ in range(pick.randint(1, 7))))
    for key in keys:
        assert wire.request("PUT", path(bucket, key), body=b"").status == 200
    keys = sorted(keys, key=str.encode)
    for _ in range(60):
        base = pick.choice(keys)
        prefix = base[: pick.randint(0, len(base))]
        delimiter = pick.choice(["", "/", "/", "a", "//", "ü/"])
        size = pick.choice([1, 2, 5, 1000])
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
        )
        got = [e for page in pages for e in shown(page)]
        assert got == in_order(expected(keys, prefix, delimiter)), (prefix, delimiter, size)
