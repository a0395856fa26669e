"""Looks again at files that a source sent without their size, as HTTP servers may.

rclone takes the end of an answer for the end of such a file, also if the connection broke, and
reports that the file was copied. Where the source tells the size when it is asked for that alone,
the copy must have it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.samples import Place
from efss_transfer.engines.rclone.transfer.partial_files import Placement
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Side

_OPTIONS: Final = {"noModTime": True, "noMimeType": True, "filesOnly": True}
_BROKEN: Final = Failure(
    "storage_unreachable",
    "The connection broke while this file was read, so its copy was removed. Send the same "
    "request again.",
    retryable=True,
    side=Side.SOURCE,
)
_OTHER_SIZE: Final = Failure(
    "checksum_mismatch",
    "The source tells another size of this file than it sent, so the copy was removed. Send the "
    "same request again.",
    retryable=True,
    side=Side.SOURCE,
)


class UnsizedFiles:
    """The files that arrived without a size: see CopyLines."""

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._jobs = jobs

    def check(self, source: str, to: Placement, at_once: int) -> Iterator[Event]:
        """Make each of them a failure that is not whole, and remove it. `source` is an fs."""
        unsized = dict(self._run.log.unsized)
        if not unsized:
            return
        places = {path: Place(to.folder, to.name or path) for path in unsized}
        found = {path: _BROKEN for path, is_broken in unsized.items() if is_broken}
        whole = [path for path in unsized if path not in found]
        told = yield from self._sizes({path: Place(source, path) for path in whole}, at_once)
        stored = yield from self._sizes({path: places[path] for path in whole}, at_once)
        for path in whole:
            # A server may say 0 to HEAD of a file that it makes only when it is read.
            if told.get(path, 0) > 0 and stored.get(path, told[path]) != told[path]:
                found[path] = _OTHER_SIZE
        self._run.outcomes.seal()
        wrong = [path for path, why in found.items() if self._run.outcomes.add_mismatch(path, why)]
        calls = (RcCall(it, "operations/deletefile", places[it].parameters) for it in wrong)
        with self._run.log.probing():
            yield from self._jobs.run_all(calls, at_once, lambda _, __: None)

    def _sizes(
        self, places: dict[str, Place], at_once: int
    ) -> Generator[Event, None, dict[str, int]]:
        sizes: dict[str, int] = {}

        def keep(path: str, job: Job) -> None:
            if item := job.output.get("item"):
                sizes[path] = int(item["Size"])

        calls = (
            RcCall(path, "operations/stat", {**place.parameters, "opt": _OPTIONS})
            for path, place in places.items()
        )
        with self._run.log.probing():
            yield from self._jobs.run_all(calls, at_once, keep)
        return sizes
