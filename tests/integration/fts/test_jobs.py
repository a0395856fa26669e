"""Storages copy between themselves by jobs of an FTS server: true outcomes, by hash."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from support import faulty_webdav
from support.fts_site import FtsSite
from support.storages import digest

pytestmark = pytest.mark.slow

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/ü & 100 %": b"333", "empty": b""}
HASHES = {path: digest(content) for path, content in FILES.items()}


def counts(answer: requests.Response) -> tuple[int, int, int]:
    body = answer.json()
    files = body.get("result", body)["totals"]["files"]
    return files["transferred"], files["skipped"], files["failed"]


def errors(answer: requests.Response) -> list[tuple[str, str | None, int]]:
    found = answer.json()["result"]["errors"]
    return [(it["code"], it.get("side"), it["count"]) for it in found]


@pytest.mark.parametrize(
    ("reason", "code", "side", "status"),
    [
        ("SOURCE [2] No such file or directory", "source_not_found", "source", 422),
        ("DESTINATION [28] No space left on device", "quota_exceeded", "destination", 507),
        ("TRANSFER [5] SOURCE CHECKSUM MISMATCH", "checksum_mismatch", None, 502),
        (
            "SOURCE [13] Result HTTP 401 : Authentication Error",
            "authentication_failed",
            "source",
            422,
        ),
        ("DESTINATION [13] Permission denied", "permission_denied", "destination", 422),
        ("TRANSFER [110] Transfer canceled because the timeout", "storage_unreachable", None, 502),
        ("SOMETHING odd", "storage_error", None, 502),
    ],
)
def test_reason_of_a_file_becomes_a_code_with_its_side(
    reason: str, code: str, side: str | None, status: int, site: FtsSite
) -> None:
    site.source.fill("data", FILES)
    for path in FILES:
        site.fts.foretell(f"/{path}", reason)
    answer = site.copy()
    assert answer.status_code == status, answer.text
    assert errors(answer) == [(code, side, len(FILES))]
    assert reason in answer.json()["result"]["errors"][0]["samples"][0]["message"]
    assert site.destination.hashes("to") == {}


def test_job_that_is_dirty_is_partial_and_the_next_generation_holds_what_is_missing(
    site: FtsSite,
) -> None:
    site.source.fill("data", FILES)
    site.fts.foretell("/sub/b", "DESTINATION [28] No space left on device")
    answer = site.copy()
    assert answer.status_code == 502, answer.text
    assert answer.json()["result"]["state"] == "partial"
    assert counts(answer) == (len(FILES) - 1, 0, 1)
    site.fts.foretell_nothing()
    again = site.copy()
    assert again.status_code == 200, again.text
    assert counts(again) == (1, len(FILES) - 1, 0)
    assert site.destination.hashes("to") == HASHES
    first, second = site.fts.jobs.values()
    assert (first.state, second.state) == ("FINISHEDDIRTY", "FINISHED")
    assert [it.destination.rpartition("/")[2] for it in second.files] == ["b"]


def test_failure_that_may_pass_is_tried_again_in_a_generation_of_its_own(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.destination.fail("COPY", "/to/sub/b", faulty_webdav.status(503), times=1)
    answer = site.copy(attempts=2)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["attempts"], counts(answer)) == (2, (len(FILES), 0, 0))
    assert site.destination.hashes("to") == HASHES
    assert [len(job.files) for job in site.fts.jobs.values()] == [len(FILES), 1]


def test_success_that_the_server_reports_is_not_believed_unseen(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.lies_about.add("/sub/b")
    answer = site.copy()
    assert answer.status_code == 502, answer.text
    assert counts(answer) == (len(FILES) - 1, 0, 1)
    assert errors(answer) == [("storage_error", "destination", 1)]


def test_file_that_exists_stays_where_none_may_be_replaced(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.destination.fill("to", {"a": b"old"})
    answer = site.copy(overwrite="never")
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["skipped"] == {"exists": 1}
    assert site.destination.hashes("to") == HASHES | {"a": digest(b"old")}
    (job,) = site.fts.jobs.values()
    assert job.params["overwrite"] is False


def test_file_that_appears_meanwhile_stays_where_none_may_be_replaced(site: FtsSite) -> None:
    site.source.fill("data", {"a": b"1"})
    site.fts.foretell("/a", "DESTINATION [17] File exists and overwrite is not enabled")
    answer = site.copy(overwrite="never")
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["skipped"] == {"exists": 1}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_token_that_a_storage_refuses_blames_its_side(side: str, site: FtsSite) -> None:
    site.source.fill("data", FILES)
    body = site.body()
    body[side]["parameters"]["bearer_token"] = "canary-wrong-token"
    answer = site.function.post(body)
    assert answer.status_code == 422, answer.text
    assert {(it[0], it[1]) for it in errors(answer)} == {("authentication_failed", side)}
    assert site.destination.hashes("to") == {}
    assert "canary-wrong-token" not in answer.text + site.function.log.read_text()


def test_token_that_fts_refuses_is_named_and_nothing_is_copied(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    answer = site.copy(fts={"token": "canary-wrong-for-fts"})
    assert answer.status_code == 422, answer.text
    assert errors(answer) == [("authentication_failed", None, 1)]
    assert "The FTS server answered 401" in answer.text
    assert "canary-wrong-for-fts" not in answer.text + site.function.log.read_text()
    assert not site.fts.jobs


def test_token_of_the_caller_takes_the_place_of_the_sites(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.admit("canary-of-the-caller", "vo-of-the-caller")
    answer = site.copy(fts={"token": "canary-of-the-caller", "unmanaged_tokens": True})
    assert answer.status_code == 200, answer.text
    (job,) = site.fts.jobs.values()
    assert (job.vo, job.params["unmanaged_tokens"]) == ("vo-of-the-caller", True)
    assert "canary-of-the-caller" not in answer.text + site.function.log.read_text()


def test_storages_without_checksums_are_compared_by_size_with_a_warning(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.source.digest_of = lambda _, __: ""
    answer = site.copy(verify="checksum", attempts=2)
    assert answer.status_code == 200, answer.text
    assert [it["code"] for it in answer.json()["warnings"]] == ["compared_by_size"]
    assert answer.json()["verification"]["mode"] == "size"
    assert site.destination.hashes("to") == HASHES


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"bandwidth_limit": 100_000}, "options.bandwidth_limit"),
        ({"metadata": True}, "options.metadata"),
        ({"transfers": 4}, "options.transfers"),
        ({"on_error": "stop"}, "options.on_error"),
        ({"verify": "download"}, "options.verify"),
    ],
)
def test_options_that_it_cannot_honour_are_refused_by_name(
    options: dict[str, Any], named: str, site: FtsSite
) -> None:
    answer = site.copy(**options)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "unsupported"
    assert named in answer.json()["detail"]
    assert not site.fts.requests


def test_password_is_refused_because_fts_takes_tokens_alone(site: FtsSite) -> None:
    body = site.body()
    body["source"]["parameters"] |= {"user": "alice", "pass": "canary-password"}
    del body["source"]["parameters"]["bearer_token"]
    answer = site.function.post(body)
    assert answer.status_code == 422, answer.text
    assert "X.509" in answer.json()["detail"]


def test_member_of_this_engine_is_refused_for_another(site: FtsSite) -> None:
    answer = site.function.post(site.body(fts={"token": "canary"}) | {"engine": "rclone"})
    assert answer.status_code == 422, answer.text
    assert "`fts`" in answer.json()["detail"]


def test_plan_and_dry_run_submit_nothing(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    answer = site.copy(dry_run=True)
    assert answer.json()["totals"]["skipped"] == {"dry_run": len(FILES)}, answer.text
    plan = site.function.post(site.body(), "/plan")
    assert plan.status_code == 200, plan.text
    assert plan.json()["files"] == len(FILES)
    assert not site.fts.jobs
