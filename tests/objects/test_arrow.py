"""pyarrow's S3 file system: the AWS SDK for C++, which uploads in parts with aws-chunked inside chunked bodies."""

import os
import urllib.parse

import harness
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
from pyarrow import fs


@pytest.fixture(scope="module")
def files(millrace):
    return fs.S3FileSystem(
        access_key=harness.S3_ACCESS_KEY,
        secret_key=harness.S3_SECRET_KEY,
        endpoint_override=urllib.parse.urlsplit(millrace.s3_url).netloc,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )


def write(files, path, body):
    with files.open_output_stream(path) as stream:
        stream.write(body)


def read(files, path):
    with files.open_input_stream(path) as stream:
        return stream.read()


@pytest.mark.parametrize("size", [0, 1, 100_000, 11 * 2**20])
def test_write_and_read(files, s3, bucket, size):
    body = os.urandom(size)
    write(files, f"{bucket}/dir/k", body)
    assert read(files, f"{bucket}/dir/k") == body
    got = s3.get_object(Bucket=bucket, Key="dir/k")
    assert got["Body"].read() == body
    assert "ContentEncoding" not in got


def test_random_access(files, s3, bucket):
    body = os.urandom(300_000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    with files.open_input_file(f"{bucket}/k") as file:
        assert file.size() == len(body)
        file.seek(100_000)
        assert file.read(10) == body[100_000:100_010]
        assert file.read_at(5, 299_995) == body[-5:]


def test_parquet(files, bucket):
    table = pyarrow.table({"n": list(range(10_000)), "s": [f"row {n}" for n in range(10_000)]})
    pyarrow.parquet.write_table(table, f"{bucket}/t.parquet", filesystem=files)
    assert (
        pyarrow.parquet.read_table(f"{bucket}/t.parquet", filesystem=files, columns=["s"])["s"][77].as_py() == "row 77"
    )


def test_partitioned_dataset(files, bucket):
    table = pyarrow.table({"year": [2024, 2025, 2025], "v": [1, 2, 3]})
    parts = pyarrow.dataset.partitioning(pyarrow.schema([("year", pyarrow.int64())]), flavor="hive")
    pyarrow.dataset.write_dataset(table, f"{bucket}/data", format="parquet", partitioning=parts, filesystem=files)
    back = pyarrow.dataset.dataset(f"{bucket}/data", partitioning=parts, filesystem=files).to_table()
    assert sorted(back["v"].to_pylist()) == [1, 2, 3]


def test_infos_and_listing(files, s3, bucket):
    for key in ("a", "d/1", "d/e/2"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"xy")
    infos = {i.path: i for i in files.get_file_info(fs.FileSelector(bucket, recursive=True))}
    assert set(infos) == {f"{bucket}/{p}" for p in ("a", "d", "d/1", "d/e", "d/e/2")}
    assert infos[f"{bucket}/d/1"].size == 2
    assert infos[f"{bucket}/d"].type == fs.FileType.Directory
    assert files.get_file_info(f"{bucket}/none").type == fs.FileType.NotFound
    assert files.get_file_info(f"{bucket}/d").type == fs.FileType.Directory


def test_folders_copy_move_delete(files, s3, bucket):
    files.create_dir(f"{bucket}/made/deep", recursive=True)
    assert files.get_file_info(f"{bucket}/made/deep").type == fs.FileType.Directory
    write(files, f"{bucket}/made/a b+c", b"x")
    files.copy_file(f"{bucket}/made/a b+c", f"{bucket}/made/copy")
    files.move(f"{bucket}/made/copy", f"{bucket}/made/moved")
    assert read(files, f"{bucket}/made/moved") == b"x"
    assert files.get_file_info(f"{bucket}/made/copy").type == fs.FileType.NotFound
    files.delete_file(f"{bucket}/made/a b+c")
    files.delete_dir(f"{bucket}/made")
    assert [
        o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", []) if o["Key"].startswith("made/")
    ] == []


def test_buckets(files, s3, bucket_name):
    name = bucket_name()
    files.create_dir(name)
    assert s3.head_bucket(Bucket=name)
    files.delete_dir(name)
    assert files.get_file_info(name).type == fs.FileType.NotFound


def test_overwrite(files, bucket):
    write(files, f"{bucket}/k", b"first and longer")
    write(files, f"{bucket}/k", b"second")
    assert read(files, f"{bucket}/k") == b"second"
