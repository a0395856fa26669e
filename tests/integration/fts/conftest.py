"""An FTS server's stand-in, two storages that copy between themselves, and a service for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import faulty_webdav, fts_server, service_process
from support.faulty_webdav import Faulty
from support.fts_server import FtsServer
from support.fts_site import DESTINATION_TOKEN, SOURCE_TOKEN, TOKEN, FtsSite, empty
from support.service_process import Function


@pytest.fixture(scope="module")
def fts() -> Iterator[FtsServer]:
    with fts_server.serving() as running:
        yield running


def _site_file(fts: FtsServer, folder: Path) -> dict[str, Any]:
    (folder / "token").write_text(TOKEN)
    return {
        "engines": {"tpc": {}, "fts": {"url": fts.url, "token": {"file": str(folder / "token")}}},
        "allow": {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"]},
    }


@pytest.fixture(scope="module")
def function(fts: FtsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    site = _site_file(fts, tmp_path_factory.mktemp("secret"))
    runtime = tmp_path_factory.mktemp("runtime")
    with service_process.function(runtime, site=site) as running:
        yield running
        running.wait_clean()


@pytest.fixture
def other_function(fts: FtsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A function of the same site that a test may kill."""
    site = _site_file(fts, tmp_path_factory.mktemp("secret"))
    with service_process.function(tmp_path_factory.mktemp("killed"), site=site) as running:
        yield running


@pytest.fixture
def denying_function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A function of a site whose rules deny the host of its own FTS server."""
    site = {
        "engines": {"fts": {"url": "http://localhost:1/"}},
        "allow": {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"]},
        "deny": {"hosts": ["localhost"]},
    }
    with service_process.function(tmp_path_factory.mktemp("denying"), site=site) as running:
        yield running


@pytest.fixture(scope="module")
def storages() -> Iterator[tuple[Faulty, Faulty]]:
    with faulty_webdav.serving() as source, faulty_webdav.serving() as destination:
        yield source, destination


@pytest.fixture
def site(fts: FtsServer, function: Function, storages: tuple[Faulty, Faulty]) -> FtsSite:
    fts.reset()
    fts.admit(TOKEN)
    source, destination = storages
    for dav, token in ((source, SOURCE_TOKEN), (destination, DESTINATION_TOKEN)):
        empty(dav)
        _demand(dav, token)
    return FtsSite(function, fts, source, destination)


def _demand(dav: Faulty, token: str) -> None:
    """Let a storage refuse all that comes without its token."""
    unauthorized = faulty_webdav.status(401)
    dav.fail(
        "*", "*", unauthorized, when=lambda it: f"Bearer {token}" != it.headers.get("authorization")
    )
