"""Stable error codes for what a WebDAV server answered: status, exception, message, DAV:error.

rclone's own sentence is not needed here, so no word of a path or of a page can be mistaken for a
status. An answer that fits no case is a `storage_error`: no code is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure, Side

if TYPE_CHECKING:
    from efss_transfer.engines.redaction import Redactor
    from efss_transfer.webdav.words import RequestFailure

QUOTA_EXCEEDED: Final = "quota_exceeded"
SOURCE_NOT_FOUND: Final = "source_not_found"
STORAGE_ERROR: Final = "storage_error"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True)
class Case:
    """A code and the answers that mean it: all that is given must fit.

    `exception` is a pattern for the end of the exception's name, `message` one for its text.
    `retryable` overrides the code's own value, for the reason `why`.
    """

    code: str
    statuses: Sequence[int] = ()
    exception: str = ""
    message: str = ""
    methods: Sequence[str] = ()
    condition: str = ""
    retryable: bool | None = None
    why: str = ""

    def fits(self, failure: RequestFailure, status: int | None) -> bool:
        """Whether the answer means this case's code."""
        said = failure.words
        return (
            (not self.statuses or status in self.statuses)
            and (not self.methods or failure.method in self.methods)
            and (not self.condition or self.condition in said.conditions)
            and re.search(rf"(?:{self.exception})$", said.exception) is not None
            and re.search(self.message, said.message) is not None
        )


CASES: Final = (
    Case(
        "authentication_failed",
        message=r"DisabledUserException|Account disabled",
        why="Nextcloud's 503 for a disabled account, which is permanent",
    ),
    Case(
        SOURCE_NOT_FOUND,
        (503,),
        message=r"^Sabre\\DAV\\Exception\\NotFound",
        retryable=False,
        why="Nextcloud's 503 for a public link that is wrong, expired or disabled",
    ),
    Case(SOURCE_NOT_FOUND, (404,), message=r"^Sabre\\DAV\\Exception\\NotFound", retryable=False),
    Case(QUOTA_EXCEEDED, (507,)),
    Case(QUOTA_EXCEEDED, exception="InsufficientStorage"),
    Case(QUOTA_EXCEEDED, condition="quota-not-exceeded", why="RFC 4331, section 6"),
    Case(QUOTA_EXCEEDED, condition="sufficient-disk-space", why="RFC 4331, section 6"),
    Case("storage_busy", exception="Locked|LockedException|TooManyRequests"),
    Case("storage_busy", exception="ServerMaintenanceMode|ServiceUnavailable"),
    Case(
        "storage_busy",
        (500,),
        message=r"SQLSTATE\[40001\]|SQLSTATE\[40P01\]|Deadlock found|Lock wait timeout exceeded"
        r"|database is locked",
        why="concurrent requests conflicted in the server's database",
    ),
    Case(
        QUOTA_EXCEEDED,
        (500,),
        message="No space left on device|Disk quota exceeded",
        why="here and below: some servers pass on the words of their operating system",
    ),
    Case("name_refused", (500,), message="File name too long"),
    Case("not_a_directory", (500,), message="Not a directory"),
    Case("permission_denied", (500,), message="Permission denied|Read-only file system"),
    Case("name_refused", (414,)),
    Case("name_refused", exception="InvalidPath|ReservedWordException"),
    Case("name_refused", (400,), message=r"^name validation failed", why="oCIS, OpenCloud"),
    Case("name_refused", (400, 403), message=r"[Ff]orbidden file type|[Ff]ile ?name too long"),
    Case(
        "name_refused",
        methods=("MKCOL",),
        message=r"^The server makes no folder of this name",
        why="the gateway's: the server says that the folder exists, and it does not",
    ),
    Case(
        "name_refused",
        message=r"^The server takes this name for that of another file, ",
        why="the gateway's: the upload would replace another file of the source",
    ),
    Case(
        "checksum_mismatch",
        (400,),
        message=r"checksum does not match|[Ee]xpected filesize of",
        why="the server got other bytes than were sent",
    ),
    Case(
        "checksum_mismatch",
        (409,),
        methods=("GET",),
        message=r"^Listed as empty",
        why="the gateway's: the next attempt reads the real size",
    ),
    Case(
        "checksum_mismatch",
        (409,),
        methods=("GET",),
        message=r"^The bytes are not those of the list: ",
        why="the served tree's: another size or checksum than the list says",
    ),
    Case("unsupported", (400, 403, 405), message="Only PUT is allowed on files drop"),
    Case("authentication_failed", (401,)),
    Case("authentication_failed", exception="NotAuthenticated"),
    Case(
        "permission_denied",
        (403,),
        exception=r"Exception\\Forbidden",
        message=r"^$",
        methods=("PUT",),
        retryable=True,
        why="Nextcloud's answer also while another request makes the same file",
    ),
    Case("permission_denied", (403, 451)),
    Case(
        "not_a_directory",
        (405, 409),
        message=r"Parent (node is not|must be) an? .*collection",
    ),
    Case(SOURCE_NOT_FOUND, (404, 410)),
    Case(
        "storage_busy",
        (412,),
        why="another client changed the file between the look at it and the upload",
    ),
    Case("storage_busy", (421, 423, 425, 429, 503, 509)),
    Case("unsupported", (405, 413, 415, 501)),
    Case("unsupported", message=r"^The server redirects this request to "),
    Case(
        "storage_unreachable",
        (408, 502, 504, 520, 521, 522, 523, 524),
        why="a reverse proxy's answer for a server that it could not reach; a listing that ends "
        "early",
    ),
)
"""The first case that fits decides, so special cases come before general ones."""

