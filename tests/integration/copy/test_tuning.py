"""A copy is made fast where that is safe, as a user meets it."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config import resources
from efss_transfer.config.settings import Settings
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.stream_rate import stream_rate
from efss_transfer.engines.rclone.transfer.tuning import LARGE
from support import faulty_webdav, http_servers, service_process, slow_network
from support import storages as servers
from support.service_process import Function
from support.storages import Storage

MIB = 1 << 20


@pytest.fixture
def dav() -> Iterator[faulty_webdav.Faulty]:
    with faulty_webdav.serving() as running:
        yield running


def etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_a_result_says_what_was_chosen(function: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("tuned", {"a": b"a"})
    ends = webdav.endpoint("tuned"), s3.endpoint(uuid.uuid4().hex)
    tuned = function.copy(*ends).json()["rclone"]["tuning"]
    assert tuned == {"transfers": 64, "checkers": 64, "buffer_bytes": 16 * MIB, "streams": 1}
    tuned = function.copy(*ends, options={"transfers": 3}).json()["rclone"]["tuning"]
    assert tuned["transfers"] == 3


def test_a_nextcloud_is_not_asked_for_many_files_at_once(
    function: Function, dav: faulty_webdav.Faulty, s3: Storage
) -> None:
    dav.nextcloud.fill("a", {f"{n}": b"x" for n in range(3)})
    answer = function.copy(dav.nextcloud.endpoint("a"), s3.endpoint(uuid.uuid4().hex))
    assert answer.json()["rclone"]["tuning"]["transfers"] == 16


def test_as_many_files_as_chosen_are_asked_for_at_a_time(function: Function, s3: Storage) -> None:
    """Each GET is answered when 40 are there; fewer at a time would never be."""
    names = [f"/data/{n}" for n in range(40)]
    all_there = threading.Barrier(len(names))

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND":
            shown = {path: 1} if path in names else {"/data/": 0, **dict.fromkeys(names, 1)}
            http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")
        else:
            all_there.wait(20)
            http_servers.reply(handler, 200, b"x")

    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        answered = function.copy(source, s3.endpoint(uuid.uuid4().hex))
    assert answered.status_code == 200, answered.text
    assert answered.json()["totals"]["files"]["transferred"] == len(names)


def test_requests_at_the_same_time_share_what_is_of_use(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    """Two are held at their file until the others are over."""
    webdav.fill("beside", {"b": b"b"})
    both_asked, go_on = threading.Barrier(3), threading.Event()

    def hold(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND":
            shown = {"/data/": 0, "/data/a": 1} if "/a" not in handler.path else {"/data/a": 1}
            http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")
        else:
            both_asked.wait(60)
            assert go_on.wait(60)
            http_servers.reply(handler, 200, b"a")

    def copied(source: dict[str, Any], **selection: Any) -> dict[str, Any]:
        answer = function.copy(source, s3.endpoint(uuid.uuid4().hex), **selection)
        assert answer.json()["state"] == "succeeded", answer.text
        tuned: dict[str, Any] = answer.json()["rclone"]["tuning"]
        return tuned

    with http_servers.misbehaving(hold) as url, ThreadPoolExecutor() as pool:
        held = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        try:
            waiting = [pool.submit(copied, held) for _ in range(2)]
            both_asked.wait(60)
            third = copied(webdav.endpoint("beside"))
            # Who splits a copy has chosen how many run at a time.
            shard = copied(webdav.endpoint("beside"), selection={"shard": {"index": 0, "count": 1}})
        finally:
            go_on.set()
        assert [future.result()["transfers"] for future in waiting] == [64, 64]
    in_all = max(128, 64 * resources.cpu_count())
    assert third["transfers"] == min(64, in_all // 3)
    assert shard["transfers"] == 64


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_a_pause_gets_one(
    function: Function, dav: faulty_webdav.Faulty, s3: Storage, status: int
) -> None:
    """Calls are a millisecond apart, and with each refusal twice that, until one is served."""
    files = {f"{n:03}": b"x" * n for n in range(100)}
    hashes = dav.fill("data", files)
    dav.fail("GET", "*", faulty_webdav.status(status), times=8)
    name = uuid.uuid4().hex
    answer = function.copy(dav.storage.endpoint("data"), s3.endpoint(name))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{name}") == hashes
    # What was refused at first was not asked for again and again.
    assert len(dav.seen("GET")) <= len(files) + 8
    refused = [request.at for request in dav.seen("GET") if request.failed]
    served = [request.at for request in dav.seen("GET") if not request.failed]
    assert max(served) - min(refused) > 0.2, "nobody waited"


@pytest.mark.parametrize(("verify", "asked"), [("none", 5), ("size", 0), ("checksum", 0)])
def test_s3_is_asked_once_for_what_it_has_stored(
    function: Function, dav: faulty_webdav.Faulty, verify: str, asked: int
) -> None:
    """After each upload; or by the verification, for all of them."""
    dav.fill("data", {f"{n}": b"x" * n for n in range(1, 6)})
    stored: dict[str, bytes] = {}
    heads: list[str] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        key = handler.path.partition("?")[0].removeprefix("/bucket").strip("/")
        if handler.command == "PUT":
            content = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
            if key:
                stored[key] = content
            handler.send_response(200)
            handler.send_header("ETag", f'"{etag(content)}"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif handler.command == "HEAD":
            if key in stored:
                heads.append(key)
            handler.send_response(200 if key in stored else 404)
            handler.send_header("Content-Length", str(len(stored.get(key, b""))))
            handler.end_headers()
        else:
            rows = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(content)}</Size>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{etag(content)}&quot;</ETag></Contents>"
                for name, content in stored.items()
            )
            body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
            http_servers.reply(handler, 200, body.encode(), "application/xml")

    with http_servers.misbehaving(answer) as url:
        keys = {"access_key_id": "key", "secret_access_key": servers.password()}
        destination = {
            "type": "s3",
            "parameters": {"endpoint": url, "provider": "Other", **keys},
            "path": "bucket",
        }
        copied = function.copy(
            dav.storage.endpoint("data"), destination, options={"verify": verify}
        )
    assert copied.status_code == 200, copied.text
    assert stored == {f"{n}": b"x" * n for n in range(1, 6)}
    assert len(heads) == asked


def test_a_look_that_takes_too_long_is_given_up(function: Function, s3: Storage) -> None:
    """A folder below answers after five seconds, and the first time with an error at that."""
    asked: list[str] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "GET":
            http_servers.reply(handler, 200, b"x")
        elif path == "/data":
            shown = {"/data/": 0, "/data/a": 1, "/data/slow/": 0}
            http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")
        elif path == "/data/slow":
            asked.append(path)
            if len(asked) == 1:
                threading.Event().wait(5)
                http_servers.reply(handler, 403)
            else:
                shown = {"/data/slow/": 0, "/data/slow/b": 1}
                http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")
        else:
            http_servers.reply(handler, 207, http_servers.multistatus({path: 1}), "text/xml")

    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        name = uuid.uuid4().hex
        answered = function.copy(source, s3.endpoint(name))
    assert answered.status_code == 200, answered.text
    assert set(s3.hashes(f"bucket/{name}")) == {"a", "slow/b"}
    assert len(asked) == 2
    assert answered.json()["errors"] == []


@contextmanager
def told(url: str, runtime: Path, rclone: Path) -> Iterator[RcClient]:
    """A client of a real rclone that has a remote for a WebDAV server."""
    settings = Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(runtime)})
    with (
        running_daemon(rclone, settings, lambda _: None) as daemon,
        RcClient(daemon.socket_path, 20) as rc,
    ):
        rc.create_remote("source", "webdav", {"url": url})
        yield rc


def test_ranges_are_believed_only_where_they_were_shown(
    tmp_path: Path, rclone: Path, dav: faulty_webdav.Faulty
) -> None:
    content = os.urandom(MIB)
    zeros = bytes(MIB)
    dav.fill("a #?ü]", {"random [1].bin": content, "zeros.bin": zeros, "short.bin": b"short"})
    with told(dav.url, tmp_path, rclone) as rc:

        def honoured(path: str, size: int = MIB) -> bool:
            return stream_rate(rc, "source:", f"a #?ü]/{path}", size) is not None

        assert honoured("random [1].bin")
        assert not honoured("zeros.bin"), "a file that repeats itself shows nothing"
        assert not honoured("short.bin", 5)
        assert not honoured("missing.bin")
        dav.ranges = False
        assert not honoured("random [1].bin")
    assert service_process.leftovers(tmp_path) == []


def test_the_parts_of_a_file_that_is_far_away_are_asked_for_at_the_same_time(
    tmp_path: Path, rclone: Path, dav: faulty_webdav.Faulty
) -> None:
    dav.fill("data", {"random.bin": os.urandom(MIB)})
    with slow_network.distant(dav.url, 0.3) as far, told(far, tmp_path, rclone) as rc:
        seconds = {}
        for at_once in (3, 1):
            began = time.monotonic()
            assert stream_rate(rc, "source:data", "random.bin", MIB, at_once=at_once)
            seconds[at_once] = time.monotonic() - began
    # Each takes several round trips of 0.3 s, whatever the machine has to do besides.
    assert seconds[3] < seconds[1] - 0.3


def test_how_fast_one_connection_is_is_told(
    tmp_path: Path, rclone: Path, dav: faulty_webdav.Faulty
) -> None:
    dav.fill("data", {"random.bin": os.urandom(6 * MIB)})
    with slow_network.distant(dav.url, 0, 4e6) as held, told(held, tmp_path, rclone) as rc:
        rate = stream_rate(rc, "source:data", "random.bin", 6 * MIB)
    assert rate is not None
    assert 0.4e6 < rate < 20e6


def test_how_far_away_a_source_is_says_nothing_of_how_fast_a_connection_is(
    tmp_path: Path, rclone: Path, dav: faulty_webdav.Faulty
) -> None:
    dav.fill("data", {"random.bin": os.urandom(6 * MIB)})
    with slow_network.distant(dav.url, 0.25) as far, told(far, tmp_path, rclone) as rc:
        rate = stream_rate(rc, "source:data", "random.bin", 6 * MIB)
    # The question and its answer take four round trips: with them it would be less than this.
    assert rate is not None
    assert rate > 4 * MIB / (4 * 0.25)


def test_a_server_that_answers_with_another_part_is_not_believed(
    tmp_path: Path, rclone: Path
) -> None:
    content = os.urandom(MIB)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND":
            body = http_servers.multistatus({"/data/a": MIB})
            return http_servers.reply(handler, 207, body, "text/xml")
        if "Range" not in handler.headers:
            return http_servers.reply(handler, 200, content)
        # It says the right thing, and sends what stands a byte further on.
        first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{MIB}")
        handler.send_header("Content-Length", str(last - first + 1))
        handler.end_headers()
        handler.wfile.write((content + b"x")[first + 1 : last + 2])
        return None

    with http_servers.misbehaving(answer) as url, told(url, tmp_path, rclone) as rc:
        assert stream_rate(rc, "source:", "data/a", MIB) is None


@pytest.mark.slow
@pytest.mark.parametrize("honoured", [True, False], ids=["honoured", "ignored"])
@pytest.mark.parametrize("path", ["data", "data/large.bin"], ids=["folder", "file"])
def test_a_large_file_is_read_in_parts_where_the_source_has_shown_that_it_can(
    function: Function, dav: faulty_webdav.Faulty, s3: Storage, honoured: bool, path: str
) -> None:
    dav.ranges = honoured
    block = os.urandom(MIB)
    content = b"".join(number.to_bytes(4, "big") + block for number in range(LARGE // MIB + 9))
    hashes = dav.fill("data", {"large.bin": content})
    name = uuid.uuid4().hex
    answer = function.copy(dav.storage.endpoint(path), s3.endpoint(f"{name}/"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{name}") == hashes
    assert (answer.json()["rclone"]["tuning"]["streams"] > 1) == honoured
    # Beside the look's: several, or the one.
    assert (len(dav.seen("GET")) > 5) == honoured


@pytest.mark.slow
def test_as_many_parts_of_a_file_are_read_at_a_time_as_chosen(
    function: Function, s3: Storage
) -> None:
    """The first parts are answered when eight are asked for; fewer at a time would never be."""
    block = os.urandom(MIB)
    content = b"".join(number.to_bytes(4, "big") + block for number in range(LARGE // MIB + 9))
    eight = threading.Barrier(8)
    together = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND":
            size = len(content)
            shown = {path: size} if path.endswith(".bin") else {"/data/": 0, "/data/a.bin": size}
            return http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")
        if "Range" not in handler.headers:
            return http_servers.reply(handler, 200, content)
        first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        if last - first >= 4 * MIB and not together.is_set():
            with suppress(threading.BrokenBarrierError):
                eight.wait(30)
                together.set()
        part = content[first : last + 1]
        handler.send_response(206)
        handler.send_header(
            "Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        )
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        with suppress(OSError):  # whoever asked has what it needs
            handler.wfile.write(part[:MIB])
            if last - first < 4 * MIB:
                time.sleep(0.2)  # the look: a connection that is slow, of which there are more
            handler.wfile.write(part[MIB:])
        return None

    name = uuid.uuid4().hex
    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        answered = function.copy(source, s3.endpoint(name))
    assert answered.status_code == 200, answered.text
    assert answered.json()["rclone"]["tuning"]["streams"] == 8
    assert together.is_set()
    assert s3.hashes(f"bucket/{name}") == {"a.bin": servers.digest(content)}


@pytest.mark.slow
def test_a_large_tree_is_listed_within_the_least_memory_that_there_may_be(
    tmp_path: Path, rclone: Path, s3: Storage
) -> None:
    for name in ("run", "served"):
        (tmp_path / name).mkdir()
    tree = {f"{n // 1000:02}/{n:05} {'of a long name ' * 8}.dat": b"" for n in range(20_000)}
    with servers.rclone_webdav(tmp_path / "served", rclone) as source:
        source.fill("tree", tree)
        with service_process.function(tmp_path / "run", MEMORY_BYTES=str(256 * MIB)) as function:
            answer = function.copy(
                source.endpoint("tree"),
                s3.endpoint(uuid.uuid4().hex),
                # All of it is looked at, for next to nothing.
                selection={"shard": {"index": 0, "count": 5000}},
            )
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"]["failed"] == 0
