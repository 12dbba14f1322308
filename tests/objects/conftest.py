"""Clients and buckets for the tests of the object store."""

import contextlib
import itertools
import os
import uuid

import boto3
import harness
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from .wire import Wire, wait_until

_RUN = uuid.uuid4().hex[:8]
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user():
    """The caller's own cloud settings must not change what the clients here send."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def new_client(url, access_key=harness.S3_ACCESS_KEY, secret_key=harness.S3_SECRET_KEY, region="us-east-1", **config):
    """A boto3 client that never tries again: a second try would hide a failure of the first."""
    settings = {
        "retries": {"total_max_attempts": 1},
        "s3": {"addressing_style": "path"},
        "max_pool_connections": 40,
        "connect_timeout": 5,
        "read_timeout": 30,
        **config,
    }
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=Config(**settings),
    )


@pytest.fixture(scope="session")
def s3(millrace, _no_settings_of_the_user):
    return new_client(millrace.s3_url)


@pytest.fixture(scope="session")
def make_client(millrace, _no_settings_of_the_user):
    """A boto3 client with settings of its own."""
    return lambda **settings: new_client(millrace.s3_url, **settings)


@pytest.fixture(scope="session")
def wire(millrace):
    return Wire(millrace.s3_url, harness.S3_ACCESS_KEY, harness.S3_SECRET_KEY)


def new_bucket_name():
    return f"t-{_RUN}-{next(_numbers)}"


@pytest.fixture
def bucket(s3):
    """An empty bucket of the test's own."""
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def module_bucket(s3):
    """A bucket for all tests of a file that only read, or that use keys of their own."""
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def bucket_name():
    """Makes names of buckets that do not exist yet."""
    return new_bucket_name


@pytest.fixture(autouse=True, scope="module")
def _still_serving(millrace):
    """Whatever the tests of a file sent, the process that got it goes on serving."""
    yield
    if millrace.proc is not None:
        assert millrace.proc.returncode is None, f"the server ended\n{millrace.proc.describe()}"
    if millrace.s3_url:
        wire = Wire(millrace.s3_url, harness.S3_ACCESS_KEY, harness.S3_SECRET_KEY)
        assert wire.request("GET", "/").status == 200


@pytest.fixture(scope="session")
def refused():
    """`with refused(404, "NoSuchKey"):` the block's boto3 call must end with exactly that."""

    @contextlib.contextmanager
    def check(status, *codes):
        with pytest.raises(ClientError) as caught:
            yield caught
        answer = caught.value.response
        got = answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]
        assert got[0] == status, got
        assert not codes or got[1] in codes, got

    return check


class _DiskUse:
    """Bytes of all files in the server's data folder; without access to it (a foreign server) always 0."""

    def __init__(self, folder):
        self._folder = folder

    def __call__(self):
        total = 0
        for root, _, files in os.walk(self._folder) if self._folder else ():
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    total += os.lstat(os.path.join(root, name)).st_size
        return total

    def falls_to(self, limit, seconds=5.0):
        return wait_until(lambda: self() <= limit, seconds)


@pytest.fixture(scope="session")
def disk_use(millrace):
    return _DiskUse(millrace.data_dir)
