"""One run of third-party copies, step by step: what it needs, and what it must not leave."""

from __future__ import annotations

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

    def _end_copies(self) -> None:
        """Remove the copies beside their names that were under way, as far as there is time."""
        if not self._is_connected or not self._copier.unfinished:
            return

        async def remove() -> None:
            for path in tuple(self._copier.unfinished):
                await self._destination.remove(path)
                self._copier.unfinished.discard(path)

        wait_for([self._guard.start(remove)], CLEANUP_SECONDS)

    def _report(self) -> Mapping[str, Json]:
        if self._copies.way is None:
            return {}
        return {
            "way": self._copies.way.value,
            "macaroon": self._delegation.has_macaroon,
        }
