"""Keys are byte strings: each of these is a key of its own in every operation (public case 52)."""

import os
import re
import unicodedata

import pytest
import requests

from .wire import path

NFC = unicodedata.normalize("NFC", "caf\u00e9")
NFD = unicodedata.normalize("NFD", "caf\u00e9")

KEYS = [
    "a+b %é/x=1&y#?.txt",
    "c_iso=ETH/f",
    NFC,
    NFD,
    "dir/",
    "//x",
    "/lead",
    "a//b",
    ".",
    "..",
    "./a",
    "a/./b",
    "a/../b",
    "../../etc/passwd",
    "%2e%2e/x",
    "a%20b",
    "a b",
    "a+b",
    "a%2Bb",
    "back\\slash",
    "semi;colon:comma,star*tilde~at@dollar$quote'double\"",
    "<&>",
    "日本語/ünï.bin",
    "emoji-\U0001f600",
    "tab\tin",
    "line\nfeed",
    "carriage\rreturn",
    "\x01\x1f\x7f",
    " leading and trailing ",
    "trailing.",
    "null",
    "versions",
    "x" * 255,
    "y" * 256,
    "long/" + "z" * 1019,
    "ü" * 512,
    "/".join("d" * 200 for _ in range(5)),
]
IDS = [ascii(k[:24]) for k in KEYS]


@pytest.fixture(scope="module")
def filled(s3, module_bucket):
    """Every key of the list in one bucket; the content of each is its own name."""
    for key in KEYS:
        s3.put_object(Bucket=module_bucket, Key=key, Body=key.encode())
    return module_bucket


@pytest.mark.parametrize("key", KEYS, ids=IDS)
def test_get_and_head(s3, filled, key):
    assert s3.get_object(Bucket=filled, Key=key)["Body"].read() == key.encode()
    assert s3.head_object(Bucket=filled, Key=key)["ContentLength"] == len(key.encode())


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_presigned_get(make_client, filled, signature):
    client = make_client(signature_version=signature)
    for key in KEYS:
        if {".", ".."} & set(key.split("/")) or "//" in key or key.startswith("/"):
            continue  # requests would tidy up the path; test_get_of_dotted_paths sends these
        url = client.generate_presigned_url("get_object", Params={"Bucket": filled, "Key": key})
        answer = requests.get(url, timeout=10)
        assert (answer.status_code, answer.content) == (200, key.encode()), key


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_get_of_dotted_paths(make_client, wire, filled, signature):
    client = make_client(signature_version=signature)
    for key in KEYS:
        url = client.generate_presigned_url("get_object", Params={"Bucket": filled, "Key": key})
        answer = wire.plain("GET", url.partition(wire.host)[2])
        assert (answer.status, answer.body) == (200, key.encode()), key


def test_list_with_encoding_type_url(s3, filled):
    # boto3 asks for encoding-type=url by itself and decodes the names.
    found = [o["Key"] for o in s3.list_objects_v2(Bucket=filled)["Contents"]]
    assert found == sorted(KEYS, key=str.encode)


def test_list_versions(s3, filled):
    found = [o["Key"] for o in s3.list_object_versions(Bucket=filled)["Versions"]]
    assert found == sorted(KEYS, key=str.encode)


def test_list_without_encoding_is_well_formed_xml(wire, filled):
    # Names that XML 1.0 cannot carry are left out of this one: there encoding-type is what the user must ask for.
    for key in KEYS:
        if not fits_in_xml(key):
            continue
        root = wire.request("GET", path(filled), {"list-type": "2", "prefix": key, "max-keys": "1"}).xml
        assert root.findtext("Prefix") == key
        assert root.findtext("Contents/Key") == key


def test_copy_from_and_to(s3, filled, bucket):
    for key in KEYS:
        s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": filled, "Key": key})
    for key in KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key


def fits_in_xml(key):
    return not any(ord(c) < 32 and c not in "\t\n\r" for c in key)


