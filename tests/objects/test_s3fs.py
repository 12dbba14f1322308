"""s3fs, through which pandas reads and writes s3:// paths."""

import os

import harness
import pandas
import pytest
import s3fs

OPTIONS = {"key": harness.S3_ACCESS_KEY, "secret": harness.S3_SECRET_KEY}


@pytest.fixture(scope="module")
def options(millrace):
    return {**OPTIONS, "client_kwargs": {"endpoint_url": millrace.s3_url, "region_name": "us-east-1"}}


@pytest.fixture
def files(options):
    s3fs.S3FileSystem.clear_instance_cache()
    return s3fs.S3FileSystem(**options)


def test_write_and_read(files, bucket):
    for size in (0, 1, 12 * 2**20):
        body = os.urandom(size)
        with files.open(f"{bucket}/dir/k", "wb") as file:
            file.write(body)
        files.invalidate_cache()
        with files.open(f"{bucket}/dir/k", "rb") as file:
            assert file.read() == body


def test_seeking(files, s3, bucket):
    body = os.urandom(200_000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    with files.open(f"{bucket}/k", "rb", block_size=50_000) as file:
        file.seek(150_000)
        assert file.read(10) == body[150_000:150_010]
        file.seek(-5, 2)
        assert file.read() == body[-5:]


def test_folders(files, s3, bucket):
    for key in ("a", "d/1", "d/e/2"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"xy")
    assert sorted(files.ls(bucket)) == [f"{bucket}/a", f"{bucket}/d"]
    assert sorted(files.find(bucket)) == [f"{bucket}/a", f"{bucket}/d/1", f"{bucket}/d/e/2"]
    assert sorted(files.glob(f"{bucket}/d/*")) == [f"{bucket}/d/1", f"{bucket}/d/e"]
    assert files.exists(f"{bucket}/d/1")
    assert not files.exists(f"{bucket}/none")
    assert files.info(f"{bucket}/d/1")["size"] == 2
    assert files.isdir(f"{bucket}/d")


def test_copy_move_remove(files, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b", Body=b"x")
    files.copy(f"{bucket}/a b", f"{bucket}/b+c")
    files.mv(f"{bucket}/b+c", f"{bucket}/moved")
    files.rm(f"{bucket}/a b")
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["moved"]
    files.rm(bucket, recursive=True)


def test_pandas_csv(options, s3, bucket):
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "ü", "z"]})
    frame.to_csv(f"s3://{bucket}/t.csv", index=False, storage_options=options)
    assert s3.get_object(Bucket=bucket, Key="t.csv")["Body"].read().decode() == "a,b\n1,x\n2,ü\n3,z\n"
    back = pandas.read_csv(f"s3://{bucket}/t.csv", storage_options=options)
    assert back.equals(frame)
