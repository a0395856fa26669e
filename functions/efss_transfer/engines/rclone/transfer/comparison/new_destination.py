"""Whether a copy is the first to its destination, so that all files are wanted there."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.model.events import Event

# A folder whose listing takes longer has something in it.
_SECONDS: Final = 2.0
_NAMES: Final = {"noModTime": True, "noMimeType": True}


def is_new(probe: SourceProbe, destination: RemotePath) -> Generator[Event, None, bool]:
    """Look whether the destination is missing or empty."""
    until = time.monotonic() + _SECONDS
    listing = {"fs": destination.fs, "remote": "", "opt": _NAMES}
    with probe.ignoring_log():
        job = yield from probe.run_job("operations/list", listing, until)
    if job is None or job.error:
        return job is not None and error_codes.DIRECTORY_NOT_FOUND in job.error
    return not job.output.get("list")
