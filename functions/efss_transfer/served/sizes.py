"""Ask for the sizes of files whose list does not say them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from efss_transfer.served import answers
from efss_transfer.served.answers import WrongAnswer
from efss_transfer.served.manifest import UrlFile
from efss_transfer.served.servers import InvalidAddress, Servers
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.session import Failed, Refused

_AT_ONCE: Final = 16
_PART: Final = {"Range": "bytes=0-0"}


class Sizes:
    """Asks by HEAD, and by the first byte where a server, such as a signed URL's, refuses HEAD.

    A file that stays without a size is copied without it: reading it then reports the reason.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(self, files: Sequence[UrlFile]) -> dict[str, UrlFile]:
        """Return the files with what their servers say of them, by their paths."""
        found = await asyncio.gather(*(self._ask(one) for one in files))
        return {one.path: one for one in found}

    async def _ask(self, listed: UrlFile) -> UrlFile:
        for url in listed.urls:
            for method, headers in (("HEAD", {}), ("GET", _PART)):
                async with self._slots:
                    found = await self._by(listed, url, method, headers)
                if found is not None and found.size is not None:
                    return found
        return listed

    async def _by(
        self, listed: UrlFile, url: str, method: str, headers: dict[str, str]
    ) -> UrlFile | None:
        """Return the file by one answer; None if that is not the file's."""
        try:
            async with self._servers.ask(method, url, listed.path, headers) as answer:
                if answer.status not in (200, 206):
                    return None
                size = answers.check(answer, listed, 0)
                time = listed.modified
                return replace(
                    listed,
                    size=size,
                    modified=answers.modified(answer) if time is None else time,
                )
        except (Failed, Refused, NoAnswer, WrongAnswer, InvalidAddress):
            return None
        finally:
            # Reading the file reports what is wrong with it.
            self._servers.record.succeed(listed.path)
