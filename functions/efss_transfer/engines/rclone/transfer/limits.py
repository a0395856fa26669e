"""Enforces the limits on the files and bytes of one transfer, before anything is copied."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc import config
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.transfer.path_kind import refusal
from efss_transfer.model.events import Event
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import Side


def enforce(
    jobs: JobRunner, source: RemotePath, request: TransferRequest, limits: Limits, at_once: int
) -> Iterator[Event]:
    """Raise CopyRefused if the selected files are more, or larger, than `limits` allow.

    With limits this lists the source a second time. A source that cannot be listed passes: the
    copy reports its error.
    """
    if limits.files is None and limits.bytes is None:
        return
    if request.selection.files is None:
        files, size = yield from _count_all(jobs, source, request)
    else:
        files = len(request.selection.files)
        size = None
        if limits.bytes is not None:
            size = yield from _size_of_listed(jobs, source, request, at_once)
    for unit, found, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
        if found is not None and most is not None and found > most:
            text = (
                f"The source has {found} {unit}; the limit here is {most}. "
                "Select fewer files, or split the transfer."
            )
            raise refusal("forbidden", text, Side.SOURCE)


def _count_all(
    jobs: JobRunner, source: RemotePath, request: TransferRequest
) -> Generator[Event, None, tuple[int | None, int | None]]:
    filters = config.filter_parameter(request.selection)
    job = yield from jobs.run("operations/size", {"fs": source.fs, **filters})
    if error_codes.IS_A_FILE not in job.error:
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
