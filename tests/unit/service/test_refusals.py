"""A refused request is one line and one count, with the side that is wrong and no caller's text."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from efss_transfer.model.errors import Busy, EfssTransferError, Forbidden, InvalidRequest, Violation
from efss_transfer.service import refusals
from efss_transfer.service.logs import JsonFormatter
from efss_transfer.service.metrics import Metrics


def at(*pointers: str) -> list[Violation]:
    return [Violation(pointer, "policy", "canary") for pointer in pointers]


@pytest.mark.parametrize(
    ("error", "side"),
    [
        (Busy("canary"), None),
        (Forbidden(at("/source/storage", "/source/parameters/canary")), "source"),
        (InvalidRequest(at("/destination")), "destination"),
        (InvalidRequest(at("/source", "/destination")), None),
        (InvalidRequest(at("")), None),
        (InvalidRequest(at("/canary")), None),
    ],
)
def test_refusal_is_logged_with_its_side(
    error: EfssTransferError, side: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "efss_transfer")
    metrics = Metrics()
    refusals.record(error, metrics, {"caller": "alice"}, time.monotonic() - 2)
    [line] = [JsonFormatter().format(record) for record in caplog.records]
    assert "canary" not in line
    members: dict[str, Any] = json.loads(line)
    assert members["message"].startswith(f"request by 'alice' refused: {error.code}")
    assert members.get("side") == side
    assert members["code"] == error.code
    assert members["caller"] == "alice"
    assert members["seconds"] >= 2
    assert f'code="{error.code}"'.encode() in metrics.render("")[0]
