"""A transfer as shards by template.yaml's state machine: moto's Step Functions, AWS's own runtime
client with the handler in it, and the real rclone.
"""

from __future__ import annotations

import http.server
import json
import queue
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.engines.sharding import contains
from efss_transfer.model.result import Shard
from support import faulty_webdav, state_machine
from support.contract import complaints
from support.faulty_webdav import Faulty
from support.http_servers import misbehaving
from support.lambda_runtime import Lambda, deployed
from support.storages import Storage, digest

COUNT = 12
PARALLEL = 4
LONG, SHORT = 60.0, 8.0
FILES = {f"{number % 7}/{number:03}.bin": f"{number}".encode() * 40 for number in range(72)}


def shard_of(path: str) -> int:
    [index] = [index for index in range(COUNT) if contains(Shard(index, COUNT), path)]
    return index


def path_in(index: int) -> str:
    return next(path for path in FILES if shard_of(path) == index)


@dataclass
class Invocations:
    """Lambda: so many places, and what has become of each invocation."""

    places: queue.Queue[Lambda]
    of_shard: Counter[int] = field(default_factory=Counter)
    others: list[str] = field(default_factory=list)
    told: list[tuple[int, Any]] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=dict)
    dies: dict[int, int] = field(default_factory=dict)
    healed: dict[int, tuple[Faulty, str]] = field(default_factory=dict)
    running: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        event = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        index, seconds = -1, LONG
        if "copy" in event:
            index = event["copy"]["shard"]["index"]
            with self.lock:
                self.of_shard[index] += 1
                if index in self.healed and self.of_shard[index] == 3:
                    dav, path = self.healed[index]
                    dav.spare(path)
            if self.of_shard[index] <= self.dies.get(index, 0):
                told = {"errorType": "Runtime.ExitError", "errorMessage": "signal: killed"}
                _reply(handler, json.dumps(told).encode(), failed=True)
                return
            if index in self.seconds and self.of_shard[index] < 3:
                seconds = self.seconds[index]
        else:
            self.others += event
        place = self.places.get()
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            body = place.send(event, seconds)
        finally:
            with self.lock:
                self.running -= 1
            self.places.put(place)
        self.told.append((index, json.loads(body)))
        _reply(handler, body)


def _reply(
    handler: http.server.BaseHTTPRequestHandler, body: bytes, *, failed: bool = False
) -> None:
    handler.send_response(200)
    if failed:
        handler.send_header(state_machine.ERROR, "Unhandled")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture(scope="module")
def places() -> Iterator[queue.Queue[Lambda]]:
    made: queue.Queue[Lambda] = queue.Queue()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ExitStack() as running:
        for number in range(PARALLEL):
            runtime_dir = Path(folder) / str(number)
            runtime_dir.mkdir()
            made.put(running.enter_context(deployed(runtime_dir)))
        yield made


@contextmanager
def serving(places: queue.Queue[Lambda]) -> Iterator[tuple[Invocations, str]]:
    invocations = Invocations(places)
    with misbehaving(invocations.answer) as url:
        yield invocations, url


