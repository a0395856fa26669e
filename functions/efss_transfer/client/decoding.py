"""Decodes the service's JSON into the model's types.

Unknown members are ignored, so that a client understands a newer service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from efss_transfer.client import live_progress
from efss_transfer.client.errors import Problem, UnexpectedAnswer
from efss_transfer.client.live_progress import known
from efss_transfer.contract import problems
from efss_transfer.model.errors import CODES, Violation
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.notification import Notification, NotificationError
from efss_transfer.model.result import (
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Reason,
    Result,
    Sample,
    Shard,
    Side,
    State,
    Totals,
    WarningGroup,
)
from efss_transfer.model.verification import Verification, VerifyMode

Json = Mapping[str, Any]

_UNKNOWN_ANSWER: Final = (
    "The answer is not from efss-transfer, or from a version that this client does not know."
)


def event(line: bytes) -> Event | None:
    """Decode a line of the stream; None for an unknown kind of event.

    Raises UnexpectedAnswer.
    """
    try:
        document = json.loads(line)
        match document["event"]:
            case "started":
                return Started(document["engine"], _time(document["started"]), document.get("id"))
            case "progress":
                return live_progress.progress(document)
            case "file":
                return FileDone(_outcome(document))
            case "result":
                return Finished(result(document))
            case _:
                return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnexpectedAnswer(_UNKNOWN_ANSWER) from None


def answer(
    status: int, kind: str, body: bytes, retry_after: float | None = None
) -> Iterator[Event]:
    """Yield the events that a stream would have had for an answer in one document.

    Raises the ClientError that the answer means if no transfer ran.
    """
    try:
        document = json.loads(body)
        if status == 200 and kind == "application/json":
            ended = result(document)
        elif kind == "application/problem+json":
            if "result" not in document:
                raise error_of(document, status=status, retry_after=retry_after)
            ended = replace(result(document["result"]), code=document["code"])
        else:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnexpectedAnswer(
            f"{_UNKNOWN_ANSWER} Its status is {status}.", status=status
        ) from None
    yield Started(ended.engine, ended.started, ended.id)
    yield from map(FileDone, ended.files or ())
    yield Finished(replace(ended, files=None))


def document(kind: str, body: bytes) -> dict[str, Any]:
    """Decode a document that is not a result. Raises UnexpectedAnswer."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = None
    if kind != "application/json" or not isinstance(decoded, dict):
        raise UnexpectedAnswer(_UNKNOWN_ANSWER)
    return decoded


def result(document: Json) -> Result:
    """Decode a result. Raises ValueError, KeyError, TypeError or AttributeError otherwise."""
    state = State(document["state"])
    engine = str(document["engine"])
    errors = tuple(map(_group, document["errors"]))
    files = document.get("files")
    return Result(
        state=state,
        engine=engine,
        totals=_totals(document["totals"]),
        started=_time(document["started"]),
        finished=_time(document["finished"]),
        code=document.get("code") or _code(state, errors),
        errors=errors,
        files=None if files is None else tuple(map(_outcome, files)),
        files_omitted=int(document.get("files_omitted", 0)),
        attempts=int(document["attempts"]),
        verification=_verification(document.get("verification")),
        warnings=tuple(map(_warning, document.get("warnings", ()))),
        id=document.get("id"),
        shard=_shard(document.get("shard")),
        engine_report=dict(document.get(engine, {})),
        notification=_notification(document.get("notification")),
    )


def failure(ended: Result, retry_after: float | None = None) -> Problem:
    """Return the error that stands for a result without success."""
    code = ended.code or "internal"
    problem = problems.of_result(code if code in CODES else "internal", ended)
    document = {**problem.document, "code": code}
    waits = problem.headers.get("Retry-After")
    if retry_after is None and waits is not None:
        retry_after = float(waits)
    return error_of(document, retry_after=retry_after, result=ended)


def _code(state: State, errors: tuple[ErrorGroup, ...]) -> str | None:
    """Return the code that decides the HTTP status: the result in a stream has none."""
    if state is State.SUCCEEDED:
        return None
    if state is State.FAILED:
        return errors[0].code if errors else "engine_failed"
    return state.value


def _outcome(it: Json) -> FileOutcome:
    error = it.get("error")
    return FileOutcome(
        str(it["path"]),
        FileState(it["state"]),
        it.get("bytes"),
        None
        if error is None
        else Failure(
            str(error["code"]),
            str(error["message"]),
            bool(error["retryable"]),
            known(Side, error.get("side")),
        ),
        known(Reason, it.get("reason")),
    )


def _group(it: Json) -> ErrorGroup:
    return ErrorGroup(
        str(it["code"]),
        known(Side, it.get("side")),
        bool(it["retryable"]),
        int(it["count"]),
        _samples(it),
    )


def _warning(it: Json) -> WarningGroup:
    return WarningGroup(str(it["code"]), str(it["message"]), int(it["count"]), _samples(it))


def _samples(it: Json) -> tuple[Sample, ...]:
    return tuple(Sample(str(one.get("path", "")), str(one["message"])) for one in it["samples"])


def _totals(it: Json) -> Totals:
    files, moved = it["files"], it["bytes"]
    reasons = {
        reason: int(count)
        for name, count in it.get("skipped", {}).items()
        if (reason := known(Reason, name)) is not None
    }
    return Totals(
        int(files["transferred"]),
        int(files["skipped"]),
        int(files["failed"]),
        int(moved["transferred"]),
        reasons,
        int(moved.get("dry_run", 0)),
    )


def _verification(it: Json | None) -> Verification | None:
    if it is None:
        return None
    return Verification(
        VerifyMode(it["mode"]),
        int(it["checked"]),
        int(it["differing"]),
        int(it["missing"]),
        it.get("hash"),
        int(it.get("by_size", 0)),
    )


def _shard(it: Json | None) -> Shard | None:
    return None if it is None else Shard(int(it["index"]), int(it["count"]))


def _notification(it: Json | None) -> Notification | None:
    if it is None:
        return None
    error = it.get("error")
    return Notification(
        int(it["attempts"]),
        it.get("status"),
        None if error is None else NotificationError(error["code"], str(error["message"])),
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _leaves(kind: type[Problem]) -> Iterator[type[Problem]]:
    for below in kind.__subclasses__():
        if "code" in vars(below):
            yield below
        yield from _leaves(below)


_BY_CODE: Final[dict[str, type[Problem]]] = {kind.code: kind for kind in _leaves(Problem)}


def error_of(
    document: Mapping[str, Any],
    *,
    status: int | None = None,
    retry_after: float | None = None,
    result: Result | None = None,
) -> Problem:
    """Return the error that a problem document stands for: a plain Problem for an unknown code.

    Raises KeyError for a document without a code.
    """
    code = str(document["code"])
    known = CODES.get(code)
    detail = str(document.get("detail") or document.get("title") or code)
    return _BY_CODE.get(code, Problem)(
        # `str()` lists them below.
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
