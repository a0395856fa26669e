"""When time runs out, or nobody waits: nothing half is left, and the same request goes on."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import contract, http_servers, service_process
from support.service_process import Function
from support.storages import Storage, digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target"),
    [("rclone", "s3"), pytest.param("sftp", "wsgidav", marks=pytest.mark.slow)],
)
def test_a_copy_that_needs_five_invocations_arrives_complete(
    function: Function, storages: dict[str, Storage], source: str, target: str
) -> None:
    """Each has about a third of the time that the whole takes."""
    here, there = storages[source], storages[target]
    path = uuid.uuid4().hex
    files = {f"{number // 10}/{number:02}": os.urandom(250_000) for number in range(48)}
    hashes = here.fill("/".join(filter(None, (here.base, path))), files)
    request = {
        "source": here.endpoint(path),
        "destination": there.endpoint(path),
        # 12 MB at 1 MB/s, of which rclone lets a few seconds' worth pass at once.
        "options": {"bandwidth_limit": 1_000_000, "deadline_seconds": 4, "report": "all"},
    }
    transferred: list[str] = []
    states = []
    for _ in range(12):
        began = time.monotonic()
        answer = function.post(request)
        assert time.monotonic() - began < 4 + 8
        document = answer.json()
        result = document if answer.status_code == 200 else document["result"]
        states.append(result["state"])
        new = [file["path"] for file in result["files"] if file["state"] == "transferred"]
        assert result["totals"]["files"]["transferred"] == len(new)
        assert result["totals"]["bytes"]["transferred"] == 250_000 * len(new)
        assert result["totals"]["files"]["failed"] == 0
        # What the answer says is there is there, and nothing that is half.
        arrived = there.hashes("/".join(filter(None, (there.base, path))))
        transferred += new
        assert arrived == {name: hashes[name] for name in transferred}
        if answer.status_code == 200:
            break
        assert (answer.status_code, document["code"]) == (504, "incomplete")
        assert document["retryable"] is True
        assert answer.headers["Retry-After"] == "0"
        assert contract.complaints("problem", document) == []
    assert states[-1] == "succeeded"
    assert len(states) >= 4
    assert sorted(transferred) == sorted(files)  # each once


def test_the_site_s_time_counts_if_it_is_less(tmp_path: Path, s3: Storage) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    with (
        http_servers.slow_source(10_000_000, 100_000) as slow,
        service_process.function(runtime, DURATION_SECONDS="2") as function,
    ):
        began = time.monotonic()
        answer = function.copy(
            slow.endpoint("data"), s3.endpoint("x"), options={"deadline_seconds": 100}
        )
        assert time.monotonic() - began < 2 + 8
        assert answer.json()["code"] == "incomplete"
        function.wait_clean()


def test_what_is_on_its_way_may_still_arrive(function: Function, s3: Storage) -> None:
    """Near the end no file is begun, and those that were begun are waited for."""
    name = uuid.uuid4().hex
    # Four at a time, each of which takes a second.
    with http_servers.slow_source(100_000, 100_000, files=80) as slow:
        answer = function.copy(
            slow.endpoint("data"),
            s3.endpoint(name),
            options={"deadline_seconds": 12, "report": "all", "transfers": 4},
        )
    result = answer.json()["result"]
    assert answer.json()["code"] == "incomplete"
    begun = {path.removeprefix("/data/") for path in slow.details["begun"]}
    assert set(s3.hashes(f"bucket/{name}")) == begun
    assert 0 < result["totals"]["files"]["transferred"] == len(begun) < 80


Leave = Callable[[Function, dict[str, Any]], None]


def by_hanging_up(function: Function, request: dict[str, Any]) -> None:
    body = json.dumps(request).encode()
    address = urlsplit(function.url)
    with socket.create_connection((str(address.hostname), address.port or 80)) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        time.sleep(2)


def by_leaving_the_stream(function: Function, request: dict[str, Any]) -> None:
    with closing(function.events(request)) as events:
        for event in events:
            if event["event"] == "progress" and event["bytes"]["transferred"] > 100_000:
                return


def by_the_deadline(function: Function, request: dict[str, Any]) -> None:
    answer = function.post({**request, "options": {"deadline_seconds": 2}})
    assert answer.json()["code"] == "incomplete"


@pytest.mark.parametrize("leave", [by_hanging_up, by_leaving_the_stream, by_the_deadline])
@pytest.mark.parametrize(
    "target",
    [
        "wsgidav",
        "rclone",
        "s3",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sftp", "ftp")),
    ],
)
def test_what_was_in_flight_leaves_no_partial_file(
    function: Function, storages: dict[str, Storage], target: str, leave: Leave
) -> None:
    there = storages[target]
    name = uuid.uuid4().hex
    folder = "/".join(filter(None, (there.base, name)))
    kept = there.fill(folder, {"there before": b"kept"})
    with http_servers.slow_source(50_000_000, 1_000_000, files=4) as slow:
        leave(
            function,
            {"source": slow.endpoint("data"), "destination": there.endpoint(name)},
        )
        function.wait_clean(20)
    assert there.hashes(folder) == kept


@pytest.mark.parametrize("target", ["rclone", "sftp"])
def test_a_single_file_in_flight_leaves_no_partial_file(
    function: Function, storages: dict[str, Storage], target: str
) -> None:
    there = storages[target]
    name = uuid.uuid4().hex
    with http_servers.slow_source(50_000_000, 1_000_000) as slow:
        by_the_deadline(
            function,
            {
                "source": slow.endpoint("data/0.bin"),
                "destination": there.endpoint(f"{name}/renamed.bin"),
            },
        )
    assert there.hashes(name) == {}


def test_what_was_there_before_stays_where_a_storage_keeps_it(
    function: Function, storages: dict[str, Storage]
) -> None:
    """An upload that replaces a file at its end has changed nothing when it is cut off."""
    there = storages["sftp"]
    name = uuid.uuid4().hex
    there.fill(name, {"0.bin": b"precious"})
    with http_servers.slow_source(50_000_000, 1_000_000) as slow:
        by_the_deadline(
            function, {"source": slow.endpoint("data"), "destination": there.endpoint(name)}
        )
    assert there.hashes(name) == {"0.bin": digest(b"precious")}


@pytest.mark.slow
def test_progress_names_what_is_in_flight(function: Function, s3: Storage) -> None:
    with http_servers.slow_source(400_000, 100_000, files=6) as slow:
        answer = function.post(
            {
                "source": slow.endpoint("data"),
                "destination": s3.endpoint(uuid.uuid4().hex),
                "options": {"transfers": 2},
            },
            headers={"Accept": "application/x-ndjson"},
        )
    events = [json.loads(line) for line in answer.text.splitlines()]
    for event in events:
        assert contract.complaints("event", event) == []
    progress = [event for event in events if event["event"] == "progress"]
    flying = [event["in_flight"] for event in progress]
    # `transfers` is how many go at a time, and it binds.
    assert max(map(len, flying)) == 2
    named = {file["path"] for files in flying for file in files}
    assert named == {f"{number}.bin" for number in range(6)}
    assert all(file["size"] == 400_000 for files in flying for file in files)
    assert {event["phase"] for event in progress} == {"copying"}
    last = progress[-1]
    assert last["files"]["expected"] == 6
    assert last["bytes"]["expected"] == 2_400_000
    assert last["bytes_per_second"] > 0


def test_a_site_s_limit_of_transfers_binds(tmp_path: Path, s3: Storage) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    site = {**service_process.LOOPBACK, "limits": {"transfers": 3}}
    with (
        http_servers.slow_source(200_000, 100_000, files=6) as slow,
        service_process.function(runtime, site=site) as function,
    ):
        answer = function.post(
            {
                "source": slow.endpoint("data"),
                "destination": s3.endpoint(uuid.uuid4().hex),
                "options": {"transfers": 64},
            },
            headers={"Accept": "application/x-ndjson"},
        )
    events = [json.loads(line) for line in answer.text.splitlines()]
    flying = [len(event["in_flight"]) for event in events if event["event"] == "progress"]
    assert max(flying) == 3
