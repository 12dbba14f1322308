"""Checksums beyond the ETag: verified, stored, and given back when asked for."""

import base64
import random

import pytest

from . import checksums
from .wire import path

BODY = b"The quick brown fox jumps over the lazy dog"
ASK = {"x-amz-checksum-mode": "ENABLED"}
FIRST = random.Random(7).randbytes(5 * 2**20)
PARTS = [FIRST, b"second and last"]


def checksum_headers(answer):
    known = {checksums.header(a): a for a in checksums.NAMES}
    return {known[h.lower()]: v for h, v in answer.headers.items() if h.lower() in known}


@pytest.mark.parametrize("algorithm", checksums.NAMES)
def test_stored_and_given_back_on_demand(wire, bucket, algorithm):
    target, value = path(bucket, "k"), checksums.of(algorithm, BODY)
    put = wire.request("PUT", target, headers={checksums.header(algorithm): value}, body=BODY)
    assert put.status == 200
    assert checksum_headers(put) == {algorithm: value}
    for method in ("GET", "HEAD"):
        asked = wire.request(method, target, headers=ASK)
        assert checksum_headers(asked) == {algorithm: value}
        assert asked.headers["x-amz-checksum-type"] == "FULL_OBJECT"
        assert checksum_headers(wire.request(method, target)) == {}


@pytest.mark.parametrize("algorithm", checksums.NAMES)
def test_a_wrong_checksum_stores_nothing(wire, bucket, algorithm):
    target = path(bucket, "k")
    headers = {checksums.header(algorithm): checksums.of(algorithm, b"another body")}
    assert wire.request("PUT", target, headers=headers, body=BODY).failure == (400, "BadDigest")
    assert wire.request("HEAD", target).status == 404


@pytest.mark.parametrize("algorithm", checksums.NAMES)
@pytest.mark.parametrize("kind", ["not base64", "too short", "too long", "hex"])
def test_a_malformed_checksum(wire, bucket, algorithm, kind):
    raw = checksums.RAW[algorithm](BODY)
    value = {
        "not base64": "!!!!",
        "too short": base64.b64encode(raw[:-1]).decode(),
        "too long": base64.b64encode(raw + b"x").decode(),
        "hex": raw.hex() + "zz",
    }[kind]
    answer = wire.request("PUT", path(bucket, "k"), headers={checksums.header(algorithm): value}, body=BODY)
    assert answer.failure == (400, "InvalidRequest")
    assert wire.request("HEAD", path(bucket, "k")).status == 404


def test_two_checksums_are_one_too_many(wire, bucket):
    headers = {checksums.header(a): checksums.of(a, BODY) for a in ("CRC32", "SHA256")}
    assert wire.request("PUT", path(bucket, "k"), headers=headers, body=BODY).failure == (400, "InvalidRequest")


def test_unknown_algorithm(wire, bucket):
    answer = wire.request("PUT", path(bucket, "k"), headers={"x-amz-sdk-checksum-algorithm": "CRC7"}, body=BODY)
    assert answer.failure == (400, "InvalidRequest")


def test_the_default_is_crc64nvme(wire, bucket):
    wire.request("PUT", path(bucket, "k"), body=BODY)
    answer = wire.request("HEAD", path(bucket, "k"), headers=ASK)
    assert checksum_headers(answer) == {"CRC64NVME": checksums.of("CRC64NVME", BODY)}
    assert answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"


def test_empty_object(wire, bucket):
    for algorithm in checksums.NAMES:
        value = checksums.of(algorithm, b"")
        assert wire.request("PUT", path(bucket, "k"), headers={checksums.header(algorithm): value}).status == 200
        answer = wire.request("HEAD", path(bucket, "k"), headers=ASK)
        assert checksum_headers(answer) == {algorithm: value}


def test_known_vectors(wire, bucket):
    # Check values of the catalogue of CRC algorithms for the digits 1 to 9, so that no two of our own bugs agree.
    for algorithm, crc in {"CRC32": "cbf43926", "CRC32C": "e3069283", "CRC64NVME": "ae8b14860a799888"}.items():
        value = base64.b64encode(bytes.fromhex(crc)).decode()
        answer = wire.request("PUT", path(bucket, "k"), headers={checksums.header(algorithm): value}, body=b"123456789")
        assert answer.status == 200, algorithm


