"""Ports of the running platform, and folders for processes that tests start themselves."""

import urllib.parse

import pytest


def _port(url):
    return urllib.parse.urlsplit(url).port


@pytest.fixture(scope="session")
def tracking_port(millrace):
    return _port(millrace.tracking_url)


@pytest.fixture(scope="session")
def s3_port(millrace):
    return _port(millrace.s3_url)


@pytest.fixture(scope="session")
def gateway_port(millrace):
    return _port(millrace.gateway_url)


@pytest.fixture(scope="session", params=["tracking", "s3", "gateway"])
def any_port(request, millrace):
    """Each listener of the platform in turn."""
    return _port(getattr(millrace, request.param + "_url"))
