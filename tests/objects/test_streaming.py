"""aws-chunked uploads: signed chunks, trailing checksums, and both kinds of chunking at once."""

import os

import pytest

from . import checksums, sigv4
from .wire import path

CHUNKS = [os.urandom(65536), os.urandom(65536), os.urandom(1000)]
BODY = b"".join(CHUNKS)
KINDS = [sigv4.STREAM_SIGNED, sigv4.STREAM_SIGNED_TRAILER, sigv4.STREAM_UNSIGNED_TRAILER]


def trailer(algorithm="CRC32", body=BODY):
    return checksums.header(algorithm), checksums.of(algorithm, body)


def trailer_for(kind, body=BODY):
    return None if kind == sigv4.STREAM_SIGNED else trailer(body=body)


@pytest.fixture
def target(bucket):
    return path(bucket, "k")


def absent(wire, target):
    return wire.request("HEAD", target).status == 404


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transfer_chunked", [False, True])
def test_upload(wire, target, kind, transfer_chunked):
    # The C++ SDK (pyarrow) sends aws-chunked inside Transfer-Encoding: chunked, with no Content-Length.
    answer = wire.stream(
        "PUT", target, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind), transfer_chunked=transfer_chunked
    )
    assert answer.failure == (200, None)
    assert answer.headers["ETag"] == checksums.etag(BODY)
    got = wire.request("GET", target)
    assert got.body == BODY
    # The framing is no property of the object.
    assert got.headers["Content-Encoding"] is None
    assert got.headers["Content-Length"] == str(len(BODY))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "chunks",  # S3 wants every chunk but the last to have 8 KiB.
    [[], [b"x"], [os.urandom(8192), b"x"], [os.urandom(300_000)], [bytes([n]) * 8192 for n in range(20)]],
    ids=["empty", "one byte", "smallest", "one large", "many"],
)
def test_shapes(wire, target, kind, chunks):
    body = b"".join(chunks)
    answer = wire.stream("PUT", target, kind=kind, chunks=chunks, trailer=trailer_for(kind, body))
    assert answer.failure == (200, None)
    assert wire.request("GET", target).body == body


@pytest.mark.parametrize("algorithm", checksums.NAMES)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_trailing_checksum_is_verified_and_kept(wire, target, kind, algorithm):
    body = b"hello, checksums"
    good = wire.stream("PUT", target, kind=kind, chunks=[body], trailer=trailer(algorithm, body))
    assert good.failure == (200, None)
    head = wire.request("HEAD", target, headers={"x-amz-checksum-mode": "ENABLED"})
    assert head.headers[checksums.header(algorithm)] == checksums.of(algorithm, body)
    bad = wire.stream("PUT", target + "-bad", kind=kind, chunks=[body], trailer=trailer(algorithm, b"x"))
    assert bad.failure == (400, "BadDigest")
    assert absent(wire, target + "-bad")


def test_encoding_of_the_content_itself_is_kept(wire, target):
    for sent, kept in (("aws-chunked,gzip", "gzip"), ("gzip,aws-chunked", "gzip"), ("aws-chunked, br", "br")):
        answer = wire.stream(
            "PUT", target, headers={"Content-Encoding": sent}, kind=sigv4.STREAM_SIGNED, chunks=[b"packed"]
        )
        assert answer.failure == (200, None)
        got = wire.request("GET", target)
        assert (got.body, got.headers["Content-Encoding"]) == (b"packed", kept), sent


def test_without_content_encoding(wire, target):
    # Some clients leave the header away; x-amz-content-sha256 alone tells how the body is framed.
    headers = {"Content-Encoding": "identity"}
    answer = wire.stream("PUT", target, headers=headers, kind=sigv4.STREAM_SIGNED, chunks=[b"framed"])
    assert answer.failure == (200, None)
    assert wire.request("GET", target).body == b"framed"


def test_metadata_comes_along(wire, target):
    headers = {"x-amz-meta-m": "v", "Content-Type": "text/plain"}
    wire.stream("PUT", target, headers=headers, kind=sigv4.STREAM_SIGNED, chunks=CHUNKS)
    head = wire.request("HEAD", target)
    assert (head.headers["x-amz-meta-m"], head.headers["Content-Type"]) == ("v", "text/plain")


