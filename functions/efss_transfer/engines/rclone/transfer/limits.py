"""How much one transfer may carry: refused before a byte is moved."""

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


def keep(
    bench: JobRunner, source: RemotePath, request: TransferRequest, limits: Limits, at_once: int
) -> Iterator[Event]:
    """Raise Refused if what is selected of a source is more than is allowed.

    It costs a second listing, and only where there is such a limit. What cannot be listed
    is left to the copy, which tells why.
    """
    if limits.files is None and limits.bytes is None:
        return
    if request.selection.files is None:
        files, size = yield from _of_all(bench, source, request)
    else:
        files = len(request.selection.files)
        size = (yield from _of_listed(bench, source, request, at_once)) if limits.bytes else None
    for what, found, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
        if found is not None and most is not None and found > most:
            text = f"The source has {found} {what}; {most} are allowed here."
            raise refusal("forbidden", text, Side.SOURCE)


def _of_all(
    bench: JobRunner, source: RemotePath, request: TransferRequest
) -> Generator[Event, None, tuple[int | None, int | None]]:
    work = yield from bench.done(
        "operations/size", fs=source.fs, **config.filter_parameter(request.selection)
    )
    if error_codes.IS_A_FILE not in work.error:
        return work.output.get("count"), work.output.get("bytes")
    work = yield from bench.done("operations/stat", fs=source.parent, remote=source.name)
    return 1, (work.output.get("item") or {}).get("Size")


def _of_listed(
    bench: JobRunner, source: RemotePath, request: TransferRequest, at_once: int
) -> Generator[Event, None, int]:
    sizes: list[int] = []
    opt = {"noModTime": True, "noMimeType": True}
    yield from bench.all_done(
        (
            RcCall(None, "operations/stat", {"fs": source.fs, "remote": file.path, "opt": opt})
            for file in request.selection.files or ()
        ),
        at_once,
        lambda _, work: sizes.append(int((work.output.get("item") or {}).get("Size", 0))),
    )
    return sum(sizes)
