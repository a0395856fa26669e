"""Fixtures of the WebDAV field cases: the service with its gateway, and a stand-in of OpenCloud."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import opencloud, service_process
from support.opencloud import OpenCloud
from support.service_process import Function


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("gw")
    with service_process.function(runtime, WEBDAV_GATEWAY="1") as running:
        yield running


@pytest.fixture
def function(served: Function) -> Iterator[Function]:
    """The service; whatever a test did, nothing of it may be left."""
    yield served
    served.wait_clean()


@pytest.fixture
def cloud() -> Iterator[OpenCloud]:
    with opencloud.serving() as running:
        yield running
