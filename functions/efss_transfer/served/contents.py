"""Read a file's bytes from its URLs: from the next one where one fails, and no other bytes.

The end of a file is held back until its size and checksum are known to be right, so that a file
which differs is never whole at the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from efss_transfer.served import answers
from efss_transfer.served.answers import DIFFERS, WrongAnswer
from efss_transfer.served.manifest import UrlFile
from efss_transfer.served.servers import InvalidAddress, Servers
from efss_transfer.webdav import words
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.words import RequestFailure, Words

_SHOWN: Final = 1 << 14
_MOST_BREAKS: Final = 3
_UNUSABLE: Final = 409  # rclone does not repeat the request


class Unreadable(Exception):
    """File of which no URL gives the bytes. The record has the last reason."""

    def __init__(self, failure: RequestFailure) -> None:
        super().__init__(failure.words.message)
        self.failure = failure


class Differing(Unreadable):
    """File whose bytes are not those of the list, which the engine may have some of."""


@dataclass
class _Progress:
    """What was read of a file, and from which version of it."""

    position: int
    size: int | None = None
    validator: str | None = None
    url: str | None = None
    hasher: Any = None
    breaks: int = 0
    failure: RequestFailure | None = field(default=None)


class Contents:
    """Reads the files of one list. URLs that gave other bytes are not asked again in an attempt."""

    def __init__(self, servers: Servers, budget: Budget) -> None:
        self._servers = servers
        self._budget = budget
        self._wrong: set[tuple[str, str]] = set()
        # The URL and the version of files of which the engine has the beginning only.
        self._begun: dict[str, tuple[str | None, str | None]] = {}

    def begin_attempt(self) -> None:
        """Ask each URL again."""
        self._wrong.clear()
        self._begun.clear()

    async def pieces(
        self, listed: UrlFile, start: int = 0, *, end: int | None = None
    ) -> AsyncGenerator[memoryview, None]:
        """Yield a file's bytes from `start`, each piece valid until the next one.

        The last piece comes once the whole is known to be right. With an `end`, the part before
        it is yielded unchecked. Raises Unreadable, also after some pieces.
        """
        checked = listed.checksum if end is None else None
        # Only the whole file has the checksum.
        done = _Progress(0 if checked else start, hasher=checked.hasher() if checked else None)
        skipped = start - done.position
        if start:
            done.url, done.validator = self._begun.get(listed.path, (None, None))
        self._begun.pop(listed.path, None)
        try:
            async with aclosing(self._held_back(listed, done, skipped, end)) as reading:
                async for piece in reading:
                    yield piece
        except BaseException:
            if listed.checksum is None and done.position:
                self._begun[listed.path] = done.url, done.validator
            raise

    async def _held_back(
        self, listed: UrlFile, done: _Progress, skipped: int, end: int | None
    ) -> AsyncGenerator[memoryview, None]:
        """Yield the pieces but for `skipped` bytes, and the last one once the whole is right."""
        held: bytearray | None = None
        async with aclosing(self._arriving(listed, done, end)) as arriving:
            async for piece in arriving:
                if done.hasher is not None:
                    done.hasher.update(piece)
                if skipped:
                    count = min(skipped, len(piece))
                    piece, skipped = piece[count:], skipped - count
                if not len(piece):
                    continue
                if held is not None:
                    yield memoryview(held)
                held = bytearray(piece)
        self._judge(listed, done, end)
        if held is not None:
            yield memoryview(held)

    def _judge(self, listed: UrlFile, done: _Progress, end: int | None) -> None:
        """Hold what was read against the list. Raises Unreadable."""
        expected = end if end is not None else listed.size if listed.size is not None else done.size
        if expected is not None and done.position != expected:
            text = f"{DIFFERS}{done.position:,} B in place of {expected:,} B."
            raise self._differs(listed, done, text)
        if done.hasher is not None and listed.checksum is not None:
            digest = done.hasher.digest()
            if digest != listed.checksum.value:
                kind = listed.checksum.kind
                text = f"{DIFFERS}{kind}:{digest.hex()} in place of {listed.checksum}."
                raise self._differs(listed, done, text)

    def _differs(self, listed: UrlFile, done: _Progress, text: str) -> Differing:
        if done.url is not None:
            self._wrong.add((listed.path, done.url))
        failure = RequestFailure("GET", listed.path, Words(None, "", text), None, _UNUSABLE)
        self._servers.record.fail(failure)
        return Differing(failure)

    def has_others(self, listed: UrlFile) -> bool:
        """Return whether a URL is left that has not given other bytes in this attempt."""
        return any((listed.path, url) not in self._wrong for url in listed.urls)

    def _unreadable(self, failure: RequestFailure) -> Unreadable:
        self._servers.record.fail(failure)
        return Unreadable(failure)

    async def _arriving(
        self, listed: UrlFile, done: _Progress, end: int | None
    ) -> AsyncGenerator[memoryview, None]:
        """Yield the pieces of the first URL that has them, and of the next ones if it breaks."""
        urls = [url for url in listed.urls if (listed.path, url) not in self._wrong]
        if not urls:
            text = f"{DIFFERS}no URL of the file gives them."
            raise self._unreadable(
                RequestFailure("GET", listed.path, Words(None, "", text), None, _UNUSABLE)
            )
        while urls:
            url = urls[0]
            try:
                async with aclosing(self._from(listed, url, done, end)) as reading:
                    async for piece in reading:
                        yield piece
                return
            except NoAnswer as error:
                done.breaks += 1
                said = Words(None, "", str(error))
                done.failure = RequestFailure("GET", listed.path, said, error.cause)
                # One more try where it broke: mostly only the connection has ended.
                may_repeat = error.cause in ("broken", "timeout") and done.breaks <= _MOST_BREAKS
                if done.url == url and may_repeat:
                    continue
            except Differing:
                raise
            except Unreadable as error:
                done.failure = error.failure
            urls.pop(0)
        raise self._unreadable(
            done.failure or RequestFailure("GET", listed.path, Words(None), "broken")
        )

    async def _from(
        self, listed: UrlFile, url: str, done: _Progress, end: int | None
    ) -> AsyncGenerator[memoryview, None]:
        """Yield the pieces that one URL gives. Raises Unreadable and NoAnswer."""
        headers = {}
        if done.position or end is not None:
            headers["Range"] = f"bytes={done.position}-{'' if end is None else end - 1}"
        if end is not None and done.position >= end:
            return
        try:
            async with self._servers.ask("GET", url, listed.path, headers) as answer:
                await self._begin(listed, url, done, answer)
                length = answer.head.length("GET")
                known = length if isinstance(length, int) else None
                with self._budget.lending(known, is_plain=answer.origin.scheme == "http") as lent:
                    answer.body.use(lent)
                    buffer = answer.body.buffer()
                    while count := await answer.read(buffer):
                        done.position += count
                        if done.size is not None and done.position > done.size:
                            text = f"{DIFFERS}more than {done.size:,} B."
                            raise self._differs(listed, done, text)
                        yield buffer[:count]
        except Refused:
            raise Unreadable(self._servers.rejected(url, "GET", listed.path)) from None
        except Failed as failed:
            raise Unreadable(
                RequestFailure("GET", listed.path, failed.said, None, failed.status)
            ) from None
        except InvalidAddress as error:
            raise Unreadable(
                RequestFailure("GET", listed.path, Words(None, "", str(error)), None, 415)
            ) from None

    async def _begin(self, listed: UrlFile, url: str, done: _Progress, answer: Answer) -> None:
        """Judge the head of an answer. Raises Unreadable."""
        if answer.status >= 300:
            raise Unreadable(await refusal(answer, listed.path))
        try:
            size = answers.check(answer, listed, done.position)
            valid = answers.validator(answer)
            # Nothing else than a checksum would show that this is the rest of another version.
            is_proven = listed.checksum is not None or (valid and valid == done.validator)
            if done.url is not None and done.position and not is_proven:
                raise WrongAnswer("The connection broke, and the file has changed since.")
        except WrongAnswer as error:
            said = Words(None, "", str(error))
            raise Unreadable(RequestFailure("GET", listed.path, said, None, _UNUSABLE)) from None
        done.url, done.validator = url, valid
        done.size = listed.size if listed.size is not None else size


async def refusal(answer: Answer, path: str) -> RequestFailure:
    """Return the failure that an error answer means."""
    where = answer.header("location")
    if answer.status < 400 and where:
        text = f"Redirect not followed: {where.partition('?')[0]}"
        return RequestFailure("GET", path, Words(answer.status, "", text), None, 415)
    try:
        body = await answer.text(_SHOWN)
    except NoAnswer:
        body = b""
    return RequestFailure("GET", path, words.read(answer.status, answer.head.headers, body))
