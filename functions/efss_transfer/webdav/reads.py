"""Serve a file's bytes to the engine as they are stored: all of them, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from efss_transfer.webdav.archives.archive_reads import ArchiveReads
from efss_transfer.webdav.budget import NARROW, Budget
from efss_transfer.webdav.http.exchange import Answer, Call
from efss_transfer.webdav.http.messages import Length
from efss_transfer.webdav.http.server import EngineReply, EngineRequest
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory, key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.words import RequestFailure, Words

_PARTIAL: Final = 206
_NOT_MODIFIED: Final = 304
_NO_RANGE: Final = Words(
    None, "", "The connection broke, and the server ignores Range, so the rest cannot be read."
)
_ASKED: Final = ("range", "if-range", "if-match", "if-none-match", "if-modified-since")
# Without Content-Encoding: files are copied as stored, and Go's client would decompress them.
_TOLD: Final = frozenset(
    {"accept-ranges", "content-range", "content-type", "etag", "last-modified", "oc-checksum"}
)


class Reads:
    """Reads of the files of one server."""

    def __init__(
        self,
        session: ServerSession,
        listings: Listings,
        memory: Memory,
        budget: Budget,
        archives: ArchiveReads,
    ) -> None:
        self._archives = archives
        self._budget = budget
        self._session = session
        self._listings = listings
        self._memory = memory

    async def read(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer GET or HEAD. Raises as `ServerSession.call` does."""
        asked = {name: text for name in _ASKED if (text := request.header(name)) is not None}
        if asked or request.method != "GET":
            await self._read_alone(request, reply, asked)
            return
        async with self._archives.reading(request.path) as content:
            if content is None:
                await self._read_alone(request, reply, asked)
                return
            self._memory.empty.pop(key(request.path))
            self._session.record.succeed(key(request.path))
            with self._budget.lending(len(content), is_plain=True):
                await reply.send(200, content)

    async def _read_alone(
        self, request: EngineRequest, reply: EngineReply, asked: Mapping[str, str]
    ) -> None:
        call = Call(request.method, self._listings.target(request.path), asked)
        async with self._session.call(call, key(request.path)) as answer:
            if answer.status >= 300 and answer.status != 304:
                raise await self._not_read(call, request.path, answer)
            if "range" in asked and not _is_range(asked["range"], answer):
                self._session.record.fail(
                    RequestFailure("GET", key(request.path), _NO_RANGE, "broken")
                )
                raise Failed(409, _NO_RANGE)  # rclone does not repeat the request
            if request.method == "GET" and self._memory.empty.pop(key(request.path)):
                await self._hold_against_listing(call, request.path, answer)
            self._session.record.succeed(key(request.path))
            told = {name: text for name in _TOLD if (text := answer.header(name)) is not None}
            length = answer.head.length(request.method)
            if request.method == "HEAD":
                if (text := answer.header("content-length")) is not None and text.isdigit():
                    length = int(text)
                await reply.begin(answer.status, told, _known(length))
                return
            with self._budget.lending(_known(length), is_plain=self._session.is_plain) as buffer:
                answer.body.use(buffer)
                await reply.relay(answer, told, _known(length))
                await reply.end()

    async def _hold_against_listing(self, call: Call, path: Segments, answer: Answer) -> None:
        """Detect content in a file that is listed as empty or without a size: the engine would
        copy none of it. The next listing has its real size.
        """
        answer.body.piece = NARROW
        buffer = answer.body.buffer()
        while await answer.read(buffer):
            pass
        if size := answer.body.count:
            self._memory.sizes.put(key(path), size)
            said = Words(
                answer.status, "", f"Listed as empty, but has content ({size} B): copy it again."
            )
            raise self._session.failed(call, key(path), said, 409)

    async def _not_read(self, call: Call, path: Segments, answer: Answer) -> Failed:
        where = answer.header("location")
        if answer.status < 400 and where:
            said = Words(
                answer.status,
                "",
                f"Redirect not followed: {where.partition('?')[0]}; check the URL",
            )
            return self._session.failed(call, key(path), said, 501)
        return await self._session.error(call, key(path), answer)


def _is_range(asked: str, answer: Answer) -> bool:
    """Return whether an answer begins where the engine asked, who would not notice otherwise."""
    first = asked.removeprefix("bytes=").partition("-")[0]
    if answer.status == _PARTIAL:
        told = answer.header("content-range") or f"bytes {first}-"
        return told.startswith(f"bytes {first}-") or not first
    return answer.status == _NOT_MODIFIED or first in ("0", "")


def _known(length: Length) -> int | None:
    return length if isinstance(length, int) else None
