"""Requests that end before their jobs do, and the same requests again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import requests

from support.fts_server import Asked, File, FtsJob, FtsServer
from support.fts_site import TOKEN, FtsSite
from support.service_process import Function
from support.storages import digest

pytestmark = pytest.mark.slow

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/c": b"333"}
HASHES = {path: digest(content) for path, content in FILES.items()}


def result_after(function: Function, site: FtsSite) -> dict[str, Any]:
    """The result of a request whose jobs begin only once it waits for them."""
    (running,) = site.fts.jobs
    site.fts.requests.clear()
    for event in function.events(site.body()):
        if site.fts.seen("GET", f"/jobs/{running}?"):
            site.fts.hold.clear()
        if event["event"] == "result":
            return event
    raise AssertionError("no result")


def test_deadline_leaves_the_job_running_and_the_same_request_waits_for_it(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    for seconds in (3, 10, 40):  # a busy machine has not submitted the job by then
        answer = site.copy(deadline_seconds=seconds)
        assert answer.status_code == 504, answer.text
        assert answer.json()["code"] == "incomplete"
        if site.fts.jobs:
            break
    (job,) = site.fts.jobs.values()
    assert job.state == "SUBMITTED"
    assert not site.fts.seen("DELETE")
    ended = result_after(site.function, site)
    assert ended["state"] == "succeeded", ended
    files = ended["totals"]["files"]
    assert files["transferred"] + files["skipped"] == len(FILES)
    assert site.destination.hashes("to") == HASHES
    assert len(site.fts.jobs) == 1


def test_function_that_is_killed_leaves_a_job_that_the_same_request_finds(
    site: FtsSite, other_function: Function
) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    events = other_function.events(site.body())
    next(events)
    site.fts.wait_for(lambda: site.fts.jobs)
    other_function.worker().kill()
    with pytest.raises(requests.RequestException):
        list(events)
    ended = result_after(other_function, site)
    assert ended["state"] == "succeeded", ended
    assert site.destination.hashes("to") == HASHES
    assert len(site.fts.jobs) == 1


def test_caller_who_hangs_up_cancels_the_job(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    site.function.leave(site.body(), lambda: site.fts.jobs)
    (job,) = site.fts.jobs.values()
    site.fts.wait_for(lambda: job.state == "CANCELED")
    assert site.destination.hashes("to") == {}
    assert TOKEN not in site.function.log.read_text()
    site.fts.hold.clear()
    again = site.copy()
    assert again.status_code == 200, again.text
    assert site.destination.hashes("to") == HASHES


def test_job_that_has_ended_before_it_is_cancelled_is_no_error(site: FtsSite) -> None:
    """FTS says so by a 304 within a 200."""
    site.source.fill("data", FILES)
    site.fts.hold.set()

    def end_first(asked: Asked) -> None:
        if asked.method == "DELETE":
            site.fts.hold.clear()
            (job,) = site.fts.jobs.values()
            site.fts.wait_for(lambda: job.state == "FINISHED")

    site.fts.refuse = end_first
    site.function.leave(site.body(), lambda: site.fts.jobs)
    site.fts.wait_for(lambda: site.destination.hashes("to") == HASHES)
    again = site.copy()
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"]["skipped"] == len(FILES)
    assert "internal error" not in site.function.log.read_text()


def test_job_that_somebody_cancels_at_the_server_has_failed(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    ended: dict[str, Any] = {}
    for event in site.function.events(site.body()):
        if event["event"] == "progress" and site.fts.jobs:
            (job,) = site.fts.jobs
            headers = {"authorization": f"Bearer {TOKEN}"}
            site.fts.answer(Asked("DELETE", f"/jobs/{job}", headers, None))
        ended = event
    (group,) = ended["errors"]
    assert (group["code"], group["retryable"]) == ("storage_error", True)
    assert "cancelled at the FTS server" in str(group)


def test_destination_that_another_job_writes_to_is_busy(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    url = f"{site.destination.url.replace('http', 'dav')}/to/a"
    other = File("dav://elsewhere/x", url, ("", ""), None, None)
    site.fts.jobs["other"] = FtsJob("other", "other-vo", {"job_metadata": None}, [other])
    answer = site.copy()
    assert answer.status_code == 503, answer.text
    (group,) = answer.json()["result"]["errors"]
    assert (group["code"], group["side"]) == ("storage_busy", "destination")
    other.state = "FINISHED"
    assert site.copy().status_code == 200
    assert site.destination.hashes("to") == HASHES


def test_same_request_twice_at_once_is_one_copy(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    with ThreadPoolExecutor(2) as threads:
        answers = [*threads.map(lambda _: site.copy(), range(2))]
    assert [answer.status_code for answer in answers] == [200, 200], [it.text for it in answers]
    assert site.destination.hashes("to") == HASHES


def test_server_that_fails_for_a_moment_is_asked_again(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    left = [503, 502]
    lock = threading.Lock()

    def fail(asked: Asked) -> tuple[int, str] | None:
        with lock:
            if asked.method == "GET" and "?files=" in asked.path and left:
                return left.pop(), "down for a moment"
        return None

    site.fts.refuse = fail
    answer = site.copy()
    assert answer.status_code == 200, answer.text
    assert not left
    assert site.destination.hashes("to") == HASHES


def test_server_that_is_down_is_named(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.refuse = lambda _: (503, "down")
    answer = site.copy()
    assert answer.status_code == 503, answer.text
    assert "The FTS server answered 503: down" in answer.text
    assert answer.json()["retryable"] is True


def test_id_that_another_caller_has_taken_is_passed_over(site: FtsSite) -> None:
    """The VO has the jobs of all its members, and one of them may have sent the same request."""
    site.source.fill("data", {"a": b"1"})
    assert site.copy().status_code == 200
    (job,) = site.fts.jobs.values()
    job.vo = f"other-{uuid4()}"
    site.source.fill("data", FILES)
    answer = site.copy()
    assert answer.status_code == 200, answer.text
    assert site.destination.hashes("to") == HASHES
    assert len(site.fts.jobs) == 2


def test_server_is_held_to_the_sites_rules(
    fts: FtsServer, site: FtsSite, denying_function: Function
) -> None:
    site.source.fill("data", FILES)
    answer = denying_function.post(site.body(fts={"token": TOKEN}))
    assert answer.status_code == 403, answer.text
    assert [it["pointer"] for it in answer.json()["errors"]] == ["/engine"]
    assert not fts.requests
