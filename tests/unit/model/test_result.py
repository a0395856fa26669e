"""What is told of a transfer fits the published schemas, however the transfer ended."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from efss_transfer.config.settings import Settings
from efss_transfer.contract.request_parser import parse
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.engines.rclone.log.error_codes import rules
from efss_transfer.model.errors import CODES, EngineError, EngineUnavailable
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import (
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Result,
    Sample,
    Side,
    State,
    Totals,
    WarningGroup,
    rfc3339,
)
from efss_transfer.model.warnings import WARNINGS
from efss_transfer.runtimes.flask.app import FlaskService
from efss_transfer.service import runner
from efss_transfer.service.runner import RunParameters
from efss_transfer.site.site_file import Site
from support.contract import complaints, schema

BEGUN = datetime(2026, 11, 22, 16, 0, 0, 123_456, tzinfo=UTC)
ENDED = BEGUN + timedelta(seconds=90)
BODY = json.dumps(
    {
        "id": "run-42",
        "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8"}, "path": ""},
        "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
        "options": {"report": "all"},
    }
).encode()
REFUSED = Failure("permission_denied", "403 Forbidden", False, Side.DESTINATION)
STARTED = Started("rclone", BEGUN)
FILES = (
    FileOutcome("a", FileState.TRANSFERRED, 5),
    FileOutcome("deep/émoji 🎉", FileState.SKIPPED),
    FileOutcome("c", FileState.FAILED, error=REFUSED),
    FileOutcome("d", FileState.FAILED, error=replace(REFUSED, side=None)),
)
REPORT = {
    "version": "1.75.2",
    "exit_code": 1,
    "job": {"id": 4, "group": "transfer", "finished": True, "success": False, "error": "403"},
    "stats": {"bytes": 5, "transfers": 1, "eta": None, "speed": 0.5, "lastError": "403"},
}


def ended(state: State, code: str | None, *errors: ErrorGroup) -> Result:
    """A result as the engine gives it."""
    return Result(
        state=state,
        engine="rclone",
        totals=Totals(1, 1, 2, 5),
        started=BEGUN,
        finished=ENDED,
        code=code,
        errors=errors,
        engine_report=REPORT,
    )


def group(code: str, side: Side | None = None, *, count: int = 1) -> ErrorGroup:
    samples = (Sample("c", "403 Forbidden"), Sample("", "no file's"))
    return ErrorGroup(code, side, CODES[code].retryable, count, samples)


WARNED = tuple(
    WarningGroup(code, text, 7, (Sample("a", "so"), Sample("", "of no file")))
    for code, text in WARNINGS.items()
)

ENDINGS = {
    State.SUCCEEDED: replace(ended(State.SUCCEEDED, None), warnings=WARNED),
    State.PARTIAL: ended(
        State.PARTIAL,
        "partial",
        group("permission_denied", Side.DESTINATION, count=3),
        group("storage_busy"),
    ),
    State.INCOMPLETE: ended(State.INCOMPLETE, "incomplete"),
    State.FAILED: ended(
        State.FAILED, "authentication_failed", group("authentication_failed", Side.SOURCE)
    ),
    State.CANCELLED: ended(State.CANCELLED, "cancelled"),
}


class StandIn:
    """An engine that tells these events, or ends with this error instead of going on."""

    name = "rclone"
    unguarded: ClassVar[Mapping[str, str | None]] = {}
    is_third_party = False
    can_detach = False

    def __init__(self, *events: Event | Exception) -> None:
        self._events = events

    def run(self, _request: TransferRequest, _context: Context) -> Generator[Event, None, None]:
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event

    def survey(
        self, _: TransferRequest, __: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        raise AssertionError(f"nobody wants a plan here, measured: {measure}")

    def health(self) -> Health:
        return Health(usable=True, version="1.75.2")


def answer(
    *events: Event | Exception, accept: str = "application/json", **settings: str
) -> tuple[int, str, bytes]:
    """What the service answers to a request whose transfer goes so."""
    chosen = Settings.read({f"EFSS_TRANSFER_{name}": value for name, value in settings.items()})
    service = FlaskService(chosen, Site(), {"rclone": StandIn(*events)})
    environ = EnvironBuilder(
        path="/",
        method="POST",
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
        data=BODY,
        headers=[("Content-Type", "application/json"), ("Accept", accept)],
    ).get_environ()
    with closing(service.handle(Request(environ))) as response:
        return response.status_code, str(response.mimetype), response.get_data()


def test_response_length_is_limited() -> None:
    """The bound is the whole body's, be it a result or the problem that holds one."""
    for state, code in ((State.SUCCEEDED, None), (State.PARTIAL, "partial")):
        files = [FileOutcome(f"{number:05}", FileState.SKIPPED) for number in range(5_000)]
        many = ended(state, code, *(ENDINGS[State.PARTIAL].errors if code else ()))
        many = replace(many, totals=Totals(0, 5_000, 1, 0))
        failed = FileDone(replace(FILES[2], path="z"))
        events: list[Event] = [STARTED, *map(FileDone, files), failed, Finished(many)]

        _, _, body = answer(*events, RESPONSE_BYTES="65536")

        assert 65_000 < len(body) <= 65_536
        told = json.loads(body)
        result = told if code is None else told["result"]
        assert complaints("result", result) == []
        assert result["files"][-1]["path"] == "z"
        assert len(result["files"]) + result["files_omitted"] == 5_001
        assert result["totals"]["files"] == {"transferred": 0, "skipped": 5_000, "failed": 1}
        # A stream names each, and has no such bound.
        _, _, lines = answer(*events, accept="application/x-ndjson", RESPONSE_BYTES="65536")
        assert lines.count(b"\n") == len(events)


