"""Every log record becomes exactly one line that a machine can parse."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from efss_transfer.service import logs
from efss_transfer.service.logs import JsonFormatter, TextFormatter

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
ODD = 'a\nb\r\n{"x": 1}\u2028\u0085\x1b[31m\ud800 é 🎉'


def record(message: str = "a message", *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord(
        "efss_transfer.x", logging.INFO, "x.py", 1, message, args, more.pop("exc_info", None)
    )
    vars(made).update(more)
    return made


def test_json_line_has_the_members_of_its_context() -> None:
    extra = logs.members("transfer.ended", {"caller": "alice"}, state="succeeded", code=None)
    line = json.loads(JsonFormatter().format(record("it is %s", "done", **extra)))
    moment = datetime.fromisoformat(line.pop("time"))
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert line == {
        "level": "INFO",
        "logger": "efss_transfer.x",
        "message": "it is done",
        "event": "transfer.ended",
        "caller": "alice",
        "state": "succeeded",
    }


def test_text_line_is_a_sentence_and_then_members_as_words() -> None:
    extra = logs.members(
        "transfer.ended",
        {"caller": "alice", "request_id": 'a "b" = c'},
        seconds=1.5,
        code="partial",
        side=None,
        errors=[{"code": "x", "side": None, "count": 2}],
    )
    text = TextFormatter().format(record("it is %s", "done", **extra))
    assert text.partition(" ")[2] == (
        'INFO it is done code=partial seconds=1.5 caller=alice request_id="a \\"b\\" = c"'
    )


@pytest.mark.parametrize("lines", [JsonFormatter, TextFormatter])
def test_control_characters_do_not_break_the_line(lines: Callable[[], logging.Formatter]) -> None:
    text = lines().format(record(ODD, **logs.members("x", {"caller": ODD}, **{ODD: ODD})))
    assert len(text.splitlines()) == 1
    assert text.encode()  # no half of a surrogate pair
    assert "\x1b" not in text
    if lines is JsonFormatter:
        assert json.loads(text)["caller"] == ODD
        assert text.isascii()


@pytest.mark.parametrize("lines", [JsonFormatter, TextFormatter])
def test_exception_is_logged_by_its_location_without_its_text(
    lines: Callable[[], logging.Formatter],
) -> None:
    password = "canary-local"
    try:
        raise ValueError(f"canary-text {password}")
    except ValueError:
        text = lines().format(record("it broke", exc_info=sys.exc_info()))
    assert len(text.splitlines()) == 1
    assert "test_logs.py:" in text
    assert "canary" not in text
    if lines is JsonFormatter:
        assert json.loads(text)["error"] == "ValueError"


def test_traceparent_header_gives_trace_and_span() -> None:
    for flags in ("00", "01", "ff"):
        assert logs.trace_context(f"00-{TRACE}-{SPAN}-{flags}") == {
            "trace_id": TRACE,
            "span_id": SPAN,
        }


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        "x" * 100_000,
    ],
)
def test_malformed_traceparent_is_ignored(header: str | None) -> None:
    assert logs.trace_context(header) == {}
