"""Builds the member `rclone` of a result: what rclone itself returned.

Its members are selected by name, because a new one of rclone's could contain a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from efss_transfer.engines.rclone.transfer.tuning import Tuning
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import ErrorGroup, Json, Side, State

_JOB_MEMBERS: Final = ("id", "group", "startTime", "endTime", "duration", "finished", "success")
_STATS_MEMBERS: Final = (
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
_SUCCESS: Final = 0
_ERROR: Final = 1
_FOLDER_NOT_FOUND: Final = 3
_FILE_NOT_FOUND: Final = 4
_FATAL_ERROR: Final = 7
_DURATION_EXCEEDED: Final = 10
_TERMINATED: Final = 143  # SIGTERM


def exit_code(
    state: State, error: str, stats: Mapping[str, Json], errors: Sequence[ErrorGroup]
) -> int:
    """The exit code of the rclone command for the same copy.

    The rc API reports no class of error, so the code is derived from the text `error`. (5 and 6,
    "temporary" and "less serious", are reported as 1, because the API does not distinguish them.)
    """
    if state is State.SUCCEEDED:
        return _SUCCESS
    if state is State.INCOMPLETE:
        return _DURATION_EXCEEDED
    if state is State.CANCELLED:
        return _TERMINATED
    if stats.get("fatalError"):
        return _FATAL_ERROR
    if "directory not found" in error or errors[0].code == "source_not_found":
        return _FOLDER_NOT_FOUND
    if "object not found" in error:
        return _FILE_NOT_FOUND
    return _ERROR


def report(
    version: str,
    code: int,
    status: Mapping[str, Json],
    stats: Mapping[str, Json],
    redactor: Redactor,
    tuning: Tuning | None,
    gateways: Sequence[Side] = (),
    bulk: Mapping[str, int] | None = None,
) -> dict[str, Json]:
    """The member `rclone`, from `job/status` and `core/stats`. Durations are in seconds, sizes in
    bytes.
    """
    json: dict[str, Json] = {"version": version, "exit_code": code}
    if gateways:
        json["webdav_gateway"] = [side.value for side in gateways]
    json.update(bulk or {})
    if tuning is not None:
        json["tuning"] = tuning.to_json()
    if status:
        json["job"] = {name: status[name] for name in _JOB_MEMBERS if name in status}
        if status.get("error"):
            json["job"]["error"] = redactor.redact(str(status["error"]), "An error.")
    if stats:
        json["stats"] = {name: stats[name] for name in _STATS_MEMBERS if name in stats}
        if stats.get("lastError"):
            json["stats"]["lastError"] = redactor.redact(str(stats["lastError"]), "An error.")
    return json
