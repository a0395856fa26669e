"""One run of an FTS server's jobs, step by step: what it needs, and what it leaves running."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent.futures import wait as wait_for
from typing import Final

from efss_transfer.engines.fts.copying import JobCopying
from efss_transfer.engines.fts.following import Following
from efss_transfer.engines.fts.selection import JobSelection
from efss_transfer.engines.fts.server import FtsApi, FtsFailed
from efss_transfer.engines.fts.submission import Submission
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.engines.third_party.selecting import SelectedFiles
from efss_transfer.engines.third_party.session import (
    CLEANUP_SECONDS,
    DirectedSession,
    Interrupted,
)
from efss_transfer.model.events import Event, Phase
from efss_transfer.model.request import FTS, FtsServer
from efss_transfer.model.result import Json, State

_MOST_SHOWN: Final = 100


class FtsSession(DirectedSession):
    """One run: see `DirectedSession`."""

    connects_to = (*DirectedSession.connects_to, FTS)

    def copy(self) -> Generator[Event, None, None]:
        """Copy; with `options.detach` return once all that is missing is in jobs."""
        yield from super().copy()
        if self._request.options.detach and self._following.running:
            self._reported = 0.0
            yield from self._progress(Phase.COPYING)
            raise Interrupted(State.INCOMPLETE, "still_running")

    def _attempts(self) -> JobCopying:
        server = self._request.fts or FtsServer()
        self._redactor.add([server.token or ""])
        egress = self._context.egress
        self._api = FtsApi(
            server,
            SideRoute(self._guard, FTS, egress.of(FTS), None),
            self._redactor,
            self._settings.rclone.stall_seconds,
        )
        self._open.append(self._api.connections)
        submission = Submission(
            self._api,
            self._source,
            self._destination,
            self._request,
            self._settings.retry_seconds,
        )
        options = self._request.options
        self._following = Following(
            self._api,
            self._destination,
            options,
            self._outcomes,
            self._checks,
            submission,
            self._redactor,
        )
        selected = SelectedFiles(
            self._source,
            self._destination,
            self._request,
            self._context.limits,
            self._outcomes,
        )
        return JobCopying(
            self._source,
            self._destination,
            self._request,
            self._context,
            self._outcomes,
            JobSelection(self._destination, selected, options, self._outcomes, self._checks),
            self._api,
            submission,
            self._following,
        )

    def _end_copies(self) -> None:
        """Cancel the jobs that are running, unless only the time has run out: the same request
        finds them then.
        """
        if not self._is_connected or self._state is State.INCOMPLETE:
            return
        if self._request.options.dry_run or not self._following.running:
            return

        async def cancel() -> None:
            for job_id in tuple(self._following.running):
                try:
                    await self._api.cancel(job_id)
                except FtsFailed:
                    continue  # the others may still be cancelled
                self._following.jobs[job_id] = "CANCELED"

        wait_for([self._guard.start(cancel)], CLEANUP_SECONDS)

    def _report(self) -> Mapping[str, Json]:
        jobs = self._following.jobs
        shown: list[Json] = [
            {"id": job_id, "state": jobs[job_id]} for job_id in [*jobs][-_MOST_SHOWN:]
        ]
        return {"jobs": shown} if shown else {}
