"""Looks up a file of the source while the transfer runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.errors import EngineError

_SECONDS: Final = 30.0
_LIST_OPTIONS: Final = {"filesOnly": True, "noModTime": True, "noMimeType": True}


def source_lookup(
    run: RunContext, source: RemotePath, destination: RemotePath
) -> Callable[[str], bool]:
    """A function that tells whether the source has the file that arrives at a path of the
    destination's storage. It blocks, and takes a file that cannot be looked up for one that is
    there.
    """
    root = [part for part in destination.path.split("/") if part]

    def has_file(path: str) -> bool:
        parts = path.split("/")
        if parts[: len(root)] != root or len(parts) <= len(root):
            return False
        name = "/".join(parts[len(root) :])
        # A stat would find it by any of its names, if the source is blind to case as well.
        job = run.rc.start_probe(
            "operations/list",
            {
                "fs": source.fs,
                "remote": name.rpartition("/")[0],
                "opt": _LIST_OPTIONS,
                "_filter": {"FilterRule": [f"+ /{{{{{re.escape(name)}}}}}", "- *"]},
            },
        )
        try:
            if not job.wait(_SECONDS):
                return True
        except EngineError:
            return True
        if job.error:
            return error_codes.DIRECTORY_NOT_FOUND not in job.error
        found = job.output.get("list") or ()
        return any(item["Path"] == name for item in found)

    return has_file
