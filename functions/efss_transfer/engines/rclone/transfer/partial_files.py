"""What a storage keeps of files that were cut off on their way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from efss_transfer.engines.rclone.log.parser import NOTHING, LogParser
from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.model.errors import EngineError
from efss_transfer.model.result import FileOutcome, FileState


class PartialFiles:
    """Removes them. rclone does that itself where an upload fails, but not where it was
    stopped: there its own call is cut off as well.

    Files go to `folder`; a single one may be `renamed` on its way.
    """

    def __init__(self, rc: RcClient, record: LogParser, seconds: float) -> None:
        self._rc = rc
        self._record = record
        self._seconds = seconds
        self.folder = ""
        self.renamed: str | None = None

    def remove(self, sizes: Mapping[str, int]) -> None:
        """Remove what is left of each file that was cut off; `sizes` are what they would have.

        What was there before is left alone. A file that was not there and has all its bytes
        has arrived, though rclone did not see it.
        """
        until = time.monotonic() + self._seconds
        for path, before in self._record.cut_off.items():
            place = {"fs": self.folder, "remote": self.renamed or path}
            with suppress(EngineError, RcError):
                item = self._done("operations/stat", place, until).get("item") or {}
                left = item.get("Size")
                if item.get("IsDir") is not False or left is None or left == before:
                    continue
                if left != sizes.get(path):
                    self._done("operations/deletefile", place, until)
                elif before == NOTHING:
                    self._record.tell(FileOutcome(path, FileState.TRANSFERRED, left))

    def _done(self, call: str, place: Mapping[str, Any], until: float) -> dict[str, Any]:
        work = self._rc.start_job(call, place)
        work.wait(max(0.0, until - time.monotonic()))
        return work.output
