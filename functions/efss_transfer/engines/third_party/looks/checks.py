"""Checks step by step what a caller may do with a WebDAV storage, and what it can."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.check_steps import look_steps, skipped, write_step
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.third_party import digests
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.looks.folders import NOT_FOUND
from efss_transfer.engines.third_party.looks.look import Look
from efss_transfer.model.errors import CODES
from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import Failure, Side
from efss_transfer.model.storage_check import (
    CheckName,
    CheckStep,
    StorageAbilities,
    StorageCheck,
    StorageSpace,
)
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused

Ways = Callable[[End, End, Segments, Segments, Redactor], Awaitable[tuple[str, ...]]]
"""Tries out which ways a storage copies by itself, between two of its paths: as a source, and as a
destination, where there is nothing yet.
"""

_FACT_SECONDS: Final = 10.0
_COPY_SECONDS: Final = 25.0
_CONTENT: Final = b"efss-transfer has checked whether it may write here. Remove this file.\n"
# A storage may compute a checksum when it is asked for it.
_LARGEST_ASKED: Final = 1 << 20
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_NO_FILE: Final = "The path is a file. Check the folder that contains it."
# It is not the storage that failed.
_OURS: Final = frozenset({"engine_failed", "internal", "cancelled"})


def check(
    settings: Settings,
    endpoint: Endpoint,
    context: Context,
    *,
    write: bool,
    ways: Ways | None = None,
) -> StorageCheck:
    """Check a storage: see the protocol `CheckingEngine`. `ways` finds out how it copies."""
    look = Look(settings, endpoint, context)
    with look.connected():
        asked = _Check(look, ways)
        failure = asked.read()
        written: CheckStep = skipped(CheckName.WRITE)
        if write and failure is None:
            written = asked.write()
        if failure is None:
            asked.learn()
    for step in (failure, written.failure):
        if step is not None and step.code in _OURS:
            return StorageCheck(endpoint.type, failure=step)
    steps = (*look_steps(failure), written)
    return StorageCheck(endpoint.type, steps, asked.space, abilities=asked.abilities)


class _Check:
    """The questions of one check, in their order."""

    def __init__(self, look: Look, ways: Ways | None) -> None:
        self._look = look
        self._end = look.end
        self._ways = ways
        self._is_file = False
        self._file: Segments | None = None
        self._checksums: tuple[str, ...] | None = None
        self._possible: tuple[str, ...] | None = None
        self.space = StorageSpace()

    @property
    def abilities(self) -> StorageAbilities:
        """What was found out about files. A third-party copy keeps no times."""
        return StorageAbilities(self._checksums, False, self._possible)

    def read(self) -> Failure | None:
        """List the path, or why that failed."""
        found, failure = self._look.run(self._read)
        return failure or (None if found else NOT_FOUND)

    def write(self) -> CheckStep:
        """Make a file of a random name, try out copies of it, and remove all that."""
        if self._is_file:
            retryable = CODES["not_a_directory"].retryable
            return write_step(Failure("not_a_directory", _NO_FILE, retryable))
        name = f".efss-transfer-{secrets.token_hex(8)}"
        path, to = (*self._end.root, name), (*self._end.root, f"{name}-copy")
        left = {path}

        async def remove() -> None:
            for one in (to, path):
                if one in left:
                    await self._remove(one)
                    left.discard(one)

        async def leave_nothing() -> None:
            with suppress(Failed, Refused, NoAnswer):
                await remove()

        try:
            _, failure = self._look.run(lambda: self._make(path))
            if failure is not None and not failure.retryable:
                left.clear()
                return write_step(failure)
            if failure is None:
                self._try_out(path, to, left)
                _, failure = self._look.run(remove)
            return write_step(failure)
        finally:
            if left:
                self._look.clean_up(leave_nothing)

    def learn(self) -> None:
        """Ask for the space and the checksums. What the storage does not tell stays unknown."""
        space, _ = self._look.run(self._space, _FACT_SECONDS)
        self.space = space or self.space
        if self._checksums is None and (file := self._file) is not None:
            self._checksums, _ = self._look.run(lambda: self._kinds(file), _FACT_SECONDS)

    def _try_out(self, path: Segments, to: Segments, left: set[Segments]) -> None:
        self._checksums, _ = self._look.run(lambda: self._kinds(path), _FACT_SECONDS)
        if (ways := self._ways) is None:
            return
        left.add(to)
        destination = self._look.end_as(Side.DESTINATION)

        async def possible() -> tuple[str, ...]:
            return await ways(self._end, destination, path, to, self._look.redactor)

        self._possible, _ = self._look.run(possible, _COPY_SECONDS)

    async def _read(self) -> bool:
        own = await self._end.look(self._end.root)
        if own is None:
            return False
        if not own.entry.collection:
            self._is_file = True
            if (own.size or 0) <= _LARGEST_ASKED:
                self._file = self._end.root
            return True
        async with aclosing(self._end.listings.read(self._end.root, "1", folder=True)) as batches:
            async for batch in batches:
                for one in batch:
                    is_small = not one.entry.collection and 0 < (one.size or 0) <= _LARGEST_ASKED
                    if self._file is None and one.name is not None and is_small:
                        self._file = (*self._end.root, one.name)
                break  # it may be listed; a folder may have millions of entries
        return True

    async def _make(self, path: Segments) -> None:
        headers = {"Content-Type": "text/plain"}
        call = Call("PUT", self._end.listings.target(path), headers, Held(_CONTENT))
        await self._send(call, path)

    async def _remove(self, path: Segments) -> None:
        call = Call("DELETE", self._end.listings.target(path))
        try:
            await self._send(call, path)
        except Failed as error:
            if error.status != 404:
                raise

    async def _send(self, call: Call, path: Segments) -> None:
        async with self._end.session.call(call, key(path)) as answer:
            if answer.status >= 300:
                raise await self._end.session.error(call, key(path), answer)

    async def _kinds(self, file: Segments) -> tuple[str, ...]:
        found: list[str] = []
        for kind in digests.WANTED.split(","):
            with suppress(Failed):
                _, digest = await self._end.digest(file, kind)
                if digest is not None:
                    found.append(digest.hash)
        return tuple(found)

    async def _space(self) -> StorageSpace:
        folder = self._end.root[:-1] if self._is_file else self._end.root
        own = await self._end.listings.one(folder, folder=True, quota=True)

        def told(name: str) -> int | None:
            text = ((own.entry.get(name) if own else None) or "").strip()
            return int(text) if _NUMBER.fullmatch(text) else None

        free, used = told("quota-available-bytes"), told("quota-used-bytes")
        total = None if free is None or used is None else free + used
        return StorageSpace(free, total, used)
