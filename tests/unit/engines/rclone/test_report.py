"""The member `rclone` of a result has rclone's own words, and nothing that could be secret."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.report import exit_code, report
from efss_transfer.engines.rclone.transfer.tuning import Tuning
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import ErrorGroup, Json, Side, State


def group(code: str) -> ErrorGroup:
    return ErrorGroup(code, None, False, 1, ())


@pytest.mark.parametrize(
    ("state", "error", "stats", "code", "expected"),
    [
        (State.SUCCEEDED, "", {}, None, 0),
        (State.INCOMPLETE, "", {}, None, 10),
        (State.CANCELLED, "", {}, None, 143),
        (State.FAILED, "", {"fatalError": True}, "quota_exceeded", 7),
        (State.FAILED, "directory not found", {}, "storage_error", 3),
        (State.FAILED, "", {}, "source_not_found", 3),
        (State.FAILED, "object not found", {}, "storage_error", 4),
        (State.PARTIAL, "403 Forbidden", {}, "permission_denied", 1),
    ],
)
def test_exit_code_is_that_of_the_rclone_command(
    state: State, error: str, stats: dict[str, Json], code: str | None, expected: int
) -> None:
    assert exit_code(state, error, stats, [group(code)] if code else []) == expected


def test_unknown_members_are_left_out_and_texts_are_redacted() -> None:
    status: dict[str, Json] = {"id": 7, "success": False, "error": "no canary", "input": "canary"}
    stats: dict[str, Json] = {"bytes": 5, "lastError": "canary again", "transferring": "canary"}
    json = report("1.75.2", 1, status, stats, Redactor(["canary"]), Tuning(4, 8, 1024, 1))
    assert json == {
        "version": "1.75.2",
        "exit_code": 1,
        "tuning": {"transfers": 4, "checkers": 8, "buffer_bytes": 1024, "streams": 1},
        "job": {"id": 7, "success": False, "error": "no [redacted]"},
        "stats": {"bytes": 5, "lastError": "[redacted] again"},
    }


def test_sides_behind_a_gateway_are_named() -> None:
    json = report("1.75.2", 0, {}, {}, Redactor([]), None, [Side.DESTINATION])
    assert json["webdav_gateway"] == ["destination"]


def test_files_that_were_uploaded_with_others_are_counted() -> None:
    json = report(
        "1.75.2", 0, {}, {}, Redactor([]), None, [Side.DESTINATION], {"bulk_uploads": 985}
    )
    assert json["bulk_uploads"] == 985
    assert "bulk_downloads" not in json


def test_run_without_job_reports_version_and_exit_code_only() -> None:
    assert report("1.75.2", 1, {}, {}, Redactor([]), None) == {"version": "1.75.2", "exit_code": 1}
