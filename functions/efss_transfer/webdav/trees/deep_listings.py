"""List a whole tree at once, when the engine has asked for several of its folders.

The gateway lists the first folders one by one. Then it asks for everything below the first of them
in one request, and answers the engine from that for a minute. It lists a folder by itself if the
tree may lack some of its entries. After a tree that is wrong or too large it asks for no other one.

A destination may be huge and the copy small, and Nextcloud reads a whole tree before it sends any
of it. So a destination's tree is asked for only after a quarter of the folders that are known of
it was asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.listings import XML_TYPE, Listings, Named
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.multistatus import Parser
from efss_transfer.webdav.paths import Segments, UnplacedEntry
from efss_transfer.webdav.reading.bad_listings import BadListing
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.trees.tree import ArrivingTree, BadTree, unpacked
from efss_transfer.webdav.writes.names import PARTIAL

_FEWEST_FOLDERS: Final = 3
_MOST_KNOWN: Final = 4  # folders of a destination for each one that was asked for
_MOST_BYTES: Final = 2 << 20
_SECONDS: Final = 10.0
_KEPT_SECONDS: Final = 60.0
_PIECE: Final = 1 << 16
_PART: Final = 256


class DeepListings:
    """Listings of one side's folders; with `is_on` false, each is asked for by itself."""

    def __init__(
        self, server: Listings, budget: Budget, *, is_on: bool, is_destination: bool = False
    ) -> None:
        self._server = server
        self._budget = budget
        self._is_possible = is_on
        self._is_destination = is_destination
        self._root: Segments | None = None
        self._asked: set[Segments] = set()
        self._known_folders = 0
        self._names: set[tuple[str, bool]] | None = None
        self._folders: dict[Segments, bytes] = {}
        self._arrived_at = 0.0
        self._times: dict[Segments, float] = {}
        self._size = 0
        self._asking: asyncio.Task[None] | None = None
        budget.add_dropper(self._drop)

    async def read(self, folder: Segments) -> AsyncGenerator[list[Named], None]:
        """Yield the entries of a folder in batches, as `Listings.read` does at depth 1."""
        packed = await self._found(folder)
        if packed is not None:
            self._server.session.record.bulk_listings += 1
            self._times[folder] = self._arrived_at
            found = unpacked(packed)
            for at in range(0, len(found), _PART):
                yield await self._server.sized(folder, found[at : at + _PART])
            return
        names: set[tuple[str, bool]] = set()
        async with aclosing(self._server.read(folder, "1", folder=True)) as reading:
            async for entries in reading:
                self._known_folders += sum(one.entry.collection for one in entries if one.name)
                if folder == self._root:
                    names |= {(one.name, one.entry.collection) for one in entries if one.name}
                yield entries
        if folder == self._root:
            self._names = names

    def time_of(self, folder: Segments) -> float | None:
        """Return once when the tree arrived that the last listing came from; None if from none."""
        return self._times.pop(folder, None)

    def clear(self) -> None:
        """Forget all: the server is to be asked again."""
        self._root, self._names, self._known_folders = None, None, 0
        self._asked.clear()
        self._drop()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _found(self, folder: Segments) -> bytes | None:
        """Return what a listing of the tree says of a folder; None if it must be asked for."""
        if not self._is_possible:
            return None
        if self._root is None:
            self._root = folder
        self._asked.add(folder)
        if self._is_time_to_ask(folder):
            self._asking = asyncio.create_task(self._ask(self._root))
        if self._asking is not None and not self._asking.done():
            await asyncio.wait([self._asking])
        if self._folders and time.monotonic() - self._arrived_at > _KEPT_SECONDS:
            self._drop()
        return self._folders.get(folder)

    def _is_time_to_ask(self, folder: Segments) -> bool:
        """Whether the engine asks for the whole tree, as far as can be seen."""
        if self._asking is not None or self._names is None or self._root is None:
            return False
        is_below = len(folder) > len(self._root) and folder[: len(self._root)] == self._root
        is_wanted = not self._is_destination or (
            len(self._asked) * _MOST_KNOWN >= self._known_folders
        )
        return is_below and is_wanted and len(self._asked) >= _FEWEST_FOLDERS

    async def _ask(self, root: Segments) -> None:
        if self._budget.left_to_keep < _MOST_BYTES:
            return
        try:
            with self._held():
                async with asyncio.timeout(_SECONDS):
                    folders = await self._tree(root)
        except (Failed, Refused, NoAnswer, TimeoutError):
            self._server.session.record.succeed(key(root))  # other listings tell what is wrong
            self._is_possible = False
            return
        except (BadTree, BadListing, UnplacedEntry):
            self._is_possible = False
            return
        # Some servers answer as for depth 1.
        self._is_possible = any(len(folder) > len(root) for folder in folders)
        size = sum(map(len, folders.values()))
        if size <= self._budget.left_to_keep:
            self._budget.keep(size)
            self._size, self._folders, self._arrived_at = size, folders, time.monotonic()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold what a tree takes while it arrives."""
        self._budget.keep(_MOST_BYTES)
        try:
            yield
        finally:
            self._budget.release(_MOST_BYTES)

    async def _tree(self, root: Segments) -> dict[Segments, bytes]:
        server = self._server
        headers = {"Depth": "infinity", "Content-Type": XML_TYPE}
        body = Held(server.dialect.tree_body)
        call = Call("PROPFIND", server.target(root, folder=True), headers, body)
        arriving, parser = ArrivingTree((*server.base.called, *root), _MOST_BYTES), Parser()
        async with server.session.call(call, key(root)) as answer:
            if answer.status != 207 or answer.redirects:
                raise BadTree("it is refused")
            buffer = answer.body.buffer(_PIECE)
            while count := await answer.read(buffer):
                arriving.add(parser.feed(bytes(buffer[:count])))
            arriving.add(parser.close())
        if not self._has_names_of(arriving):
            raise BadTree("the folder has other entries than its own listing")
        return {(*root, *path): packed for path, packed in arriving.folders().items()}

    def _has_names_of(self, tree: ArrivingTree) -> bool:
        """Whether the first folder is as it was. The copy itself adds to that of a destination."""
        names, listed = tree.names(), self._names or set()
        if not self._is_destination:
            return names == listed
        return names >= {one for one in listed if not PARTIAL.fullmatch(one[0])}

    def _drop(self) -> bool:
        """Give up the tree; False if there is none."""
        if not self._folders:
            return False
        self._folders = {}
        self._budget.release(self._size)
        self._size = 0
        return True