def test_results_cover_every_state() -> None:
    assert set(ENDINGS) == set(State)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("files", [None, (), FILES], ids=["summary", "none", "all"])
@pytest.mark.parametrize("name", [None, "run-42"], ids=["no id", "id"])
def test_result_fits_its_schema(
    state: State, files: tuple[FileOutcome, ...] | None, name: str | None
) -> None:
    result = replace(ENDINGS[state], files=files, id=name)

    told = result.to_json()

    assert complaints("result", told) == []
    assert told["state"] == state.value
    assert told.get("id") == name
    assert ("files" in told) is (files is not None)
    assert told["started"] < told["finished"]


@pytest.mark.parametrize("state", State)
def test_result_survives_encoding_and_decoding(state: State) -> None:
    told = replace(ENDINGS[state], files=FILES).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_unknown_side_is_omitted() -> None:
    assert "side" not in replace(REFUSED, side=None).to_json()
    assert REFUSED.to_json()["side"] == "destination"
    assert "side" not in group("storage_busy").to_json()


def test_sample_without_a_file_has_no_path() -> None:
    samples = group("storage_busy").to_json()["samples"]
    assert [sample.get("path") for sample in samples] == ["c", None]


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        replace(STARTED, id="run-42"),
        Progress(Totals(), 0, 0, 0, 0.0),
        Progress(Totals(1, 2, 3, 4), 10, 20, 30, 12.3456, 9.87),
        *[FileDone(outcome) for outcome in FILES],
        *[Finished(replace(ENDINGS[state], id="run-42")) for state in State],
    ],
    ids=lambda event: type(event).__name__,
)
def test_event_fits_its_schema(event: Event) -> None:
    told = event.to_json()
    assert complaints("event", told) == []
    assert complaints("event", {**told, "unknown": 1}) != []


def test_event_with_members_of_another_does_not_fit() -> None:
    # The schema could let everything through, and the test above would not see it.
    assert complaints("event", {**STARTED.to_json(), "state": "succeeded"}) != []
    assert complaints("event", {**FileDone(FILES[0]).to_json(), "event": "progress"}) != []


@pytest.mark.parametrize("state", State)
def test_response_fits_its_schema_and_only_success_is_200(state: State) -> None:
    files = [FileDone(outcome) for outcome in FILES]
    status, kind, body = answer(STARTED, *files, Finished(ENDINGS[state]))

    told = json.loads(body)
    if state is State.SUCCEEDED:
        assert (status, kind) == (200, "application/json")
        result = told
    else:
        assert kind == "application/problem+json"
        assert complaints("problem", told) == []
        assert told["status"] == status == CODES[str(ENDINGS[state].code)].status >= 400
        assert told["code"] == ENDINGS[state].code
        result = told["result"]
    assert complaints("result", result) == []
    assert (result["id"], result["state"]) == ("run-42", state.value)
    assert [file["path"] for file in result["files"]] == [outcome.path for outcome in FILES]


@pytest.mark.parametrize("state", State)
def test_stream_fits_its_schema_line_by_line(state: State) -> None:
    files = [FileDone(outcome) for outcome in FILES]
    status, kind, body = answer(
        STARTED, *files, Finished(ENDINGS[state]), accept="application/x-ndjson"
    )

    assert (status, kind) == (200, "application/x-ndjson")
    assert body.endswith(b"\n")
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["event"] for line in lines] == ["started", *["file"] * len(FILES), "result"]
    for line in lines:
        assert complaints("event", line) == []
    assert lines[-1]["state"] == state.value


def test_server_sent_events_carry_the_same_stream() -> None:
    """Read as browsers do: fields by line, messages by blank line (HTML, 9.2)."""
    events: list[Event | Exception] = [STARTED, *map(FileDone, FILES)]
    events.append(Finished(ENDINGS[State.PARTIAL]))
    status, kind, body = answer(*events, accept="text/event-stream")
    assert (status, kind) == (200, "text/event-stream")
    messages = [
        dict(line.split(": ", 1) for line in message.split("\n"))
        for message in body.decode().removesuffix("\n\n").split("\n\n")
    ]
    _, _, lines = answer(*events, accept="application/x-ndjson")
    assert [message["data"] for message in messages] == lines.decode().splitlines()
    assert [message["id"] for message in messages] == [str(n + 1) for n in range(len(events))]
    for message in messages:
        assert json.loads(message["data"])["event"] == message["event"]
        assert complaints("event", json.loads(message["data"])) == []