def test_multipart(s3, bucket):
    keys = [key for key in KEYS if fits_in_xml(key)]
    for key in keys:
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)
        assert upload["Key"] == key
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=key.encode())
        done = s3.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload["UploadId"],
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
        assert done["Key"] == key
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key


def test_multipart_of_a_name_that_xml_cannot_carry(wire, s3, bucket):
    # boto3 gives up on the echoed name, as no XML 1.0 parser may take it; the upload itself works.
    key = "\x01\x1f\x7f"
    created = wire.request("POST", path(bucket, key), {"uploads": ""})
    upload = re.search(rb"<UploadId>([^<]+)</UploadId>", created.body)[1].decode()
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part['ETag']}</ETag></Part></CompleteMultipartUpload>"
    assert wire.request("POST", path(bucket, key), {"uploadId": upload}, body=body.encode()).status == 200
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"


def test_delete_one_leaves_its_neighbours(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    left = sorted(KEYS, key=str.encode)
    for key in KEYS:
        s3.delete_object(Bucket=bucket, Key=key)
        left.remove(key)
    assert left == []
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_name_and_a_name_below_it(s3, bucket):
    # No file system would take these together.
    names = ["a", "a/", "a/b", "a/b/", "a/b/c", "a//"]
    for order in (names, list(reversed(names))):
        for name in order:
            s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
        for name in order:
            assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()
        for name in order:
            s3.delete_object(Bucket=bucket, Key=name)
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_keys_too_long(s3, wire, bucket, refused):
    for key in ("k" * 1025, "ü" * 512 + "k"):
        with refused(400, "KeyTooLongError"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        assert wire.request("POST", path(bucket, key), {"uploads": ""}).failure == (400, "KeyTooLongError")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_key_is_decoded_once(wire, bucket):
    wire.request("PUT", path(bucket, "a%20b"), body=b"literal")
    wire.request("PUT", path(bucket, "a b"), body=b"space")
    assert wire.request("GET", f"/{bucket}/a%2520b").body == b"literal"
    assert wire.request("GET", f"/{bucket}/a%20b").body == b"space"


def test_plus_in_a_path_is_a_plus(wire, bucket):
    wire.request("PUT", path(bucket, "1+1"), body=b"plus")
    headers = wire.signed_headers("GET", path(bucket, "1+1"))
    # The signature is over the canonical form; the path may come with the plus as it is.
    assert wire.plain("GET", f"/{bucket}/1+1", headers).body == b"plus"


def test_lower_case_percent_digits(wire, bucket):
    wire.request("PUT", path(bucket, "a/ü=x"), body=b"lower")
    headers = wire.signed_headers("GET", path(bucket, "a/ü=x"))
    assert wire.plain("GET", f"/{bucket}/a/%c3%bc%3dx", headers).body == b"lower"


@pytest.mark.parametrize("tail", ["a%", "a%2", "a%zz"])
def test_broken_percent_encoding_is_refused(wire, bucket, tail):
    answer = wire.plain("GET", f"/{bucket}/{tail}", wire.signed_headers("GET", f"/{bucket}/{tail}"))
    assert 400 <= answer.status < 500


def test_bytes_that_are_not_utf8(wire, bucket):
    target = f"/{bucket}/%ff%fe"
    answer = wire.request("PUT", f"/{bucket}/%FF%FE", body=b"x", raw_target=target)
    assert answer.status == 400
    assert wire.request("GET", path(bucket), {"list-type": "2"}).xml.findtext("KeyCount") == "0"


def test_nothing_is_written_beside_the_store(millrace, s3, bucket, tmp_path):
    # Traversal out of the data folder: the key is only text.
    marker = f"escape-{os.urandom(6).hex()}"
    climb = "../" * 30 + str(tmp_path).lstrip("/")
    for key in (f"{climb}/{marker}", f"{tmp_path}/{marker}", f"..\\..\\{marker}", f"../{marker}", f"a/../../{marker}"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"
    assert list(tmp_path.iterdir()) == []
    if millrace.data_dir is not None:
        beside = [entry.name for entry in millrace.data_dir.parent.iterdir()]
        assert marker not in beside
