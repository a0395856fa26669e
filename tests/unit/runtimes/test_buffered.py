"""Answers that are whole, where the service itself cannot be made or has nothing to say."""

from __future__ import annotations

import json
import math

import pytest

from efss_transfer.model.errors import NotAcceptable
from efss_transfer.runtimes import buffered
from support.contract import complaints


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffered, "_made", [])


def test_a_wrong_setting_is_told_to_the_operator_and_not_to_the_caller(
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


def test_the_service_is_made_once() -> None:
    assert buffered.service() is buffered.service()


def test_headers_are_found_in_any_case_and_a_body_has_its_bound() -> None:
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
def test_of_the_time_that_is_left_a_moment_is_for_the_way_back(left: float, usable: float) -> None:
    assert buffered.usable(left) == usable


def test_what_cannot_be_whole_is_refused() -> None:
    assert buffered.representation("text/html, */*;q=0.1") == "application/json"
    with pytest.raises(NotAcceptable):
        buffered.representation("text/event-stream")
