"""However a transfer ends, it is counted once, logged once, and told once."""

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
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Notification, Result, State, Totals
from efss_transfer.service import runner
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
            "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8"}},
            "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
        }
    ).encode()
)


class Scripted:
    """An engine that tells what it was told to tell; an exception is raised."""

    name = "rclone"
    unguarded: ClassVar[Mapping[str, str | None]] = {}

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
        raise AssertionError(f"nobody wants a plan here, measured: {measure}")

    def health(self) -> Health:
        return Health(usable=True)


@dataclass
class Watch:
    """Everybody who is told of a transfer."""

    engine: Scripted
    metrics: Metrics = field(default_factory=Metrics)
    told: list[tuple[Result, float]] = field(default_factory=list)

    def run(self, duration: float = 3600, *, notify: bool = True) -> runner.Events:
        def notified(result: Result, seconds: float) -> Notification:
            assert self.engine.closed or result.state is State.SUCCEEDED
            self.told.append((result, seconds))
            return Notification(1, 204)

        terms = RunParameters(
            "alice",
            duration,
            Limits(),
            Egress(),
            notify=notified if notify else None,
            metrics=self.metrics,
            about={"transfer": "x"},
        )
        return runner.events(REQUEST, self.engine, terms)

    def counted(self) -> list[tuple[str, str]]:
        text = self.metrics.exposed("")[0].decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        assert [s.value for s in samples if s.name == "efss_transfer_running_transfers"] == [0]
        return [
            (sample.labels["state"], sample.labels["code"])
            for sample in samples
            if sample.name == "efss_transfer_transfers_total"
            for _ in range(int(sample.value))
        ]


def endings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    about = [getattr(record, "about", {}) for record in caplog.records]
    return [it["state"] for it in about if it["event"] == "transfer.ended"]


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "efss_transfer")


def test_what_succeeds_is_told_before_its_result_is(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(Scripted(STARTED, FILE, FINISHED))
    result = runner.result(watch.run(), "errors", 1 << 20)
    ((told, _),) = watch.told
    assert told.notification is None
    assert told.id == "run-42"
    assert result.notification == Notification(1, 204)
    assert watch.counted() == [("succeeded", "none")]
    assert endings(caplog) == ["succeeded"]


def test_a_defect_is_told_as_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(Scripted(STARTED, FILE, RuntimeError("canary")))
    result = runner.result(watch.run(), "errors", 1 << 20)
    ((told, _),) = watch.told
    assert (told.state, told.code, told.totals.transferred) == (State.FAILED, "internal", 1)
    assert result.notification == Notification(1, 204)
    assert watch.counted() == [("failed", "internal")]
    assert endings(caplog) == ["failed"]
    assert "canary" not in caplog.text


def test_who_goes_away_cancels_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(Scripted(STARTED, FILE, FINISHED))
    with closing(watch.run()) as run:
        next(run)
        next(run)
    ((told, _),) = watch.told
    assert (told.state, told.code, told.totals.transferred) == (State.CANCELLED, "cancelled", 1)
    assert watch.counted() == [("cancelled", "cancelled")]
    assert endings(caplog) == ["cancelled"]


def test_who_has_the_result_may_go() -> None:
    watch = Watch(Scripted(STARTED, FINISHED, RuntimeError("too late to matter")))
    with closing(watch.run()) as run:
        assert [type(event) for event in (next(run), next(run))] == [Started, Finished]
    assert len(watch.told) == 1
    assert len(list(Watch(Scripted(*watch.engine.script)).run())) == 2


def test_what_could_not_begin_is_counted_and_nobody_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch(Scripted(EngineError("No.")))
    with pytest.raises(EngineError):
        list(watch.run())
    assert watch.told == []
    assert watch.counted() == [("failed", "engine_failed")]
    assert endings(caplog) == ["failed"]


def test_a_run_that_never_began_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(Scripted(STARTED, FINISHED))
    watch.run().close()
    assert (watch.told, watch.counted(), endings(caplog)) == ([], [], [])


@pytest.mark.parametrize(
    ("duration", "notify", "engine", "notifying"),
    [(3600, True, 3587, 10), (20, True, 7.5, 10), (4, True, 1.5, 2), (4, False, 3, None)],
)
def test_there_is_time_left_to_tell_it(
    duration: float, notify: bool, engine: float, notifying: float | None
) -> None:
    watch = Watch(Scripted(STARTED, FINISHED))
    runner.result(watch.run(duration, notify=notify), "errors", 1 << 20)
    assert watch.engine.seconds == pytest.approx(engine, abs=0.1)
    assert [seconds for _, seconds in watch.told] == ([] if notifying is None else [notifying])
