"""A transfer that goes on without the service: its answers, and engines that cannot."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from efss_transfer.client import decoding
from efss_transfer.client.errors import StillRunning
from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Json, Reason, Result, State, Totals
from efss_transfer.runtimes.flask.app import FlaskService
from efss_transfer.site.site_file import Site
from support.contract import complaints

NOW = datetime(2026, 11, 29, tzinfo=UTC)
REQUEST: Json = {
    "engine": "tpc",
    "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8/a"}, "path": ""},
    "destination": {"type": "webdav", "parameters": {"url": "https://8.8.4.4/b"}, "path": ""},
}


class DetachingEngine:
    """Its one file arrives when `arrive` is called, whether anybody asks or not."""

    name = "tpc"
    unguarded: ClassVar[dict[str, str | None]] = {}
    is_third_party = False
    can_detach = True

    def __init__(self) -> None:
        self.submitted = 0
        self.has_arrived = False
        self.surveyed: list[TransferRequest] = []

    def arrive(self) -> None:
        self.has_arrived = True

    def run(self, request: TransferRequest, _: Context) -> Generator[Event, None, None]:
        yield Started(self.name, NOW)
        options = request.options
        if self.has_arrived:
            yield FileDone(FileOutcome("a", FileState.SKIPPED, 5, reason=Reason.SAME))
            yield Finished(self._result(State.SUCCEEDED, None, Totals(0, 1)))
        elif options.dry_run and not self.submitted:
            yield FileDone(FileOutcome("a", FileState.SKIPPED, 5, reason=Reason.DRY_RUN))
            totals = Totals(0, 1, reasons={Reason.DRY_RUN: 1}, dry_run_bytes=5)
            yield Finished(self._result(State.SUCCEEDED, None, totals))
        else:
            self.submitted = 1
            code = "still_running" if options.detach else "incomplete"
            yield Finished(self._result(State.INCOMPLETE, code, Totals()))

    def survey(
        self, request: TransferRequest, context: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        del context, measure
        self.surveyed.append(request)
        yield Started(self.name, NOW)
        return Survey(
            self._result(State.SUCCEEDED, None, Totals()), 1, 5, largest=("a", 5), seconds=1
        )

    def health(self) -> Health:
        return Health(usable=True)

    def _result(self, state: State, code: str | None, totals: Totals) -> Result:
        return Result(state, self.name, totals, NOW, NOW, code)


class AttachedEngine(DetachingEngine):
    """An engine whose transfers end with the request."""

    can_detach = False


def ask(
    engine: DetachingEngine,
    options: Json,
    *,
    path: str = "/",
    accept: str = "application/json",
    others: dict[str, Any] | None = None,
    **members: Any,
) -> Any:
    names = frozenset({engine.name, *(others or {})})
    service = FlaskService(
        Settings.read({}), Site(engines=names), {engine.name: engine, **(others or {})}
    )
    environ = EnvironBuilder(
        method="POST",
        path=path,
        headers=[("Accept", accept)],
        content_type="application/json",
        data=json.dumps({**REQUEST, "options": options, **members}),
        environ_overrides={"REMOTE_ADDR": "127.0.0.1"},
    ).get_environ()
    return service.handle(Request(environ))


def problem(response: Any) -> Json:
    shown = json.loads(response.get_data())
    assert complaints("problem", shown) == []
    return shown


def test_running_transfer_is_accepted_and_the_same_request_tells_the_end() -> None:
    engine = DetachingEngine()
    for _ in range(2):
        response = ask(engine, {"detach": True})
        assert (response.status_code, response.headers["Retry-After"]) == (202, "30")
        shown = problem(response)
        assert (shown["code"], shown["retryable"]) == ("still_running", True)
        assert (shown["result"]["state"], shown["result"]["code"]) == (
            "incomplete",
            "still_running",
        )
    engine.arrive()
    response = ask(engine, {"detach": True})
    assert (response.status_code, json.loads(response.get_data())["state"]) == (200, "succeeded")


def test_deadline_without_detach_is_a_timeout() -> None:
    response = ask(DetachingEngine(), {})
    shown = problem(response)
    assert (response.status_code, shown["code"]) == (504, "incomplete")
    assert "code" not in shown["result"]


def test_dry_run_with_detach_submits_nothing() -> None:
    engine = DetachingEngine()
    response = ask(engine, {"detach": True, "dry_run": True})
    assert (response.status_code, engine.submitted) == (200, 0)
    assert json.loads(response.get_data())["totals"]["skipped"] == {"dry_run": 1}
    ask(engine, {"detach": True})
    assert ask(engine, {"detach": True, "dry_run": True}).status_code == 202


def test_stream_and_client_tell_that_it_still_runs() -> None:
    response = ask(DetachingEngine(), {"detach": True}, accept="application/x-ndjson")
    lines = b"".join(response.response).splitlines()
    for line in lines:
        assert complaints("event", json.loads(line)) == []
    last = decoding.event(lines[-1])
    assert isinstance(last, Finished)
    assert last.result.is_still_running
    error = decoding.failure(last.result)
    assert isinstance(error, StillRunning)
    assert (error.status, error.retryable, error.retry_after) == (202, True, 30)


@pytest.mark.parametrize("path", ["/", "/plan"])
def test_engine_that_cannot_detach_names_those_that_can(path: str) -> None:
    response = ask(AttachedEngine(), {"detach": True}, path=path)
    shown = problem(response)
    assert (response.status_code, shown["code"]) == (422, "unsupported")
    assert "`options.detach`" in shown["detail"]
    other = DetachingEngine()
    other.name = "other"
    shown = problem(ask(AttachedEngine(), {"detach": True}, path=path, others={"other": other}))
    assert "`other`" in shown["detail"]


def test_plan_surveys_as_if_nothing_ran() -> None:
    engine = DetachingEngine()
    assert ask(engine, {"detach": True}, path="/plan").status_code == 200
    assert [it.options.detach for it in engine.surveyed] == [False]


def test_notification_of_a_detached_transfer_is_refused() -> None:
    notify = {"url": "https://hooks.example.org/"}
    shown = problem(ask(DetachingEngine(), {"detach": True}, notify=notify))
    assert [(it["pointer"], it["keyword"]) for it in shown["errors"]] == [("/notify", "order")]
