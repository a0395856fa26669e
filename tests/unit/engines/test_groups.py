"""Errors and warnings are counted in groups, with a few samples."""

from __future__ import annotations

from efss_transfer.engines.groups import ErrorGroups, WarningGroups
from efss_transfer.model.result import MAX_SAMPLES, Failure, Sample, Side

BUSY = Failure("storage_busy", "wait", retryable=True, side=Side.SOURCE)
DENIED = Failure("permission_denied", "no", retryable=False, side=Side.SOURCE)


def test_most_frequent_group_comes_first_and_has_few_samples() -> None:
    errors = ErrorGroups()
    errors.add(DENIED, "x")
    for number in range(MAX_SAMPLES + 2):
        errors.add(BUSY, f"{number}")
    busy, denied = errors.groups()
    assert (busy.code, busy.count, len(busy.samples)) == (
        "storage_busy",
        MAX_SAMPLES + 2,
        MAX_SAMPLES,
    )
    assert denied.samples == (Sample("x", "no"),)


def test_one_code_of_both_sides_is_two_groups() -> None:
    errors = ErrorGroups()
    errors.add(DENIED, "x")
    errors.add(Failure("permission_denied", "no", retryable=False, side=Side.DESTINATION), "x")
    assert [group.side for group in errors.groups()] == [Side.SOURCE, Side.DESTINATION]


def test_warnings_have_the_message_of_their_code() -> None:
    warnings = WarningGroups()
    assert warnings.groups() == ()
    warnings.add("time_not_kept", "a", "1970", 3)
    (group,) = warnings.groups()
    assert (group.code, group.count, group.samples) == ("time_not_kept", 3, (Sample("a", "1970"),))
    assert group.message
