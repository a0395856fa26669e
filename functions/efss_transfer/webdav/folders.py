"""Make each folder once, parents first, for all requests that need it at the same time.

rclone sends MKCOL before each file. Nextcloud answers sixteen of them at once for one folder with
405, 409 and 423, and each costs it as much as a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.paths import Segments

# 405: the folder exists (RFC 4918, section 9.3.1); some servers answer with 406 instead.
_THERE: Final = frozenset({405, 406})
_PARENT_IS_MISSING: Final = 409
_ROOM: Final = 4 << 20


class Folders:
    """Folders below one URL. `make` sends one MKCOL and returns its status; `room` limits
    the cache in bytes.

    `make` raises for any status that means neither success, nor that the folder exists, nor that
    its parent is missing.
    """

    def __init__(self, make: Callable[[Segments], Awaitable[int]], room: int = _ROOM) -> None:
        self._make = make
        self._known: Recent[bool] = Recent(room // 4)
        self._absent: Recent[bool] = Recent(room // 4)
        self._empty: Recent[bool] = Recent(room // 4)
        self._new: Recent[bool] = Recent(room // 4)
        self._making: dict[str, asyncio.Future[None]] = {}

    async def ensure(self, folder: Segments) -> None:
        """Make a folder, and those above it, if they are missing. Raises as `make`, and Orphan."""
        if not folder or key(folder) in self._known:
            return
        for count in range(1, len(folder) + 1):
            # A request that creates a parent creates it for all.
            while (above := self._making.get(key(folder[:count]))) is not None:
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
                done.set_result(None)  # cancelled: one of those that wait makes it instead
            raise
        else:
            done.set_result(None)
        finally:
            del self._making[key(folder)]

    def exists(self, folder: Segments) -> None:
        """Record that a folder and its parents exist."""
        for count in range(len(folder), 0, -1):
            if key(folder[:count]) in self._known:
                return
            self._known.put(key(folder[:count]), value=True)
            self._absent.pop(key(folder[:count]))

    def is_missing(self, folder: Segments) -> None:
        """Record that a folder does not exist."""
        self._known.pop(key(folder))
        self._empty.pop(key(folder))
        self._new.pop(key(folder))
        self._absent.put(key(folder), value=True)

    def is_empty(self, folder: Segments) -> bool:
        """Return whether the folder was created here and nothing was stored in it since."""
        return key(folder) in self._empty

    def fills(self, folder: Segments) -> None:
        """Record that an entry is stored in a folder."""
        self._empty.pop(key(folder))

    def forget(self) -> None:
        """Clear the cache, so that the server is asked again."""
        self._known.clear()
        self._absent.clear()
        self._empty.clear()
        self._new.clear()

    @property
    def size(self) -> int:
        """Number of bytes that the cache takes."""
        return self._known.size + self._absent.size + self._empty.size + self._new.size

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
        """Return whether a folder cannot exist.

        It or a parent was missing, or it would have been created here. If another client created
        it meanwhile, MKCOL finds it.
        """
        for count in range(len(folder), 0, -1):
            above = key(folder[:count])
            if above in self._absent:
                return True
            if above in self._known:
                return count < len(folder) and above in self._new
        return False


class Orphan(Exception):
    """Folder that cannot be created, because its parent cannot."""
