"""Copies the selected files by jobs of an FTS server, in the event loop of the run's guard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

from efss_transfer.engines.base import Context
from efss_transfer.engines.fts.following import Following
from efss_transfer.engines.fts.jobs import FtsJob, JobFile
from efss_transfer.engines.fts.selection import JobSelection
from efss_transfer.engines.fts.server import FtsApi, FtsFailed
from efss_transfer.engines.fts.submission import MOST_FILES, Submission, WantedFile, fts_url
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.selecting import SourceRefused
from efss_transfer.model.events import InFlight
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side
from efss_transfer.webdav.folders import Orphan
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused

_MOST_JOBS: Final = 10
_MOST_EARLIER: Final = 10
_MOST_SHOWN: Final = 100
_ORPHAN: Final = "The folder of the file could not be made: its parent is missing."


class JobCopying:
    """The copying of one run: `attempt` once for each attempt. The rest may be read by any thread.

    Jobs that an earlier request has left at the server are waited for as if they were its own.
    """

    has_passed_over = False

    def __init__(
        self,
        source: End,
        destination: End,
        request: TransferRequest,
        context: Context,
        outcomes: FileOutcomes,
        selection: JobSelection,
        api: FtsApi,
        submission: Submission,
        following: Following,
    ) -> None:
        self._source = source
        self._destination = destination
        self._options = request.options
        self._context = context
        self._outcomes = outcomes
        self._selection = selection
        self._api = api
        self._submission = submission
        self._following = following
        self._slots = asyncio.Semaphore(_MOST_JOBS)
        self.is_cut_short = False
        self.expected_files = self.expected_bytes = 0

    @property
    def in_flight(self) -> tuple[InFlight, ...]:
        """Files that are being copied, some of them if they are many."""
        shown = tuple(self._following.in_flight.items())[:_MOST_SHOWN]
        return tuple(InFlight(path, *moved) for path, moved in shown)

    @property
    def moved_before(self) -> int:
        """Bytes of the files that have arrived."""
        return self._following.arrived_bytes

    async def attempt(self, paths: tuple[str, ...] | None) -> None:
        """Copy all selected files, or those of an attempt before. Failures go to the outcomes."""
        self._source.forget()
        self._destination.forget()
        async with asyncio.TaskGroup() as group:
            joined: dict[str, dict[str, WantedFile]] = {}
            try:
                await self._hand_over(group, paths, joined)
            except SourceRefused as refused:
                self._outcomes.add_final_error(refused.failure)
            except FtsFailed as failed:
                self._outcomes.add_error(failed.failure)
            except (Failed, Refused, NoAnswer) as error:
                self._outcomes.add_error(self._source.failure(error))
            if not self._options.detach and not self._options.dry_run:
                for job_id, files in joined.items():
                    group.create_task(self._following.follow(job_id, files))

    async def _hand_over(
        self,
        group: asyncio.TaskGroup,
        paths: tuple[str, ...] | None,
        joined: dict[str, dict[str, WantedFile]],
    ) -> None:
        """Submit jobs of all files that need copying, but for those that a job is copying. The
        latter are put into `joined`, by job and by destination.
        """
        known = await self._submission.find()
        running = [await self._api.job(job.id) for job in known if not job.has_ended]
        running = [job for job in running if not job.has_ended]
        self._following.know([*known, *running])
        writing = {
            url: job.id for job in running for url, it in job.files.items() if not it.has_ended
        }
        states = {url: it for job in running for url, it in job.files.items()}
        joined.update((job.id, {}) for job in running)
        earlier: dict[str, JobFile] = {}
        if self._options.dry_run and self._options.detach and not running:
            earlier = await self._earlier([job.id for job in known][-_MOST_EARLIER:])
        batch: list[WantedFile] = []
        async with aclosing(self._selection.files(paths, writing)) as files:
            async for url, wanted in files:
                self.expected_files += 1
                self.expected_bytes += wanted.file.ours.size or 0
                if url in writing:
                    joined[writing[url]][url] = wanted
                    self._following.show(wanted, states[url])
                elif self._options.dry_run:
                    self._report_dry(wanted, earlier.get(url))
                elif not self._context.may_start():
                    self.is_cut_short = True
                    break
                else:
                    batch.append(wanted)
                    if len(batch) == MOST_FILES:
                        await self._begin(group, batch)
                        batch = []
        if batch:
            await self._begin(group, batch)

    async def _earlier(self, ids: Iterable[str]) -> dict[str, JobFile]:
        """How files ended in jobs that have ended, by destination."""
        found: dict[str, JobFile] = {}
        for job_id in ids:
            found.update((await self._api.job(job_id)).files)
        return found

    def _report_dry(self, wanted: WantedFile, earlier: JobFile | None) -> None:
        """Report a file that a dry run found missing: with its reason, if a job has failed to copy
        it. So one who left a job running learns how it has ended.
        """
        file = wanted.file
        if earlier is not None and earlier.state in ("FAILED", "CANCELED"):
            self._outcomes.add(self._following.failed(file, earlier))
            return
        self._outcomes.add(
            FileOutcome(file.path, FileState.SKIPPED, file.ours.size, reason=Reason.DRY_RUN)
        )

    async def _begin(self, group: asyncio.TaskGroup, batch: list[WantedFile]) -> None:
        """Submit a job. If it cannot be, its files have failed."""
        files = await self._with_folders(batch)
        while files:
            if not self._options.detach:
                await self._slots.acquire()
            try:
                job = await self._submission.submit(files, left_alone=self._options.detach)
            except FtsFailed as failed:
                self._slots.release()
                self._following.fail(files, failed.failure)
                return
            self._following.know([job])
            mine = files
            if job.files:  # the same request, sent twice, has submitted this one
                mine = [it for it in files if fts_url(self._destination, it.to) in job.files]
            files = [it for it in files if it not in mine]
            if not self._options.detach:
                waiting = {fts_url(self._destination, it.to): it for it in mine}
                group.create_task(self._follow(job, waiting))

    async def _follow(self, job: FtsJob, waiting: dict[str, WantedFile]) -> None:
        try:
            await self._following.follow(job.id, waiting)
        finally:
            self._slots.release()

    async def _with_folders(self, batch: list[WantedFile]) -> list[WantedFile]:
        """The files whose folders are there, or could be made; the others have failed."""
        failures: dict[Segments, Failure | None] = {}
        for folder in dict.fromkeys(it.to[:-1] for it in batch):
            failures[folder] = await self._make(folder)
        made = []
        for it in batch:
            failure = failures[it.to[:-1]]
            if failure is None:
                made.append(it)
            else:
                self._following.fail([it], failure)
        return made

    async def _make(self, folder: Segments) -> Failure | None:
        try:
            await self._destination.make_folder(folder)
        except Orphan:
            return Failure("storage_error", _ORPHAN, retryable=True, side=Side.DESTINATION)
        except (Failed, Refused, NoAnswer) as error:
            return self._destination.failure(error)
        return None
