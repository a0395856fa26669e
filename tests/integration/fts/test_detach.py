"""A transfer that is left to the FTS server, and looked after by the same request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.fts.engine import FtsEngine
from efss_transfer.model.events import FileDone, Finished, Progress
from efss_transfer.model.request import Endpoint, FtsServer, Options, TransferRequest
from efss_transfer.model.result import FileOutcome, Reason, Result, State
from engine_contract import context
from support import fts_server
from support.faulty_webdav import Faulty
from support.fts_site import empty
from support.storages import digest

pytestmark = pytest.mark.slow

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/c": b"333"}
HASHES = {path: digest(content) for path, content in FILES.items()}


class Copies:
    """Sends one request, with other options each time."""

    def __init__(
        self, fts: fts_server.FtsServer, storages: tuple[Faulty, Faulty], folder: Path
    ) -> None:
        self._engine = FtsEngine(Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(folder)}))
        self._server = FtsServer(fts.url, token="token")
        self._source, self._destination = (
            Endpoint("webdav", {"url": dav.url, "bearer_token": "x"}, path)
            for dav, path in zip(storages, ("data", "to"), strict=True)
        )
        self.files: dict[str, FileOutcome] = {}
        self.progress: Progress | None = None

    def __call__(self, **options: Any) -> Result:
        """The result. `files` has the outcomes, `progress` the last progress."""
        self.files.clear()
        request = TransferRequest(
            self._source, self._destination, options=Options(**options), fts=self._server
        )
        for event in self._engine.run(request, context()):
            if isinstance(event, FileDone):
                self.files[event.outcome.path] = event.outcome
            elif isinstance(event, Progress):
                self.progress = event
            elif isinstance(event, Finished):
                return event.result
        raise AssertionError("no result")


@pytest.fixture
def copy(fts: fts_server.FtsServer, storages: tuple[Faulty, Faulty], tmp_path: Path) -> Copies:
    fts.reset()
    fts.admit("token")
    for dav in storages:
        empty(dav)
    storages[0].fill("data", FILES)
    return Copies(fts, storages, tmp_path)


def test_request_is_left_running_and_found_again_until_it_has_ended(
    fts: fts_server.FtsServer, storages: tuple[Faulty, Faulty], copy: Copies
) -> None:
    fts.hold.set()
    first = copy(detach=True)
    assert (first.state, first.code, first.retryable) == (State.INCOMPLETE, "still_running", True)
    (job,) = fts.jobs.values()
    assert first.engine_report == {"jobs": [{"id": job.id, "state": "SUBMITTED"}]}
    assert job.params["retry"] == 2
    assert copy(detach=True).code == "still_running"
    status = copy(detach=True, dry_run=True)
    assert (status.state, status.code) == (State.INCOMPLETE, "still_running")
    assert copy.progress is not None
    assert copy.progress.expected_files == len(FILES)
    assert [*fts.jobs] == [job.id]
    assert not fts.seen("DELETE")
    fts.hold.clear()
    fts.wait_for(lambda: job.state == "FINISHED")
    for options in ({"detach": True, "dry_run": True}, {"detach": True}):
        ended = copy(**options)
        assert (ended.state, ended.code) == (State.SUCCEEDED, None)
        assert ended.totals.skipped == len(FILES)
    assert storages[1].hashes("to") == HASHES
    assert [*fts.jobs] == [job.id]


def test_status_before_anything_was_submitted_submits_nothing(
    fts: fts_server.FtsServer, copy: Copies
) -> None:
    status = copy(detach=True, dry_run=True)
    assert status.state is State.SUCCEEDED
    assert status.totals.reasons[Reason.DRY_RUN] == len(FILES)
    assert not fts.jobs


def test_status_says_why_a_job_that_was_left_running_has_failed(
    fts: fts_server.FtsServer, storages: tuple[Faulty, Faulty], copy: Copies
) -> None:
    fts.foretell("/sub/b", "DESTINATION [28] No space left on device")
    copy(detach=True)
    (job,) = fts.jobs.values()
    fts.wait_for(lambda: job.state == "FINISHEDDIRTY")
    status = copy(detach=True, dry_run=True)
    assert status.state is State.PARTIAL
    assert {group.code for group in status.errors} == {"quota_exceeded"}
    assert (status.totals.skipped, status.totals.failed) == (len(FILES) - 1, 1)
    assert len(fts.jobs) == 1
    fts.foretell_nothing()
    assert copy(detach=True).code in ("still_running", None)
    fts.wait_for(lambda: all(job.state in fts_server.ENDED for job in fts.jobs.values()))
    assert copy(detach=True, dry_run=True).state is State.SUCCEEDED
    assert storages[1].hashes("to") == HASHES


def test_more_files_than_a_job_takes_are_split(
    fts: fts_server.FtsServer, storages: tuple[Faulty, Faulty], copy: Copies
) -> None:
    fts.hold.set()
    storages[0].fill("data", {f"many/{number}": b"x" for number in range(2_300)})
    assert copy(detach=True).code == "still_running"
    assert [len(job.files) for job in fts.jobs.values()] == [1_000, 1_000, 303]
    assert len({it.destination for job in fts.jobs.values() for it in job.files}) == 2_303
    assert copy(detach=True).code == "still_running"
    assert len(fts.jobs) == 3
