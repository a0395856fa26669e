"""Copies the selected files, many at a time, in the event loop of the run's guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from efss_transfer.engines.base import Context
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.third_party import comparison
from efss_transfer.engines.third_party.checking import CopyFailed, FileChecks
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.selecting import SelectedFiles, SourceRefused
from efss_transfer.engines.third_party.walk import SourceFile
from efss_transfer.engines.tpc.file_copier import FileCopier
from efss_transfer.engines.tpc.third_party import ThirdPartyCopies
from efss_transfer.model.events import InFlight
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Reason
from efss_transfer.model.verification import VerifyMode
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.session import Failed, Refused

DEFAULT_TRANSFERS: Final = 16
_AHEAD: Final = 1_000


class Copying:
    """The copying of one run: `attempt` once for each attempt. The rest may be read by any thread.

    `expected_files` and `expected_bytes` count what needs copying, as far as it is known.
    """

    def __init__(
        self,
        source: End,
        destination: End,
        request: TransferRequest,
        context: Context,
        outcomes: FileOutcomes,
        checks: FileChecks,
        copier: FileCopier,
        copies: ThirdPartyCopies,
    ) -> None:
        self._source = source
        self._destination = destination
        self._request = request
        self._context = context
        self._outcomes = outcomes
        self._checks = checks
        self._copier = copier
        self._copies = copies
        self._in_flight: dict[str, tuple[int, int | None]] = {}
        self._selected = SelectedFiles(source, destination, request, context.limits, outcomes)
        self.is_cut_short = False
        """Whether files were not begun because the time was nearly over."""
        self.has_passed_over = False
        """Whether files were not begun in this attempt because of failures of others."""
        self.expected_files = self.expected_bytes = 0
        self.moved_before = 0
        """Bytes of the files that have arrived."""
        self._moved_files = 0

    @property
    def in_flight(self) -> tuple[InFlight, ...]:
        """The files that are being copied."""
        return tuple(InFlight(path, *moved) for path, moved in tuple(self._in_flight.items()))

    @property
    def transfers(self) -> int:
        """How many files are copied at a time."""
        asked = self._request.options.transfers or DEFAULT_TRANSFERS
        return min(asked, self._context.limits.transfers or asked)

    async def attempt(self, paths: tuple[str, ...] | None) -> None:
        """Copy all selected files, or those of an attempt before. Failures go to the outcomes."""
        self.has_passed_over = False
        self.expected_files, self.expected_bytes = self._moved_files, self.moved_before
        self._source.forget()
        self._destination.forget()
        try:
            await self._copy_all(await self._selected.files(paths))
        except SourceRefused as refused:
            self._outcomes.add_final_error(refused.failure)
        except (Failed, Refused, NoAnswer) as error:
            self._outcomes.add_error(self._source.failure(error))

    async def _copy_all(self, files: AsyncGenerator[SourceFile, None]) -> None:
        """Copy files, as many at a time as `transfers` says."""
        waiting: asyncio.Queue[SourceFile | None] = asyncio.Queue(_AHEAD)

        async def work() -> None:
            while (file := await waiting.get()) is not None:
                if self._may_start():
                    await self._copy_one(file)

        async with aclosing(files), asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(self.transfers)]
            async for file in files:
                if not self._may_start():
                    break
                await waiting.put(file)
            for _ in workers:
                await waiting.put(None)

    def _may_start(self) -> bool:
        """Whether another file may be begun in this attempt."""
        if not self._context.may_start():
            self.is_cut_short = True
            return False
        stops = self._request.options.on_error == "stop"
        has_failed = stops and bool(self._outcomes.failures_in_attempt)
        if self._copies.is_impossible or has_failed or self._outcomes.is_outage():
            self.has_passed_over = True
            return False
        return True

    async def _copy_one(self, file: SourceFile) -> None:
        try:
            outcome = await self._outcome(file)
        except CopyFailed as failed:
            failure = failed.failure
        except (Failed, Refused, NoAnswer) as error:
            failure = self._destination.failure(error)
        else:
            self._outcomes.add(outcome)
            return
        finally:
            self._in_flight.pop(file.path, None)
        self._outcomes.add(FileOutcome(file.path, FileState.FAILED, error=failure))

    async def _outcome(self, file: SourceFile) -> FileOutcome:
        options, size = self._request.options, file.ours.size
        path, to = self._selected.path(file.path), self._selected.target(file.path)
        reason = comparison.reason_to_skip(options, file.ours, file.theirs)
        if (
            reason is None
            and comparison.may_be_same(options, file.ours, file.theirs)
            and await self._checks.has_same_checksum(file, path, to)
        ):
            reason = Reason.SAME
        is_verified = options.verify is not VerifyMode.NONE and not options.dry_run
        if reason is Reason.SAME and is_verified:
            await self._checks.compare(file, path, to)
        if reason is not None:
            return FileOutcome(file.path, FileState.SKIPPED, size, reason=reason)
        self.expected_files += 1
        self.expected_bytes += size or 0
        if options.dry_run:
            return FileOutcome(file.path, FileState.SKIPPED, size, reason=Reason.DRY_RUN)
        self._in_flight[file.path] = (0, size)

        def moved(count: int) -> None:
            self._in_flight[file.path] = (count, size)

        outcome = await self._copier.copy(file, path, to, moved)
        self.moved_before += outcome.size or 0
        self._moved_files += 1
        return outcome
