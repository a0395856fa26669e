"""What a person is told, and that nothing in it can steer their terminal."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from efss_transfer.cli import exit_codes, progress, summary
from efss_transfer.cli.formatting import duration, printable, size
from efss_transfer.cli.in_process import NotConfigured
from efss_transfer.client.errors import Busy, ClientError, ServiceUnreachable, Unauthenticated
from efss_transfer.client.resume import Resumed
from efss_transfer.model.events import InFlight, Phase, Progress, Wait, WaitReason
from efss_transfer.model.result import (
    ErrorGroup,
    Reason,
    Result,
    Sample,
    Side,
    State,
    Totals,
    WarningGroup,
    utc_now,
)
from efss_transfer.model.verification import Verification, VerifyMode

HOSTILE = "x\x1b]0;title\x07\n[bold red]y\u202e"


def ended(
    state: State, *errors: ErrorGroup, code: str | None = None, transferred: int = 0
) -> Result:
    moment = utc_now()
    return Result(state, "rclone", Totals(transferred), moment, moment, code, errors)


def group(code: str, *, retryable: bool = False, count: int = 7) -> ErrorGroup:
    return ErrorGroup(code, Side.SOURCE, retryable, count, (Sample(HOSTILE, HOSTILE),))


@pytest.mark.parametrize("terminal", [True, False])
def test_failures_are_shown_with_control_characters_escaped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    summary.show(ended(State.PARTIAL, group("storage_error"), transferred=1), 3)
    told = capsys.readouterr().out
    assert told.startswith("Some files were not copied.\n1 file copied, 0 B, in 0 s, 3 invocations")
    assert "storage_error at the source" in told
    assert "and 6 more" in told
    assert r"x\x1b]0;title\x07\n[bold red]y\u202e" in told
    assert "\x1b]" not in told
    assert "\x07" not in told
    assert ("Failures" in told) is terminal


def test_skipped_and_verified_files_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    totals = Totals(1, 3, 0, 2048, {Reason.SAME: 1, Reason.OLDER: 1, Reason.DRY_RUN: 1}, 5)
    seen = Verification(VerifyMode.CHECKSUM, 3, 1, 0, "md5")
    moment = utc_now()
    summary.show(Result(State.SUCCEEDED, "rclone", totals, moment, moment, verification=seen), 1)
    assert capsys.readouterr().out == (
        "Copy complete.\n"
        "1 file copied, 2.0 KiB, in 0 s; 3 skipped, 0 failed.\n"
        "Dry run: 1 file, 5 B, would be copied.\n"
        "Skipped: 1 unchanged, 1 newer at the destination.\n"
        "Verified by checksum (md5): 3 files checked, 1 different, 0 missing.\n"
    )


def test_warnings_are_shown_with_control_characters_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    samples = (Sample("deep/a.h5", "before 1970"), Sample(HOSTILE, HOSTILE))
    warnings = (
        WarningGroup("time_not_kept", "Compare by size.", 1_200, samples),
        WarningGroup("of_a_newer_service", "Something.", 1, ()),
    )
    summary.show(replace(ended(State.SUCCEEDED, transferred=1), warnings=warnings), 1)
    told = capsys.readouterr().out
    assert told.partition("failed.\n")[2] == (
        "warning: time_not_kept (1,200 cases): Compare by size.\n"
        "  deep/a.h5: before 1970\n"
        r"  x\x1b]0;title\x07\n[bold red]y\u202e: x\x1b]0;title\x07\n[bold red]y\u202e"
        "\n"
        "  and 1,198 more\n"
        "warning: of_a_newer_service (1 case): Something.\n"
        "  and 1 more\n"
    )


def test_text_progress_writes_a_line_every_ten_seconds() -> None:
    told: list[str] = []
    lines = progress.TextProgress(told.append)
    one = Progress(Totals(1, 0, 1), 1024, 3, 4096, 512.0, 6.0, in_flight=(InFlight("a", 1, 2),))
    for _ in range(100):
        lines.event(one)
    lines.resumed(Resumed(2, 0.0, None))
    lines.resumed(Resumed(3, 2.2, Busy(f"Full{HOSTILE}")))
    assert told == [
        "Copying: 1 of 3 files (1 failed), 1.0 KiB of 4.0 KiB, 512 B/s, 6 s left",
        "The service's time limit was reached. Resuming: invocation 2.",
        f"Full{printable(HOSTILE)}. Retrying in 2 s.",
    ]


def test_sizes_and_durations_have_units() -> None:
    told = [size(it) for it in (0, 1023, 1024, 1536, 5 * 1024**3, 2 * 1024**6)]
    assert told == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB", "2.0 EiB"]
    assert [duration(it) for it in (0, 59.4, 60, 3599, 3600, 90061)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "25 h 01 min",
    ]


def test_incomplete_copy_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    incomplete = ended(State.INCOMPLETE, code="incomplete", transferred=1)
    summary.show(incomplete, 1)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("the time limit was reached. To continue, run the same command again.")
    # With --overwrite always, the same command would copy everything again.
    summary.show(incomplete, 1, advice="")
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "Copy incomplete: the time limit was reached."


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (ended(State.SUCCEEDED, transferred=1), 0),
        (ended(State.SUCCEEDED), 0),
        (ended(State.INCOMPLETE, code="incomplete"), 10),
        (ended(State.PARTIAL, group("name_refused"), code="partial"), 6),
        (ended(State.PARTIAL, group("source_not_found"), code="partial"), 4),
        (ended(State.PARTIAL, group("storage_busy", retryable=True), code="partial"), 5),
        (ended(State.FAILED, group("source_not_found"), code="source_not_found"), 3),
        (ended(State.FAILED, group("authentication_failed"), code="authentication_failed"), 7),
        (ended(State.FAILED, group("quota_exceeded"), code="quota_exceeded"), 7),
        (ended(State.FAILED, group("forbidden"), code="forbidden"), 8),
        (ended(State.FAILED, group("storage_error"), code="storage_error"), 1),
        (
            ended(State.FAILED, group("storage_busy", retryable=True), code="storage_busy"),
            5,
        ),
    ],
)
def test_result_has_the_exit_code_of_rclone(result: Result, code: int) -> None:
    assert exit_codes.of_result(result) == code


def test_no_transfer_exits_with_9_if_asked_for() -> None:
    assert exit_codes.of_result(ended(State.SUCCEEDED), nothing_is_an_error=True) == 9
    some = ended(State.SUCCEEDED, transferred=1)
    assert exit_codes.of_result(some, nothing_is_an_error=True) == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServiceUnreachable("gone", retryable=True), 5),
        (Busy("full", retryable=True), 5),
        (Unauthenticated("who?"), 7),
        (NotConfigured("wrong"), 2),
        (ClientError("what?", code="of tomorrow"), 1),
    ],
)
def test_error_without_a_result_has_an_exit_code(error: ClientError, code: int) -> None:
    assert exit_codes.of_error(error) == code


def progress_of(transferred: int, current: int, **more: Any) -> Progress:
    return Progress(Totals(transferred), current, 2, 1_000_000, **{"speed": 0.0, **more})


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (progress_of(0, 0), "Copying: 0 of 2 files, 0 B of 976.6 KiB"),
        (
            progress_of(1, 500_000, speed=1024.0, eta_seconds=0.2),
            "Copying: 1 of 2 files, 488.3 KiB of 976.6 KiB, 1.0 KiB/s, 1 s left",
        ),
        (
            progress_of(1, 1_000_000, speed=1024.0),
            "Copying: 1 of 2 files, 976.6 KiB of 976.6 KiB, 1.0 KiB/s, finishing",
        ),
        (
            progress_of(
                1,
                0,
                eta_seconds=9,
                waiting=Wait(WaitReason.SERVER_BUSY, Side.SOURCE, "Nextcloud", seconds=19.6),
            ),
            "Copying: 1 of 2 files, 0 B of 976.6 KiB, Nextcloud asks to slow down: 20 s",
        ),
        (
            progress_of(2, 1_000_000, phase=Phase.VERIFYING),
            "Verifying: 2 of 2 files, 976.6 KiB of 976.6 KiB",
        ),
    ],
)
def test_progress_says_only_what_is_known(event: Progress, line: str) -> None:
    lines: list[str] = []
    progress.TextProgress(lines.append).event(event)
    assert lines == [line]


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (Wait(WaitReason.SERVER_BUSY, Side.SOURCE), "the source is busy"),
        (
            Wait(WaitReason.FILE_LOCKED, Side.DESTINATION, "Nextcloud", "a\x1b.h5"),
            "a\\x1b.h5 is locked at the destination",
        ),
        (
            Wait(WaitReason.FILE_PROCESSING, Side.DESTINATION, "", f"{'x' * 40}/raw.h5"),
            f"the destination still processes …{'x' * 20}/raw.h5",
        ),
        (Wait(WaitReason.NEXT_ATTEMPT, seconds=65.2), "next attempt in 1 min 05 s"),
        (Wait(WaitReason.NEXT_ATTEMPT, seconds=0.2), "next attempt in 1 s"),
    ],
)
def test_wait_says_what_it_waits_for(wait: Wait, text: str) -> None:
    assert progress.wait_text(wait) == text


def test_new_wait_is_told_at_once_and_the_same_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lines: list[str] = []
    display = progress.TextProgress(lines.append)
    busy = progress_of(1, 0, waiting=Wait(WaitReason.SERVER_BUSY, Side.SOURCE))
    for event in (progress_of(1, 0), progress_of(1, 0), busy, busy, progress_of(1, 0), busy):
        display.event(event)
    assert [line.rpartition(", ")[2] for line in lines] == [
        "0 B of 976.6 KiB",
        "the source is busy",
    ]
    clock[0] += 11
    display.event(busy)
    assert len(lines) == 3


def test_average_speed_is_told_of_a_copy_that_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    short = replace(ended(State.SUCCEEDED), totals=Totals(1, transferred_bytes=4_194_304))
    summary.show(short, 1)
    assert "in 0 s; " in capsys.readouterr().out
    summary.show(replace(short, finished=short.started + timedelta(seconds=16)), 2)
    assert "4.0 MiB, in 16 s (256.0 KiB/s), 2 invocations; " in capsys.readouterr().out
