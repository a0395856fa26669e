"""An FTS server's stand-in, two storages that copy between themselves, and a service for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import faulty_webdav, fts_server, service_process, third_party_dav
from support.faulty_webdav import Faulty
from support.fts_server import FtsServer
from support.fts_site import DESTINATION_TOKEN, SOURCE_TOKEN, TOKEN, FtsSite
from support.service_process import Function


@pytest.fixture(scope="module")
def fts() -> Iterator[FtsServer]:
    with fts_server.serving() as running:
        yield running


@pytest.fixture(scope="module")
def function(fts: FtsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    token = tmp_path_factory.mktemp("secret") / "token"
    token.write_text(TOKEN)
    site = {
        "engines": {"fts": {"url": fts.url, "token": {"file": str(token)}}},
        "allow": {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"]},
    }
    runtime = tmp_path_factory.mktemp("runtime")
    with service_process.function(runtime, site=site) as running:
        yield running
        running.wait_clean()


@pytest.fixture
def site(fts: FtsServer, function: Function) -> Iterator[FtsSite]:
    fts.jobs.clear()
    fts.requests.clear()
    fts.hold.clear()
    fts.lies_about.clear()
    fts.foretell_nothing()
    fts.refuse = lambda _: None
    fts.admit(TOKEN)
    with faulty_webdav.serving() as source, faulty_webdav.serving() as destination:
        destination.copier = third_party_dav.pulls(destination)
        source.digest_of = destination.digest_of = third_party_dav.adler32
        _demand(source, SOURCE_TOKEN)
        _demand(destination, DESTINATION_TOKEN)
        yield FtsSite(function, fts, source, destination)


def _demand(dav: Faulty, token: str) -> None:
    """Let a storage refuse all that comes without its token."""
    unauthorized = faulty_webdav.status(401)
    dav.fail(
        "*", "*", unauthorized, when=lambda it: f"Bearer {token}" != it.headers.get("authorization")
    )