_CAUSES: Final[dict[str, tuple[str, bool]]] = {
    "denied": ("forbidden", False),
    "unresolved": ("storage_unreachable", False),
    "refused": ("storage_unreachable", True),
    "timeout": ("storage_unreachable", True),
    "tls": ("storage_unreachable", False),
    "proxy": ("storage_unreachable", True),
    "broken": ("storage_unreachable", True),
    "protocol": ("storage_unreachable", False),
}
"""Code and retryability for each reason why a server gave no answer."""


def failure_of(failed: RequestFailure, side: Side, redactor: Redactor) -> Failure:
    """The failure that a server's answer means.

    A path that is missing at the destination is not a missing source, and a full source is not
    a full destination: both are a `storage_error`. The former can pass: the next attempt makes
    the folder again.
    """
    status = failed.status or failed.words.status
    code, retryable = _decided(failed, status)
    if (code, side) == (SOURCE_NOT_FOUND, Side.DESTINATION):
        code, retryable = STORAGE_ERROR, retryable is None
    elif (code, side) == (QUOTA_EXCEEDED, Side.SOURCE):
        code, retryable = STORAGE_ERROR, None
    if retryable is None:
        retryable = CODES[code].retryable
    return Failure(code, redactor.redact(_text(failed), CODES[code].title), retryable, side)


def _decided(failed: RequestFailure, status: int | None) -> tuple[str, bool | None]:
    if failed.cause is not None:
        return _CAUSES.get(failed.cause, ("storage_unreachable", True))
    for case in CASES:
        if case.fits(failed, status):
            return case.code, case.retryable
    return STORAGE_ERROR, None


def _text(failed: RequestFailure) -> str:
    """The server's words, as rclone orders them: message, exception, status."""
    said = failed.words
    parts = [said.message, said.exception, *said.conditions[:1]]
    if said.status is not None and said.status >= 400:
        parts.append(f"{said.status} {_PHRASES.get(said.status, '')}".strip())
    if said.retry_after is not None:
        # The wait before the next attempt is read from here.
        parts.append(f"retry after {int(said.retry_after)} s")
    return ": ".join(part for part in parts if part)
