"""One run of third-party copies, step by step: what it needs, and what it must not leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import wait as wait_for

from efss_transfer.engines.third_party.session import CLEANUP_SECONDS, DirectedSession
from efss_transfer.engines.tpc.copying import Copying
from efss_transfer.engines.tpc.delegation import Delegation
from efss_transfer.engines.tpc.file_copier import FileCopier
from efss_transfer.engines.tpc.third_party import ThirdPartyCopies
from efss_transfer.model.result import Json


class TpcSession(DirectedSession):
    """One run: see `DirectedSession`."""

    def _attempts(self) -> Copying:
        self._delegation = Delegation(self._context.deadline, lambda it: self._redactor.add([it]))
        self._copies = ThirdPartyCopies(
            self._source, self._destination, self._delegation, self._redactor
        )
        self._destination.twins.is_in_source = self._is_in_source
        self._copier = FileCopier(
            self._destination, self._copies, self._request.options, self._checks
        )
        return Copying(
            self._source,
            self._destination,
            self._request,
            self._context,
            self._outcomes,
            self._checks,
            self._copier,
            self._copies,
        )

    async def _is_in_source(self, path: str) -> bool:
        """Whether the source has the file that the destination has at a path."""
        names = tuple(path.split("/"))[len(self._destination.root) :]
        found = await self._source.look((*self._source.root, *names))
        return found is not None and not found.entry.collection

    def _end_copies(self) -> None:
        """Remove the copies beside their names that were under way, as far as there is time."""
        if not self._is_connected or not self._copier.unfinished:
            return

        async def remove() -> None:
            left = tuple(self._copier.unfinished)
            await asyncio.gather(*(self._destination.remove(path) for path in left))
            self._copier.unfinished.difference_update(left)

        wait_for([self._guard.start(remove)], CLEANUP_SECONDS)

    def _report(self) -> Mapping[str, Json]:
        if self._copies.way is None:
            return {}
        return {
            "way": self._copies.way.value,
            "macaroon": self._delegation.has_macaroon,
        }
