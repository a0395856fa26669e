"""Copies the selected files, many at a time, in the event loop of the run's guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from efss_transfer.engines.base import Context
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.tpc import comparison
from efss_transfer.engines.tpc.ends import End
from efss_transfer.engines.tpc.file_copier import FileCopier
from efss_transfer.engines.tpc.third_party import CopyFailed, ThirdPartyCopies
from efss_transfer.engines.tpc.walk import SourceFile, Walk
from efss_transfer.model.events import InFlight
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side
from efss_transfer.model.verification import VerifyMode
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused

DEFAULT_TRANSFERS: Final = 16
_AHEAD: Final = 1_000
_ONLY_A_FOLDER: Final = "The path is a file, but a selection needs a folder. Remove `selection`."
_NO_FOLDER: Final = "The path is a file, but it ends with `/`. Remove the `/` to copy the file."
_NOT_FOUND: Final = "The source does not exist. Check `path` of this endpoint."


class SourceRefused(Exception):
    """The copy cannot begin: what the request names as its source cannot be copied."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.failure = Failure(code, message, retryable=False, side=Side.SOURCE)


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
        copier: FileCopier,
        copies: ThirdPartyCopies,
    ) -> None:
        self._source = source
        self._destination = destination
        self._request = request
        self._context = context
        self._outcomes = outcomes
        self._copier = copier
        self._copies = copies
        self._in_flight: dict[str, tuple[int, int | None]] = {}
        self._is_single = False
        self.is_cut_short = False
        """Whether files were not begun because the time was nearly over."""
        self.has_passed_over = False
        """Whether files were not begun in this attempt because of failures of others."""
        self.expected_files = self.expected_bytes = 0
        self.moved_before = 0
        """Bytes of the files that have arrived."""

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
        self._source.forget()
        self._destination.forget()
        walk = Walk(
            self._source,
            self._destination,
            self._request.selection,
            self._outcomes,
        )
        try:
            await self._copy_all(await self._files(walk, paths))
        except SourceRefused as refused:
            self._outcomes.add_final_error(refused.failure)
        except (Failed, Refused, NoAnswer) as error:
            self._outcomes.add_error(self._source.failure(error))

    async def _files(
        self, walk: Walk, paths: tuple[str, ...] | None
    ) -> AsyncGenerator[SourceFile, None]:
        """The files to look at. Raises SourceRefused, and what the source raises."""
        selection, path = self._request.selection, self._request.source.path
        root = self._source.root
        is_folder_named = not path or path.endswith("/")
        found = await self._source.look(root, folder=is_folder_named)
        if found is None:
            raise SourceRefused("source_not_found", _NOT_FOUND)
        if not found.entry.collection:
            if is_folder_named:
                raise SourceRefused("not_a_directory", _NO_FOLDER)
            if selection.files is not None or selection.include or selection.exclude:
                raise SourceRefused("unsupported", _ONLY_A_FOLDER)
            self._is_single = True
            return self._single(found)
        limits = self._context.limits
        if limits.files is not None or limits.bytes is not None:
            await self._confirm_within(limits)
        if paths is None and selection.files is not None:
            paths = tuple(file.path for file in selection.files)
        return walk.files() if paths is None else walk.listed_files(paths)

    async def _single(self, found: Named) -> AsyncGenerator[SourceFile, None]:
        """Yield the source itself, which is a file."""
        name = self._source.root[-1]
        try:
            theirs = await self._destination.look(self._target(name))
        except (Failed, Refused, NoAnswer) as error:
            self._outcomes.add_error(self._destination.failure(error))
            return
        is_file = theirs is not None and not theirs.entry.collection
        ours = comparison.info(found)
        yield SourceFile(name, ours, comparison.info(theirs) if theirs and is_file else None)

    async def _confirm_within(self, limits: Limits) -> None:
        """Raise SourceRefused if the source has more than one transfer may copy."""
        files = size = 0
        walk = Walk(self._source, None, self._request.selection, FileOutcomes())
        listed = self._request.selection.files
        found = (
            walk.files()
            if listed is None
            else walk.listed_files(tuple(file.path for file in listed))
        )
        async for file in found:
            files, size = files + 1, size + (file.ours.size or 0)
        for unit, count, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
            if most is not None and count > most:
                raise SourceRefused(
                    "forbidden",
                    f"The source has {count} {unit}; the limit here is {most}. Select fewer "
                    "files, or split the transfer.",
                )

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
        path, to = self._path(file.path), self._target(file.path)
        reason = comparison.reason_to_skip(options, file.ours, file.theirs)
        if (
            reason is None
            and comparison.may_be_same(options, file.ours, file.theirs)
            and await self._copier.has_same_checksum(path, to)
        ):
            reason = Reason.SAME
        if reason is Reason.SAME and options.verify is not VerifyMode.NONE:
            await self._copier.compare(file, path, to)
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
        return outcome

    def _path(self, path: str) -> Segments:
        root = self._source.root
        return root if self._is_single else (*root, *path.split("/"))

    def _target(self, path: str) -> Segments:
        """Where a file arrives: below the destination, or as its path if that names the file."""
        root = self._destination.root
        if not self._is_single or self._request.destination.path.endswith("/") or not root:
            return (*root, *path.split("/"))
        return root
