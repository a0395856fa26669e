"""Every error as one hierarchy, and the stable codes that are part of the contract.

    EfssTransferError
    ├── RequestError                 the caller must change the request (4xx)
    │   ├── InvalidJson              400  the body is not acceptable JSON
    │   ├── InvalidRequest           400  the JSON does not fit the schema, or makes no sense
    │   ├── Unauthenticated          401  no credentials that this site accepts
    │   ├── Forbidden                403  the site's policy does not allow the request
    │   ├── NotFound                 404  the service has no such path
    │   ├── MethodNotAllowed         405
    │   ├── NotAcceptable            406
    │   ├── BodyTooLarge             413
    │   ├── UnsupportedMediaType     415
    │   └── UnsupportedByEngine      422  the engine cannot do what is asked for
    ├── Busy                         503  all slots are taken; safe to retry
    ├── Unreachable                  502  a host has no address; safe to retry
    ├── SurveyIncomplete             504  the time was too short for a plan
    ├── ConfigurationError           the operator must change a setting; stops the start
    │   └── InvalidSite              the site file has mistakes; lists all of them
    └── EngineError                  500  the engine itself failed, not a storage
        └── EngineUnavailable        500  this machine has no usable engine; a retry cannot help

A storage's error is not an exception: it is part of a result (see result.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final


@dataclass(frozen=True)
class Code:
    """The meaning of a stable error code.

    `retryable` says whether sending the same request again can help.
    """

    status: int
    title: str
    retryable: bool = False


STILL_RUNNING: Final = "still_running"
"""The code of an `incomplete` result whose transfer goes on without this service."""

CODES: Final[dict[str, Code]] = {
    "invalid_json": Code(400, "The body is not acceptable JSON"),
    "invalid_request": Code(400, "The request does not fit the schema"),
    "unauthenticated": Code(401, "The caller is not authenticated"),
    "forbidden": Code(403, "This site does not allow the request"),
    "not_found": Code(404, "The service has no such path"),
    "method_not_allowed": Code(405, "The path does not support the method"),
    "not_acceptable": Code(406, "The service has no format that the client accepts"),
    "body_too_large": Code(413, "The body is too large"),
    "unsupported_media_type": Code(415, "The body is not application/json"),
    "source_not_found": Code(422, "The source does not exist"),
    "destination_not_found": Code(422, "The destination does not exist"),
    "not_a_directory": Code(422, "The path is a file where a folder is needed, or the reverse"),
    "authentication_failed": Code(422, "The storage refused the credentials"),
    "permission_denied": Code(422, "The storage refused access"),
    "name_refused": Code(422, "The storage refused a file name"),
    "unsupported": Code(422, "The storage does not support the request"),
    "too_large": Code(422, "The transfer is too large for one invocation"),
    "storage_unreachable": Code(502, "The storage could not be reached", retryable=True),
    "storage_error": Code(502, "The storage failed"),
    "checksum_mismatch": Code(502, "A copied file differs from its source", retryable=True),
    STILL_RUNNING: Code(202, "The storages go on copying; ask again", retryable=True),
    "partial": Code(502, "Some files were not copied"),
    "busy": Code(503, "The service is busy", retryable=True),
    "storage_busy": Code(503, "The storage is busy", retryable=True),
    "incomplete": Code(504, "The time ran out before the transfer was complete", retryable=True),
    "quota_exceeded": Code(507, "The destination does not have enough space"),
    # A client that disconnected reads no response. The status is nginx's for this case, so
    # that an access log distinguishes it from a failure.
    "cancelled": Code(499, "The client closed the connection", retryable=True),
    "engine_failed": Code(500, "The engine failed", retryable=True),
    "internal": Code(500, "The service has a defect"),
}


class EfssTransferError(Exception):
    """The root class. `str()` of every error is safe to show: it contains no caller's value."""

    code: ClassVar[str] = "internal"

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return CODES[self.code].status

    @property
    def retryable(self) -> bool:
        """Whether sending the same request again can help."""
        return CODES[self.code].retryable


class RequestError(EfssTransferError):
    """The caller must change the request; sending it again unchanged cannot help."""


class InvalidJson(RequestError):
    """The body is not UTF-8 JSON, repeats a member, or has a value that cannot be used."""

    code = "invalid_json"


