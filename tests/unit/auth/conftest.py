"""An issuer, a second server that nothing should contact, and a clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from efss_transfer.auth import oidc
from support.http_servers import misbehaving
from support.oidc_issuer import Clock, Issuer, Server, wait_for_fetches


@pytest.fixture(autouse=True)
def _no_fetch_timeout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep a machine that is busy with other tests from looking like a slow issuer."""
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 60.0)
    yield
    wait_for_fetches()


@pytest.fixture(scope="module")
def _servers() -> Iterator[list[tuple[Server, str]]]:
    """Two servers for all tests, because stopping one takes half a second."""
    one, two = Server(), Server()
    with misbehaving(one.answer) as url, misbehaving(two.answer) as other_url:
        yield [(one, url), (two, other_url)]


def _at(server: Server, url: str) -> Issuer:
    server.issuer = Issuer()
    server.issuer.url = url
    return server.issuer


@pytest.fixture
def issuer(_servers: list[tuple[Server, str]]) -> Issuer:
    return _at(*_servers[0])


@pytest.fixture
def other(_servers: list[tuple[Server, str]]) -> Issuer:
    """A second server, which must never be contacted."""
    return _at(*_servers[1])


@pytest.fixture
def clock() -> Clock:
    return Clock()
