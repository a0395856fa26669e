"""Examples of every response for the OpenAPI description.

The code that builds real responses builds the examples, too, from example errors and results; so
no example shows a response that the service would not send.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from efss_transfer.auth.authentication import MISSING
from efss_transfer.contract import problems
from efss_transfer.contract.problems import ProblemDocument
from efss_transfer.contract.schemas import schema
from efss_transfer.contract.validation import violations
from efss_transfer.model import events
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import (
    CODES,
    STILL_RUNNING,
    Busy,
    EfssTransferError,
    EngineError,
    Forbidden,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Unauthenticated,
    UnsupportedMediaType,
)
from efss_transfer.model.result import (
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Json,
    Result,
    Sample,
    Side,
    State,
    Totals,
)
from efss_transfer.service.concurrency import SERVICE_FULL
from efss_transfer.service.http_messages import ACCEPT, body_too_large
from efss_transfer.site.site_file import Caller, Site
from efss_transfer.site.storages import Storages

_BEGAN: Final = datetime(2026, 11, 22, 16, tzinfo=UTC)
_ENDED: Final = datetime(2026, 11, 22, 16, 0, 9, tzinfo=UTC)
_FAILED_PATH: Final = "raw/b.h5"

# The side that failed, and the message of its storage, by code.
_FAILURES: Final = {
    "source_not_found": (Side.SOURCE, "The folder or file does not exist."),
    "destination_not_found": (Side.DESTINATION, "There is no bucket `measurements`."),
    "not_a_directory": (Side.DESTINATION, "The path is a file, but a folder is needed."),
    "authentication_failed": (Side.SOURCE, "401 Unauthorized"),
    "permission_denied": (Side.DESTINATION, "403 Forbidden"),
    "name_refused": (Side.DESTINATION, "400 Bad Request: invalid file name"),
    "unsupported": (Side.DESTINATION, "501 Not Implemented"),
    "storage_unreachable": (Side.DESTINATION, "connection refused"),
    "storage_error": (Side.SOURCE, "500 Internal Server Error"),
    "checksum_mismatch": (Side.DESTINATION, "The checksums differ."),
    "storage_busy": (Side.SOURCE, "429 Too Many Requests"),
    "quota_exceeded": (Side.DESTINATION, "507 Insufficient Storage"),
}


def _refusals() -> Iterator[EfssTransferError]:
    """An error of each kind that is raised before a transfer starts."""
    yield InvalidJson("The body is not JSON: see line 3, column 14.")
    found, has_more = violations(
        "request", {"source": {"storage": "archive", "path": ""}, "priority": 1}
    )
    yield InvalidRequest(found, has_more=has_more)
    yield Unauthenticated(MISSING)
    yield _unknown_storage()
    yield NotFound("GET / lists the paths of this service.")
    yield MethodNotAllowed(("GET", "HEAD", "POST"))
    yield NotAcceptable(ACCEPT)
    yield body_too_large(1 << 20)
    yield UnsupportedMediaType("Send the request with Content-Type: application/json.")
    yield Busy(SERVICE_FULL)
    yield EngineError("rclone ended before its work was done.")


def _unknown_storage() -> Forbidden:
    try:
        Storages(Site()).endpoint(Caller(), "source", {"storage": "archive"})
    except Forbidden as error:
        return error
    raise AssertionError("a site without storages has one")


def result(code: str | None = None) -> Result:
    """The result of a transfer that succeeded, or that ended with this code."""
    if code is None:
        totals, state = Totals(2, 0, 0, 3072), State.SUCCEEDED
        groups: tuple[ErrorGroup, ...] = ()
        files: tuple[FileOutcome, ...] = ()
    elif code in ("incomplete", STILL_RUNNING):
        totals, state, groups, files = Totals(1, 0, 0, 1024), State.INCOMPLETE, (), ()
    else:
        known = code if code in _FAILURES else "permission_denied"
        side, message = _FAILURES[known]
        retryable = CODES[known].retryable
        copied = code == "partial"
        state = State.PARTIAL if copied else State.FAILED
        totals = Totals(int(copied), 0, 1, 1024 * copied)
        groups = (ErrorGroup(known, side, retryable, 1, (Sample(_FAILED_PATH, message),)),)
        failure = Failure(known, message, retryable, side)
        files = (FileOutcome(_FAILED_PATH, FileState.FAILED, 2048, failure),)
    return Result(
        state=state,
        engine="rclone",
        totals=totals,
        started=_BEGAN,
        finished=_ENDED,
        code=code,
        errors=groups,
        files=files,
        id="run-42",
        engine_report={"version": "1.75.2", "exit_code": int(code is not None)},
    )


@cache
def problem(code: str) -> ProblemDocument:
    """The problem document with this code."""
    refusals = {error.code: error for error in _refusals()}
    if code in refusals:
        return problems.of_error(refusals[code])
    if code == "too_large":
        text = (
            "The largest file has 4000000000000 bytes and takes 80000 s at 50000000 bytes a "
            "second, but an invocation has 3600 s for it. Allow an invocation more time."
        )
        return problems.of_plan([(code, text)], schema("plan")["examples"][0])
    if code == "internal":
        return problems.of_defect()
    return problems.of_result(code, result(code))


def failed_look(code: str) -> ProblemDocument:
    """The problem document of a look at a storage that ended with this code."""
    if code not in _FAILURES and code != "incomplete":
        return problem(code)
    _, message = _FAILURES.get(code, (None, "The storage did not answer in time."))
    return problems.of_failure(Failure(code, message, CODES[code].retryable))


def stream(kind: str) -> str:
    """The stream of a transfer of one file, in that media type."""
    done = FileOutcome("raw/a.h5", FileState.TRANSFERRED, 1024)
    ended = replace(result(), files=None)  # a stream reports files in events of their own
    sequence: list[events.Event] = [
        events.Started("rclone", _BEGAN, "run-42"),
        events.Progress(Totals(), 512, 2, 3072, 1024.0, 2.5),
        events.FileDone(done),
        events.Finished(ended),
    ]
    lines = [encode_json(event.to_json()).decode() for event in sequence]
    if kind == "application/x-ndjson":
        return "".join(f"{line}\n" for line in lines)
    return "".join(
        f"id: {number}\nevent: {event.to_json()['event']}\ndata: {line}\n\n"
        for number, (event, line) in enumerate(zip(sequence, lines, strict=True), 1)
    )


def requests() -> dict[str, dict[str, Any]]:
    """Example requests with a summary: storages described inline, and storages of the site."""
    [inline] = schema("request")["examples"]
    named: Json = {
        "source": {"storage": "measurements", "path": "2026"},
        "destination": {"storage": "archive", "path": "2026"},
        "options": {"verify": "checksum"},
    }
    return {
        "described": {"summary": "Storages described in the request", "value": inline},
        "named": {"summary": "Storages configured by the site", "value": named},
    }
