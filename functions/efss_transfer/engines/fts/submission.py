"""Puts files into jobs, and finds the jobs that an earlier request has left at the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from efss_transfer.engines.fts.identity import JobIds
from efss_transfer.engines.fts.jobs import FtsJob
from efss_transfer.engines.fts.server import FtsApi, FtsFailed
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.walk import SourceFile
from efss_transfer.model.request import ListedFile, TransferRequest
from efss_transfer.model.result import Failure, Side
from efss_transfer.model.verification import VerifyMode
from efss_transfer.webdav.paths import Segments

MOST_FILES: Final = 1_000
"""Maximum number of files in one job."""

_WINDOW: Final = 10
_MOST_TRIES: Final = 20
_SCHEMES: Final = {"https": "davs", "http": "dav"}
_BUSY: Final = "Another job of the FTS server is writing to this destination, or to one beside it."


@dataclass(frozen=True)
class WantedFile:
    """A file to copy: what both sides list for it, and where it is at each."""

    file: SourceFile
    path: Segments
    to: Segments


class Submission:
    """The jobs of one request, which are numbered. `newest` is the number of the last one."""

    def __init__(
        self,
        api: FtsApi,
        source: End,
        destination: End,
        request: TransferRequest,
        retry_seconds: float,
    ) -> None:
        self._api = api
        self._source = source
        self._destination = destination
        self._request = request
        self._retry_seconds = retry_seconds
        self._expected = {it.path: it for it in request.selection.files or ()}
        self._ids: JobIds  # once `find` knows the caller
        self.newest = -1
        self.may_compare_checksums = True
        """Whether FTS is asked to compare checksums, if the request asks for that."""

    async def find(self) -> list[FtsJob]:
        """The jobs of this request, without their files, the oldest first. Raises FtsFailed."""
        caller = await self._api.caller()
        try:
            self._ids = JobIds(self._request, caller)
        except ValueError:
            text = "The FTS server does not say which VO it takes the caller's token for."
            failure = Failure("authentication_failed", text, retryable=False, side=None)
            raise FtsFailed(None, failure) from None
        found: list[FtsJob] = []
        while True:
            numbers = range(self.newest + 1, self.newest + 1 + _WINDOW)
            jobs = await self._api.jobs([self._ids.job_id(number) for number in numbers])
            known = [number for number, job in zip(numbers, jobs, strict=True) if job is not None]
            found += [job for job in jobs if job is not None]
            if not known:
                return found
            self.newest = known[-1]

    async def submit(self, files: Sequence[WantedFile], *, left_alone: bool) -> FtsJob:
        """Submit a job of these files, and return it without them; or one with its files, if the
        same request, sent twice, has submitted it meanwhile.

        `left_alone`: nobody waits for the job, so the server tries a file again by itself. `find`
        comes first. Raises FtsFailed.
        """
        for _ in range(_MOST_TRIES):
            number = self.newest + 1
            job_id, document = self._ids.job_id(number), await self._job(files, number, left_alone)
            try:
                job_id = await self._api.submit(document) or job_id
            except FtsFailed as failed:
                if failed.status != 409:
                    raise
                existing = (await self._api.jobs([job_id, self._ids.job_id(number + 1)]))[0]
                if existing is None:
                    failure = Failure("storage_busy", _BUSY, True, Side.DESTINATION)
                    raise FtsFailed(409, failure) from failed
                self.newest = number
                if existing.has_ended:
                    continue
                return await self._api.job(job_id)
            self.newest = number
            return FtsJob(job_id, "SUBMITTED", {})
        failure = Failure("storage_busy", _BUSY, retryable=True, side=Side.DESTINATION)
        raise FtsFailed(409, failure)

    async def _job(
        self, files: Sequence[WantedFile], number: int, left_alone: bool
    ) -> dict[str, Any]:
        options, server = self._request.options, self._request.fts
        is_compared = self.may_compare_checksums and options.verify is VerifyMode.CHECKSUM
        tokens = {
            "source_tokens": [await _token(self._source)],
            "destination_tokens": [await _token(self._destination)],
        }
        params: dict[str, Any] = {
            "verify_checksum": "both" if is_compared else "none",
            "overwrite": options.overwrite != "never",
            # 0 is the server's own number of retries, -1 is none.
            "retry": options.attempts - 1 if left_alone and options.attempts > 1 else -1,
            "retry_delay": round(self._retry_seconds),
            "id_generator": "deterministic",
            "sid": self._ids.sid(number),
            "job_metadata": {"submitted_by": "efss-transfer", "number": number},
        }
        if server is not None and server.unmanaged_tokens:
            params["unmanaged_tokens"] = True
        entries = [
            {
                "sources": [fts_url(self._source, it.path)],
                "destinations": [fts_url(self._destination, it.to)],
                **self._known(it.file, with_checksum=is_compared),
                **tokens,
            }
            for it in files
        ]
        return {"files": entries, "params": params}

    def _known(self, file: SourceFile, *, with_checksum: bool) -> dict[str, Any]:
        expected = self._expected.get(file.path, ListedFile(file.path))
        known: dict[str, Any] = {}
        if file.ours.size is not None:
            known["filesize"] = file.ours.size
        if with_checksum and expected.hash is not None and expected.checksum is not None:
            known["checksum"] = f"{expected.hash.upper()}:{expected.checksum}"
        return known


def fts_url(end: End, path: Segments) -> str:
    """The URL of a path as FTS names it: davs for https, so that its settings of links apply."""
    scheme, separator, rest = end.url(path).partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"


async def _token(end: End) -> str:
    header = await end.credential.header()
    return (header or "").removeprefix("Bearer ")
