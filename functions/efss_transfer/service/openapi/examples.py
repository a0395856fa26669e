"""An example of every answer, for the OpenAPI description: made by what makes the answers.

Of what a transfer can end with there is a result, put to `problems` as a real one is; so no
example says what the service would not.
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
from efss_transfer.model.errors import (
    CODES,
    BodyTooLarge,
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
    Violation,
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
    encoded,
)

_BEGAN: Final = datetime(2026, 11, 22, 16, tzinfo=UTC)
_ENDED: Final = datetime(2026, 11, 22, 16, 0, 9, tzinfo=UTC)
_LOST: Final = "raw/b.h5"

# What a storage has said, and on which side.
_FAILURES: Final = {
    "source_not_found": (Side.SOURCE, "There is no such folder or file."),
    "not_a_directory": (Side.DESTINATION, "A file stands where a folder is needed."),
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
    """What is refused before anything starts."""
    yield InvalidJson("The body is not JSON: see line 3, column 14.")
    found, omitted = violations("request", {"source": {"storage": "archive"}, "priority": 1})
    yield InvalidRequest(found, omitted)
    yield Unauthenticated(MISSING)
    where = "/source/storage"
    yield Forbidden([Violation(where, "policy", "There is no such storage here.")])
    yield NotFound("GET / lists what there is.")
    yield MethodNotAllowed(("GET", "HEAD", "POST"))
    yield NotAcceptable("Answers are application/json, or as a stream application/x-ndjson.")
    yield BodyTooLarge("A request may have 1048576 bytes here.")
    yield UnsupportedMediaType("Send the request with Content-Type: application/json.")
    yield Busy("As many transfers run as are allowed here. Nothing was started.")
    yield EngineError("rclone ended by itself.")


def result(code: str | None = None) -> Result:
    """How a transfer ends: with all copied, or for the reason that has this code."""
    if code is None:
        totals, state = Totals(2, 0, 0, 3072), State.SUCCEEDED
        groups: tuple[ErrorGroup, ...] = ()
        files: tuple[FileOutcome, ...] = ()
    elif code == "incomplete":
        totals, state, groups, files = Totals(1, 0, 0, 1024), State.INCOMPLETE, (), ()
    else:
        known = code if code in _FAILURES else "permission_denied"
        side, message = _FAILURES[known]
        retryable = CODES[known].retryable
        copied = code == "partial"
        state = State.PARTIAL if copied else State.FAILED
        totals = Totals(int(copied), 0, 1, 1024 * copied)
        groups = (ErrorGroup(known, side, retryable, 1, (Sample(_LOST, message),)),)
        lost = Failure(known, message, retryable, side)
        files = (FileOutcome(_LOST, FileState.FAILED, 2048, lost),)
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
    """The answer that has this code."""
    refused = {error.code: error for error in _refusals()}
    if code in refused:
        return problems.of_error(refused[code])
    if code == "too_large":
        text = "A file of 4000000000000 bytes takes 80000 s at 50000000 bytes a second."
        return problems.of_plan([(code, text)], schema("plan")["examples"][0])
    if code == "internal":
        return problems.of_defect()
    return problems.of_result(code, result(code))


def stream(kind: str) -> str:
    """A transfer of one file, as a stream of that media type tells it."""
    done = FileOutcome("raw/a.h5", FileState.TRANSFERRED, 1024)
    ended = replace(result(), files=None)  # a stream has named them before
    told: list[events.Event] = [
        events.Started("rclone", _BEGAN, "run-42"),
        events.Progress(Totals(), 512, 2, 3072, 1024.0, 2.5),
        events.FileDone(done),
        events.Finished(ended),
    ]
    lines = [encoded(event.to_json()).decode() for event in told]
    if kind == "application/x-ndjson":
        return "".join(f"{line}\n" for line in lines)
    return "".join(
        f"id: {number}\nevent: {event.to_json()['event']}\ndata: {line}\n\n"
        for number, (event, line) in enumerate(zip(told, lines, strict=True), 1)
    )


def requests() -> dict[str, dict[str, Any]]:
    """Requests of both kinds, each with a summary."""
    [described] = schema("request")["examples"]
    named: Json = {
        "source": {"storage": "measurements", "path": "2026"},
        "destination": {"storage": "archive", "path": "2026"},
        "options": {"verify": "checksum"},
    }
    return {
        "described": {"summary": "Storages that the request describes", "value": described},
        "named": {"summary": "Storages that the site has configured", "value": named},
    }
