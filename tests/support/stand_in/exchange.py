"""One HTTP request and its answer."""

from __future__ import annotations

import http.server
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from support.stand_in.faults import Request
from support.stand_in.site import Site

_PIECE: Final = 1 << 20
_REASONS: Final = {412: "Precondition failed"}


SiteT = TypeVar("SiteT", bound=Site)


class ConnectionLost(Exception):
    """The client hung up, or a fault ends the connection."""


def decoded(target: str) -> str:
    """A URL's path as text: UTF-8, or else Latin-1; `.`, `..` and `//` resolved."""
    raw = unquote_to_bytes(urlsplit(target).path)
    try:
        path = raw.decode()
    except UnicodeDecodeError:
        path = raw.decode("latin-1")
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)


def from_files(files: Iterable[Path]) -> Iterator[bytes]:
    """The contents of files, one after another."""
    for file in files:
        with file.open("rb") as content:
            while piece := content.read(_PIECE):
                yield piece


class Exchange(Generic[SiteT]):
    """A request and the ways to answer it."""

    def __init__(self, cloud: SiteT, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.cloud = cloud
        self._handler = handler
        self.method = handler.command
        self.headers: Message = handler.headers
        self.path = decoded(handler.path)
        self.query = parse_qs(urlsplit(handler.path).query, keep_blank_values=True)
        self.request = Request(
            self.method, self.path, handler.path, dict(handler.headers), time.monotonic()
        )
        length = self.headers.get("Content-Length")
        self.length = None if length is None else int(length)
        self.chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        self.muted = False
        self.cut_body_after: int | None = None
        self.cut_answer_after: int | None = None
        self._consumed = False
        self._held: Path | None = None

    def header(self, name: str) -> str | None:
        """A header of the request."""
        return self.headers.get(name)

    def spend(self, work: str | None = None) -> None:
        """Let the time of a kind of work pass."""
        self.cloud.spend(self.cloud.cost.work.get(work or self.method, 0))

    # The request's body.

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives; raises `ConnectionLost` where it breaks off."""
        self._consumed = True
        if self._held is not None:
            yield from from_files([self._held])
            return
        for piece in self._chunks() if self.chunked else self._known(self.length or 0):
            self.request.received += len(piece)
            yield piece

    def _known(self, size: int) -> Iterator[bytes]:
        while size:
            most = min(size, _PIECE)
            if self.cut_body_after is not None:
                most = min(most, self.cut_body_after - self.request.received)
                if most <= 0:
                    raise ConnectionLost
            piece = self._handler.rfile.read1(most)
            if not piece:
                raise ConnectionLost
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._handler.rfile.readline(256)
            if not line.strip():
                raise ConnectionLost
            size = int(line.split(b";")[0], 16)
            if not size:
                while self._handler.rfile.readline(256).strip():
                    pass
                return
            yield from self._known(size)
            self._handler.rfile.readline(4)

    def hold(self) -> None:
        """Wait until the body is whole, as a web server that buffers does; its length is known
        then.
        """
        if self.length is None and not self.chunked:
            return
        held = self.cloud.folder / f"held-{id(self)}"
        with held.open("wb") as spool:
            spool.writelines(self.pieces())
        self._held, self._consumed, self.chunked = held, False, False
        self.length = held.stat().st_size

    def release(self) -> None:
        """Drop what was held."""
        if self._held is not None:
            self._held.unlink(missing_ok=True)

    def body(self) -> bytes:
        """The whole body, which is small."""
        return b"".join(self.pieces())

    def drain(self) -> None:
        """Read what nobody wanted: the real server answers only after that."""
        if not self._consumed:
            for _ in self.pieces():
                pass

    # The answer.

    def reply(
        self,
        status: int,
        body: bytes = b"",
        *headers: tuple[str, str],
        kind: str = "text/html; charset=UTF-8",
    ) -> None:
        """Answer."""
        self.drain()
        if self.muted:
            return
        self._head(status, len(body), kind, headers)
        if self.method != "HEAD":
            self._send([body])

    def reply_file(
        self,
        status: int,
        file: Path,
        first: int,
        size: int,
        *headers: tuple[str, str],
        kind: str,
        read: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer with a part of a file. `read` is called once all of it was read, before a
        client can know.
        """
        self.drain()
        if self.muted:
            return
        with file.open("rb") as content:
            content.seek(first)
            left = size if self.method != "HEAD" else 0
            piece = content.read(min(left, _PIECE))
            if left == len(piece):
                read()
            self._head(status, size, kind, headers)
            while left:
                if not piece:
                    raise ConnectionLost
                left -= len(piece)
                following = content.read(min(left, _PIECE))
                if left and left == len(following):
                    read()
                self._send([piece])
                piece = following

    def reply_streamed(
        self, status: int, body: Iterator[bytes], *headers: tuple[str, str], kind: str
    ) -> None:
        """Answer with a body whose length nobody knows before its end."""
        self.drain()
        if self.muted:
            return
        self._head(status, None, kind, headers)
        if self.method == "HEAD":
            return
        self._send(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body if piece)
        self.request.answered = time.monotonic()
        self._handler.wfile.write(b"0\r\n\r\n")

    def _head(
        self, status: int, length: int | None, kind: str, headers: tuple[tuple[str, str], ...]
    ) -> None:
        self.request.status = status
        known = status in HTTPStatus.__members__.values()
        reason = _REASONS.get(status, HTTPStatus(status).phrase if known else "")
        self._handler.send_response_only(status, reason)
        for name, value in headers:
            self._handler.send_header(name, value)
        if not any(name == "Content-Type" for name, _ in headers):
            self._handler.send_header("Content-Type", kind)
        if length is None:
            self._handler.send_header("Transfer-Encoding", "chunked")
        else:
            self._handler.send_header("Content-Length", str(length))
        self.request.answered = time.monotonic()
        self._handler.end_headers()

    def _send(self, body: Iterator[bytes] | list[bytes]) -> None:
        for piece in body:
            kept = piece
            if self.cut_answer_after is not None:
                kept = piece[: max(0, self.cut_answer_after - self.request.sent)]
            # Counted first: a client that has it all may look at the log at once.
            self.request.sent += len(kept)
            self.request.answered = time.monotonic()
            self._handler.wfile.write(kept)
            if len(kept) < len(piece):
                raise ConnectionLost
