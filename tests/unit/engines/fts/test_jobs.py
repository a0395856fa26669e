"""What an FTS server says of a job is read as far as it makes sense."""

from __future__ import annotations

import pytest

from efss_transfer.engines.fts.jobs import JobFile, job_of


def test_job_has_its_state_and_its_files_by_destination() -> None:
    file = {"dest_surl": "davs://h/a", "file_state": "FAILED", "reason": "SOURCE [2]"}
    job = job_of({"job_state": "ACTIVE", "files": [file | {"transferred": 5.0}]}, "1")
    assert (job.id, job.state, job.has_ended) == ("1", "ACTIVE", False)
    assert job.files == {"davs://h/a": JobFile("FAILED", "SOURCE [2]", 5)}
    assert job.files["davs://h/a"].has_ended


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED"])
def test_final_states_are_known(state: str) -> None:
    assert job_of({"job_state": state}, "1").has_ended


@pytest.mark.parametrize("state", ["SUBMITTED", "ACTIVE", "STAGING", "TOKEN_PREP", "ON_HOLD"])
def test_other_states_are_not_final(state: str) -> None:
    assert not job_of({"job_state": state}, "1").has_ended


def test_malformed_answer_says_nothing() -> None:
    job = job_of({"files": [1, {"transferred": "x", "reason": None}]}, "1")
    assert job.has_ended
    assert job.files == {"None": JobFile("", "", 0)}
