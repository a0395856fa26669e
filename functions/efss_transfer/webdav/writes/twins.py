"""Refuse an upload whose name the server takes for that of another file of the source.

To a server on a disk that is blind to case, `README` and `readme` are one file, and Nextcloud takes
NFC and NFD of a name for one: the second upload would replace the first. So an upload waits for
one of a name that is alike, and then the server is asked whether it keeps the two apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Recent, key, strong
from efss_transfer.webdav.paths import Segments, folded
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.writes import refusals
from efss_transfer.webdav.writes.stored_names import StoredNames

InSource = Callable[[str], Awaitable[bool]]
"""Function that tells whether the source has the file of a path below the server's URL."""
_BETWEEN: Final = "\0"  # no name has it
_REFUSED: Final = 400  # rclone does not send it again


async def _is_not_in_source(_: str) -> bool:
    return False


@dataclass
class _UnderWay:
    """Uploads of one name that are under way, and the event of their end."""

    name: str
    count: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Twins:
    """Names at one server that differ only in case or Unicode form.

    `room` is in bytes; 0 for a server at which nothing is stored.
    """

    def __init__(self, session: ServerSession, listings: Listings, room: int) -> None:
        self._session = session
        self._listings = listings
        self._is_destination = room > 0
        # Names by the form that they share; of each form all that the server has answered for.
        self._found: Recent[str] = Recent(room // 2)
        # Not forgotten before an attempt: a file that an earlier one stored is not overwritten.
        self._stored: Recent[str] = Recent(room // 2)
        self._all_stored = StoredNames()
        self._under_way: dict[str, _UnderWay] = {}
        self.is_in_source: InSource = _is_not_in_source

    def found(self, path: Segments) -> None:
        """Record that the server has a file of this name, though it may list it by another."""
        if not self._is_destination:
            return
        name, shared = key(path), folded(key(path))
        known = self._found.get(shared)
        if known is None:
            self._found.put(shared, name)
        elif name not in known.split(_BETWEEN):
            self._found.put(shared, f"{known}{_BETWEEN}{name}")

    def removed(self, path: Segments) -> None:
        """Record that a file was deleted."""
        shared = folded(key(path))
        self._found.pop(shared)
        if self._stored.get(shared) == key(path):
            self._stored.pop(shared)

    def forget(self) -> None:
        """Drop what was found, before the server is asked again."""
        self._found.clear()

    async def settled(self, path: Segments) -> None:
        """Wait until no file is stored under another name that is alike."""
        while (other := self._under_way.get(folded(key(path)))) and other.name != key(path):
            await other.ended.wait()

    @asynccontextmanager
    async def storing(self, path: Segments) -> AsyncIterator[None]:
        """Store a file in the block. Raises Failed if that would replace another one."""
        await self.settled(path)
        name, shared = key(path), folded(key(path))
        mine = self._under_way.setdefault(shared, _UnderWay(name))
        mine.count += 1
        try:
            others = await self._others(path)
            await self._check(path, others)
            yield
            # A listing that arrived meanwhile may be from before the upload.
            late = [other for other in self._known(name, shared) if other not in others]
            await self._check(path, late)
            self._stored.put(shared, name)
            self._all_stored.add(name, shared)
        finally:
            mine.count -= 1
            if not mine.count:
                del self._under_way[shared]
                mine.ended.set()

    async def _others(self, path: Segments) -> list[str]:
        """Return the other names at the server that are alike, or some of them."""
        name, shared = key(path), folded(key(path))
        known = self._known(name, shared)
        if known or not self._all_stored.has_another(name, shared):
            return known
        # Too long ago to be remembered by its name, which the server has.
        for depth, part in enumerate(path):
            names = await self._names(path[:depth])
            if part not in names:
                like = [other for other in names if folded(other) == folded(part)]
                return [key((*path[:depth], other, *path[depth + 1 :])) for other in like]
        return []

    async def _names(self, folder: Segments) -> set[str]:
        """Return the names that the server lists in a folder."""
        names: set[str] = set()
        async with aclosing(self._listings.read(folder, "1", folder=True)) as reading:
            async for entries in reading:
                names.update(one.name for one in entries if one.name is not None)
        return names

    def _known(self, name: str, shared: str) -> list[str]:
        stored, found = self._stored.get(shared), self._found.get(shared)
        if stored == name:
            return []
        names = [stored] if stored is not None else found.split(_BETWEEN) if found else []
        return [other for other in names if other != name]

    async def replaced_by(self, path: Segments) -> str | None:
        """Return the file of the source that an upload to this path would replace, if any."""
        return await self._replaced(path, await self._others(path))

    async def check_unlisted(self, path: Segments, etag: str) -> None:
        """Raise Failed if a file that no listing had is another one of the source.

        Some servers drop dots and spaces at the end of a name, or map letters in their own way.
        The ETag shows which file it is. One that another client has stored meanwhile is listed.
        """
        names = []
        async with aclosing(self._listings.read(path[:-1], "1", folder=True)) as reading:
            async for entries in reading:
                for one in entries:
                    if one.name == path[-1]:
                        return
                    if one.name is not None and strong(one.entry.get("getetag")) == etag:
                        names.append(key((*path[:-1], one.name)))
        for other in names:
            if other == self._stored.get(folded(other)) or await self.is_in_source(other):
                raise self._refused(path, other)

    def _refused(self, path: Segments, other: str) -> Failed:
        call = Call("PUT", self._listings.target(path))
        return self._session.failed(call, key(path), refusals.name_taken(other), _REFUSED)

    async def _check(self, path: Segments, others: list[str]) -> None:
        if (other := await self._replaced(path, others)) is not None:
            raise self._refused(path, other)

    async def _replaced(self, path: Segments, others: list[str]) -> str | None:
        if not others:
            return None
        is_stored = self._all_stored.has_another(key(path), folded(key(path)))
        for other in others:
            if not await self._are_apart(path, other) and (
                is_stored or await self.is_in_source(other)
            ):
                return other
        return None

    async def _are_apart(self, path: Segments, other: str) -> bool:
        """Return whether the server has no file at the path, or lists both names.

        One file answers to both names, and is listed by one of them.
        """
        if await self._listings.one(path, folder=False) is None:
            return True
        names = zip(path, other.split("/"), strict=True)
        depth, pair = next((at, pair) for at, pair in enumerate(names) if pair[0] != pair[1])
        return set(pair) <= await self._names(path[:depth])