def test_as_a_part_of_a_multipart_upload(wire, s3, bucket, target):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    query = [("partNumber", "1"), ("uploadId", upload)]
    for kind in KINDS:
        answer = wire.stream("PUT", target, query, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind))
        assert (answer.failure, answer.headers["ETag"]) == ((200, None), checksums.etag(BODY))
    done = {"Parts": [{"PartNumber": 1, "ETag": checksums.etag(BODY)}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=done)
    assert wire.request("GET", target).body == BODY


def test_a_line_feed_ends_the_trailer_line_too(wire, target):
    # minio-go ends it so before the signature of the trailer.
    def as_written_there(pieces):
        line, _, rest = pieces[-1].partition(b"\r\n")
        return [*pieces[:-1], line + b"\n\r\n" + rest]

    answer = wire.stream(
        "PUT",
        target,
        kind=sigv4.STREAM_SIGNED_TRAILER,
        chunks=CHUNKS,
        trailer=trailer("CRC32C"),
        edit=as_written_there,
    )
    assert answer.failure == (200, None)
    assert wire.request("GET", target).body == BODY


# ---- what must be refused, with nothing stored -------------------------------------------------------------------


def spoil_data(pieces):
    head, _, data = pieces[1].partition(b"\r\n")
    return [pieces[0], head + b"\r\n" + bytes([data[0] ^ 1]) + data[1:], *pieces[2:]]


def spoil_signature(number):
    def edit(pieces):
        at = pieces[number].index(b"signature") + len(b"signature") + 1
        digit = b"0" if pieces[number][at : at + 1] != b"0" else b"1"
        changed = pieces[number][:at] + digit + pieces[number][at + 1 :]
        return [*pieces[:number], changed, *pieces[number + 1 :]]

    return edit


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize(
    "edit",
    [
        spoil_data,
        spoil_signature(0),
        spoil_signature(1),
        spoil_signature(3),
        lambda pieces: [pieces[1], pieces[0], *pieces[2:]],
        lambda pieces: [pieces[0], pieces[0], *pieces[2:]],
    ],
    ids=["data", "first signature", "second signature", "last signature", "swapped", "repeated"],
)
def test_spoiled_chunks(wire, target, kind, edit):
    answer = wire.stream("PUT", target, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind), edit=edit)
    assert answer.failure == (403, "SignatureDoesNotMatch")
    assert absent(wire, target)


def test_spoiled_trailer_signature(wire, target):
    answer = wire.stream(
        "PUT", target, kind=sigv4.STREAM_SIGNED_TRAILER, chunks=CHUNKS, trailer=trailer(), edit=spoil_signature(4)
    )
    assert answer.failure == (403, "SignatureDoesNotMatch")
    assert absent(wire, target)


def test_a_changed_trailer_is_noticed_by_its_signature(wire, target):
    def edit(pieces):
        other = checksums.of("CRC32", b"x").encode()
        return [*pieces[:-1], pieces[-1].replace(trailer()[1].encode(), other)]

    answer = wire.stream("PUT", target, kind=sigv4.STREAM_SIGNED_TRAILER, chunks=CHUNKS, trailer=trailer(), edit=edit)
    assert answer.failure in ((403, "SignatureDoesNotMatch"), (400, "BadDigest"))
    assert absent(wire, target)


def test_a_wrong_seed_signature(wire, target):
    import dataclasses

    other = dataclasses.replace(wire.signer, secret_key="other")
    answer = wire.stream("PUT", target, kind=sigv4.STREAM_SIGNED, chunks=CHUNKS, signer=other)
    assert answer.failure == (403, "SignatureDoesNotMatch")
    assert absent(wire, target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declared", [str(len(BODY) - 1), str(len(BODY) + 1), "0"])
def test_declared_length_that_does_not_fit(wire, target, kind, declared):
    answer = wire.stream("PUT", target, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind), declared=declared)
    assert answer.failure == (400, "IncompleteBody")
    assert absent(wire, target)


@pytest.mark.parametrize("kind", KINDS)
def test_without_declared_length(wire, target, kind):
    answer = wire.stream("PUT", target, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind), declared="")
    assert answer.failure == (411, "MissingContentLength")
    assert absent(wire, target)


