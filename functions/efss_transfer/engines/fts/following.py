"""Follows jobs until they have ended, and looks at the destination before it believes a success."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from efss_transfer.engines.fts import reasons
from efss_transfer.engines.fts.jobs import FtsJob, JobFile
from efss_transfer.engines.fts.server import FtsApi, FtsFailed
from efss_transfer.engines.fts.submission import Submission, WantedFile
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.third_party.checking import CopyFailed, FileChecks
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.walk import SourceFile
from efss_transfer.model.request import Options
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.session import Failed, Refused

# XRootD computes few checksums at a time, and lets the other requests wait for long.
_CHECKS: Final = 4
_SHORTEST_POLL: Final = 0.25
_LONGEST_POLL: Final = 10.0
_PATIENCE: Final = 60.0
_LAST_LOOKS: Final = 3
_CANCELED: Final = "The job was cancelled at the FTS server."
_LOST: Final = "The FTS server has ended the job without an outcome of this file."


class Following:
    """The jobs of one run. `jobs` are the states of all that are known, by id.

    `running` are those that have not ended. `in_flight` are bytes moved and size, by path.
    """

    def __init__(
        self,
        api: FtsApi,
        destination: End,
        options: Options,
        outcomes: FileOutcomes,
        checks: FileChecks,
        submission: Submission,
        redactor: Redactor,
    ) -> None:
        self._api = api
        self._destination = destination
        self._options = options
        self._outcomes = outcomes
        self._checks = checks
        self._submission = submission
        self._redactor = redactor
        self._checking = asyncio.Semaphore(_CHECKS)
        self.jobs: dict[str, str] = {}
        self.running: set[str] = set()
        self.in_flight: dict[str, tuple[int, int | None]] = {}
        self.arrived_bytes = 0

    def know(self, jobs: Iterable[FtsJob]) -> None:
        """Keep the states of jobs."""
        for job in jobs:
            self.jobs[job.id] = job.state
            if job.has_ended:
                self.running.discard(job.id)
            else:
                self.running.add(job.id)

    def show(self, wanted: WantedFile, state: JobFile) -> None:
        """Show how far a file is, if it is being copied."""
        if state.state == "ACTIVE":
            self.in_flight[wanted.file.path] = (state.moved, wanted.file.ours.size)

    def fail(self, files: Iterable[WantedFile], failure: Failure) -> None:
        """Report that files have failed."""
        for it in files:
            self._outcomes.add(FileOutcome(it.file.path, FileState.FAILED, error=failure))

    def failed(self, file: SourceFile, ended: JobFile) -> FileOutcome:
        """The outcome of a file that a job has not copied."""
        reason = ended.reason
        if self._options.overwrite == "never" and reasons.says_exists(reason):
            return FileOutcome(file.path, FileState.SKIPPED, file.ours.size, reason=Reason.EXISTS)
        if ended.state == "CANCELED":
            failure = Failure("storage_error", _CANCELED, retryable=True, side=None)
        else:
            failure = reasons.of_reason(reason, self._redactor)
        return FileOutcome(file.path, FileState.FAILED, error=failure)

    async def follow(self, job_id: str, waiting: dict[str, WantedFile]) -> None:
        """Wait until a job has ended these files, by destination, and report their outcomes."""
        began = answered = time.monotonic()
        looks = _LAST_LOOKS
        while waiting and looks:
            elapsed = time.monotonic() - began
            await asyncio.sleep(min(max(_SHORTEST_POLL, elapsed / 20), _LONGEST_POLL))
            try:
                job = await self._api.job(job_id)
            except FtsFailed as failed:
                if failed.failure.retryable and time.monotonic() - answered < _PATIENCE:
                    continue
                self.fail(waiting.values(), failed.failure)
                return
            answered = time.monotonic()
            self.know([job])
            await self._report(job, waiting)
            looks -= job.has_ended
        self.running.discard(job_id)
        failure = Failure("storage_error", _LOST, retryable=True, side=None)
        self.fail(waiting.values(), failure)

    async def _report(self, job: FtsJob, waiting: dict[str, WantedFile]) -> None:
        """Report the files that have ended, and take them out of those that are waited for."""
        ended: list[tuple[WantedFile, JobFile]] = []
        for url, wanted in tuple(waiting.items()):
            state = job.files.get(url)
            if state is not None and state.has_ended:
                ended.append((waiting.pop(url), state))
            elif state is not None:
                self.show(wanted, state)
        await asyncio.gather(*(self._end(*it) for it in ended))

    async def _end(self, wanted: WantedFile, ended: JobFile) -> None:
        file = wanted.file
        self.in_flight.pop(file.path, None)
        if ended.state != "FINISHED":
            if self._submission.may_compare_checksums and self._may_do_without(ended):
                self._submission.may_compare_checksums = False
                failure = reasons.of_reason(ended.reason, self._redactor)
                again = Failure("storage_error", failure.message, True, failure.side)
                self._outcomes.add(FileOutcome(file.path, FileState.FAILED, error=again))
                return
            self._outcomes.add(self.failed(file, ended))
            return
        try:
            async with self._checking:
                size = await self._checks.compare(file, wanted.path, wanted.to)
        except CopyFailed as failed:
            failure = failed.failure
        except (Failed, Refused, NoAnswer) as error:
            failure = self._destination.failure(error)
        else:
            self.arrived_bytes += size
            self._outcomes.add(FileOutcome(file.path, FileState.TRANSFERRED, size))
            return
        self._outcomes.add(FileOutcome(file.path, FileState.FAILED, error=failure))

    def _may_do_without(self, ended: JobFile) -> bool:
        return not self._options.require_checksum and reasons.lacks_checksum(ended.reason)
