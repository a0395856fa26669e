"""Limits of files and bytes hold for what passes, whatever a source lists before the copy."""

from __future__ import annotations

import http.server
import time
import uuid
from collections.abc import Iterator

import pytest

from support import http_servers, service_process
from support.service_process import LOOPBACK, Function
from support.storages import Storage

LARGEST = 1_000_000


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A site that allows ten files and a megabyte."""
    runtime = tmp_path_factory.mktemp("limited")
    site = {**LOOPBACK, "limits": {"files": 10, "bytes": LARGEST}}
    with service_process.function(runtime, site=site) as running:
        yield running
        running.wait_clean()


@pytest.mark.field_case("K7")
@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_listing_that_fails_is_no_permission(status: int, limited: Function, s3: Storage) -> None:
    listed: list[str] = []
    names = {f"/data/{number}.bin": 10 for number in range(20)}

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND" and path == "/data":
            listed.append(path)
            if len(listed) < 4:
                http_servers.reply(handler, status)
                return
            shown = {"/data/": 0, **names}
        elif handler.command == "PROPFIND":
            shown = {path: names.get(path, 0)}
        else:
            http_servers.reply(handler, 200, b"0123456789")
            return
        http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")

    target = uuid.uuid4().hex
    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url, "vendor": "other"}, "path": "data"}
        answer_ = limited.copy(source, s3.endpoint(target), options={"deadline_seconds": 30})
    assert answer_.status_code != 200, answer_.text
    assert len(s3.hashes(f"bucket/{target}")) <= 10


@pytest.mark.field_case("K7")
@pytest.mark.parametrize("has_length", [True, False], ids=["false length", "no length"])
def test_file_that_is_longer_than_listed_is_stopped_at_the_limit(
    limited: Function, s3: Storage, *, has_length: bool
) -> None:
    sent = [0]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path == "/data/":
            http_servers.reply(handler, 200, b'<a href="f.bin">f.bin</a>', "text/html")
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        if has_length and handler.command == "HEAD":
            handler.send_header("Content-Length", "10")
        else:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        if handler.command == "GET":
            piece, until = bytes(100_000), time.monotonic() + 20
            while time.monotonic() < until:
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                sent[0] += len(piece)
                time.sleep(0.05)  # 2 MB a second, so that the limit is met in mid-file

    target = uuid.uuid4().hex
    with http_servers.misbehaving(answer) as url:
        source = {"type": "http", "parameters": {"url": url}, "path": "data/"}
        answer_ = limited.copy(source, s3.endpoint(target), options={"deadline_seconds": 30})
    assert answer_.status_code != 200, answer_.text
    assert answer_.elapsed.total_seconds() < 15
    assert sent[0] < 16 * LARGEST
    assert s3.hashes(f"bucket/{target}") == {}


@pytest.mark.field_case("K7")
def test_source_that_grows_while_it_is_copied_is_stopped(limited: Function, s3: Storage) -> None:
    listed: list[str] = []
    content = bytes(40_000)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND" and path == "/data":
            listed.append(path)
            # The service counts and probes before it copies.
            count = 5 if len(listed) < 3 else 400
            shown = {"/data/": 0, **{f"/data/{number}.bin": 40_000 for number in range(count)}}
        elif handler.command == "PROPFIND":
            shown = {path: 40_000}
        else:
            time.sleep(0.5)  # a slow server: the copy lasts longer than the watch needs
            http_servers.reply(handler, 200, content)
            return
        http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")

    target = uuid.uuid4().hex
    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url, "vendor": "other"}, "path": "data"}
        options = {"deadline_seconds": 60, "transfers": 2}
        answer_ = limited.copy(source, s3.endpoint(target), options=options)
    assert answer_.json()["code"] in ("forbidden", "partial"), answer_.text
    assert "the limit here is" in answer_.text
    assert len(s3.hashes(f"bucket/{target}")) < 40
