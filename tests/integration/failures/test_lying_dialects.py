"""Whatever an EFSS says in its own ways: `succeeded` means that every file arrived as it is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings

from support import service_process
from support.misbehaving.efss import DESTINATIONS, SOURCES, Liar, lying
from support.misbehaving.efss_scenarios import LARGE_ABOVE_MB, LyingScenario, lying_scenarios
from support.outcomes import checked_result
from support.service_process import Function

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY, reason="only the gateway uses the servers' own ways"
)
GENERATED: Final = int(os.environ.get("GENERATED_COPIES", "100"))
"""`scripts/faults` asks for more, and for others each time."""


class Liars(dict[tuple[str, str], Liar]):
    """A lying server of each kind for each side."""

    def __repr__(self) -> str:
        return "the servers"  # their content is too long for a report


@pytest.fixture(scope="module")
def liars() -> Iterator[Liars]:
    with ExitStack() as running:
        sides = [("source", kind) for kind in SOURCES] + [("to", kind) for kind in DESTINATIONS]
        yield Liars({side: running.enter_context(lying(side[1])) for side in sides})


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function, for which a file of 6 MB is large, and which waits for nothing for long."""
    runtime = tmp_path_factory.mktemp("lies")
    large = str(LARGE_ABOVE_MB) if service_process.CHUNKS else "0"
    with service_process.function(runtime, WEBDAV_CHUNKS_MB=large, STALL_SECONDS="6") as running:
        yield running


def check(function: Function, liars: Liars, scenario: LyingScenario, *, twice: bool) -> None:
    """Copy while the servers lie, and again when they do not."""
    note(repr(scenario))
    folder = uuid.uuid4().hex
    source, destination = liars["source", scenario.source], liars["to", scenario.destination]
    whole = source.storage.fill(folder, scenario.contents())
    ends = source.storage.endpoint(folder), destination.storage.endpoint(folder)
    source.plan(scenario.reading, scenario.number)
    destination.plan(scenario.writing, scenario.number)
    answer = function.copy(*ends, options=scenario.options)
    source.plan(())
    destination.plan(())
    judge(answer, destination.storage.hashes(folder), whole)
    if twice:
        answer = function.copy(*ends, options=scenario.options)
        judge(answer, destination.storage.hashes(folder), whole)
    function.wait_clean()


def judge(answer: Any, arrived: dict[str, str], whole: dict[str, str]) -> None:
    """An answer is true: of the whole transfer, and of each file that it names."""
    note(answer.text)  # hypothesis shows it with the scenario that fails
    assert answer.status_code != 500, answer.text
    if answer.status_code == 200:
        assert answer.json()["state"] == "succeeded"
        assert {path: arrived.get(path) for path in whole} == whole
    elif "result" in answer.json():
        for file in checked_result(answer).get("files", []):
            if file["state"] == "transferred":
                assert arrived.get(file["path"]) == whole[file["path"]], file


UNHURRIED: Final = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=24, derandomize=True, database=None, suppress_health_check=UNHURRIED)
@given(scenario=lying_scenarios(quick=True))
def test_success_is_true_in_a_few_dialects_of_lies(
    scenario: LyingScenario, eager: Function, liars: Liars
) -> None:
    check(eager, liars, scenario, twice=False)


@pytest.mark.slow
@settings(
    max_examples=GENERATED,
    derandomize="GENERATED_COPIES" not in os.environ,
    database=None,
    suppress_health_check=UNHURRIED,
)
@given(scenario=lying_scenarios(quick=False))
def test_success_is_never_wrong_in_any_dialect(
    scenario: LyingScenario, eager: Function, liars: Liars
) -> None:
    if path := os.environ.get("GENERATED_COPIES_MADE"):
        with Path(path).open("ab") as made:
            made.write(b".")
    check(eager, liars, scenario, twice=True)
