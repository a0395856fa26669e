"""Removes the files that are incomplete at the destination because their copy was stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from efss_transfer.engines.rclone.log.copy_lines import MISSING_SIZE
from efss_transfer.engines.rclone.rc.client import RcError
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.errors import EngineError
from efss_transfer.model.result import FileOutcome, FileState

_STOP_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Placement:
    """Where the files of a copy arrive: below the fs `folder`, under the path that they have at
    the source, or as `name` if the source is a single file.
    """

    folder: str
    name: str | None = None


class PartialFiles:
    """The files of one copy that are incomplete. rclone removes such a file itself if its upload
    fails, but not if the upload was stopped, because then the call that would remove it is
    stopped as well.
    """

    def __init__(self, run: RunContext, placement: Placement) -> None:
        self._run = run
        self._placement = placement

    def remove(self, sizes: Mapping[str, int]) -> None:
        """Remove each file that was cut off, and each copy with another checksum whose removal
        was. `sizes` are the complete sizes in bytes.

        A file that is as it was before the copy stays, and so does one that may have been there
        although no listing had it. Where another transfer has begun at this place since, each file
        may be its own, and stays. A new file with all of its bytes has arrived, although rclone
        did not see it: it is added to the outcomes.
        """
        if self._run.claim.is_contested:
            return
        until = time.monotonic() + self._run.stop_seconds
        if self._run.log.refusals.of_files:
            # Otherwise rclone would wait after what was refused.
            with suppress(EngineError, RcError):
                self._run.rc.clear_fs_cache()
        mismatches = self._run.log.mismatches
        # Whole copies of others have arrived with other bytes, as far as their checksums tell.
        is_doubted, is_over = bool(mismatches.paths), self._run.context.end_state() is not None
        for name in tuple(mismatches.unremoved):
            with suppress(EngineError, RcError):
                failed = {"fs": self._placement.folder, "remote": name}
                self._run_job("operations/deletefile", failed, until)
        for path, size_before in dict(self._run.log.cut_off).items():
            if size_before == MISSING_SIZE and self._run.log.is_unlisted_at_destination(path):
                continue
            if time.monotonic() >= until:
                break
            file = {"fs": self._placement.folder, "remote": self._placement.name or path}
            with suppress(EngineError, RcError):
                item = self._run_job("operations/stat", file, until).get("item") or {}
                size = item.get("Size")
                if item.get("IsDir") is not False or size is None:
                    continue
                is_whole = size == sizes.get(path, size)
                if is_doubted and is_whole and not (is_over and size_before == MISSING_SIZE):
                    mismatches.unsure.add(path)
                    continue
                if size == size_before:
                    continue
                if is_doubted or size != sizes.get(path):
                    self._run_job("operations/deletefile", file, until)
                elif size_before == MISSING_SIZE:
                    self._run.outcomes.add(FileOutcome(path, FileState.TRANSFERRED, size))

    def _run_job(self, call: str, parameters: Mapping[str, Any], until: float) -> dict[str, Any]:
        job = self._run.rc.start_job(call, parameters)
        if not job.wait(max(0.0, until - time.monotonic())):
            # It must not remove what the next attempt stores.
            self._run.claim.lingers = True
            self._run.rc.stop_jobs()
            job.wait(_STOP_SECONDS)
        return job.output
