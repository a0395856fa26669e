"""Everything that can go wrong, as one hierarchy; the codes are part of the contract.

    EfssTransferError
    ├── RequestError                 the caller must change the request (4xx)
    │   ├── InvalidJson              400  the body is not the JSON that we accept
    │   ├── InvalidRequest           400  the JSON does not fit the schema, or makes no sense
    │   ├── Unauthenticated          401  nobody whom this site knows
    │   ├── Forbidden                403  this site's policy does not allow it
    │   ├── NotFound                 404  no such path at this service
    │   ├── MethodNotAllowed         405
    │   ├── NotAcceptable            406
    │   ├── BodyTooLarge             413
    │   └── UnsupportedMediaType     415
    ├── Busy                         503  all places are taken; safe to send again
    ├── Unreachable                  502  a host has no address; safe to send again
    ├── LookUnfinished               504  the time was too short for a plan
    ├── ConfigurationError           the operator must change a setting; stops the start
    │   └── InvalidSite              the site file has mistakes; has all of them
    └── EngineError                  500  the engine itself failed, not a storage
        └── EngineUnavailable        500  no usable engine here: sending again is no use

What a storage answers is no exception: it is part of a result (see result.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final


@dataclass(frozen=True)
class Code:
    """What a stable error code means to a caller.

    `retryable` says whether the same request, sent again unchanged, can help.
    """

    status: int
    title: str
    retryable: bool = False


CODES: Final[dict[str, Code]] = {
    "invalid_json": Code(400, "The body is not acceptable JSON"),
    "invalid_request": Code(400, "The request does not fit the schema"),
    "unauthenticated": Code(401, "The caller is not known here"),
    "forbidden": Code(403, "This site does not allow it"),
    "not_found": Code(404, "There is nothing at this path"),
    "method_not_allowed": Code(405, "The method is not allowed here"),
    "not_acceptable": Code(406, "No representation that the client accepts"),
    "body_too_large": Code(413, "The body is too large"),
    "unsupported_media_type": Code(415, "The body is not application/json"),
    "source_not_found": Code(422, "The source does not exist"),
    "not_a_directory": Code(422, "A file stands where a folder was named, or the reverse"),
    "authentication_failed": Code(422, "The storage refused the credentials"),
    "permission_denied": Code(422, "The storage refused access"),
    "name_refused": Code(422, "The storage refused a file's name"),
    "unsupported": Code(422, "The storage cannot do what was asked"),
    "too_large": Code(422, "It is more than one invocation can carry"),
    "storage_unreachable": Code(502, "The storage could not be reached", retryable=True),
    "storage_error": Code(502, "The storage failed"),
    "checksum_mismatch": Code(502, "A file did not arrive as it was", retryable=True),
    "partial": Code(502, "Some files were not copied"),
    "busy": Code(503, "The service is busy", retryable=True),
    "storage_busy": Code(503, "The storage asks to try later", retryable=True),
    "incomplete": Code(504, "The time ran out before the transfer was done", retryable=True),
    "quota_exceeded": Code(507, "The destination has not enough space"),
    # Only a caller who hung up, and so reads no answer, is "cancelled"; the status
    # is nginx's for that case, so that an access log tells it from a failure.
    "cancelled": Code(499, "The caller went away", retryable=True),
    "engine_failed": Code(500, "The engine failed", retryable=True),
    "internal": Code(500, "The service has a defect"),
}


class EfssTransferError(Exception):
    """The root. `str()` of every one is safe to show: it never holds a caller's value."""

    code: ClassVar[str] = "internal"

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return CODES[self.code].status

    @property
    def retryable(self) -> bool:
        """Whether the same request, sent again, can help."""
        return CODES[self.code].retryable


class RequestError(EfssTransferError):
    """The caller must change the request; sending it again as it is cannot help."""


class InvalidJson(RequestError):
    """The body is not UTF-8 JSON, repeats a member, or holds what JSON cannot carry."""

    code = "invalid_json"


@dataclass(frozen=True)
class Violation:
    """One thing wrong with a request.

    `pointer` is an RFC 6901 JSON Pointer, `keyword` the JSON Schema keyword that was
    violated, or one of our own: `distinct` (what must not be there twice; the two ends must
    be different places), `format` (a glob or a time that cannot be read), `order` (a range
    that is empty, a shard beyond their count), and `policy` (the site does not allow it).
    """

    pointer: str
    keyword: str
    message: str

    def to_json(self) -> dict[str, str]:
        """As it stands in a problem's `errors`."""
        return {"pointer": self.pointer, "keyword": self.keyword, "message": self.message}


class InvalidRequest(RequestError):
    """The JSON does not fit the schema. `violations` has every reason, never a value."""

    code = "invalid_request"

    def __init__(self, violations: list[Violation], omitted: int = 0) -> None:
        count = len(violations) + omitted
        text = f"The request has {count} error{'s' if count != 1 else ''}; see 'errors'."
        if omitted:
            text += f" The first {len(violations)} are listed."
        super().__init__(text)
        self.violations = violations


class Unauthenticated(RequestError):
    """There are no credentials of a caller's, or none that this site accepts.

    Its text is one for all reasons but those that an honest client needs to know: who
    guesses must not learn how far the guess was right.
    """

    code = "unauthenticated"


class Forbidden(RequestError):
    """The site's policy does not allow it. `violations` names each member, and why."""

    code = "forbidden"

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("This site does not allow what is asked; see 'errors'.")
        self.violations = violations


class NotFound(RequestError):
    """No such path at this service."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, the method does not; `allowed` lists those that do."""

    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"Use {' or '.join(allowed)} at this path.")
        self.allowed = allowed


class NotAcceptable(RequestError):
    """The Accept header names nothing that this path can answer with."""

    code = "not_acceptable"


class BodyTooLarge(RequestError):
    """The body is longer than the setting EFSS_TRANSFER_BODY_BYTES allows."""

    code = "body_too_large"


class UnsupportedMediaType(RequestError):
    """The Content-Type is not application/json."""

    code = "unsupported_media_type"


class Busy(EfssTransferError):
    """As many transfers run as the settings allow. Nothing was started: retry is safe."""

    code = "busy"


class Unreachable(EfssTransferError):
    """A host that must have an address has none. Nothing was started: retry is safe."""

    code = "storage_unreachable"


class LookUnfinished(EfssTransferError):
    """The time ran out before all that is to be planned was seen. Nothing is kept of it, so
    that the same request in the same time comes no further.
    """

    code = "incomplete"

    @property
    def retryable(self) -> bool:
        """Not as it is: it wants more time, or less to look at."""
        return False


class ConfigurationError(EfssTransferError):
    """A setting cannot be used. Raised at start, so that no request meets it."""


class InvalidSite(ConfigurationError):
    """The site file cannot be used. `violations` has every mistake, with its JSON Pointer."""

    def __init__(self, reason: str, violations: list[Violation] | None = None, omitted: int = 0):
        self.violations = violations or []
        lines = [
            f"  {it.pointer or '(the whole)'}: {it.message} [{it.keyword}]"
            for it in self.violations
        ]
        if omitted:
            lines.append(f"  and {omitted} more")
        super().__init__("\n".join(["The site file cannot be used. " + reason, *lines]).rstrip())


class EngineError(EfssTransferError):
    """The engine died, fell silent or broke its own protocol. A retry is safe, because
    what arrived is skipped; it helps where the cause has passed (memory, a kill).
    """

    code = "engine_failed"


class EngineUnavailable(EngineError):
    """There is no usable engine on this machine; only its operator can change that."""

    @property
    def retryable(self) -> bool:
        """Never: the same machine will give the same answer."""
        return False
