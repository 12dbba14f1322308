"""The pipelines API of the running platform, and the SDK's client of it."""

import pytest


@pytest.fixture(scope="session")
def platform_url(millrace):
    return millrace.gateway_url


@pytest.fixture(scope="session")
def kfp_client(platform_url):
    import kfp

    return kfp.Client(host=platform_url)