def test_exception_during_a_stream_ends_with_a_valid_result() -> None:
    engine = StandIn(STARTED, RuntimeError("canary"))
    terms = RunParameters("alice", 60, Limits(), Egress())
    told = runner.collect(runner.run(parse(BODY), engine, terms), "errors", 1 << 20).to_json()

    assert (told["state"], told["errors"][0]["code"]) == ("failed", "internal")
    assert "canary" not in str(told)
    assert complaints("result", told) == []


def test_exception_after_the_start_is_an_internal_error() -> None:
    status, kind, body = answer(STARTED, RuntimeError("canary"))
    assert (status, kind) == (500, "application/problem+json")
    assert b"canary" not in body
    assert complaints("problem", json.loads(body)) == []


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (EngineError("rclone fell silent."), "engine_failed", True),
        (EngineUnavailable("There is no rclone here."), "engine_failed", False),
        (RuntimeError("canary"), "internal", False),
    ],
    ids=["engine failed", "no engine", "defect"],
)
def test_failure_before_the_start_is_a_problem(
    error: Exception, code: str, retryable: bool, accept: str
) -> None:
    status, kind, body = answer(error, accept=accept)
    told = json.loads(body)
    assert (status, kind) == (500, "application/problem+json")
    assert complaints("problem", told) == []
    assert (told["code"], told["retryable"]) == (code, retryable)
    assert "canary" not in str(told)


def test_file_name_with_a_surrogate_does_not_lose_the_response() -> None:
    odd = FileOutcome("half-\ud800-pair", FileState.TRANSFERRED, 1)
    status, _, body = answer(STARTED, FileDone(odd), Finished(ENDINGS[State.SUCCEEDED]))
    assert status == 200
    assert json.loads(body)["files"][0]["path"].startswith("half-")


@pytest.mark.parametrize(
    ("state", "codes", "retryable"),
    [
        (State.INCOMPLETE, [], True),
        (State.CANCELLED, [], True),
        (State.INCOMPLETE, ["permission_denied"], True),
        (State.FAILED, ["permission_denied"], False),
        (State.FAILED, ["storage_busy"], True),
        (State.PARTIAL, ["permission_denied", "storage_busy"], True),
        (State.PARTIAL, ["permission_denied", "quota_exceeded"], False),
        (State.SUCCEEDED, [], False),
    ],
)
def test_result_is_retryable_if_any_error_is(
    state: State, codes: list[str], retryable: bool
) -> None:
    assert ended(state, None, *map(group, codes)).retryable is retryable


def test_problem_schema_has_exactly_the_codes() -> None:
    assert set(schema("problem")["properties"]["code"]["enum"]) == set(CODES)


def test_result_schema_has_every_error_code() -> None:
    parts = schema("result")["$defs"]
    for part in ("error", "error_group"):
        codes = set(parts[part]["properties"]["code"]["enum"])
        assert {rule.code for rule in rules()} | {
            "storage_error",
            "engine_failed",
            "internal",
        } <= codes
        assert codes <= set(CODES)


@pytest.mark.parametrize("name", ["result", "event", "problem"])
def test_each_schema_has_exactly_the_warnings(name: str) -> None:
    described = schema(name)["$defs"]["warning_group"]
    assert set(described["properties"]["code"]["enum"]) == set(WARNINGS)
    assert described == schema("result")["$defs"]["warning_group"]


def test_warnings_are_omitted_if_there_are_none() -> None:
    assert "warnings" not in ended(State.SUCCEEDED, None).to_json()
    warnings = ENDINGS[State.SUCCEEDED].to_json()["warnings"]
    assert [it["code"] for it in warnings] == list(WARNINGS)


def test_warnings_change_no_status() -> None:
    status, _, body = answer(STARTED, Finished(ENDINGS[State.SUCCEEDED]))
    assert (status, json.loads(body)["state"]) == (200, "succeeded")
    assert len(json.loads(body)["warnings"]) == len(WARNINGS)


@pytest.mark.parametrize(
    ("enum", "member"),
    [(State, "state"), (FileState, "file"), (Side, "side")],
    ids=["states", "states of files", "sides"],
)
def test_schema_enums_match_the_types(enum: Any, member: str) -> None:
    described = {
        "state": schema("result")["properties"]["state"],
        "file": schema("result")["$defs"]["file"]["properties"]["state"],
        "side": schema("result")["$defs"]["error"]["properties"]["side"],
    }[member]
    assert set(described["enum"]) == {word.value for word in enum}


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 22, 16, 0, 0, tzinfo=UTC), "2026-11-22T16:00:00.000Z"),
        (datetime(2026, 11, 22, 16, 0, 0, 999_999, tzinfo=UTC), "2026-11-22T16:00:00.999Z"),
        (
            datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            "2025-12-31T23:30:00.000Z",
        ),
        (
            datetime(2026, 6, 30, 20, 0, tzinfo=timezone(-timedelta(hours=4, minutes=30))),
            "2026-07-01T00:30:00.000Z",
        ),
    ],
)
def test_time_is_written_in_utc_with_milliseconds(moment: datetime, written: str) -> None:
    assert rfc3339(moment) == written
    assert abs(datetime.fromisoformat(written) - moment) < timedelta(milliseconds=1)
