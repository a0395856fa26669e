"""A transfer that is left running: how a caller and the command learn how far it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from efss_transfer.cli import exit_codes, main
from support.fts_site import TOKEN, FtsSite
from support.storages import digest

pytestmark = pytest.mark.slow

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/c": b"333"}
HASHES = {path: digest(content) for path, content in FILES.items()}


def test_detached_request_is_answered_by_202_until_its_job_has_ended(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    asked: list[dict[str, Any]] = [{}, {}, {"dry_run": True}]
    for options in asked:
        answer = site.copy(detach=True, **options)
        assert answer.status_code == 202, answer.text
        assert answer.json()["code"] == "still_running"
    (job,) = site.fts.jobs.values()
    site.fts.hold.clear()
    site.fts.wait_for(lambda: job.state == "FINISHED")
    ended = site.copy(detach=True)
    assert ended.status_code == 200, ended.text
    assert ended.json()["state"] == "succeeded"
    assert site.destination.hashes("to") == HASHES
    assert [*site.fts.jobs] == [job.id]
    assert "canary" not in answer.text + ended.text + site.function.log.read_text()


def test_command_starts_a_copy_and_tells_how_far_it_is(site: FtsSite, tmp_path: Path) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    (tmp_path / "fts-token").write_text(f"{TOKEN}\n")
    ends = {name: site.body()[side] for name, side in (("a", "source"), ("b", "destination"))}
    endpoints = tmp_path / "endpoints.json"
    named = {name: {it: end[it] for it in ("type", "parameters")} for name, end in ends.items()}
    endpoints.write_text(json.dumps(named))
    endpoints.chmod(0o600)
    arguments = ["a:data", "b:to", "--engine", "fts", "--endpoints", str(endpoints)]
    arguments += ["--fts-token-file", str(tmp_path / "fts-token"), "--url", site.function.url]

    def run(command: str, *more: str) -> int:
        return CliRunner().invoke(main.main, [command, *arguments, *more]).exit_code

    assert run("copy", "--detach") == exit_codes.OK
    (job,) = site.fts.jobs.values()
    assert run("status") == exit_codes.TIME_LIMIT
    site.fts.hold.clear()
    site.fts.wait_for(lambda: job.state == "FINISHED")
    assert run("status") == exit_codes.OK
    assert site.destination.hashes("to") == HASHES
    assert run("copy", "--fts-token-file", str(tmp_path / "none")) == exit_codes.USAGE