@pytest.mark.slow
def test_twelve_shards_end_in_one_result_although_some_need_more_than_once(
    places: queue.Queue[Lambda], s3: Storage
) -> None:
    with faulty_webdav.serving() as dav, serving(places) as (invocations, url):
        dav.fill("tree", FILES)
        for index in (2, 7):  # silent until the third invocation: the time runs out
            dav.fail("GET", f"/tree/{path_in(index)}", faulty_webdav.stall())
            invocations.seconds[index] = SHORT
            invocations.healed[index] = dav, f"/tree/{path_in(index)}"
        # Busy until the third: what fails can pass by itself.
        dav.fail("GET", f"/tree/{path_in(4)}", faulty_webdav.status(503))
        invocations.healed[4] = dav, f"/tree/{path_in(4)}"
        invocations.dies[9] = 2  # and here the function itself dies
        request = {
            "id": "many",
            "source": dav.storage.endpoint("tree"),
            "destination": s3.endpoint("fanned-out"),
            "options": {"attempts": 1, "verify": "size"},
        }
        ended = state_machine.executed({**request, "shards": COUNT}, url, parallel=PARALLEL)
    assert ended["status"] == "SUCCEEDED", json.dumps(ended)
    result = json.loads(ended["output"])
    assert complaints("result", result) == []
    assert (result["state"], result["id"], result["errors"]) == ("succeeded", "many", [])
    # Exact, whatever was tried how often: each file once, and all of its bytes.
    assert result["totals"] == {
        "files": {"transferred": len(FILES), "skipped": 0, "failed": 0},
        "bytes": {"transferred": sum(map(len, FILES.values()))},
    }
    assert result["verification"]["checked"] == len(FILES)
    assert s3.hashes("bucket/fanned-out") == {path: digest(it) for path, it in FILES.items()}

    needed = {index: 3 if index in (2, 4, 7, 9) else 1 for index in range(COUNT)}
    assert invocations.of_shard == needed
    states: dict[int, list[str]] = {}
    for index, told in invocations.told:
        states.setdefault(index, []).append(told.get("result", {}).get("state", ""))
    assert states[2] == states[7] == ["incomplete", "incomplete", "succeeded"]
    assert states[4][:2] in (["partial"] * 2, ["failed"] * 2)
    assert states[9] == ["succeeded"]
    assert invocations.others == ["divide", "merge", "check"]
    assert 2 <= invocations.most <= PARALLEL


@pytest.mark.slow
def test_a_shard_that_fails_for_good_leaves_the_others_their_work(
    places: queue.Queue[Lambda], s3: Storage
) -> None:
    lost = path_in(5)
    with faulty_webdav.serving() as dav, serving(places) as (invocations, url):
        dav.fill("tree", FILES)
        dav.fail("GET", f"/tree/{lost}", faulty_webdav.status(403))
        invocations.dies[8] = 100
        request = {
            "source": dav.storage.endpoint("tree"),
            "destination": s3.endpoint("fanned-out-in-part"),
        }
        ended = state_machine.executed({**request, "shards": COUNT}, url, parallel=PARALLEL)
    assert (ended["status"], ended["error"]) == ("FAILED", "partial"), ended
    result = json.loads(ended["cause"])
    assert complaints("result", result) == []
    assert result["state"] == "partial"
    there = {path: digest(it) for path, it in FILES.items() if shard_of(path) != 8 and path != lost}
    assert s3.hashes("bucket/fanned-out-in-part") == there
    assert result["totals"]["files"] == {"transferred": len(there), "skipped": 0, "failed": 1}
    errors = {group["code"]: group for group in result["errors"]}
    assert errors.keys() == {"permission_denied", "engine_failed"}
    assert errors["permission_denied"]["samples"][0]["path"] == lost
    assert "Runtime.ExitError" in errors["engine_failed"]["samples"][0]["message"]
    # What is refused for good is not tried again; a function that dies, three times more.
    assert invocations.of_shard == {index: 4 if index == 8 else 1 for index in range(COUNT)}
    assert invocations.others == ["divide", "merge"]


@pytest.mark.slow
def test_what_cannot_work_is_refused_before_there_is_any_shard(
    places: queue.Queue[Lambda], webdav: Storage, s3: Storage
) -> None:
    webdav.fill("fan-out-planned", {"a": b"a"})
    request = {
        "source": webdav.endpoint("fan-out-planned"),
        "destination": s3.endpoint("fan-out-planned"),
    }
    with serving(places) as (invocations, url):
        told = state_machine.executed({**request, "shards": 0}, url, parallel=2)
        assert (told["status"], told["error"]) == ("FAILED", "invalid_request"), told
        assert "/shards" in told["cause"]
        # By the plan: one file is one shard.
        told = state_machine.executed(request, url, parallel=2)
        assert told["status"] == "SUCCEEDED", told
        assert json.loads(told["output"])["totals"]["files"]["transferred"] == 1
        missing = {**request, "source": webdav.endpoint("there-is-no-such")}
        told = state_machine.executed(missing, url, parallel=2)
        assert (told["status"], told["error"]) == ("FAILED", "source_not_found"), told
    assert invocations.of_shard == {0: 1}
