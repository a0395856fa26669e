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
SOURCE_NOT_FOUND: Final = 3
FILES_NOT_FOUND: Final = 4
TEMPORARY: Final = 5
FILES_FAILED: Final = 6
REFUSED: Final = 7
OVER_LIMIT: Final = 8
NO_TRANSFER: Final = 9
TIME_LIMIT: Final = 10

_CODES: Final = {
    "invalid_json": USAGE,
    "invalid_request": USAGE,
    "body_too_large": USAGE,
    "not_configured": USAGE,
    "source_not_found": SOURCE_NOT_FOUND,
    "unauthenticated": REFUSED,
    "forbidden": REFUSED,
    "not_found": REFUSED,
    "method_not_allowed": REFUSED,
    "authentication_failed": REFUSED,
    "permission_denied": REFUSED,
    "quota_exceeded": REFUSED,
    "service_untrusted": REFUSED,
    "unexpected_answer": REFUSED,
    "internal": REFUSED,
}


def of_result(result: Result, *, nothing_is_an_error: bool = False) -> int:
    """Return the exit code for a result."""
    match result.state:
        case State.SUCCEEDED:
            empty = not result.totals.transferred
            return NO_TRANSFER if empty and nothing_is_an_error else OK
        case State.INCOMPLETE:
            return OK if result.is_still_running else TIME_LIMIT
        case State.CANCELLED:
            return ERROR
    if result.retryable:
        return TEMPORARY
    codes = {group.code for group in result.errors}
    if result.state is State.PARTIAL:
        return FILES_NOT_FOUND if codes == {"source_not_found"} else FILES_FAILED
    # A transfer over the site's limits of files and bytes fails when the source is listed.
    return OVER_LIMIT if result.code == "forbidden" else _CODES.get(result.code or "", ERROR)


def of_error(error: ClientError) -> int:
    """Return the exit code for an error without a result."""
    return TEMPORARY if error.retryable else _CODES.get(error.code, ERROR)
