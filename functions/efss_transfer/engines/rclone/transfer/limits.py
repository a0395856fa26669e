"""Enforces the limits on the files and bytes of one transfer: before the copy, by what the source
lists, and during the copy, by what passes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc import config
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.progress import StallWatch
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused, refusal
from efss_transfer.model.events import Event
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Side


def enforce(
    run: RunContext, jobs: JobRunner, source: RemotePath, request: TransferRequest, at_once: int
) -> Iterator[Event]:
    """Raise CopyRefused if the selected files are more, or larger, than `limits` allow.

    With limits this lists the source a second time. A source that cannot be listed is refused with
    its error, because it may list more when it is copied.
    """
    limits = run.context.limits
    if limits.files is None and limits.bytes is None:
        return
    if request.selection.files is None:
        files, size = yield from _count_all(run, jobs, source, request)
    else:
        files = len(request.selection.files)
        size = None
        if limits.bytes is not None:
            size = yield from _size_of_listed(jobs, source, request, at_once)
    for unit, found, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
        if found is not None and most is not None and found > most:
            raise _too_many(f"The source has {found} {unit}", most)


class LimitWatch:
    """Compares what has passed with the limits: a source may grow, or list no lengths."""

    def __init__(self, run: RunContext, stalls: StallWatch) -> None:
        self._run = run
        self._stalls = stalls

    def should_stop(self) -> bool:
        """Whether more has passed than the limits allow."""
        return self._excess() is not None

    def check(self) -> None:
        """Raise CopyRefused if more has passed than the limits allow."""
        if (excess := self._excess()) is not None:
            raise excess

    def _excess(self) -> CopyRefused | None:
        limits = self._run.context.limits
        if limits.files is None and limits.bytes is None:
            return None
        totals = self._run.outcomes.totals
        size = totals.transferred_bytes + self._stalls.bytes_in_flight
        for unit, passed, most in (
            ("files", totals.transferred, limits.files),
            ("bytes", size, limits.bytes),
        ):
            if most is not None and passed > most:
                return _too_many(f"The source has sent {passed} {unit}", most)
        return None


def _too_many(found: str, most: int) -> CopyRefused:
    text = f"{found}; the limit here is {most}. Select fewer files, or split the transfer."
    return refusal("forbidden", text, Side.SOURCE)


def _count_all(
    run: RunContext, jobs: JobRunner, source: RemotePath, request: TransferRequest
) -> Generator[Event, None, tuple[int | None, int | None]]:
    filters = config.filter_parameter(request.selection)
    job = yield from jobs.run("operations/size", {"fs": source.fs, **filters})
    if job.error and error_codes.IS_A_FILE not in job.error:
        raise CopyRefused(run.classify(job.error, Side.SOURCE))
    if not job.error:
        return job.output.get("count"), job.output.get("bytes")
    job = yield from jobs.run("operations/stat", {"fs": source.parent, "remote": source.name})
    return 1, (job.output.get("item") or {}).get("Size")


def _size_of_listed(
    jobs: JobRunner, source: RemotePath, request: TransferRequest, at_once: int
) -> Generator[Event, None, int]:
    sizes: list[int] = []
    opt = {"noModTime": True, "noMimeType": True}
    yield from jobs.run_all(
        (
            RcCall(None, "operations/stat", {"fs": source.fs, "remote": file.path, "opt": opt})
            for file in request.selection.files or ()
        ),
        at_once,
        lambda _, job: sizes.append(int((job.output.get("item") or {}).get("Size", 0))),
    )
    return sum(sizes)
