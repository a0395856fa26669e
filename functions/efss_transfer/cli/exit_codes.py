"""Exit codes of the command: rclone's own, where rclone has one.

See "Exit code" in rclone's manual; docs/reference/command.md has the table.
"""

from __future__ import annotations

from typing import Final

from efss_transfer.client.errors import ClientError
from efss_transfer.model.result import Result, State

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
NO_FOLDER: Final = 3
NO_FILE: Final = 4
TEMPORARY: Final = 5
LESS_SERIOUS: Final = 6
FATAL: Final = 7
LIMIT: Final = 8
NOTHING: Final = 9
TIME: Final = 10

_CODES: Final = {
    "invalid_json": USAGE,
    "invalid_request": USAGE,
    "body_too_large": USAGE,
    "not_configured": USAGE,
    "source_not_found": NO_FOLDER,
    "unauthenticated": FATAL,
    "forbidden": FATAL,
    "not_found": FATAL,
    "method_not_allowed": FATAL,
    "authentication_failed": FATAL,
    "permission_denied": FATAL,
    "quota_exceeded": FATAL,
    "service_untrusted": FATAL,
    "unexpected_answer": FATAL,
    "internal": FATAL,
}


def of_result(result: Result, *, nothing_is_an_error: bool = False) -> int:
    """Return the exit code for a result."""
    match result.state:
        case State.SUCCEEDED:
            empty = not result.totals.transferred
            return NOTHING if empty and nothing_is_an_error else OK
        case State.INCOMPLETE:
            return TIME
        case State.CANCELLED:
            return ERROR
    if result.retryable:
        return TEMPORARY
    codes = {group.code for group in result.errors}
    if result.state is State.PARTIAL:
        return NO_FILE if codes == {"source_not_found"} else LESS_SERIOUS
    # A transfer over the site's limits of files and bytes fails when the source is listed.
    return LIMIT if result.code == "forbidden" else _CODES.get(result.code or "", ERROR)


def of_error(error: ClientError) -> int:
    """Return the exit code for an error without a result."""
    return TEMPORARY if error.retryable else _CODES.get(error.code, ERROR)
