"""Jobs run in a real rclone until they are done, are no longer wanted, or must end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall, TransferInterrupted
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.events import Event
from efss_transfer.model.result import Side, State

MakeRun = Callable[[Context], RunContext]
T = TypeVar("T")


@pytest.fixture
def make_run(rclone: Path, tmp_path: Path) -> Iterator[MakeRun]:
    """Runs of one daemon, which has an empty remote `source:` in its memory."""
    (tmp_path / "run").mkdir()
    settings = Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path / "run")})
    outcomes = FileOutcomes()
    log = LogParser(outcomes, Redactor([]))
    with (
        running_daemon(rclone, settings, log.take) as daemon,
        RcClient(daemon.socket_path, settings.rclone.boot_seconds) as rc,
    ):
        rc.create_remote("source", "memory", {})
        rc.set_log_level("DEBUG")
        yield lambda context: RunContext(rc, log, outcomes, Redactor([]), context, 5.0)


def runner(run: RunContext, should_stop: Callable[[], bool] = lambda: False) -> JobRunner:
    return JobRunner(run, ProgressReporter(run), should_stop)


def finish(events: Generator[Event, None, T]) -> T:
    """What a generator returns at its end."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            value: T = end.value
            return value


def info_calls(count: int) -> list[RcCall]:
    return [RcCall(key, "operations/fsinfo", {"fs": "source:"}) for key in range(count)]


def context(seconds: float = 60, last_start: float = 60) -> Context:
    now = time.monotonic()
    return Context(now + seconds, last_start=now + last_start)


def test_job_has_output_or_error(make_run: MakeRun) -> None:
    jobs = runner(make_run(context()))
    job = finish(jobs.run("operations/fsinfo", {"fs": "source:"}))
    assert (job.output["Name"], job.error) == ("source", "")
    assert "bytes" in jobs.stats
    refused = finish(jobs.run("operations/fsinfo", {"fs": "unknown:"}))
    assert "didn't find section in config file" in refused.error


def test_log_of_job_is_read_although_probe_made_the_same_call(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The true cause of an error may be in a line of the log, which arrives later than the reply:
    the reply to the probe must not be taken for the reply to the job.
    """
    run = make_run(context())
    probe = run.rc.start_probe("operations/fsinfo", {"fs": "source:probe"})
    assert probe.wait(10)
    run.log.last_opened_side = None
    take = LogParser._take

    def late(log: LogParser, entry: Mapping[str, Any]) -> None:
        time.sleep(0.1)
        take(log, entry)

    monkeypatch.setattr(LogParser, "_take", late)
    finish(runner(run).run("operations/fsinfo", {"fs": "source:job"}))
    assert run.log.last_opened_side is Side.SOURCE


@pytest.mark.parametrize("is_large", [False, True])
def test_garbage_is_collected_once_rclone_is_large(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    monkeypatch.setattr("efss_transfer.engines.rclone.rc.jobs._POLL_SECONDS", 0.0)
    collections: list[None] = []
    monkeypatch.setattr(RcClient, "enable_garbage_collection", lambda _: collections.append(None))
    run = replace(make_run(context()), resident_bytes=lambda: 1 << 40 if is_large else 1 << 20)
    for _ in range(50):
        finish(runner(run).run("operations/fsinfo", {"fs": "source:"}))
    assert bool(collections) is is_large


@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_each_job_is_reported_once(make_run: MakeRun, at_once: int) -> None:
    done: list[int] = []
    jobs = runner(make_run(context()))
    finish(jobs.run_all(info_calls(10), at_once, lambda key, _: done.append(key)))
    assert sorted(done) == list(range(10))


def test_only_the_first_job_starts_when_it_is_too_late(make_run: MakeRun) -> None:
    done: list[int] = []
    jobs = runner(make_run(context(last_start=-1)))
    with pytest.raises(TransferInterrupted) as interruption:
        finish(jobs.run_all(info_calls(3), 3, lambda key, _: done.append(key)))
    assert interruption.value.state is State.INCOMPLETE
    assert done == [0]


def test_cancelled_transfer_starts_no_further_job(make_run: MakeRun) -> None:
    done: list[int] = []
    cancelled = Context(time.monotonic() + 60, interrupted=lambda: State.CANCELLED)
    jobs = runner(make_run(cancelled))
    with pytest.raises(TransferInterrupted) as interruption:
        finish(jobs.run_all(info_calls(3), 1, lambda key, _: done.append(key)))
    assert interruption.value.state is State.CANCELLED
    assert done == [0]
    with pytest.raises(TransferInterrupted):
        list(jobs.pause(60))


def test_stop_condition_ends_jobs_and_calls_after_stop(make_run: MakeRun) -> None:
    done: list[int] = []
    stopped: list[dict[str, int]] = []
    jobs = runner(make_run(context()), lambda: True)
    after_stop = lambda sizes: stopped.append(dict(sizes))  # noqa: E731
    finish(jobs.run_all(info_calls(3), 1, lambda key, _: done.append(key), after_stop))
    assert done == [0]
    assert stopped == [{}]


def test_pause_waits_for_jobs_that_end_late(make_run: MakeRun) -> None:
    jobs = runner(make_run(context()))
    job = make_run(context()).rc.start_job("rc/noopauth", {})
    jobs._stopped.append(job)
    list(jobs.pause(0, drain=True))
    assert job.wait(0)
    assert jobs._stopped == []
