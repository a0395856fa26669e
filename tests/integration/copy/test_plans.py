"""POST /plan: what is told is what the copy then does, and what cannot work is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from support import faulty_webdav, http_servers, service_process
from support.contract import complaints
from support.service_process import LOOPBACK, Function
from support.storages import Storage

MIB = 1 << 20


def planned(function: Function, source: Any, destination: Any, **members: Any) -> requests.Response:
    """The answer to a plan, which fits its schema, whatever it is."""
    body = {"source": source, "destination": destination, **members}
    assert complaints("plan-request", body) == []
    answer = function.post(body, path="/plan")
    name = "plan" if answer.status_code == 200 else "problem"
    assert complaints(name, answer.json()) == [], answer.text
    return answer


def plan(function: Function, source: Any, destination: Any, **members: Any) -> Any:
    """A plan that can work."""
    answer = planned(function, source, destination, **members)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(function: Function, source: Any, destination: Any, **members: Any) -> Any:
    """The problem that a plan is."""
    answer = planned(function, source, destination, **members)
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    assert problem["status"] == answer.status_code
    return problem


def test_a_plan_counts_what_the_copy_then_copies(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("planned", {f"d{n % 3}/ü {n}.txt": b"x" * n for n in range(1, 31)})
    webdav.write("planned/large.bin", bytes(3 * MIB))
    ends = (webdav.endpoint("planned"), s3.endpoint("planned"))
    given = {"rate": 1_000_000, "files_per_second": 10, "seconds": 600}

    told = plan(function, *ends, id="run-42", plan=given)

    assert (told["id"], told["engine"]) == ("run-42", "rclone")
    assert (told["files"], told["there"]) == (31, 0)
    assert told["bytes"] == sum(range(1, 31)) + 3 * MIB
    assert told["largest"] == {"path": "large.bin", "bytes": 3 * MIB}
    assert told["rate"] == {"bytes_per_second": 1e6, "files_per_second": 10, "basis": "given"}
    assert told["seconds"]["limit"] == 600
    # 3.1 s for the bytes, which is as much as for the files, after the look.
    work = told["seconds"]["transfer"] - told["seconds"]["look"]
    assert work == pytest.approx(told["bytes"] / 1e6, abs=0.01)
    assert told["shards"]["count"] == 1
    assert s3.hashes("bucket/planned") == {}, "a plan writes nothing"

    copied = function.copy(*ends).json()
    assert copied["totals"]["files"]["transferred"] == told["files"]
    assert copied["totals"]["bytes"]["transferred"] == told["bytes"]
    after = plan(function, *ends)
    assert (after["files"], after["bytes"], after["there"]) == (0, 0, 31)
    assert after["shards"]["count"] == 1


def test_a_plan_is_of_what_is_selected(function: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("planned-some", {f"{n}.{end}": b"x" * 9 for n in range(8) for end in ("a", "b")})
    ends = (webdav.endpoint("planned-some"), s3.endpoint("planned-some"))
    selections: list[dict[str, Any]] = [
        {"include": ["*.a"]},
        {"files": [{"path": "1.a"}, {"path": "2.b"}]},
        {"shard": {"index": 1, "count": 2}},
    ]
    for selection in selections:
        told = plan(function, *ends, selection=selection)
        dry = function.copy(*ends, selection=selection, options={"dry_run": True}).json()
        assert told["files"] == dry["totals"]["files"]["skipped"] > 0
        assert told["bytes"] == dry["totals"]["bytes"]["dry_run"]
    assert told["shard"] == {"index": 1, "count": 2}
    single = plan(function, webdav.endpoint("planned-some/3.a"), s3.endpoint("planned-one"))
    assert single["largest"] == {"path": "3.a", "bytes": 9}


def test_shards_are_as_many_as_the_time_demands(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("planned-slow", {f"{n}": b"x" * 1000 for n in range(60)})
    ends = (webdav.endpoint("planned-slow"), s3.endpoint("planned-slow"))
    # 60 s of work at a file a second; of 30 s seven tenths are reckoned with, less the look.
    slow = {"rate": 1e9, "files_per_second": 1, "seconds": 30}

    told = plan(function, *ends, plan=slow)

    look = told["seconds"]["look"]
    assert told["seconds"]["transfer"] == pytest.approx(60 + look, abs=0.01)
    count = told["shards"]["count"]
    assert 60 / count + look <= 21 < 60 / (count - 1) + look
    assert told["shards"] == {
        "count": count,
        "files": -(-60 // count),
        "bytes": -(-60_000 // count),
        "seconds": pytest.approx(60 / count + look, abs=0.01),
    }
    # No more shards than files, however little time there is for each.
    assert plan(function, *ends, plan={**slow, "files_per_second": 0.01})["shards"]["count"] == 60
    # What is planned as a shard is divided further: the count is of all.
    part = {"index": 0, "count": 2}
    again = plan(function, *ends, plan=slow, selection={"shard": part})
    assert again["shards"]["count"] % 2 == 0
    assert again["shards"]["count"] >= count


def test_the_rate_is_measured_by_reading_of_the_largest_file(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("planned-read", {"small": b"x"})
    webdav.write("planned-read/large", bytes(64 * MIB))
    ends = (webdav.endpoint("planned-read"), s3.endpoint("planned-read"))

    told = plan(function, *ends)
    assert told["rate"]["basis"] == "measured"
    assert told["rate"]["bytes_per_second"] > MIB
    alone = plan(function, webdav.endpoint("planned-read/large"), s3.endpoint("planned-read"))
    assert alone["rate"]["basis"] == "measured"
    few = plan(function, *ends, selection={"exclude": ["large"]})
    assert few["rate"] == {
        "bytes_per_second": 5e7,
        "files_per_second": 25,
        "basis": "assumed",
    }


@pytest.mark.slow
def test_a_source_that_is_slow_is_read_for_three_seconds_and_no_longer(
    function: Function, s3: Storage
) -> None:
    with http_servers.slow_source(100 * MIB, MIB) as slow:
        told = plan(function, slow.endpoint("data"), s3.endpoint("planned-slowly"))
        assert told["rate"]["basis"] == "measured"
        assert MIB / 4 < told["rate"]["bytes_per_second"] < 2 * MIB
        problem = refused(
            function,
            slow.endpoint("data"),
            s3.endpoint("planned-slowly"),
            options={"deadline_seconds": 20},
        )
    assert problem["code"] == "too_large"
    assert problem["plan"]["bytes"] == 100 * MIB


def test_a_file_that_no_invocation_can_carry_is_refused(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("planned-large", {"large": bytes(MIB), "small": b"x"})
    ends = (webdav.endpoint("planned-large"), s3.endpoint("planned-large"))
    slow = {"rate": 10_000, "seconds": 60}
    problem = refused(function, *ends, plan=slow)
    assert (problem["status"], problem["code"]) == (422, "too_large")
    assert not problem["retryable"]
    assert problem["plan"]["largest"] == {"path": "large", "bytes": MIB}
    assert "1048576 bytes and takes 105 s" in problem["detail"]
    assert plan(function, *ends, plan={**slow, "seconds": 600})["files"] == 2
    assert plan(function, *ends, plan=slow, selection={"exclude": ["large"]})["files"] == 1


class Quota:
    """An empty WebDAV destination that says how much room it has, if it has a quota."""

    def __init__(self, room: int | None) -> None:
        self.room = room

    def answer(self, handler: Any) -> None:
        asked = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path = handler.path.rstrip("/")
        status, body = 207, http_servers.multistatus({"/": 0})
        if handler.command != "PROPFIND" or path:
            status, body = 404, b""
        elif b"quota-available-bytes" in asked and self.room is not None:
            told = b"<d:quota-available-bytes>%d</d:quota-available-bytes>" % self.room
            told += b"<d:quota-used-bytes>0</d:quota-used-bytes>"
            body = body.replace(b"<d:resourcetype>", told + b"<d:resourcetype>")
        handler.send_response(status)
        handler.send_header("Content-Type", "text/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def with_quota() -> Iterator[Callable[[Quota], Any]]:
    with ExitStack() as running:

        def serve(quota: Quota) -> Any:
            url = running.enter_context(http_servers.misbehaving(quota.answer))
            return {"type": "webdav", "parameters": {"url": url, "vendor": "other"}, "path": "in"}

        yield serve


def test_a_destination_without_room_is_refused(
    function: Function,
    webdav: Storage,
    storages: dict[str, Storage],
    with_quota: Callable[[Quota], Any],
) -> None:
    webdav.fill("planned-quota", {"a": bytes(1000), "b": bytes(1000)})
    source = webdav.endpoint("planned-quota")
    problem = refused(function, source, with_quota(Quota(1999)))
    assert (problem["status"], problem["code"]) == (507, "quota_exceeded")
    assert problem["plan"]["free"] == 1999
    assert "1999" in problem["detail"]
    assert plan(function, source, with_quota(Quota(2000)))["free"] == 2000
    assert "free" not in plan(function, source, with_quota(Quota(None)))
    # Where a disk is asked, and the folder is still to be made.
    assert plan(function, source, storages["sftp"].endpoint("planned-quota/new"))["free"] > 2000


def test_a_source_that_cannot_be_seen_whole_is_no_plan(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("planned-seen", {"a": b"a"})
    target = s3.endpoint("planned-seen")
    missing = refused(function, webdav.endpoint("no/such"), target)
    assert (missing["status"], missing["code"]) == (422, "source_not_found")
    locked = refused(function, webdav.endpoint("planned-seen", **{"pass": "wrong"}), target)
    assert locked["code"] == "authentication_failed"
    files = [{"path": "a"}, {"path": "no/such"}]
    listed = refused(function, webdav.endpoint("planned-seen"), target, selection={"files": files})
    assert (listed["status"], listed["code"]) == (502, "partial")
    assert listed["result"]["errors"][0]["samples"][0]["path"] == "no/such"
    with faulty_webdav.serving() as dav:
        dav.fill("data", {"a": b"a", "deep/b": b"b"})
        dav.fail("PROPFIND", "/data/deep", faulty_webdav.status(403))
        dav.fail("PROPFIND", "/data/deep/", faulty_webdav.status(403))
        half = refused(function, dav.storage.endpoint("data"), target)
    assert (half["code"], "plan" in half) == ("partial", False)


def test_a_look_that_takes_too_long_says_so_and_no_numbers(function: Function, s3: Storage) -> None:
    with faulty_webdav.serving() as dav:
        dav.fill("data", {"a": b"a", "deep/b": b"b"})
        for path in ("/data/deep", "/data/deep/"):
            dav.fail("PROPFIND", path, faulty_webdav.stall())
        answer = planned(
            function,
            dav.storage.endpoint("data"),
            s3.endpoint("planned-late"),
            options={"deadline_seconds": 2},
        )
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retryable"]) == (504, "incomplete", False)
    assert "Retry-After" not in answer.headers
    assert "plan" not in problem
    assert "result" not in problem


def test_what_a_site_does_not_allow_is_refused_and_the_log_tells_of_what_it_does(
    tmp_path: Path, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("planned-limits", {"a": b"a", "b": b"b"})
    ends = (webdav.endpoint("planned-limits"), s3.endpoint("planned-limits"))
    site = {**LOOPBACK, "limits": {"files": 1}}
    (runtime := tmp_path / "run").mkdir()
    with service_process.function(runtime, site=site) as strict:
        problem = refused(strict, *ends)
        assert (problem["status"], problem["code"]) == (403, "forbidden")
        assert "2 files; the limit here is 1" in problem["detail"]
        elsewhere = {**ends[0], "parameters": {**ends[0]["parameters"], "url": "http://10.0.0.1"}}
        problem = refused(strict, elsewhere, ends[1])
        assert problem["errors"][0]["pointer"] == "/source/parameters/url"
        assert plan(strict, *ends, id="run-42", selection={"include": ["a"]})["files"] == 1
        strict.wait_clean()
        numbers = strict.get("/metrics").text
        log = strict.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    events = {line["event"]: line for line in lines if line.get("request_id") == "run-42"}
    assert events.keys() == {"plan.started", "plan.ended"}
    assert events["plan.ended"]["state"] == "succeeded"
    assert webdav.parameters["pass"] not in log
    assert "efss_transfer_transfers_total{" not in numbers
    assert "efss_transfer_engine_boot_seconds_count" in numbers


def test_who_hangs_up_ends_the_look(function: Function, s3: Storage) -> None:
    with faulty_webdav.serving() as dav:
        dav.fill("data", {"deep/b": b"b"})
        for path in ("/data/deep", "/data/deep/"):
            dav.fail("PROPFIND", path, faulty_webdav.stall())
        body = {"source": dav.storage.endpoint("data"), "destination": s3.endpoint("planned-gone")}
        with pytest.raises(requests.ReadTimeout):
            function.post(body, path="/plan", timeout=1)
        function.wait_clean()


@pytest.mark.parametrize(
    ("given", "pointer", "keyword"),
    [
        ({"rate": 0}, "/plan/rate", "minimum"),
        ({"seconds": "long"}, "/plan/seconds", "type"),
        ({"speed": 1}, "/plan/speed", "unevaluatedProperties"),
        (7, "/plan", "type"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused(
    function: Function, webdav: Storage, given: Any, pointer: str, keyword: str
) -> None:
    body = {"source": webdav.endpoint("a"), "destination": webdav.endpoint("b"), "plan": given}
    answer = function.post(body, path="/plan")
    assert answer.status_code == 400
    told = [(error["pointer"], error["keyword"]) for error in answer.json()["errors"]]
    assert told == [(pointer, keyword)]


def test_a_transfer_has_no_plan_and_a_plan_no_stream(function: Function, webdav: Storage) -> None:
    body = {"source": webdav.endpoint("a"), "destination": webdav.endpoint("b")}
    answer = function.post({**body, "plan": {}})
    assert answer.json()["errors"][0]["pointer"] == "/plan"
    answer = function.post(body, path="/plan", headers={"Accept": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    answer = function.get("/plan")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
