"""Errors of the client, as one hierarchy. Each has a stable code.

    ClientError                         code, status, retryable, result, retry_after
    ├── ServiceUnreachable              no answer, or a part of one: a retry is safe
    ├── UntrustedService                its TLS certificate is not trusted
    ├── UnexpectedAnswer                the answer is not from this service
    └── Problem                         the service reported a failure
        ├── RequestRefused              nothing was started, a retry is useless
        │   ├── InvalidJson             400
        │   ├── InvalidRequest          400  with every violation
        │   ├── Unauthenticated         401
        │   ├── Forbidden               403  with every violation
        │   ├── NotFound                404  no such path at this service
        │   ├── MethodNotAllowed        405
        │   ├── NotAcceptable           406
        │   ├── BodyTooLarge            413
        │   ├── UnsupportedMediaType    415
        │   └── TooLarge                422  a plan: more than one invocation can copy
        ├── Busy                        503  nothing was started: a retry is safe and helps
        ├── TransferFailed              a transfer ran: a retry is safe and skips what arrived
        │   ├── SourceNotFound          422
        │   ├── DestinationNotFound     422
        │   ├── NotADirectory           422
        │   ├── AuthenticationFailed    422
        │   ├── PermissionDenied        422
        │   ├── NameRefused             422
        │   ├── Unsupported             422
        │   ├── StorageUnreachable      502  a retry may help
        │   ├── StorageError            502
        │   ├── ChecksumMismatch        502  a retry may help
        │   ├── Partial                 502  a retry may help, if `retryable` says so
        │   ├── StorageBusy             503  a retry helps, after `retry_after` seconds
        │   ├── Incomplete              504  the time ran out: a retry resumes it
        │   ├── QuotaExceeded           507
        │   └── Cancelled               499
        ├── StillRunning                202  it goes on without the service: ask again
        └── ServiceFailed               500
            ├── EngineFailed            a retry is safe, and may help
            └── Internal                a defect of the service

`str()` of each is for people and safe to show: it never contains a token or a value of the
request. All of them can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from efss_transfer.model.errors import Violation
from efss_transfer.model.result import Result


class ClientError(Exception):
    """Root of the client's errors.

    `code` is stable; `status` is the HTTP status if the service answered. `retryable` says whether
    the same request can succeed when it is sent again, which is always safe. `retry_after` is the
    wait in seconds that the service asks for. `result` is the result as far as it is known, if a
    transfer ran.
    """

    code: str = "internal"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        result: Result | None = None,
        violations: tuple[Violation, ...] = (),
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.result = result
        self.violations = violations
        self.document = dict(document or {})

    def __str__(self) -> str:
        lines = [super().__str__()]
        lines += [f"  {it.pointer or '(entire request)'}: {it.message}" for it in self.violations]
        return "\n".join(lines)


class ServiceUnreachable(ClientError):
    """The service could not be reached, broke off its answer, or fell silent.

    A retry is safe: a transfer that had started was cancelled, and files that arrived are skipped.
    """

    code = "service_unreachable"


class UntrustedService(ClientError):
    """The service's TLS certificate is not trusted. Nothing was sent."""

    code = "service_untrusted"


class UnexpectedAnswer(ClientError):
    """The answer is not from this service, or from a version that this client does not know."""

    code = "unexpected_answer"


class Problem(ClientError):
    """The service reported a failure. `document` is its problem document (RFC 9457)."""


class RequestRefused(Problem):
    """Nothing was started. The request has to change; a retry is useless."""


class InvalidJson(RequestRefused):
    """The body is not the JSON that the service accepts. Do not retry."""

    code = "invalid_json"


class InvalidRequest(RequestRefused):
    """The request does not fit the schema; `violations` says where. Do not retry."""

    code = "invalid_request"


class Unauthenticated(RequestRefused):
    """The token is missing, or the service does not accept it. Do not retry."""

    code = "unauthenticated"


class Forbidden(RequestRefused):
    """The site's policy forbids it; `violations` names the members. Do not retry."""

    code = "forbidden"


class NotFound(RequestRefused):
    """The service has no such path: the URL is wrong. Do not retry."""

    code = "not_found"


class MethodNotAllowed(RequestRefused):
    """The service takes no transfers at this path: the URL is wrong. Do not retry."""

    code = "method_not_allowed"


class NotAcceptable(RequestRefused):
    """The service has no answer in a media type that was asked for. Do not retry."""

    code = "not_acceptable"


class BodyTooLarge(RequestRefused):
    """The request is longer than the service accepts. Do not retry."""

    code = "body_too_large"


class UnsupportedMediaType(RequestRefused):
    """Something between client and service changed the request's media type. Do not retry."""

    code = "unsupported_media_type"


class TooLarge(RequestRefused):
    """The planned transfer is larger than one invocation can copy."""

    code = "too_large"


class Busy(Problem):
    """The service is at its limit. Nothing was started: a retry is safe and helps."""

    code = "busy"


class TransferFailed(Problem):
    """A transfer ran and did not succeed: see `result`. A retry skips what arrived."""


class SourceNotFound(TransferFailed):
    """The source's path does not exist."""

    code = "source_not_found"


class DestinationNotFound(TransferFailed):
    """The destination's bucket does not exist, and the request does not ask to create it."""

    code = "destination_not_found"


class NotADirectory(TransferFailed):
    """A path names a file where a folder is needed, or the reverse."""

    code = "not_a_directory"


class AuthenticationFailed(TransferFailed):
    """A storage refused the credentials."""

    code = "authentication_failed"


class PermissionDenied(TransferFailed):
    """A storage refused access."""

    code = "permission_denied"


class NameRefused(TransferFailed):
    """The destination refused a file's name."""

    code = "name_refused"


class Unsupported(TransferFailed):
    """A storage cannot do what the request asks for."""

    code = "unsupported"


class StorageUnreachable(TransferFailed):
    """A storage could not be reached. A retry may help."""

    code = "storage_unreachable"


class StorageError(TransferFailed):
    """A storage failed."""

    code = "storage_error"


class ChecksumMismatch(TransferFailed):
    """A file at the destination differs from its source. A retry may help."""

    code = "checksum_mismatch"


class Partial(TransferFailed):
    """Some files were not copied. A retry may help if `retryable` says so."""

    code = "partial"


class StorageBusy(TransferFailed):
    """A storage asks to retry later. A retry helps after `retry_after` seconds."""

    code = "storage_busy"


class Incomplete(TransferFailed):
    """The time ran out. A retry resumes the transfer; no wait is needed."""

    code = "incomplete"


class QuotaExceeded(TransferFailed):
    """The destination does not have enough space."""

    code = "quota_exceeded"


class Cancelled(TransferFailed):
    """The transfer was cancelled. A retry resumes it."""

    code = "cancelled"


class StillRunning(Problem):
    """The transfer goes on without the service. The same request again tells how far it is."""

    code = "still_running"


class ServiceFailed(Problem):
    """The service itself failed, not a storage. A retry is safe."""


class EngineFailed(ServiceFailed):
    """The engine ended or fell silent. A retry is safe, and may help if `retryable` says so."""

    code = "engine_failed"


class Internal(ServiceFailed):
    """A defect of the service. A retry is safe but useless."""

    code = "internal"
