from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest

from efss_transfer.webdav import recognition
from efss_transfer.webdav.dialects import NEXTCLOUD, OCIS, OWNCLOUD, PLAIN, Dialect, of_vendor
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, Origin
from support.webdav_gateway import dial

STATUS = "/status.php"
CAPABILITIES = "/ocs/v1.php/cloud/capabilities?format=json"


@pytest.mark.parametrize(
    ("home", "expected"),
    [
        ("/remote.php/dav/files/alice", ""),
        ("/remote.php/webdav", ""),
        ("/remote.php/dav/spaces/a%24b", ""),
        ("/public.php/dav/files/TOKEN", ""),
        ("/public.php/webdav/", ""),
        ("/sites/cloud/remote.php/dav/files/alice", "/sites/cloud"),
        ("/a%20b/remote.php/webdav", "/a%20b"),
        ("/dav/remote.php/dav/files/alice", "/dav"),
        ("/dav/files/alice/dav", ""),
        ("/dav/spaces/ID", ""),
        ("/webdav", ""),
        ("/cloud/webdav/", "/cloud"),
        ("/", None),
        ("", None),
        ("/data/sub", None),
        ("/remote.phpx/dav2", None),
        ("/%2e%2e/webdav", None),
    ],
)
def test_site_is_what_comes_before_the_webdav_path(home: str, expected: str | None) -> None:
    assert recognition.site(home) == expected


def capabilities(**offered: Any) -> dict[str, Any]:
    return {"ocs": {"meta": {}, "data": {"version": {}, "capabilities": offered}}}


TUS = {"tus_support": {"version": "1.0.0"}, "bigfilechunking": False}
ANSWERS: dict[str, tuple[Mapping[str, Any], Dialect]] = {
    "Nextcloud": ({STATUS: {"productname": "Nextcloud"}}, NEXTCLOUD),
    "ownCloud": ({STATUS: {"productname": "ownCloud"}}, OWNCLOUD),
    "oCIS": ({STATUS: {"productname": "Infinite Scale"}}, OCIS),
    "OpenCloud": ({STATUS: {"productname": "OpenCloud"}}, OCIS),
    "renamed oCIS": ({STATUS: {"productname": "Ours", "product": "Infinite Scale"}}, OCIS),
    "renamed Nextcloud": (
        {STATUS: {"productname": "Our Cloud"}, CAPABILITIES: capabilities(theming={"name": "O"})},
        NEXTCLOUD,
    ),
    "bulk uploads": ({CAPABILITIES: capabilities(dav={"bulkupload": "1.0"})}, NEXTCLOUD),
    "chunks": ({CAPABILITIES: capabilities(files={"chunked_upload": {"max_size": 1}})}, NEXTCLOUD),
    "tus": ({CAPABILITIES: capabilities(files=TUS, checksums={"supportedTypes": []})}, OCIS),
    "checksums": ({CAPABILITIES: capabilities(checksums={"supportedTypes": ["SHA1"]})}, OWNCLOUD),
}
UNCLEAR: dict[str, Mapping[str, Any]] = {
    "nothing": {},
    "not JSON": {STATUS: b"<html>Nextcloud", CAPABILITIES: b"{"},
    "another product": {STATUS: {"productname": "Other"}, CAPABILITIES: capabilities(core={})},
    "no object": {STATUS: ["Nextcloud"], CAPABILITIES: {"ocs": [1]}},
    "no text": {STATUS: {"productname": 1, "product": None}, CAPABILITIES: 7},
    "deep": {STATUS: b"[" * 100_000, CAPABILITIES: b'{"ocs":' * 30_000},
    "refused": {STATUS: 401, CAPABILITIES: 403},
    "an error that names it": {STATUS: 503},
}


class Site:
    """A server that answers by path with JSON, with bytes, with a status, or with silence."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.heads: list[str] = []
        self.is_silent = False

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                answer = self.answers.get(head.split()[1].decode(), 404)
                if self.is_silent:
                    continue
                code = answer if isinstance(answer, int) and answer > 100 else 200
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                said = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}"
                writer.write(f"{said}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def asked(site: Site, home: str, named: Dialect) -> Dialect:
    async def run() -> Dialect:
        server = await asyncio.start_server(site.attend, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connections = Connections(dial)
        upstream = Upstream(Origin("http", "127.0.0.1", port), connections)
        try:
            return await recognition.recognised(upstream, home, named)
        finally:
            connections.close()
            server.close()
            await server.wait_closed()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ANSWERS)
def test_server_is_recognised_by_what_it_says(kind: str) -> None:
    answers, expected = ANSWERS[kind]
    site = Site(answers)
    assert asked(site, "/remote.php/dav/files/alice", PLAIN) is expected
    assert len(site.heads) == (1 if STATUS in answers and len(answers) == 1 else 2)
    assert not any("authorization" in head.lower() for head in site.heads)


@pytest.mark.parametrize(
    ("said", "version", "archives"),
    [
        ({STATUS: {"productname": "Nextcloud", "version": "34.0.1.2"}}, 34, True),
        ({STATUS: {"productname": "Nextcloud", "version": "30.0.9.1"}}, 30, False),
        ({STATUS: {"productname": "Nextcloud", "version": "x.1"}}, None, True),
        ({STATUS: {"productname": "Nextcloud", "version": 31}}, 31, True),
        ({STATUS: {"productname": "ownCloud", "version": "10.15.0.2"}}, None, False),
        (
            {
                CAPABILITIES: {
                    "ocs": {
                        "data": {
                            "version": {"major": 29},
                            "capabilities": {"theming": {"name": "Ours"}},
                        }
                    }
                }
            },
            29,
            False,
        ),
    ],
)
def test_version_of_a_nextcloud_tells_whether_it_makes_zips(
    said: Mapping[str, Any], version: int | None, archives: bool
) -> None:
    found = asked(Site(said), "/remote.php/dav/files/alice", PLAIN)
    assert (found.version, found.archives) == (version, archives)


def test_site_below_a_prefix_is_asked_there() -> None:
    site = Site({"/sub/status.php": {"productname": "Nextcloud"}})
    assert asked(site, "/sub/remote.php/webdav", PLAIN) is NEXTCLOUD


@pytest.mark.parametrize("kind", UNCLEAR)
@pytest.mark.parametrize("vendor", ["other", "nextcloud", "owncloud", "rclone"])
def test_unclear_answer_leaves_what_the_request_names(kind: str, vendor: str) -> None:
    site = Site(UNCLEAR[kind])
    assert asked(site, "/remote.php/dav/files/alice", of_vendor(vendor)) == of_vendor(vendor)
    assert len(site.heads) == 2


def test_server_with_another_kind_of_path_is_not_asked() -> None:
    site = Site({STATUS: {"productname": "Nextcloud"}})
    assert asked(site, "/data", PLAIN) is PLAIN
    assert not site.heads


def test_silent_server_delays_a_run_by_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "SECONDS", 0.2)
    site = Site({})
    site.is_silent = True
    begun = time.monotonic()
    assert asked(site, "/remote.php/webdav", NEXTCLOUD) is NEXTCLOUD
    assert time.monotonic() - begun < 10
    assert len(site.heads) == 1


def test_server_that_is_down_leaves_what_the_request_names() -> None:
    async def run() -> Dialect:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        upstream = Upstream(Origin("http", "127.0.0.1", port), Connections(dial))
        return await recognition.recognised(upstream, "/remote.php/webdav", OWNCLOUD)

    assert asyncio.run(run()) is OWNCLOUD
