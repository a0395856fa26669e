"""Fixtures of the WebDAV tests: the service with its gateway, and servers that tests control."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import faulty_webdav as faulty
from support import nextcloud, opencloud, service_process
from support.faulty_webdav import Faulty
from support.nextcloud import Nextcloud
from support.opencloud import OpenCloud
from support.service_process import Function


@pytest.fixture(scope="session")
def with_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("gw")
    with service_process.function(runtime, WEBDAV_GATEWAY="1") as running:
        yield running


@pytest.fixture
def function(with_gateway: Function) -> Iterator[Function]:
    """The function with its gateway; nothing of a test may be left."""
    yield with_gateway
    with_gateway.wait_clean()


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty.serving() as running:
        yield running


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    """A Nextcloud without bulk uploads (`bulkupload.enabled`) and without zips (before version 31),
    so that each file has its PUT and its GET.
    """
    with nextcloud.serving() as running:
        running.bulk = running.archives = False
        yield running


@pytest.fixture
def ocis() -> Iterator[OpenCloud]:
    with opencloud.serving() as running:
        yield running
