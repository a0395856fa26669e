"""What every engine must do. An engine's own tests inherit this and say how to make it.

class TestMine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine: ...
    @pytest.fixture
    def filled(self) -> tuple[Endpoint, dict[str, str]]: ...   # a source, its hashes
    @pytest.fixture
    def target(self) -> tuple[Endpoint, Callable[[], dict[str, str]]]: ...
    @pytest.fixture
    def endless(self) -> Endpoint: ...   # a source that takes longer than any test
    @pytest.fixture
    def missing(self) -> Endpoint: ...
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import CheckingEngine, Context, Engine, ListingEngine, Survey
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.request import Endpoint, ListedFile, Options, Selection, TransferRequest
from efss_transfer.model.result import FileState, Reason, Result, Shard, State
from efss_transfer.model.storage_check import StepState
from efss_transfer.model.verification import VerifyMode

Filled = tuple[Endpoint, dict[str, str]]
Target = tuple[Endpoint, Callable[[], dict[str, str]]]


def context(seconds: float = 60, stop: Callable[[], State | None] = lambda: None) -> Context:
    return Context(
        deadline=time.monotonic() + seconds,
        interrupted=stop,
        egress=Egress(permits=lambda _host, _port, address: address.is_loopback),
    )


def result(events: list[Event]) -> Result:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.result


def surveyed(
    engine: Engine, request: TransferRequest, around: Context
) -> tuple[Survey, list[Event]]:
    """What a survey has found, and what was told meanwhile."""
    told: list[Event] = []
    looking = engine.survey(request, around, measure=False)
    while True:
        try:
            told.append(next(looking))
        except StopIteration as end:
            survey: Survey = end.value
            return survey, told


class EngineContract:
    """The protocol `Engine`, as tests."""

    def test_it_has_a_name_and_is_healthy(self, engine: Engine) -> None:
        assert engine.name.islower()
        assert engine.health().usable
        assert engine.health().version

    def test_it_tells_started_then_every_file_then_the_result(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        source, hashes = filled
        destination, arrived = target
        events = list(engine.run(TransferRequest(source, destination), context()))
        assert isinstance(events[0], Started)
        assert [type(event) for event in events].count(Finished) == 1
        done = [event.outcome for event in events if isinstance(event, FileDone)]
        assert sorted(outcome.path for outcome in done) == sorted(hashes)
        assert {outcome.state for outcome in done} == {FileState.TRANSFERRED}
        ended = result(events)
        assert (ended.state, ended.code, ended.errors) == (State.SUCCEEDED, None, ())
        assert ended.totals.transferred == len(hashes)
        assert ended.engine == engine.name
        assert ended.started <= ended.finished
        assert arrived() == hashes

    def test_a_second_run_skips_what_is_there(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        request = TransferRequest(filled[0], target[0])
        list(engine.run(request, context()))
        totals = result(list(engine.run(request, context()))).totals
        assert (totals.transferred, totals.skipped) == (0, len(filled[1]))
        assert totals.transferred_bytes == 0

    def test_a_dry_run_tells_what_would_be_copied_and_writes_nothing(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        request = TransferRequest(filled[0], target[0], options=Options(dry_run=True))
        before = target[1]()
        events = list(engine.run(request, context()))
        done = [event.outcome for event in events if isinstance(event, FileDone)]
        assert sorted(outcome.path for outcome in done) == sorted(filled[1])
        assert {(outcome.state, outcome.reason) for outcome in done} == {
            (FileState.SKIPPED, Reason.DRY_RUN)
        }
        assert result(events).state is State.SUCCEEDED
        assert target[1]() == before

    def test_a_survey_counts_what_a_run_would_copy_and_writes_nothing(
        self, engine: Engine, filled: Filled, target: Target, missing: Endpoint
    ) -> None:
        request = TransferRequest(filled[0], target[0])
        before = target[1]()
        survey, told = surveyed(engine, request, context())
        assert not {type(event) for event in told} & {FileDone, Finished}
        assert survey.result.state is State.SUCCEEDED
        assert (survey.files, survey.there) == (len(filled[1]), 0)
        assert survey.largest is not None
        assert survey.largest[0] in filled[1]
        assert survey.seconds > 0
        assert target[1]() == before
        ended = result(list(engine.run(request, context())))
        assert survey.bytes == ended.totals.transferred_bytes
        again, _ = surveyed(engine, request, context())
        assert (again.files, again.bytes, again.there) == (0, 0, len(filled[1]))
        nowhere, _ = surveyed(engine, replace(request, source=missing), context())
        assert nowhere.result.code == "source_not_found"

    def test_a_listing_has_the_first_entries_of_one_folder(
        self, engine: Engine, filled: Filled, missing: Endpoint
    ) -> None:
        if not isinstance(engine, ListingEngine):
            pytest.skip("this engine only copies")
        names = {path.partition("/")[0] for path in filled[1]}
        listing = engine.list_folder(filled[0], 1_000, context())
        assert {entry.name for entry in listing.entries} == names
        assert (listing.count, listing.is_truncated) == (len(names), False)
        first = engine.list_folder(filled[0], 1, context())
        assert first.entries == listing.entries[:1]
        assert (first.count, first.is_truncated) == (len(names), len(names) > 1)
        nowhere = engine.list_folder(missing, 1_000, context())
        assert nowhere.failure is not None
        assert nowhere.failure.code == "source_not_found"

    def test_a_check_leaves_nothing_behind(
        self, engine: Engine, target: Target, missing: Endpoint
    ) -> None:
        if not isinstance(engine, CheckingEngine):
            pytest.skip("this engine only copies")
        before = target[1]()
        for write, state in ((False, StepState.SKIPPED), (True, StepState.OK)):
            check = engine.check(target[0], context(), write=write)
            assert [step.state for step in check.steps] == [*[StepState.OK] * 3, state]
            assert check.has_passed
        assert target[1]() == before
        check = engine.check(missing, context(), write=True)
        assert not check.has_passed

    def test_detached_transfer_ends_by_itself_and_a_look_starts_nothing(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        if not engine.can_detach:
            pytest.skip("this engine's transfers end with their requests")
        detached = Options(detach=True)
        request = TransferRequest(filled[0], target[0], options=detached)
        look = replace(request, options=replace(detached, dry_run=True))
        before = target[1]()
        for _ in range(2):
            looked = result(list(engine.run(look, context())))
            assert looked.state is State.SUCCEEDED
            assert looked.totals.reasons[Reason.DRY_RUN] == len(filled[1])
        assert target[1]() == before
        until = time.monotonic() + 60
        while (ended := result(list(engine.run(request, context())))).is_still_running:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert ended.state is State.SUCCEEDED
        assert target[1]() == filled[1]
        looked = result(list(engine.run(look, context())))
        assert (looked.state, looked.totals.reasons.get(Reason.DRY_RUN, 0)) == (State.SUCCEEDED, 0)

    def test_shards_are_the_whole_and_share_nothing(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        copied: list[str] = []
        for index in range(3):
            selection = Selection(shard=Shard(index, 3))
            run = engine.run(TransferRequest(filled[0], target[0], selection=selection), context())
            events = list(run)
            copied += [event.outcome.path for event in events if isinstance(event, FileDone)]
            assert result(events).state is State.SUCCEEDED
        assert sorted(copied) == sorted(filled[1])
        assert target[1]() == filled[1]

    def test_listed_files_are_copied_and_no_others_and_a_missing_one_has_failed(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        source, hashes = filled
        one = sorted(hashes)[0]
        selection = Selection(files=(ListedFile(one), ListedFile("there/is/no/such")))
        events = list(
            engine.run(TransferRequest(source, target[0], selection=selection), context())
        )
        done = {
            event.outcome.path: event.outcome for event in events if isinstance(event, FileDone)
        }
        assert done[one].state is FileState.TRANSFERRED
        error = done["there/is/no/such"].error
        assert error is not None
        assert (error.code, error.retryable) == ("source_not_found", False)
        assert len(done) == 2
        ended = result(events)
        assert (ended.state, ended.attempts) == (State.PARTIAL, 1)
        assert target[1]() == {one: hashes[one]}

    def test_verification_says_what_was_compared(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        options = Options(verify=VerifyMode.DOWNLOAD)
        request = TransferRequest(filled[0], target[0], options=options)
        ended = result(list(engine.run(request, context())))
        assert ended.verification is not None
        assert ended.verification.mode is VerifyMode.DOWNLOAD
        assert ended.verification.checked == len(filled[1])
        assert (ended.verification.differing, ended.verification.missing) == (0, 0)

    def test_a_missing_source_is_a_failed_result_and_no_exception(
        self, engine: Engine, missing: Endpoint, target: Target
    ) -> None:
        ended = result(list(engine.run(TransferRequest(missing, target[0]), context())))
        assert (ended.state, ended.code) == (State.FAILED, "source_not_found")

    def test_it_tells_something_at_least_once_a_second(
        self, engine: Engine, endless: Endpoint, target: Target
    ) -> None:
        times = []
        run = engine.run(TransferRequest(endless, target[0]), context(seconds=4))
        for event in run:
            if isinstance(event, Progress):
                times.append(time.monotonic())  # noqa: PERF401 - the time is now, not later
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(gaps) >= 2
        # Not the longest: a busy machine may stand still for a second.
        assert statistics.median(gaps) < 1

    def test_the_deadline_makes_it_incomplete_in_time(
        self, engine: Engine, endless: Endpoint, target: Target
    ) -> None:
        began = time.monotonic()
        events = list(engine.run(TransferRequest(endless, target[0]), context(seconds=1)))
        assert time.monotonic() - began < 1 + 5
        ended = result(events)
        assert (ended.state, ended.code) == (State.INCOMPLETE, "incomplete")
        assert ended.retryable

    def test_an_interruption_is_heeded_within_a_second(
        self, engine: Engine, endless: Endpoint, target: Target
    ) -> None:
        asked: list[float] = []

        def stop() -> State | None:
            asked.append(time.monotonic())
            return State.CANCELLED if asked[-1] - asked[0] > 0.5 else None

        ended = result(list(engine.run(TransferRequest(endless, target[0]), context(stop=stop))))
        assert ended.state is State.CANCELLED
        assert len(asked) >= 2

    def test_closing_early_ends_it(self, engine: Engine, endless: Endpoint, target: Target) -> None:
        run = engine.run(TransferRequest(endless, target[0]), context())
        assert isinstance(next(run), Started)
        began = time.monotonic()
        run.close()
        assert time.monotonic() - began < 5

    def test_runs_are_independent(self, engine: Engine, filled: Filled, target: Target) -> None:
        good = TransferRequest(filled[0], target[0])
        bad = replace(good, source=replace(filled[0], path="there/is/no/such"))
        first, second = engine.run(good, context()), engine.run(bad, context())
        next(first)
        assert result(list(second)).state is State.FAILED
        assert result(list(first)).state is State.SUCCEEDED