def test_boto3_checks_what_it_downloads(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert put["ChecksumCRC32"] == checksums.of("CRC32", BODY)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["ChecksumCRC32"] == checksums.of("CRC32", BODY)
    assert got["Body"].read() == BODY


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_boto3_with_each_algorithm_it_can_compute(s3, bucket, algorithm):
    put = s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
    assert put[f"Checksum{algorithm}"] == checksums.of(algorithm, BODY)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


def test_a_client_that_sends_none(make_client, bucket):
    client = make_client(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    client.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


def test_listing_names_the_algorithm(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm="SHA256")
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert entry["ChecksumAlgorithm"] == ["SHA256"]


class Upload:
    """A multipart upload through raw requests, with whatever checksum headers a test wants."""

    def __init__(self, wire, bucket, headers=None):
        self.wire, self.target = wire, path(bucket, "k")
        self.created = wire.request("POST", self.target, {"uploads": ""}, headers=headers)
        assert self.created.status == 200
        self.id = self.created.xml.findtext("UploadId")

    def part(self, number, body, headers=None):
        query = {"partNumber": str(number), "uploadId": self.id}
        return self.wire.request("PUT", self.target, query, headers=headers, body=body)

    def complete(self, parts, headers=None):
        """parts: [(number, body, {element: value})]"""
        items = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{checksums.etag(body)}</ETag>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in extra.items())
            + "</Part>"
            for n, body, extra in parts
        )
        document = f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>".encode()
        return self.wire.request("POST", self.target, {"uploadId": self.id}, headers=headers, body=document)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_composite_through_boto3(s3, bucket, algorithm):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm)
    assert upload["ChecksumAlgorithm"] == algorithm
    assert upload["ChecksumType"] == "COMPOSITE"
    name, parts = f"Checksum{algorithm}", []
    for number, body in enumerate(PARTS, 1):
        answer = s3.upload_part(
            Bucket=bucket,
            Key="k",
            UploadId=upload["UploadId"],
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm=algorithm,
        )
        assert answer[name] == checksums.of(algorithm, body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload["UploadId"])
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, "COMPOSITE")
    assert [p[name] for p in listed["Parts"]] == [checksums.of(algorithm, p) for p in PARTS]
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload["UploadId"], MultipartUpload={"Parts": parts}
    )
    value = checksums.composite(algorithm, PARTS)
    assert done[name] == value
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (value, "COMPOSITE")
    # boto3 must not take the composite for the whole object's checksum.
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(PARTS)


def test_composite_crc32c(wire, bucket):
    upload = Upload(wire, bucket, {"x-amz-checksum-algorithm": "CRC32C"})
    assert upload.created.headers["x-amz-checksum-algorithm"] == "CRC32C"
    bodies = [b"only part"]
    value = checksums.of("CRC32C", bodies[0])
    assert upload.part(1, bodies[0], {checksums.header("CRC32C"): value}).status == 200
    done = upload.complete([(1, bodies[0], {"ChecksumCRC32C": value})])
    assert done.xml.findtext("ChecksumCRC32C") == checksums.composite("CRC32C", bodies)
    assert done.xml.findtext("ChecksumType") == "COMPOSITE"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_full_object(wire, bucket, algorithm):
    # Parts carry their own sums; the whole's is put together from them.
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": "FULL_OBJECT"}
    upload = Upload(wire, bucket, headers)
    parts = []
    for number, body in enumerate(PARTS, 1):
        value = checksums.of(algorithm, body)
        assert upload.part(number, body, {checksums.header(algorithm): value}).status == 200
        parts.append((number, body, {f"Checksum{algorithm}": value}))
    whole = checksums.of(algorithm, b"".join(PARTS))
    wrong = upload.complete(
        parts, {checksums.header(algorithm): checksums.of(algorithm, b"x"), "x-amz-checksum-type": "FULL_OBJECT"}
    )
    assert wrong.failure == (400, "BadDigest")
    assert wire.request("HEAD", upload.target).status == 404
    done = upload.complete(parts, {checksums.header(algorithm): whole, "x-amz-checksum-type": "FULL_OBJECT"})
    assert (done.status, done.code) == (200, None)
    assert done.xml.findtext(f"Checksum{algorithm}") == whole
    assert done.xml.findtext("ChecksumType") == "FULL_OBJECT"
    head = wire.request("HEAD", upload.target, headers=ASK)
    assert checksum_headers(head) == {algorithm: whole}
    assert head.headers["x-amz-checksum-type"] == "FULL_OBJECT"


def test_multipart_without_any_checksum_gets_crc64nvme(wire, bucket):
    upload = Upload(wire, bucket)
    for number, body in enumerate(PARTS, 1):
        assert upload.part(number, body).status == 200
    assert upload.complete([(n, body, {}) for n, body in enumerate(PARTS, 1)]).code is None
    head = wire.request("HEAD", upload.target, headers=ASK)
    assert checksum_headers(head) == {"CRC64NVME": checksums.of("CRC64NVME", b"".join(PARTS))}


def test_a_wrong_part_checksum(wire, s3, bucket):
    upload = Upload(wire, bucket, {"x-amz-checksum-algorithm": "CRC32"})
    answer = upload.part(1, BODY, {checksums.header("CRC32"): checksums.of("CRC32", b"x")})
    assert answer.failure == (400, "BadDigest")
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload.id)


def test_a_wrong_part_checksum_in_the_completion(wire, bucket):
    upload = Upload(wire, bucket, {"x-amz-checksum-algorithm": "CRC32"})
    upload.part(1, BODY, {checksums.header("CRC32"): checksums.of("CRC32", BODY)})
    answer = upload.complete([(1, BODY, {"ChecksumCRC32": checksums.of("CRC32", b"x")})])
    assert answer.status == 400
    assert answer.code in ("InvalidPart", "BadDigest")
    assert wire.request("HEAD", upload.target).status == 404


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("SHA256", "FULL_OBJECT"), ("SHA1", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")]
)
def test_combinations_that_cannot_be(wire, bucket, algorithm, kind):
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    answer = wire.request("POST", path(bucket, "k"), {"uploads": ""}, headers=headers)
    assert answer.failure == (400, "InvalidRequest")
