"""Reported paths are remembered with their states."""

from __future__ import annotations

from efss_transfer.engines.seen_paths import SeenPaths, SeenState
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason

OUTCOMES = [
    (FileOutcome("a", FileState.TRANSFERRED), SeenState.TRANSFERRED),
    (FileOutcome("b", FileState.SKIPPED, reason=Reason.SAME), SeenState.SAME),
    (FileOutcome("c", FileState.SKIPPED, reason=Reason.EXISTS), SeenState.SKIPPED),
    (
        FileOutcome("d", FileState.FAILED, error=Failure("storage_error", "x", False, None)),
        SeenState.FAILED,
    ),
]


def test_path_is_found_with_its_state_after_seal() -> None:
    seen = SeenPaths()
    for outcome, _ in OUTCOMES:
        seen.add(outcome)
        assert seen.state_of(outcome.path) is None
    seen.seal()
    for outcome, state in OUTCOMES:
        assert seen.state_of(outcome.path) is state
    assert seen.state_of("e") is None


def test_paths_of_several_attempts_are_found() -> None:
    seen = SeenPaths()
    for number in range(100):
        seen.add(FileOutcome(f"{number}", FileState.TRANSFERRED))
        seen.seal()
    assert all(seen.state_of(f"{number}") is SeenState.TRANSFERRED for number in range(100))


def test_marked_path_has_failed_and_others_keep_their_state() -> None:
    seen = SeenPaths()
    for outcome, _ in OUTCOMES:
        seen.add(outcome)
    seen.seal()
    for path in ("a", "b", "e"):
        seen.mark_failed(path)
    states = [seen.state_of(path) for path in "abcde"]
    failed, skipped = SeenState.FAILED, SeenState.SKIPPED
    assert states == [failed, failed, skipped, failed, None]
