"""The log: a line for each thing that happens, as JSON for machines, or as text for a person.

    {"time": "2026-11-22T16:00:00.000Z", "level": "INFO", "logger": "efss_transfer.service.runner",
     "message": "…", "event": "transfer.ended", "request_id": "run-42", "transfer": "…",
     "caller": "alice", "trace_id": "…", "span_id": "…", "state": "succeeded"}

What a line is about is handed over with the record (`about`) and not kept beside the thread:
a transfer is a generator, and who resumes it may be another request's thread.
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

About = Mapping[str, Json]
"""Members of a line that say what it is about, such as `caller`."""

_ABOUT: Final = "about"
# W3C Trace Context, version 00. Others may mean something else by the same places.
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)


def line(event: str, about: About, **more: Json) -> dict[str, Json]:
    """For the argument `extra` of a logger: the kind of the event, and what it is about."""
    return {_ABOUT: {"event": event, **about, **more}}


def trace(traceparent: str | None) -> dict[str, str]:
    """What a `traceparent` header says, as members of a line; nothing of one that is malformed.

    It is a caller's, and for finding things again only: whatever is wrong with it is no error.
    """
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return {}
    return {"trace_id": found[1], "span_id": found[2]}


def where(error: BaseException) -> list[str]:
    """Where an error came from, the outermost call first, without its text and any value:
    nobody knows what they quote.
    """
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


class JsonFormatter(logging.Formatter):
    """A record as one JSON object in one line, in ASCII: no character of it can end the line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without an end."""
        return json.dumps(_members(record), default=str)


class TextFormatter(logging.Formatter):
    """A record as one line for a person; what could break the line is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without an end."""
        it = _members(record)
        at = " ".join(it.get("where", ()))
        text = f"{it['time']} {it['level']} {it['logger']}: {it['message']} {at}".rstrip()
        return "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
            for one in text
        )


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
        members |= {"error": type(error).__name__, "where": where(error)}
    about: About = getattr(record, _ABOUT, {})
    return members | {name: value for name, value in about.items() if value is not None}


def configure(level: str, form: str) -> None:
    """Have all of this package's records written to stderr, once however often it is called."""
    log = logging.getLogger("efss_transfer")
    log.setLevel(level)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
        log.addHandler(handler)
        log.propagate = False
