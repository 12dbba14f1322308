"""Fixtures shared by the tests of every room."""

import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness


def pytest_configure(config):
    # A shell's background jobs ignore Ctrl-C, and what they start would too; the tests send it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "fix: wanted behaviour that the stock server does not have; deselect when testing the tests on it"
    )
    config.addinivalue_line("markers", "binary: starts the millrace binary itself, whatever server is under test")
    config.addinivalue_line("markers", "controllers: needs Kubernetes controllers beside the API server")
    config.addinivalue_line("markers", "pods: needs a node that runs pods")
    config.addinivalue_line("markers", "slow: needs more than a few seconds")


@pytest.fixture(scope="session")
def millrace(tmp_path_factory):
    """One running platform for the whole session; see harness.Platform for its attributes."""
    given = harness.platform_from_environment()
    if given is not None:
        yield given
        return
    with harness.launch_platform(tmp_path_factory.mktemp("millrace")) as platform:
        yield platform


@pytest.fixture(scope="session")
def shared_dir():
    return harness.shared_dir()
