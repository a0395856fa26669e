"""A look has two lines, its metrics, and its code, also if its engine could not start."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from efss_transfer.egress.rules import Egress
from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import Limits
from efss_transfer.service.logs import JsonFormatter
from efss_transfer.service.look_record import recorded
from efss_transfer.service.metrics import Metrics
from efss_transfer.service.runner import RunParameters


@pytest.fixture
def parameters() -> RunParameters:
    context = {"transfer": "t", "caller": "alice"}
    return RunParameters("alice", 60, Limits(), Egress(), metrics=Metrics(), log_context=context)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(JsonFormatter().format(record)) for record in caplog.records]


def counted(parameters: RunParameters) -> str:
    return parameters.metrics.render("")[0].decode()


def test_look_is_logged_and_counted(
    parameters: RunParameters, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "efss_transfer")
    with recorded("list", "'archive' (s3)", parameters) as record:
        pass
    record.ended("ended: 3 entries", None, entries=3)
    started, ended = lines(caplog)
    assert (started["event"], ended["event"]) == ("list.started", "list.ended")
    assert ended["message"] == "list of 'archive' (s3) by 'alice': ended: 3 entries"
    assert {"transfer", "caller", "seconds", "entries"} <= ended.keys()
    assert 'efss_transfer_looks_total{code="none",kind="list"} 1.0' in counted(parameters)


@pytest.mark.parametrize(
    ("error", "code"),
    [(EngineError("canary"), "engine_failed"), (ValueError("canary"), "internal")],
)
def test_engine_that_cannot_start_is_logged_and_counted(
    parameters: RunParameters, caplog: pytest.LogCaptureFixture, error: Exception, code: str
) -> None:
    caplog.set_level(logging.INFO, "efss_transfer")
    with pytest.raises(type(error)), recorded("check", "s3", parameters):
        raise error
    ended = lines(caplog)[-1]
    assert (ended["event"], ended["code"]) == ("check.ended", code)
    assert code in ended["message"]
    assert "canary" not in caplog.text
    assert f'efss_transfer_looks_total{{code="{code}",kind="check"}} 1.0' in counted(parameters)
