"""Streams as clients parse them: a browser's EventSource, and lines of text."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.model.errors import NotAcceptable
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Result, State, Totals
from efss_transfer.runtimes.flask.app import FlaskService
from efss_transfer.service import http_messages
from efss_transfer.site.site_file import Site
from support.contract import complaints

JSON, NDJSON, SSE = "application/json", "application/x-ndjson", "text/event-stream"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
BODY = {
    "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8"}, "path": ""},
    "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
    "options": {"report": "all"},
}
ODD = [
    "line\nend",
    "carriage\rreturn",
    "both\r\n\r\nevent: result\ndata: {}\n\n",
    "separators \u2028 and \u2029 and \x85",
    "tab\tand\x0b\x0cand\x1c\x1d\x1e",
    "\ufeffmark",
    "nul\0",
    "émoji 🎉",
    ": comment",
    " leading",
]


@dataclass
class Message:
    """A message as a browser dispatches it."""

    event: str
    data: str
    last_id: str


def parsed(stream: bytes) -> list[Message]:
    """Parse a stream as EventSource does (HTML, 9.2.6, "Interpreting an event stream")."""
    messages: list[Message] = []
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    data: list[str] = []
    event, last_id = "", ""
    for line in re.split("\r\n|\n|\r", text):
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                messages.append(Message(event or "message", "\n".join(data), last_id))
            event, data = "", []
        elif colon and not field:
            continue  # a comment
        elif field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value
    return messages


class StubEngine:
    """An engine that reports these files as transferred."""

    name = "rclone"
    unguarded: ClassVar[Mapping[str, str | None]] = {}
    is_third_party = False
    can_detach = False

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def run(self, _request: TransferRequest, _context: Context) -> Generator[Event, None, None]:
        yield Started("rclone", NOW)
        for name in self._names:
            yield FileDone(FileOutcome(name, FileState.TRANSFERRED, 1))
        count = len(self._names)
        yield Finished(Result(State.SUCCEEDED, "rclone", Totals(count, 0, 0, count), NOW, NOW))

    def survey(
        self, _: TransferRequest, __: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        raise AssertionError(f"unexpected survey, measure={measure}")

    def health(self) -> Health:
        return Health(usable=True)


def respond(names: list[str], accept: str, **headers: str) -> tuple[str, bytes]:
    """Content type and body of the response to a transfer of files of these names."""
    service = FlaskService(Settings.read({}), Site(), {"rclone": StubEngine(names)})
    environ = EnvironBuilder(
        path="/",
        method="POST",
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
        json=BODY,
        headers=[("Accept", accept), *headers.items()],
    ).get_environ()
    with closing(service.handle(Request(environ))) as response:
        assert response.status_code == 200
        return str(response.mimetype), response.get_data()


def test_browser_receives_each_event_once_with_number_and_name() -> None:
    kind, body = respond(ODD, SSE)
    assert kind == SSE
    messages = parsed(body)
    assert [m.last_id for m in messages] == [str(number + 1) for number in range(len(ODD) + 2)]
    assert [m.event for m in messages] == ["started", *["file"] * len(ODD), "result"]
    received = [json.loads(message.data) for message in messages]
    assert [event["path"] for event in received[1:-1]] == ODD
    for message, event in zip(messages, received, strict=True):
        assert event["event"] == message.event
        assert complaints("event", event) == []


def test_each_event_is_one_line_for_a_text_reader() -> None:
    """`requests` with decode_unicode, and httpx, end lines where Unicode does."""
    _, body = respond(ODD, NDJSON)
    lines = body.decode().splitlines()
    assert [json.loads(line)["path"] for line in lines[1:-1]] == ODD


def test_lone_surrogate_does_not_break_the_stream() -> None:
    for accept in (NDJSON, SSE):
        _, body = respond(["half-\ud800-pair", "next"], accept)
        assert b'"path":"half-?-pair"' in body
        assert b'"path":"next"' in body
        body.decode()


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=5))
def test_any_file_name_survives_the_stream(names: list[str]) -> None:
    _, body = respond(names, SSE)
    received = [json.loads(message.data) for message in parsed(body)]
    assert [event["path"] for event in received[1:-1]] == names
    _, body = respond(names, NDJSON)
    assert [json.loads(line) for line in body.decode().splitlines()] == received


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{NDJSON}, {SSE};q=0.9", NDJSON),
        (f"{NDJSON};q=0.9, {SSE}", SSE),
        (f"{SSE};q=0.2, {NDJSON};q=0.3, {JSON};q=0.1", NDJSON),
        (f"{SSE};q=0.2, {NDJSON};q=0.3, {JSON};q=0.4", JSON),
        (f"{SSE};q=0, {NDJSON}", NDJSON),
        (f"{NDJSON};q=0, {SSE};q=0.1", SSE),
        (f"{SSE}, */*;q=0.1", SSE),
        (f"{NDJSON}, text/html", NDJSON),
        ("text/*", SSE),
        ("TEXT/Event-Stream", SSE),
        (f"{SSE}; charset=utf-8", SSE),
        (f"{JSON}; charset=utf-8, {NDJSON};q=0.5", JSON),
        ("*/*", JSON),
        (f"{NDJSON}, {SSE}", NDJSON),
        (f"{SSE}, {NDJSON}", NDJSON),
    ],
)
def test_accept_weights_select_the_representation(accept: str, expected: str) -> None:
    assert respond(["a"], accept)[0] == expected


def test_last_event_id_is_ignored_and_the_stream_starts_anew() -> None:
    """The service is stateless; the same request again skips files that are there."""
    first, again = respond(["a"], SSE), respond(["a"], SSE, **{"Last-Event-ID": "2"})
    assert again == first
    assert parsed(again[1])[0].event == "started"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", http_messages.JSON),
        ("*/*", http_messages.JSON),
        ("application/json", http_messages.JSON),
        ("application/problem+json", http_messages.JSON),
        ("application/x-ndjson", http_messages.NDJSON),
        ("Text/Event-Stream; charset=utf-8", http_messages.SSE),
        # What HTTP clients send for a stream whose errors are problem documents.
        ("application/x-ndjson, application/problem+json", http_messages.NDJSON),
        ("application/problem+json, text/event-stream", http_messages.SSE),
        ("application/x-ndjson, */*", http_messages.NDJSON),
        ("application/json, application/x-ndjson", http_messages.JSON),
        ("application/json;q=0.5, application/x-ndjson;q=0.9", http_messages.NDJSON),
        ("application/x-ndjson;q=0, */*;q=0.1", http_messages.JSON),
        ("text/*", http_messages.SSE),
        ("text/html, application/*;q=0.8", http_messages.JSON),
        ("application/x-ndjson;q=none", http_messages.NDJSON),
    ],
)
def test_media_type_is_the_one_that_the_client_prefers(accept: str, chosen: str) -> None:
    assert http_messages.negotiate(accept, streams=True) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "*/*;q=0", "image/*, ,"])
def test_what_the_service_cannot_send_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="Accept application/json, or for a stream"):
        http_messages.negotiate(accept, streams=True)