@pytest.mark.parametrize("declared", ["-1", "many", "1e3"])
def test_declared_length_that_is_no_number(wire, target, declared):
    answer = wire.stream("PUT", target, kind=sigv4.STREAM_SIGNED, chunks=CHUNKS, declared=declared)
    assert answer.status in (400, 411)
    assert absent(wire, target)


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_is_missing(wire, target, kind):
    # Content-Length fits what is sent, but the closing chunk never comes.
    def without_end(pieces):
        return pieces[:3]

    answer = wire.stream("PUT", target, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind), edit=without_end)
    assert answer.failure == (400, "IncompleteBody")
    assert absent(wire, target)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_inside_a_chunk(wire, target, kind):
    def cut(pieces):
        return [pieces[0], pieces[1][:-500]]

    answer = wire.stream("PUT", target, kind=kind, chunks=CHUNKS, trailer=trailer_for(kind), edit=cut)
    assert answer.failure == (400, "IncompleteBody")
    assert absent(wire, target)


@pytest.mark.parametrize(
    "head",
    [b"zz", b"", b"-5", b"0x5", b"ffffffffffffffffffffff", b"7fffffffffffffff", b"5" * 5000, b"5 5"],
    ids=lambda h: h[:12].decode() or "nothing",
)
def test_malformed_chunk_sizes(wire, target, head):
    def edit(pieces):
        return [head + b"\r\nhello\r\n", *pieces[1:]]

    answer = wire.stream(
        "PUT", target, kind=sigv4.STREAM_UNSIGNED_TRAILER, chunks=[b"hello"], trailer=trailer(body=b"hello"), edit=edit
    )
    assert answer.status == 400
    assert answer.code in ("IncompleteBody", "InvalidRequest", "InvalidArgument", "MalformedTrailerError")
    assert absent(wire, target)


def test_a_chunk_that_does_not_end_where_it_says(wire, target):
    def edit(pieces):
        return [b"5\r\nhelloXX", *pieces[1:]]

    answer = wire.stream(
        "PUT", target, kind=sigv4.STREAM_UNSIGNED_TRAILER, chunks=[b"hello"], trailer=trailer(body=b"hello"), edit=edit
    )
    assert answer.status == 400
    assert absent(wire, target)


def test_a_signed_chunk_without_its_signature(wire, target):
    def edit(pieces):
        head, _, data = pieces[0].partition(b"\r\n")
        return [head.partition(b";")[0] + b"\r\n" + data, *pieces[1:]]

    answer = wire.stream("PUT", target, kind=sigv4.STREAM_SIGNED, chunks=CHUNKS, edit=edit)
    assert answer.status in (400, 403)
    assert absent(wire, target)


def test_the_announced_trailer_is_missing(wire, target):
    def edit(pieces):
        return [*pieces[:-1], b"0\r\n\r\n"]

    answer = wire.stream("PUT", target, kind=sigv4.STREAM_UNSIGNED_TRAILER, chunks=CHUNKS, trailer=trailer(), edit=edit)
    assert answer.failure == (400, "MalformedTrailerError")
    assert absent(wire, target)


def test_another_trailer_than_announced(wire, target):
    def edit(pieces):
        name, value = trailer("SHA256")
        return [*pieces[:-1], f"0\r\n{name}:{value}\r\n\r\n".encode()]

    answer = wire.stream("PUT", target, kind=sigv4.STREAM_UNSIGNED_TRAILER, chunks=CHUNKS, trailer=trailer(), edit=edit)
    assert answer.failure == (400, "MalformedTrailerError")
    assert absent(wire, target)


def test_a_trailer_that_is_no_checksum(wire, target):
    answer = wire.stream(
        "PUT", target, kind=sigv4.STREAM_UNSIGNED_TRAILER, chunks=CHUNKS, trailer=("x-amz-meta-late", "v")
    )
    assert answer.status == 400
    assert absent(wire, target)


def test_a_failed_stream_keeps_the_old_object(wire, target):
    wire.request("PUT", target, body=b"old")
    answer = wire.stream("PUT", target, kind=sigv4.STREAM_SIGNED, chunks=CHUNKS, edit=spoil_data)
    assert answer.failure == (403, "SignatureDoesNotMatch")
    assert wire.request("GET", target).body == b"old"