@dataclass(frozen=True)
class Violation:
    """One mistake in a request or a site file.

    Attributes:
        pointer: The RFC 6901 JSON Pointer of the value.
        keyword: The JSON Schema keyword that was violated, or one of the contract's own:
            `distinct` (a duplicate, or two endpoints that are the same location), `format`
            (a glob, a time or a host that cannot be parsed), `order` (an empty range, or a
            shard index beyond the count) and `policy` (the site does not allow it). A site
            file also has `reference` (something that does not exist) and `mode` (a member
            that the authentication mode does not use) and `secret` (what a reference needs is
            not on this machine, which is no mistake of the file).
        message: A text for people. It never contains the value.

    """

    pointer: str
    keyword: str
    message: str

    def to_json(self) -> dict[str, str]:
        """An entry of a problem's `errors`."""
        return {"pointer": self.pointer, "keyword": self.keyword, "message": self.message}


class InvalidRequest(RequestError):
    """The JSON does not fit the schema, or makes no sense. `violations` has the mistakes."""

    code = "invalid_request"

    def __init__(self, violations: list[Violation], *, has_more: bool = False) -> None:
        count = len(violations)
        text = f"The request has {count} error{'s' if count != 1 else ''}; see 'errors'."
        if has_more:
            text = f"The request has more than {count} errors; see {count} of them in 'errors'."
        super().__init__(text)
        self.violations = violations


class Unauthenticated(RequestError):
    """The request has no credentials, or none that this site accepts.

    The text is the same for every token that is refused, so that an attacker does not learn
    how far a guess was right.
    """

    code = "unauthenticated"


class Forbidden(RequestError):
    """The site's policy does not allow the request. `violations` says which members, and why."""

    code = "forbidden"

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("This site does not allow the request; see 'errors'.")
        self.violations = violations


class NotFound(RequestError):
    """The service has no such path."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path does not support the method; `allowed` lists the methods that it does."""

    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"Use {' or '.join(allowed)} at this path.")
        self.allowed = allowed


class NotAcceptable(RequestError):
    """The Accept header names no format that this path can answer in."""

    code = "not_acceptable"


class BodyTooLarge(RequestError):
    """The body is longer than the setting EFSS_TRANSFER_BODY_BYTES allows."""

    code = "body_too_large"


class UnsupportedMediaType(RequestError):
    """The Content-Type is not application/json."""

    code = "unsupported_media_type"


class UnsupportedByEngine(RequestError):
    """The engine that the request names cannot do what is asked for."""

    code = "unsupported"


class Busy(EfssTransferError):
    """The service, or one that it needs, is busy. Nothing was started: a retry is safe."""

    code = "busy"


class Unreachable(EfssTransferError):
    """A host whose address is needed has none. Nothing was started: a retry is safe."""

    code = "storage_unreachable"


class SurveyIncomplete(EfssTransferError):
    """The time ran out before a plan's survey of both storages was complete.

    Nothing of the survey is kept, so the same request in the same time gets no further.
    """

    code = "incomplete"

    @property
    def retryable(self) -> bool:
        """Never as it is: the request needs more time, or less to survey."""
        return False


class ConfigurationError(EfssTransferError):
    """A setting cannot be used. Raised at start, before any request."""


class InvalidSite(ConfigurationError):
    """The site file cannot be used. `violations` has every mistake with its JSON Pointer.

    Those with the keyword `secret` are secrets that this machine lacks, and no mistakes.
    """

    def __init__(
        self, reason: str, violations: list[Violation] | None = None, *, has_more: bool = False
    ):
        self.violations = violations or []
        lines = [
            f"  {it.pointer or '(entire file)'}: {it.message} [{it.keyword}]"
            for it in self.violations
        ]
        if has_more:
            lines.append("  and more")
        super().__init__("\n".join(["The site file cannot be used. " + reason, *lines]).rstrip())


class EngineError(EfssTransferError):
    """The engine died, stopped responding, or broke its own protocol.

    A retry is safe, because files that have arrived are skipped. It helps if the cause was
    temporary, such as too little memory.
    """

    code = "engine_failed"


class EngineUnavailable(EngineError):
    """No usable engine on this machine; only its operator can change that."""

    @property
    def retryable(self) -> bool:
        """Never: the same machine gives the same answer."""
        return False


def lack_of_threads(error: Exception) -> EngineError | None:
    """Return what to raise in place of an exception that says that no thread can be started."""
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return EngineError("The machine has no more threads. Send the same request again later.")
    return None
