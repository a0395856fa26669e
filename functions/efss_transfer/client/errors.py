"""What can go wrong for a client, as one hierarchy; every error has a stable code.

    ClientError                         code, status, retryable, result, retry_after
    ├── ServiceUnreachable              no answer, or half of one: a retry is safe
    ├── UntrustedService                its TLS certificate is not to be trusted
    ├── UnexpectedAnswer                what has answered is not this service
    └── Problem                         the service has answered that it is no success
        ├── RequestRefused              nothing was started, and a retry is no use
        │   ├── InvalidJson             400
        │   ├── InvalidRequest          400  with every violation
        │   ├── Unauthenticated         401
        │   ├── Forbidden               403  with every violation
        │   ├── NotFound                404  no such path at this service
        │   ├── MethodNotAllowed        405
        │   ├── NotAcceptable           406
        │   ├── BodyTooLarge            413
        │   ├── UnsupportedMediaType    415
        │   └── TooLarge                422  a plan: more than one invocation can carry
        ├── Busy                        503  nothing was started: a retry is safe, and helps
        ├── TransferFailed              a transfer ran: a retry is safe, what arrived is skipped
        │   ├── SourceNotFound          422
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
        │   ├── Incomplete              504  the time ran out: a retry goes on
        │   ├── QuotaExceeded           507
        │   └── Cancelled               499
        └── ServiceFailed               500
            ├── EngineFailed            a retry is safe, and may help
            └── Internal                a defect of the service

`str()` of each is for people and safe to show: it never holds a token, nor a value of the
request's. All of them can be pickled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from efss_transfer.model.errors import CODES, Violation
from efss_transfer.model.result import Result


class ClientError(Exception):
    """The root.

    `code` is stable, `status` the HTTP status if there was an answer. `retryable` says whether
    the same request, sent again, can help; that it is safe holds for all of them.
    `retry_after` are the seconds that the service asks to wait. `result` is what is known of
    the transfer, if one ran.
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
        lines += [f"  {it.pointer or '(the whole)'}: {it.message}" for it in self.violations]
        return "\n".join(lines)


class ServiceUnreachable(ClientError):
    """The service could not be reached, cut its answer off, or fell silent.

    A retry is safe: if a transfer had begun, it was cancelled, and what arrived is skipped.
    """

    code = "service_unreachable"


class UntrustedService(ClientError):
    """The service's TLS certificate is not one to trust. Nothing was sent."""

    code = "service_untrusted"


class UnexpectedAnswer(ClientError):
    """What has answered is not this service, or not one that this client understands."""

    code = "unexpected_answer"


class Problem(ClientError):
    """The service has answered that it is no success; `document` is what it said (RFC 9457)."""


class RequestRefused(Problem):
    """Nothing was started, and the request has to change; a retry is no use."""


class InvalidJson(RequestRefused):
    """The body is not the JSON that the service accepts. A retry is no use."""

    code = "invalid_json"


class InvalidRequest(RequestRefused):
    """The request does not fit the schema; `violations` says where. A retry is no use."""

    code = "invalid_request"


class Unauthenticated(RequestRefused):
    """There was no token, or none that the service accepts. A retry is no use."""

    code = "unauthenticated"


class Forbidden(RequestRefused):
    """The site does not allow it; `violations` says which members. A retry is no use."""

    code = "forbidden"


class NotFound(RequestRefused):
    """The service has nothing at this path: the URL is wrong. A retry is no use."""

    code = "not_found"


class MethodNotAllowed(RequestRefused):
    """The service takes no transfers at this path: the URL is wrong. A retry is no use."""

    code = "method_not_allowed"


class NotAcceptable(RequestRefused):
    """The service has no answer of a kind that was asked for. A retry is no use."""

    code = "not_acceptable"


class BodyTooLarge(RequestRefused):
    """The request is longer than the service takes. A retry is no use."""

    code = "body_too_large"


class UnsupportedMediaType(RequestRefused):
    """Something on the way has changed the request's media type. A retry is no use."""

    code = "unsupported_media_type"


class TooLarge(RequestRefused):
    """A plan was asked for, and what it is of is more than one invocation can carry."""

    code = "too_large"


class Busy(Problem):
    """As many transfers run as may. Nothing was started: a retry is safe, and helps."""

    code = "busy"


class TransferFailed(Problem):
    """A transfer ran and did not succeed; `result` has what became of it.

    A retry is safe, because what arrived is skipped; `retryable` says whether it can help.
    """


class SourceNotFound(TransferFailed):
    """There is nothing at the source's path."""

    code = "source_not_found"


class NotADirectory(TransferFailed):
    """A file stands where a folder was named, or the reverse."""

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
    """A storage cannot do what was asked."""

    code = "unsupported"


class StorageUnreachable(TransferFailed):
    """A storage could not be reached. A retry may help."""

    code = "storage_unreachable"


class StorageError(TransferFailed):
    """A storage failed."""

    code = "storage_error"


class ChecksumMismatch(TransferFailed):
    """A file did not arrive as it was. A retry may help."""

    code = "checksum_mismatch"


class Partial(TransferFailed):
    """Some files were not copied. A retry may help if `retryable` says so."""

    code = "partial"


class StorageBusy(TransferFailed):
    """A storage asks to try later. A retry helps, after `retry_after` seconds."""

    code = "storage_busy"


class Incomplete(TransferFailed):
    """The time ran out. A retry goes on where it stopped, and at once."""

    code = "incomplete"


class QuotaExceeded(TransferFailed):
    """The destination has not enough space."""

    code = "quota_exceeded"


class Cancelled(TransferFailed):
    """The transfer was cancelled. A retry goes on where it stopped."""

    code = "cancelled"


class ServiceFailed(Problem):
    """The service itself failed, not a storage. A retry is safe."""


class EngineFailed(ServiceFailed):
    """The engine died or fell silent. A retry is safe, and may help if `retryable` says so."""

    code = "engine_failed"


class Internal(ServiceFailed):
    """A defect of the service. A retry is safe, and no use."""

    code = "internal"


def _leaves(kind: type[Problem]) -> Iterator[type[Problem]]:
    for below in kind.__subclasses__():
        if "code" in vars(below):
            yield below
        yield from _leaves(below)


_BY_CODE: Final[dict[str, type[Problem]]] = {kind.code: kind for kind in _leaves(Problem)}


def of_problem(
    document: Mapping[str, Any],
    *,
    status: int | None = None,
    retry_after: float | None = None,
    result: Result | None = None,
) -> Problem:
    """The error that a problem document means; a code that is not known is a plain Problem.

    Raises KeyError for a document without a code.
    """
    code = str(document["code"])
    known = CODES.get(code)
    detail = str(document.get("detail") or document.get("title") or code)
    return _BY_CODE.get(code, Problem)(
        # Here they stand below it.
        detail.replace("; see 'errors'.", ":"),
        code=code,
        status=status or (known.status if known else None),
        retryable=bool(document.get("retryable", known.retryable if known else False)),
        retry_after=retry_after,
        result=result,
        violations=tuple(
            Violation(str(it.get("pointer")), str(it.get("keyword")), str(it.get("message")))
            for it in document.get("errors", ())
            if isinstance(it, Mapping)
        ),
        document=document,
    )
