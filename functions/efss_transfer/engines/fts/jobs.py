"""Jobs and their files, as an FTS server describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_ENDED: Final = frozenset({"FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED", "NOT_USED"})
ENDED_ELSEWHERE: Final = "FAILED"
"""The state of a job that may not be looked at, because it is another caller's."""


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of a job. `moved` is the number of bytes that have moved so far."""

    state: str
    reason: str = ""
    moved: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in _ENDED


@dataclass(frozen=True)
class FtsJob:
    """A job: its id, state, and files by their destinations."""

    id: str
    state: str
    files: Mapping[str, JobFile]

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in _ENDED


def job_of(document: Mapping[str, Any], id_: str) -> FtsJob:
    """A job from the server's answer. What is malformed counts as not said."""
    listed = document.get("files")
    files = {
        str(it.get("dest_surl")): JobFile(
            str(it.get("file_state") or ""), str(it.get("reason") or ""), _count(it)
        )
        for it in (listed if isinstance(listed, list) else ())
        if isinstance(it, dict)
    }
    return FtsJob(id_, str(document.get("job_state") or ENDED_ELSEWHERE), files)


def _count(file: Mapping[str, Any]) -> int:
    moved = file.get("transferred")
    return int(moved) if isinstance(moved, int | float) and moved > 0 else 0
