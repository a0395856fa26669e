"""What rclone itself returned, for the member `rclone` of a result.

Members are chosen by name: a new one of rclone's could hold what must not be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from efss_transfer.engines.rclone.transfer.tuning import Tuning
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import ErrorGroup, Json, State

_JOB: Final = ("id", "group", "startTime", "endTime", "duration", "finished", "success")
_STATS: Final = (
    "bytes",
    "checks",
    "deletedDirs",
    "deletes",
    "elapsedTime",
    "errors",
    "eta",
    "fatalError",
    "listed",
    "renames",
    "retryError",
    "serverSideCopies",
    "serverSideCopyBytes",
    "serverSideMoveBytes",
    "serverSideMoves",
    "speed",
    "totalBytes",
    "totalChecks",
    "totalTransfers",
    "transferTime",
    "transfers",
)

# rclone's manual, "Exit code".
_SUCCESS, _ERROR, _NO_FOLDER, _NO_FILE, _FATAL, _TIME = 0, 1, 3, 4, 7, 10
_TERMINATED: Final = 143


def exit_code(
    state: State, error: str, stats: Mapping[str, Json], errors: Sequence[ErrorGroup]
) -> int:
    """The exit code that the rclone command would have given for the same copy.

    The rc API gives no class of error, so it is told from its text. (5 and 6, "temporary"
    and "less serious", are not told apart from 1: the API does not say which it was.)
    """
    if state is State.SUCCEEDED:
        return _SUCCESS
    if state is State.INCOMPLETE:
        return _TIME
    if state is State.CANCELLED:
        return _TERMINATED
    if stats.get("fatalError"):
        return _FATAL
    if "directory not found" in error or errors[0].code == "source_not_found":
        return _NO_FOLDER
    if "object not found" in error:
        return _NO_FILE
    return _ERROR


def report(
    version: str,
    code: int,
    status: Mapping[str, Json],
    stats: Mapping[str, Json],
    cleaner: Redactor,
    tuning: Tuning | None,
) -> dict[str, Json]:
    """The member `rclone` of a result. Durations in it are seconds, sizes bytes."""
    json: dict[str, Json] = {"version": version, "exit_code": code}
    if tuning is not None:
        json["tuning"] = tuning.to_json()
    if status:
        json["job"] = {name: status[name] for name in _JOB if name in status}
        if status.get("error"):
            json["job"]["error"] = cleaner.redact(str(status["error"]), "An error.")
    if stats:
        json["stats"] = {name: stats[name] for name in _STATS if name in stats}
        if stats.get("lastError"):
            json["stats"]["lastError"] = cleaner.redact(str(stats["lastError"]), "An error.")
    return json
