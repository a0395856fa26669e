"""Make each folder once, parents first, for all requests that need it at the same time.

rclone sends MKCOL before each file. Sixteen of them at once for one folder are answered by
Nextcloud with 405, 409 and 423, and cost it as much as a file each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.paths import Segments

# 405: it is there (RFC 4918, section 9.3.1); some servers say so in other ways.
_THERE: Final = frozenset({405, 406})
_PARENT_IS_MISSING: Final = 409


class Folders:
    """The folders below one URL. `make` sends one MKCOL and gives its status.

    `make` raises for every status that is neither success, nor that it is there, nor that its
    parent is missing.
    """

    def __init__(self, make: Callable[[Segments], Awaitable[int]]) -> None:
        self._make = make
        self._known: Recent[bool] = Recent()
        self._absent: Recent[bool] = Recent()
        self._empty: Recent[bool] = Recent()
        self._new: Recent[bool] = Recent()
        self._making: dict[str, asyncio.Future[None]] = {}

    async def ensure(self, folder: Segments) -> None:
        """Make a folder, and those above it, if they are missing. Raises as `make`, and Orphan."""
        if not folder or key(folder) in self._known:
            return
        for count in range(1, len(folder) + 1):
            # One that makes a parent makes it for all.
            above = self._making.get(key(folder[:count]))
            if above is not None:
                await asyncio.shield(above)
        if key(folder) in self._known:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._making[key(folder)] = done
        try:
            await self._made(folder)
        except BaseException as error:
            if isinstance(error, Exception):
                done.set_exception(error)
                done.exception()  # no request may be waiting for it
            else:
                done.cancel()
            raise
        else:
            done.set_result(None)
        finally:
            del self._making[key(folder)]

    def exists(self, folder: Segments) -> None:
        """Learn that a folder is there, and so those above it."""
        for count in range(len(folder), 0, -1):
            if key(folder[:count]) in self._known:
                return
            self._known.put(key(folder[:count]), value=True)
            self._absent.pop(key(folder[:count]))

    def is_missing(self, folder: Segments) -> None:
        """Learn that a folder is not there."""
        self._known.pop(key(folder))
        self._empty.pop(key(folder))
        self._new.pop(key(folder))
        self._absent.put(key(folder), value=True)

    def is_empty(self, folder: Segments) -> bool:
        """Whether it was made here, and nothing was put into it since."""
        return key(folder) in self._empty

    def fills(self, folder: Segments) -> None:
        """Learn that something is put into a folder."""
        self._empty.pop(key(folder))

    def forget(self) -> None:
        """Ask the server from now on."""
        self._known.clear()
        self._absent.clear()
        self._empty.clear()
        self._new.clear()

    async def _made(self, folder: Segments) -> None:
        parent = folder[:-1]
        if self._is_absent(parent):
            await self.ensure(parent)
        status = await self._make(folder)
        if status == _PARENT_IS_MISSING:
            if not parent:
                raise Orphan
            self.is_missing(parent)
            await self.ensure(parent)
            status = await self._make(folder)
            if status == _PARENT_IS_MISSING:
                raise Orphan
        self.exists(folder)
        if status not in _THERE:
            self.fills(parent)
            self._empty.put(key(folder), value=True)
            self._new.put(key(folder), value=True)

    def _is_absent(self, folder: Segments) -> bool:
        """Whether a folder cannot be there: it, or one above it, was missing, or it would have
        been made here. If somebody else made it meanwhile, that is found when it is made.
        """
        for count in range(len(folder), 0, -1):
            above = key(folder[:count])
            if above in self._absent:
                return True
            if above in self._known:
                return count < len(folder) and above in self._new
        return False


class Orphan(Exception):
    """A folder cannot be made, because its parent cannot."""
