"""Storages whose listings have no end, or nearly none; each is a source for a request.

with endless.source("s3, new tokens") as end:
    function.copy(end, …)
"""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from support import storages as servers
from support.http_servers import misbehaving, multistatus, reply

GOOD: Final = b"good"
_PAGE: Final = 1_000
_OPENING: Final = b'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">'
_KEYS: Final = {
    "provider": "Other",
    "access_key_id": "canary-key",
    "secret_access_key": "canary-secret",
}

Handler = http.server.BaseHTTPRequestHandler
Answer = Callable[[Handler, threading.Event], None]


def _entry(path: str, size: int = 3) -> bytes:
    whole = multistatus({path: size})
    return whole[len(_OPENING) : -len(b"</d:multistatus>")]


def _stream(
    handler: Handler, status: int, kind: str, pieces: Iterator[bytes], ended: threading.Event
) -> None:
    handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.close_connection = True
    for piece in pieces:
        if ended.is_set():
            return
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def _webdav(endless: str) -> Answer:
    """A WebDAV server: the folder `endless` has entries without end."""

    def pieces() -> Iterator[bytes]:
        yield _OPENING + _entry(f"{endless}/", 0)
        for number in itertools.count():
            yield b"".join(_entry(f"{endless}/f{number}-{one}") for one in range(200))

    def answer(handler: Handler, ended: threading.Event) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "GET":
            reply(handler, 200, GOOD)
        elif handler.command != "PROPFIND" or path not in ("/data", endless):
            reply(handler, 404)
        elif handler.headers.get("Depth") == "0":
            reply(handler, 207, multistatus({f"{path}/": 0}), "text/xml")
        elif path == endless:
            _stream(handler, 207, "text/xml", pieces(), ended)
        else:
            inside = {"/data/": 0, "/data/good": len(GOOD), f"{endless}/": 0}
            reply(handler, 207, multistatus(inside), "text/xml")

    return answer


def _nested(handler: Handler, _: threading.Event) -> None:
    """A WebDAV server whose folders are nested without end."""
    path = handler.path.rstrip("/")
    inside = {f"{path}/": 0} | ({} if handler.headers.get("Depth") == "0" else {f"{path}/d/": 0})
    if handler.command == "PROPFIND":
        reply(handler, 207, multistatus(inside), "text/xml")
    else:
        reply(handler, 404)


def _index(handler: Handler, ended: threading.Event) -> None:
    """A web server with an index without end."""

    def pieces() -> Iterator[bytes]:
        yield b"<html>"
        for number in itertools.count():
            yield b"".join(b'<a href="f%d-%d">x</a>\n' % (number, one) for one in range(500))

    if handler.path.endswith("/"):
        _stream(handler, 200, "text/html", pieces(), ended)
    else:
        reply(handler, 200, GOOD, "application/octet-stream")


def _nested_index(handler: Handler, _: threading.Event) -> None:
    """A web server whose folders are nested without end."""
    reply(handler, 200, b'<html><a href="d/">d</a></html>', "text/html")


def _bucket(*, same_token: bool, pages: int | None = None) -> Answer:
    """An S3 server that says of each page, but the last of `pages`, that another one follows."""

    def answer(handler: Handler, _: threading.Event) -> None:
        if "max-keys=" not in handler.path:
            reply(handler, 404)
            return
        query = parse_qs(urlsplit(handler.path).query)
        number = 0 if same_token else int(query.get("continuation-token", ["0"])[0])
        is_last = pages is not None and number + 1 >= pages
        items = "".join(
            f"<Contents><Key>data/{number:05}-{one:03}</Key><Size>3</Size><ETag>&quot;x&quot;"
            "</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for one in range(_PAGE)
        )
        onward = "" if is_last else f"<NextContinuationToken>{number + 1}</NextContinuationToken>"
        document = (
            "<ListBucketResult><Name>bucket</Name><Prefix>data/</Prefix>"
            f"<IsTruncated>{str(not is_last).lower()}</IsTruncated>{onward}{items}"
            "</ListBucketResult>"
        )
        reply(handler, 200, document.encode(), "application/xml")

    return answer


_DAV: Final = {"type": "webdav", "parameters": {"vendor": "other"}, "path": "data"}
_HTTP: Final = {"type": "http", "parameters": {}, "path": "data/"}
_S3: Final = {"type": "s3", "parameters": _KEYS, "path": "bucket/data"}
_MINIO: Final = {**_S3, "parameters": {**_KEYS, "provider": "Minio"}}  # sends the tokens back
KINDS: Final[dict[str, tuple[Answer, dict[str, Any]]]] = {
    "webdav": (_webdav("/data"), _DAV),
    "webdav, a folder below": (_webdav("/data/sub"), _DAV),
    "webdav, nested": (_nested, _DAV),
    "http": (_index, _HTTP),
    "http, nested": (_nested_index, _HTTP),
    "s3, one token": (_bucket(same_token=True), _S3),
    "s3, new tokens": (_bucket(same_token=False), _S3),
    "s3, 100 pages": (_bucket(same_token=False, pages=100), _MINIO),
    "s3, five million": (_bucket(same_token=False, pages=5_000), _S3),
}


@contextmanager
def source(kind: str) -> Iterator[dict[str, Any]]:
    """An endpoint whose listing is of that kind."""
    answer, end = KINDS[kind]
    ended = threading.Event()

    def served(handler: Handler) -> None:
        try:
            answer(handler, ended)
        except OSError:  # rclone was ended
            handler.close_connection = True

    with misbehaving(served) as url:
        key = "endpoint" if end["type"] == "s3" else "url"
        try:
            yield {**end, "parameters": {**end["parameters"], key: url}}
        finally:
            ended.set()


@contextmanager
def ftp(folder: Path) -> Iterator[dict[str, Any]]:
    """An endpoint of an FTP server whose listings have no end."""
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.handlers.ftp.producers import BufferedIteratorProducer

    def lines() -> Iterator[bytes]:
        for number in itertools.count():
            facts = f"type=file;size=3;modify=20260101000000; f{number}\r\n"
            yield facts.encode() * 50

    def listing(self: Any, path: str) -> str:
        self.push_dtp_data(BufferedIteratorProducer(lines()), isproducer=True, cmd="MLSD")
        return path

    kept = FTPHandler.ftp_MLSD
    FTPHandler.ftp_MLSD = listing
    (folder / "data").mkdir()
    try:
        with servers.ftp(folder) as storage:
            yield storage.endpoint("data", disable_mlsd=False)
    finally:
        FTPHandler.ftp_MLSD = kept
