"""What a service tells is understood as what it was made of, and what is odd is no answer."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from efss_transfer.client import decoding, errors
from efss_transfer.client.errors import ClientError, UnexpectedAnswer
from efss_transfer.contract import problems
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import CODES
from efss_transfer.model.events import FileDone, Finished, Started
from efss_transfer.model.result import ErrorGroup, Result, Sample, State, Totals, utc_now
from support import contract

EVENTS = {
    name: part["examples"]
    for name, part in contract.schema("event")["$defs"].items()
    if name in ("started", "progress", "file", "result")
}
RESULT = contract.schema("result")["examples"][0]


@pytest.mark.parametrize("name", EVENTS)
def test_every_example_of_an_event_comes_back_as_it_was(name: str) -> None:
    for document in EVENTS[name]:
        event = decoding.event(json.dumps(document).encode())
        assert event is not None
        assert event.to_json() == document


def everything() -> dict[str, Any]:
    return {
        "event": "result",
        "id": "run-42",
        "state": "partial",
        "engine": "rclone",
        "started": "2026-11-22T16:00:00.000Z",
        "finished": "2026-11-22T16:00:09.250Z",
        "totals": {
            "files": {"transferred": 1, "skipped": 3, "failed": 2},
            "bytes": {"transferred": 10, "dry_run": 5},
            "skipped": {"same": 1, "older": 1, "dry_run": 1},
        },
        "errors": [
            {
                "code": "permission_denied",
                "side": "destination",
                "retryable": False,
                "count": 2,
                "samples": [{"path": "a", "message": "403"}, {"message": "no path"}],
            }
        ],
        "files": [
            {
                "path": "a",
                "state": "failed",
                "error": {"code": "permission_denied", "retryable": False, "message": "403"},
            }
        ],
        "verification": {
            "mode": "checksum",
            "hash": "md5",
            "checked": 3,
            "differing": 1,
            "missing": 0,
            "by_size": 1,
        },
        "files_omitted": 7,
        "attempts": 3,
        "notification": {
            "delivered": False,
            "attempts": 3,
            "status": 500,
            "error": {"code": "rejected", "message": "500"},
        },
        "rclone": {"version": "1.75.2", "exit_code": 1},
    }


def test_a_result_with_everything_comes_back_as_it_was() -> None:
    document = everything()
    event = decoding.event(json.dumps(document).encode())
    assert isinstance(event, Finished)
    assert event.to_json() == document
    assert event.result.code == "partial"


def test_what_a_newer_service_adds_is_passed_over() -> None:
    document = everything() | {"tomorrow": 1}
    document["totals"]["skipped"]["too_hot"] = 1
    document["errors"][0]["side"] = "middle"
    event = decoding.event(json.dumps(document).encode())
    assert isinstance(event, Finished)
    assert event.result.totals.transferred == 1
    assert event.result.errors[0].side is None
    assert decoding.event(b'{"event": "weather", "sunny": true}') is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"<html>",
        b"[]",
        b"1",
        b"{}",
        b'{"event": "result"}',
        b'{"event": "file", "path": "a", "state": "lost"}',
        b'{"event": "started", "engine": "rclone", "started": "yesterday"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_odd_is_no_answer(line: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        decoding.event(line)
    with pytest.raises(UnexpectedAnswer):
        list(decoding.answer(200, "application/json", line))
    with pytest.raises(UnexpectedAnswer):
        list(decoding.answer(502, "application/problem+json", line))


def test_an_answer_in_one_piece_is_told_like_a_stream() -> None:
    listed = {"path": "a", "state": "transferred", "bytes": 1}
    told = list(
        decoding.answer(200, "application/json", json.dumps({**RESULT, "files": [listed]}).encode())
    )
    assert [type(event) for event in told] == [Started, FileDone, Finished]
    assert told[1].to_json() == {"event": "file", **listed}
    for event in told:
        assert contract.complaints("event", event.to_json()) == []


def test_warnings_are_read_also_those_of_a_newer_service() -> None:
    warnings = [
        {
            "code": "of_a_newer_service",
            "message": "Look.",
            "count": 2,
            "samples": [{"path": "a", "message": "so"}, {"message": "or so"}],
        }
    ]
    body = json.dumps({**RESULT, "warnings": warnings}).encode()
    *_, last = decoding.answer(200, "application/json", body)
    assert isinstance(last, Finished)
    assert last.result.to_json()["warnings"] == warnings


def test_a_web_page_is_no_answer() -> None:
    with pytest.raises(UnexpectedAnswer, match="200"):
        list(decoding.answer(200, "text/html", b"{}"))


def ended(code: str) -> Result:
    group = ErrorGroup(code, None, CODES[code].retryable, 1, (Sample("a", "why"),))
    state = State(code) if code in list(State) else State.FAILED
    return Result(
        state, "rclone", Totals(failed=1), utc_now(), utc_now(), code=code, errors=(group,)
    )


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_an_error_of_its_own(code: str) -> None:
    kind = decoding._BY_CODE[code]
    assert kind.code == code
    # As the service tells it, in one piece and in a stream.
    document = problems.of_result(code, ended(code)).document
    (_, last) = list(
        decoding.answer(document["status"], "application/problem+json", encode_json(document))
    )
    assert isinstance(last, Finished)
    error = decoding.failure(last.result)
    assert type(error) is kind
    assert error.status == CODES[code].status
    assert error.retryable == document["retryable"]
    assert error.result is last.result
    del document["result"]
    with pytest.raises(kind) as refused:
        list(decoding.answer(document["status"], "application/problem+json", encode_json(document)))
    assert type(refused.value) is kind
    assert refused.value.code == code


def test_a_code_of_a_newer_service_is_a_plain_problem() -> None:
    document = {"code": "too_hot", "detail": "It is.", "retryable": True, "status": 529}
    with pytest.raises(errors.Problem) as refused:
        list(decoding.answer(529, "application/problem+json", json.dumps(document).encode(), 7))
    error = refused.value
    assert (error.code, error.retryable, error.retry_after) == ("too_hot", True, 7)


def test_errors_can_be_pickled() -> None:
    error: ClientError = decoding.failure(ended("storage_busy"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), again.code, str(again)) == (type(error), error.code, str(error))
    assert again.result == error.result
    assert again.retry_after == 30
