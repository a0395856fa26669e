"""`site check --connect` tells whether the FTS server can be used, and shows no token."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.cli.operator.server_checks import ServerOutcome, outcomes
from efss_transfer.site import site_file
from efss_transfer.site.site_file import Site
from support import fts_server
from support.certificates import certificate
from support.fts_server import FtsServer
from support.storages import CLOSED_PORT

TOKEN = "canary-token-for-fts"
LOOPBACK = {"networks": ["127.0.0.0/8"]}


@pytest.fixture(scope="module")
def plain() -> Iterator[FtsServer]:
    with fts_server.serving() as running:
        yield running


@pytest.fixture
def fts(plain: FtsServer) -> FtsServer:
    plain.reset()
    plain.admit(TOKEN)
    return plain


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("FTS_TOKEN", TOKEN)
    return {"env": "FTS_TOKEN"}


def tried(folder: Path, *, lacking: str | None = None, **members: Any) -> ServerOutcome:
    rules: dict[str, Any] = {
        name: members.pop(name) for name in ("deny", "egress_proxy") if name in members
    }
    document: dict[str, Any] = {"engines": {"fts": members}, "allow": LOOPBACK, **rules}
    file = folder / "site.json"
    file.write_text(json.dumps(document))
    (outcome,) = outcomes(site_file.read(file), lacking)
    assert TOKEN not in repr(outcome)
    assert outcome.engine == "fts"
    return outcome


def test_server_that_knows_the_token_is_ok(
    fts: FtsServer, token: dict[str, str], tmp_path: Path
) -> None:
    found = tried(tmp_path, url=fts.url, token=token)
    assert (found.state, found.text, found.code) == ("ok", "reached, token accepted", None)
    assert [(it.method, it.path) for it in fts.requests] == [("GET", "/whoami")]


def test_site_without_an_fts_server_has_nothing_to_try() -> None:
    assert outcomes(Site(), None) == []


def test_certificate_must_be_trusted(token: dict[str, str], tmp_path: Path) -> None:
    key, signed = tmp_path / "key", tmp_path / "pem"
    certificate(key, signed)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(signed, key)
    with fts_server.serving(own=own) as running:
        running.admit(TOKEN)
        found = tried(tmp_path, url=running.url, token=token, ca_bundle=str(signed))
        assert (found.state, found.text) == ("ok", "reached, TLS trusted, token accepted")
        asked = len(running.requests)
        found = tried(tmp_path, url=running.url, token=token)
        assert (found.state, found.code) == ("failed", "storage_unreachable")
        assert found.text.startswith("reached, TLS not trusted: storage_unreachable: ")
        assert "certificate" in found.text
        assert len(running.requests) == asked, "no token was shown to it"


def test_token_that_the_server_does_not_know_fails(
    fts: FtsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTHER", "canary-other-token")
    fts.refuse = lambda asked: (401, f"Not valid: {asked.headers['authorization']}")
    found = tried(tmp_path, url=fts.url, token={"env": "OTHER"})
    assert (found.state, found.code) == ("failed", "authentication_failed")
    assert found.text.startswith("reached, token not accepted: authentication_failed: ")
    assert "canary" not in found.text


def test_server_that_is_away_is_not_reached(token: dict[str, str], tmp_path: Path) -> None:
    found = tried(tmp_path, url=f"http://127.0.0.1:{CLOSED_PORT}", token=token)
    assert (found.state, found.code) == ("failed", "storage_unreachable")
    assert found.text.startswith("not reached: storage_unreachable: ")


@pytest.mark.parametrize(
    "answer", [(404, "Not here"), (503, "Away"), (200, "no caller")], ids=lambda it: str(it[0])
)
def test_server_of_something_else_is_not_usable(
    fts: FtsServer, token: dict[str, str], tmp_path: Path, answer: tuple[int, str]
) -> None:
    fts.refuse = lambda _: answer
    found = tried(tmp_path, url=fts.url, token=token)
    assert found.state == "failed"
    assert found.text.startswith(f"reached, {'token' if answer[0] == 200 else 'not usable'}")


def test_tokens_of_callers_are_not_tried(fts: FtsServer, tmp_path: Path) -> None:
    found = tried(tmp_path, url=fts.url)
    assert (found.state, found.code) == ("skipped", None)
    assert "fts.token" in found.text
    assert not fts.requests


def test_server_that_the_site_denies_is_not_asked(
    fts: FtsServer, token: dict[str, str], tmp_path: Path
) -> None:
    denied = tried(tmp_path, url=fts.url, token=token, deny={"hosts": ["127.0.0.1"]})
    behind = tried(tmp_path, url=fts.url, token=token, egress_proxy="http://proxy.example.org:3128")
    for found in (denied, behind):
        assert (found.state, found.code) == ("failed", "forbidden"), found
    assert not fts.requests


def test_token_that_is_missing_here_is_not_tried(
    fts: FtsServer, token: dict[str, str], tmp_path: Path
) -> None:
    found = tried(tmp_path, lacking="The file is gone.", url=fts.url, token=token)
    assert found.to_json() == {
        "name": "fts",
        "state": "failed",
        "detail": "not tried: The file is gone.",
        "code": "secret",
    }
    assert not fts.requests


def test_bundle_that_cannot_be_read_is_told(
    fts: FtsServer, token: dict[str, str], tmp_path: Path
) -> None:
    found = tried(tmp_path, url=fts.url, token=token, ca_bundle=str(tmp_path / "none.pem"))
    assert (found.state, found.code) == ("failed", "not_configured")
    assert "CA bundle" in found.text
