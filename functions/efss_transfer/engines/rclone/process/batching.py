"""Which sides read or send many small files in one request, so that rclone may ask for more."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Final

from efss_transfer.egress.proxy import Guard
from efss_transfer.engines.rclone.rc.batching import NoBatching
from efss_transfer.model.request import Selection, TransferRequest
from efss_transfer.model.result import Side
from efss_transfer.model.storage_traits import FEW_WORKERS
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http.connections import Connections

# A server that does not say so in time gets as many files as one that cannot.
_SECONDS: Final = 3.0


class Batching(NoBatching):
    """Requests for many files at the two sides of one transfer, each with its own gateway.

    A caller who names a number of files at a time gets that, and no limit of connections. Listed
    files are copied by calls of their own, of which there are no more.
    """

    def __init__(self, guard: Guard, request: TransferRequest) -> None:
        self._guard = guard
        options = request.options
        self._is_on = (
            options.transfers is None and not options.dry_run and request.selection.files is None
        )
        self._is_all_wanted = request.selection == Selection() and not options.dry_run
        self._sides: dict[Side, tuple[Gateway, Connections]] = {}

    def add(self, side: Side, gateway: Gateway, connections: Connections, dialect: Dialect) -> None:
        """Add the gateway of one side, which is not that of the other."""
        # A version tells whether there are archives. Nothing else does, before the first one.
        if side is Side.DESTINATION or dialect.version is not None:
            self._sides[side] = gateway, connections

    def candidates(self) -> frozenset[Side]:
        """Return the sides that may read or send files together, as far as is known by now."""
        return frozenset(side for side in self._sides if self._is_on and self._may_batch(side))

    def begin(self) -> frozenset[Side]:
        """Return the sides that read or send files together, for which destinations are asked.

        Each of these servers then gets no more requests at a time than it would get files.
        """
        found = frozenset(side for side in self.candidates() if self._does_batch(side))
        for side in found:
            _, connections = self._sides[side]
            self._guard.call_soon(partial(connections.limit, FEW_WORKERS))
        return found

    @property
    def may_read_ahead(self) -> bool:
        """Whether the source's gateway could read files before rclone asks for them."""
        return self._is_all_wanted and Side.SOURCE in self._sides and self._may_batch(Side.SOURCE)

    def read_ahead(self, folder: str) -> None:
        """Let the source's gateway read files below a folder ahead: all of them are wanted."""
        gateway, _ = self._sides[Side.SOURCE]
        root = tuple(name for name in folder.split("/") if name)
        self._guard.call_soon(partial(gateway.archives.ahead.open, root))

    def _may_batch(self, side: Side) -> bool:
        gateway, _ = self._sides[side]
        if side is Side.DESTINATION:
            return gateway.bulk.is_possible
        return gateway.archives.is_possible

    def _does_batch(self, side: Side) -> bool:
        gateway, _ = self._sides[side]
        if side is Side.SOURCE:
            return True
        with suppress(TimeoutError, CancelledError):
            return self._guard.start(gateway.bulk.are_taken).result(_SECONDS)
        return False
