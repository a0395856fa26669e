"""The log: one line for each event, as JSON for machines or as text for people.

    {"time": "2026-11-22T16:00:00.000Z", "level": "INFO", "logger": "efss_transfer.service.runner",
     "message": "…", "event": "transfer.ended", "request_id": "run-42", "transfer": "…",
     "caller": "alice", "trace_id": "…", "span_id": "…", "state": "failed",
     "code": "source_not_found", "side": "source", "seconds": 1.2, "files_transferred": 0, …}

    2026-11-22T16:00:00.000Z INFO transfer 'run-42' by 'alice': failed: source_not_found (source);
    … code=source_not_found side=source seconds=1.2 files_transferred=0 … caller=alice

The text has the same members as the JSON behind its sentence, except for those that are lists.

The context of a line travels with its record and not in a thread-local or context variable: a
transfer is a generator, and the thread that resumes it may belong to another request.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from efss_transfer.model.result import Json, rfc3339

LogContext = Mapping[str, Json]
"""Members that every line about the same request has, such as `caller`."""

_MEMBERS: Final = "efss_transfer_members"
# The members of a line of text that come first, and those that it does not repeat.
_FIRST: Final = (
    *("code", "side", "status", "state", "seconds"),
    *("files_transferred", "files_skipped", "files_failed", "bytes_transferred"),
    *("entries", "files", "bytes", "transfer", "caller", "request_id"),
)
_IN_SENTENCE: Final = frozenset({"time", "level", "logger", "message", "event", "address"})
# W3C Trace Context, version 00. Other versions may use these positions differently.
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)


def members(event: str, context: LogContext, **more: Json) -> dict[str, Json]:
    """The argument `extra` of a logging call: the name of the event, and members of the line."""
    return {_MEMBERS: {"event": event, **context, **more}}


def trace_context(traceparent: str | None) -> dict[str, str]:
    """The members `trace_id` and `span_id` from a `traceparent` header.

    Empty if the header is missing or malformed: it serves to correlate logs only, so a mistake
    of the caller's in it is no error.
    """
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return {}
    return {"trace_id": found[1], "span_id": found[2]}


def stack(error: BaseException) -> list[str]:
    """The call stack of an error, outermost first: file, line and function.

    The error's text and all values are left out: they may quote a secret.
    """
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in ASCII, so no character of it ends the line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line end."""
        return json.dumps(_members(record), default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as one line of text: a sentence for people, then members as `name=value`.

    Characters that could break the line are escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line end."""
        it = _members(record)
        where = " ".join(it.get("where", ()))
        ordered = {name: it[name] for name in _FIRST if name in it} | it
        said = " ".join(
            f"{name}={_word(value)}"
            for name, value in ordered.items()
            if name not in _IN_SENTENCE and not isinstance(value, list | dict)
        )
        words = (it["time"], it["level"], it["message"], where, said)
        return "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
            for one in " ".join(filter(None, words))
        )


def _word(value: Json) -> str:
    """A value as one word, so that a program can split a line at its spaces."""
    text = str(value)
    is_plain = text and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if is_plain else json.dumps(text)


def _members(record: logging.LogRecord) -> dict[str, Any]:
    members: dict[str, Any] = {
        "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
        "event": "message",
    }
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        members |= {"error": type(error).__name__, "where": stack(error)}
    more: LogContext = getattr(record, _MEMBERS, {})
    return members | {name: value for name, value in more.items() if value is not None}


def configure(level: str, form: str) -> None:
    """Write this package's log to stderr. Calling it again changes the level only."""
    log = logging.getLogger("efss_transfer")
    log.setLevel(level)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
        log.addHandler(handler)
        log.propagate = False
