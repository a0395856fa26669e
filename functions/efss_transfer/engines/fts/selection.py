"""Judges the selected files, many at a time: which of them a job must copy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from efss_transfer.engines.fts.submission import WantedFile, fts_url
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.third_party import comparison
from efss_transfer.engines.third_party.checking import CopyFailed, FileChecks
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.selecting import SelectedFiles
from efss_transfer.engines.third_party.walk import SourceFile
from efss_transfer.model.request import Options
from efss_transfer.model.result import FileOutcome, FileState, Reason
from efss_transfer.model.verification import VerifyMode
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.session import Failed, Refused

_AT_A_TIME: Final = 8


class JobSelection:
    """The files of one run that need copying. Those that do not go to the outcomes."""

    def __init__(
        self,
        destination: End,
        selected: SelectedFiles,
        options: Options,
        outcomes: FileOutcomes,
        checks: FileChecks,
    ) -> None:
        self._destination = destination
        self._selected = selected
        self._options = options
        self._outcomes = outcomes
        self._checks = checks

    async def files(
        self, paths: tuple[str, ...] | None, running: Mapping[str, str]
    ) -> AsyncGenerator[tuple[str, WantedFile], None]:
        """Yield each file that needs copying, with FTS's URL of its destination.

        `running` are the URLs that a job is writing: what is there now shows nothing. Raises
        SourceRefused, and what the source raises.
        """
        some: list[SourceFile] = []
        async with aclosing(await self._selected.files(paths)) as files:
            async for file in files:
                some.append(file)
                if len(some) == _AT_A_TIME:
                    for found in await self._judged(some, running):
                        yield found
                    some = []
        for found in await self._judged(some, running):
            yield found

    async def _judged(
        self, files: list[SourceFile], running: Mapping[str, str]
    ) -> list[tuple[str, WantedFile]]:
        judged = await asyncio.gather(*(self._judge(file, running) for file in files))
        return [it for it in judged if it is not None]

    async def _judge(
        self, file: SourceFile, running: Mapping[str, str]
    ) -> tuple[str, WantedFile] | None:
        path, to = self._selected.path(file.path), self._selected.target(file.path)
        url = fts_url(self._destination, to)
        if url in running:
            return url, WantedFile(file, path, to)
        try:
            reason = await self._reason_to_skip(WantedFile(file, path, to))
        except CopyFailed as failed:
            failure = failed.failure
        except (Failed, Refused, NoAnswer) as error:
            failure = self._destination.failure(error)
        else:
            if reason is None:
                return url, WantedFile(file, path, to)
            skipped = FileOutcome(file.path, FileState.SKIPPED, file.ours.size, reason=reason)
            self._outcomes.add(skipped)
            return None
        self._outcomes.add(FileOutcome(file.path, FileState.FAILED, error=failure))
        return None

    async def _reason_to_skip(self, wanted: WantedFile) -> Reason | None:
        file, options = wanted.file, self._options
        reason = comparison.reason_to_skip(options, file.ours, file.theirs)
        if (
            reason is None
            and comparison.may_be_same(options, file.ours, file.theirs)
            and await self._checks.has_same_checksum(file, wanted.path, wanted.to)
        ):
            reason = Reason.SAME
        if reason is Reason.SAME and options.verify is not VerifyMode.NONE:
            await self._checks.compare(file, wanted.path, wanted.to)
        return reason
