"""Requests and responses of runtimes that do not stream."""

from __future__ import annotations

import json
import math

import pytest

from efss_transfer.model.errors import NotAcceptable
from efss_transfer.runtimes import buffered
from support.contract import complaints


@pytest.fixture(autouse=True)
def _no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffered, "_services", [])


def test_configuration_error_is_logged_and_not_shown_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EFSS_TRANSFER_BODY_BYTES", "many")
    monkeypatch.setattr(buffered._LOG, "handlers", [caplog.handler])
    for _ in range(2):
        caplog.clear()
        status, headers, body = buffered.answer("POST", "/", {}, b"{}")
        assert (status, headers["Content-Type"]) == (500, "application/problem+json")
        assert complaints("problem", json.loads(body)) == []
        assert b"BODY_BYTES" not in body
        assert "EFSS_TRANSFER_BODY_BYTES must be a whole number" in caplog.text


def test_service_is_created_once() -> None:
    assert buffered.service() is buffered.service()


def test_header_names_may_have_any_case_and_the_body_is_limited() -> None:
    sent = {"CONTENT-TYPE": "application/json"}
    status, _, body = buffered.answer("post", "", sent, b" " * ((1 << 20) + 1), vouched=True)
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")
    status, _, body = buffered.answer(
        "POST", "/", {"content-type": "text/plain"}, b"", vouched=True
    )
    assert status == 415


@pytest.mark.parametrize(
    ("left", "usable"), [(900, 899), (4, 3), (2, 1.5), (0, 0), (math.inf, math.inf)]
)
def test_time_is_reserved_to_deliver_the_response(left: float, usable: float) -> None:
    assert buffered.usable_seconds(left) == usable


def test_streams_are_not_acceptable() -> None:
    assert buffered.negotiate("text/html, */*;q=0.1") == "application/json"
    with pytest.raises(NotAcceptable):
        buffered.negotiate("text/event-stream")
