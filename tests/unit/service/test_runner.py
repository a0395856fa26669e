"""However a transfer ends: it is counted once, logged once, and notified once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from efss_transfer.contract.request_parser import parse
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.notification import Notification
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Result, State, Totals
from efss_transfer.service import runner
from efss_transfer.service.logs import JsonFormatter
from efss_transfer.service.metrics import Metrics
from efss_transfer.service.runner import RunParameters

NOW = datetime(2026, 11, 22, tzinfo=UTC)
STARTED = Started("rclone", NOW)
FILE = FileDone(FileOutcome("a", FileState.TRANSFERRED, 5))
FINISHED = Finished(Result(State.SUCCEEDED, "rclone", Totals(1, 0, 0, 5), NOW, NOW))
REQUEST = parse(
    json.dumps(
        {
            "id": "run-42",
            "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8"}, "path": ""},
            "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
        }
    ).encode()
)


class ScriptedEngine:
    """An engine that yields scripted events and raises scripted exceptions."""

    name = "rclone"
    unguarded: ClassVar[Mapping[str, str | None]] = {}
    is_third_party = False
    can_detach = False

    def __init__(self, *script: Event | Exception) -> None:
        self.script = script
        self.closed = False
        self.seconds = 0.0

    def run(self, _: TransferRequest, context: Context) -> Generator[Event, None, None]:
        self.seconds = context.deadline - time.monotonic()
        context.observer.booted(0.1)
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.closed = True

    def survey(
        self, _: TransferRequest, __: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        raise AssertionError(f"unexpected survey, measure={measure}")

    def health(self) -> Health:
        return Health(usable=True)


@dataclass
class Recorder:
    """Runs a transfer and records its notifications and metrics."""

    engine: ScriptedEngine
    metrics: Metrics = field(default_factory=Metrics)
    notified: list[tuple[Result, float]] = field(default_factory=list)

    def run(self, duration: float = 3600, *, notify: bool = True) -> runner.Events:
        def notify_receiver(result: Result, seconds: float) -> Notification:
            assert self.engine.closed or result.state is State.SUCCEEDED
            self.notified.append((result, seconds))
            return Notification(1, 204)

        parameters = RunParameters(
            "alice",
            duration,
            Limits(),
            Egress(),
            notify=notify_receiver if notify else None,
            metrics=self.metrics,
            log_context={"transfer": "x"},
        )
        return runner.run(REQUEST, self.engine, parameters)

    def counted(self) -> list[tuple[str, str]]:
        text = self.metrics.render("")[0].decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        assert [s.value for s in samples if s.name == "efss_transfer_running_transfers"] == [0]
        return [
            (sample.labels["state"], sample.labels["code"])
            for sample in samples
            if sample.name == "efss_transfer_transfers_total"
            for _ in range(int(sample.value))
        ]


def endings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    return [line["state"] for line in lines if line["event"] == "transfer.ended"]


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "efss_transfer")


def test_success_is_notified_before_the_result_is_yielded(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(ScriptedEngine(STARTED, FILE, FINISHED))
    result = runner.collect(recorder.run(), "errors", 1 << 20)
    ((sent, _),) = recorder.notified
    assert sent.notification is None
    assert sent.id == "run-42"
    assert result.notification == Notification(1, 204)
    assert recorder.counted() == [("succeeded", "none")]
    assert endings(caplog) == ["succeeded"]


def test_unexpected_error_becomes_a_failed_result(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(ScriptedEngine(STARTED, FILE, RuntimeError("canary")))
    result = runner.collect(recorder.run(), "errors", 1 << 20)
    ((sent, _),) = recorder.notified
    assert (sent.state, sent.code, sent.totals.transferred) == (State.FAILED, "internal", 1)
    assert result.notification == Notification(1, 204)
    assert recorder.counted() == [("failed", "internal")]
    assert endings(caplog) == ["failed"]
    assert "canary" not in caplog.text


def test_closing_the_stream_cancels_and_notifies(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(ScriptedEngine(STARTED, FILE, FINISHED))
    with closing(recorder.run()) as run:
        next(run)
        next(run)
    ((sent, _),) = recorder.notified
    assert (sent.state, sent.code, sent.totals.transferred) == (State.CANCELLED, "cancelled", 1)
    assert recorder.counted() == [("cancelled", "cancelled")]
    assert endings(caplog) == ["cancelled"]


def test_closing_after_the_result_changes_nothing() -> None:
    recorder = Recorder(ScriptedEngine(STARTED, FINISHED, RuntimeError("too late to matter")))
    with closing(recorder.run()) as run:
        assert [type(event) for event in (next(run), next(run))] == [Started, Finished]
    assert len(recorder.notified) == 1
    assert len(list(Recorder(ScriptedEngine(*recorder.engine.script)).run())) == 2


def test_engine_that_cannot_start_is_counted_but_not_notified(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder(ScriptedEngine(EngineError("No.")))
    with pytest.raises(EngineError):
        list(recorder.run())
    assert recorder.notified == []
    assert recorder.counted() == [("failed", "engine_failed")]
    assert endings(caplog) == ["failed"]


def test_run_that_was_never_started_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(ScriptedEngine(STARTED, FINISHED))
    recorder.run().close()
    assert (recorder.notified, recorder.counted(), endings(caplog)) == ([], [], [])


@pytest.mark.parametrize(
    ("duration", "notify", "engine", "notifying"),
    [(3600, True, 3587, 10), (20, True, 7.5, 10), (4, True, 1.5, 2), (4, False, 3, None)],
)
def test_time_is_reserved_for_the_notification(
    duration: float, notify: bool, engine: float, notifying: float | None
) -> None:
    recorder = Recorder(ScriptedEngine(STARTED, FINISHED))
    runner.collect(recorder.run(duration, notify=notify), "errors", 1 << 20)
    assert recorder.engine.seconds == pytest.approx(engine, abs=0.1)
    assert [seconds for _, seconds in recorder.notified] == (
        [] if notifying is None else [notifying]
    )
