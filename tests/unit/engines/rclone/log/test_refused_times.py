"""Which failures of a file have its time alone as their cause."""

from __future__ import annotations

import pytest

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.refused_times import RefusedTimes
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Side


def take(text: str, times: RefusedTimes | None = None, path: str = "f") -> bool:
    if times is None:
        times = RefusedTimes(FileOutcomes())
        times.can_be_left_out = True
    failure = classify(text, Side.DESTINATION, Redactor(frozenset()))
    return times.take_failure(path, text, failure)


@pytest.mark.parametrize(
    ("text", "is_time"),
    [
        ("Update SetModTime failed: SetModTime failed: permission denied", True),
        ('Update SetModTime failed: SetModTime failed: sftp: "x" (SSH_FX_FAILURE)', True),
        ("SetModTime: 501 Invalid time format.", True),
        ('unchunked simple update failed: X-OC-MTime header must be an integer: got "x"', True),
        # The file is gone, the connection is lost, or something else failed.
        ("Update SetModTime failed: SetModTime failed: file does not exist", False),
        ("Update SetModTime failed: SetModTime failed: connection lost", False),
        ("Update SetModTime failed: SetModTime stat failed: permission denied", False),
        ("SetModTime: 421 Timeout.", False),
        ("SetModTime: EOF", False),
        ("Update Close failed: permission denied", False),
    ],
)
def test_failure_has_the_time_as_its_cause(text: str, *, is_time: bool) -> None:
    assert take(text) is is_time


def test_time_that_was_left_out_already_is_not_the_cause() -> None:
    times = RefusedTimes(FileOutcomes())
    text = "SetModTime: 550 No."
    assert not take(text, times)
    times.can_be_left_out = True
    assert take(text, times)
    assert times.begin_without() == ("f",)
    assert not take(text, times)
    assert take(text, times, "g")


def test_file_that_arrives_without_its_time_is_a_warning_once() -> None:
    outcomes = FileOutcomes()
    times = RefusedTimes(outcomes)
    times.can_be_left_out = True
    take("SetModTime: 550 No.", times)
    times.begin_without()
    times.transferred("f")
    times.transferred("f")
    times.transferred("another")
    (warning,) = outcomes.warnings
    assert (warning.code, warning.count) == ("time_not_kept", 1)
    assert warning.samples[0].message == "The server refuses the modification time: 550 No."
