"""Callers who read slowly, stop reading, or are gone without a word."""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import socket
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import http_servers, service_process
from support import storages as servers
from support.service_process import GATEWAY, Function
from support.storages import Storage

MIB = 1 << 20
MANY = 20_000
# As small as a client's buffer gets: what it was sent and did not read is soon all it takes.
SMALL = 4096
SERVED = 8.0
"""Within this many seconds a caller is found to be gone, and all that was done for it."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Function]:
    """A function with a single place, so that whoever gets one knows that it is free."""
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", CONCURRENT_TRANSFERS="1") as running:
        yield running


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, rclone: Path) -> Iterator[dict[str, Any]]:
    """A request for files that are there already: rclone tells of thousands each second."""
    folder = tmp_path_factory.mktemp("copied")
    for number in range(MANY):
        below = folder / "many" / f"{number % 100:02}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number:05}.txt").write_bytes(b"x")
    with (
        servers.rclone_webdav(folder, rclone) as source,
        servers.rclone_webdav(folder, rclone) as destination,
    ):
        yield {"source": source.endpoint("many"), "destination": destination.endpoint("many")}


@contextmanager
def caller(
    function: Function,
    body: Any,
    accept: str,
    head: str = "",
    version: str = "1.1",
    small: bool = True,
) -> Iterator[socket.socket]:
    """A client that has sent its request and has read nothing yet."""
    host, port = function.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    with socket.socket() as client:
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.connect((host, int(port)))
        client.settimeout(60)
        client.sendall(
            f"POST / HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\n{head}"
            f"Accept: {accept}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        yield client


def arrived(client: socket.socket) -> int:
    """How many bytes a client could read at once."""
    size = array.array("i", [0])
    fcntl.ioctl(client, termios.FIONREAD, size)
    return size[0]


def vanish(client: socket.socket) -> None:
    """As if its machine had lost its power: it says nothing any more, and answers nothing.

    The kernel drops what comes for this socket (a filter that lets no byte through), so it
    acknowledges nothing; and it is not closed, so nothing is sent either.
    """
    attach_filter, return_nothing = 26, struct.pack("HBBI", 0x06, 0, 0, 0)
    program = ctypes.create_string_buffer(return_nothing, len(return_nothing))
    client.setsockopt(
        socket.SOL_SOCKET, attach_filter, struct.pack("HP", 1, ctypes.addressof(program))
    )


def read_to_the_end(client: socket.socket) -> bytes:
    answer = b""
    while more := client.recv(MIB):
        answer += more
    return answer


def daemons(function: Function) -> list[psutil.Process]:
    return function.daemons()


def wait_until(what: Any, otherwise: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, otherwise
        time.sleep(0.01)


def wait_full(client: socket.socket) -> float:
    """When the last bytes arrived that a client takes without reading."""
    size, since = -1, time.monotonic()
    while size <= 0 or time.monotonic() - since < 1:
        if (now := arrived(client)) != size:
            size, since = now, time.monotonic()
        time.sleep(0.01)
    return since


def events_of(answer: bytes) -> list[dict[str, Any]]:
    """The events in a chunked answer as it came."""
    _, _, rest = answer.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if not int(size, 16):
            break
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return [json.loads(line) for line in body.splitlines()]


@pytest.mark.parametrize(
    "accept",
    ["application/x-ndjson", pytest.param("text/event-stream", marks=pytest.mark.slow)],
)
def test_a_caller_who_stops_reading_cancels_the_copy(
    one: Function, copied: dict[str, Any], s3: Storage, webdav: Storage, accept: str
) -> None:
    """Measured from the last byte that its machine took: until then nobody can know."""
    webdav.fill("next", {"a": b"a"})
    with caller(one, copied, accept) as client:
        wait_until(lambda: daemons(one), "rclone was not started", 10)
        full = wait_full(client)
        assert daemons(one), "rclone ended by itself"
        assert one.copy(webdav.endpoint("next"), s3.endpoint("next")).status_code == 503
        wait_until(lambda: not daemons(one), "rclone works on", full + 10 - time.monotonic())
        ended = time.monotonic() - full
        one.wait_clean(full + SERVED + 1 - time.monotonic())
        # Its place is free a moment later, when its thread has ended as well.
        wait_until(
            lambda: one.copy(webdav.endpoint("next"), s3.endpoint("next")).status_code == 200,
            "its place is not free",
            20,
        )
        print(f"{accept}: rclone gone after {ended:.2f} s")
        assert 3.5 < ended < SERVED
        # What was sent before can be read; then it breaks off, and does not just end.
        with pytest.raises(ConnectionResetError):
            read_to_the_end(client)
    told = one.log.read_text()
    assert "cancelled: the client closed the connection" in told
    assert "its client has accepted no data" in told
    assert "Traceback" not in told


def test_a_caller_who_stops_reading_and_then_hangs_up_is_missed_at_once(
    one: Function, copied: dict[str, Any]
) -> None:
    with caller(one, copied, "application/x-ndjson") as client:
        wait_full(client)
    began = time.monotonic()
    wait_until(lambda: not daemons(one), "rclone works on", 10)
    assert time.monotonic() - began < 3.5  # a caller who only stops reading has four seconds
    one.wait_clean()


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_caller_who_vanishes_without_a_word_cancels_the_copy(
    one: Function, s3: Storage, accept: str
) -> None:
    """A stream is no more acknowledged; who waits for JSON is asked whether he is there."""

    def uploads() -> list[Any]:
        return list(s3.details["client"].list_multipart_uploads(Bucket="bucket").get("Uploads", []))

    with http_servers.slow_source(300 * MIB, 20 * MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("vanished")}
        with caller(one, body, accept) as client:
            wait_until(uploads, "the upload never began", 10)
            vanish(client)
            began = time.monotonic()
            wait_until(lambda: not daemons(one), "rclone works on", 10)
            ended = time.monotonic() - began
            one.wait_clean()
    print(f"{accept}: rclone gone after {ended:.2f} s")
    # Up to half a second passes until there is something to be told, and so to be missed.
    assert 2 < ended < SERVED + 0.5
    assert uploads() == []
    assert "Traceback" not in one.log.read_text()


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_caller_who_waits_longer_than_that_is_still_answered(
    one: Function, s3: Storage, accept: str
) -> None:
    """Nothing to read and nothing to say is no sign that somebody has gone."""
    with http_servers.slow_source(2 * MIB, MIB // 4) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("patient")}
        with caller(one, body, accept, "Connection: close\r\n") as client:
            assert b'"succeeded"' in read_to_the_end(client)


@pytest.mark.slow
def test_a_caller_who_never_reads_a_long_answer_does_not_keep_the_thread(
    one: Function, copied: dict[str, Any]
) -> None:
    worker = one.worker()
    body = {**copied, "options": {"report": "all"}}
    with caller(one, body, "application/json") as client:
        port = client.getpeername()[1]
        full = wait_full(client)

        def connections() -> int:
            return sum(
                c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port
                for c in worker.net_connections("tcp")
            )

        assert connections() == 1
        wait_until(lambda: not connections(), "it is still sent to", 10)
        assert time.monotonic() - full < SERVED
    assert "Traceback" not in one.log.read_text()


@pytest.mark.slow
def test_a_slow_reader_gets_everything_and_the_function_does_not_grow(
    one: Function, copied: dict[str, Any]
) -> None:
    """For longer than a caller may stop, it takes no more than 4 KB a second."""
    worker = one.worker()
    one.post(copied)  # all that is loaded once is loaded
    before = worker.memory_info().rss
    grown = 0
    with caller(one, copied, "application/x-ndjson") as client:
        answer = client.recv(512)
        slow_until = time.monotonic() + 12
        while time.monotonic() < slow_until:
            answer += client.recv(400)
            grown = max(grown, worker.memory_info().rss - before)
            time.sleep(0.1)
        (daemon,) = daemons(one)
        waiting = daemon.memory_info().rss
        assert len(answer) < 12 * 5000
        while not answer.endswith(b"0\r\n\r\n"):
            more = client.recv(MIB)
            assert more, "the answer was broken off"
            answer += more
            grown = max(grown, worker.memory_info().rss - before)
    events = events_of(answer)
    assert sum(event["event"] == "file" for event in events) == MANY
    assert events[-1]["totals"]["files"] == {"transferred": 0, "skipped": MANY, "failed": 0}
    print(f"Python grew by {grown / MIB:.1f} MiB; rclone had {waiting / MIB:.0f} MiB")
    # With the gateway, which remembers what it lists: measured 10.3 MiB.
    assert grown < (16 if GATEWAY else 8) * MIB
    one.wait_clean()


@pytest.mark.slow
def test_a_slow_reader_of_a_long_answer_gets_everything(
    one: Function, copied: dict[str, Any]
) -> None:
    body = {**copied, "options": {"report": "all"}}
    with caller(one, body, "application/json", "Connection: close\r\n") as client:
        answer = b""
        slow_until = time.monotonic() + 12
        while time.monotonic() < slow_until:
            answer += client.recv(400)
            time.sleep(0.1)
        answer += read_to_the_end(client)
    head, _, content = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(content)}".encode() in head.splitlines()
    assert len(json.loads(content)["files"]) == MANY


@pytest.mark.slow
def test_a_slow_reader_with_the_usual_buffers_gets_everything(
    one: Function, copied: dict[str, Any]
) -> None:
    """Long enough for its buffer to be full: then its machine tells of room only now and then."""
    with caller(one, copied, "application/x-ndjson", small=False) as client:
        answer = b""
        slow_until = time.monotonic() + 90
        while time.monotonic() < slow_until:
            answer += client.recv(1000)
            time.sleep(0.1)
        while not answer.endswith(b"0\r\n\r\n"):
            more = client.recv(MIB)
            assert more, "the answer was broken off"
            answer += more
    assert sum(event["event"] == "file" for event in events_of(answer)) == MANY


@pytest.mark.slow
def test_a_slow_reader_without_chunks_gets_everything(
    one: Function, copied: dict[str, Any]
) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the answer."""
    with caller(one, copied, "application/x-ndjson", version="1.0") as client:
        answer = b""
        while len(answer) < 30_000:
            answer += client.recv(1000)
            time.sleep(0.1)
        answer += read_to_the_end(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    lines = body.splitlines()
    assert json.loads(lines[-1])["event"] == "result"
    assert sum(b'"file"' in line for line in lines) == MANY
    one.wait_clean()


def test_a_connection_that_is_kept_serves_the_next_request_as_it_was(
    one: Function, webdav: Storage, s3: Storage
) -> None:
    """The bounds on an answer are none on the time between two of them."""
    webdav.fill("kept", {"a": b"a"})
    body = {"source": webdav.endpoint("kept"), "destination": s3.endpoint("kept")}
    content = json.dumps(body).encode()
    with caller(one, body, "application/x-ndjson") as client:
        for number in range(3):
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += client.recv(MIB)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert events_of(answer)[-1]["state"] == "succeeded"
            time.sleep(0.5 * number)
            client.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Accept: application/x-ndjson\r\n"
                + f"Content-Length: {len(content)}\r\n\r\n".encode()
                + content
            )
        assert client.recv(MIB).startswith(b"HTTP/1.1 200 ")
    one.wait_clean()


@pytest.mark.slow
def test_an_answer_is_no_longer_than_is_set_and_counts_what_it_leaves_out(
    tmp_path: Path, copied: dict[str, Any]
) -> None:
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", RESPONSE_BYTES="100000") as short:
        answer = short.post({**copied, "options": {"report": "all"}})
        told = answer.json()
        assert answer.status_code == 200
        assert 99_000 < len(answer.content) <= 100_000
        assert told["totals"]["files"] == {"transferred": 0, "skipped": MANY, "failed": 0}
        assert len(told["files"]) + told["files_omitted"] == MANY
        assert len({file["path"] for file in told["files"]}) == len(told["files"])
        short.wait_clean()


def test_names_with_line_ends_arrive_whole_in_a_stream_of_lines(
    one: Function, storages: dict[str, Storage], webdav: Storage
) -> None:
    """To rclone's WebDAV a control character is its picture; Unicode's line ends are letters."""
    names = {"line\nend", "carriage\rreturn", "parts\u2028of\u2029text\x85", "event: x\n\ndata: y"}
    shown = {name.translate({10: "\u240a", 13: "\u240d"}) for name in names}
    source = storages["rclone"]
    source.fill("lines", dict.fromkeys(names, b"x"))
    body = {"source": source.endpoint("lines"), "destination": webdav.endpoint("lines")}
    for accept, begins in (("application/x-ndjson", "{"), ("text/event-stream", "data: ")):
        answer = one.post(body, headers={"Accept": accept})
        lines = [
            line.removeprefix("data: ")
            for line in answer.content.decode().splitlines()
            if line.startswith(begins)
        ]
        events = [json.loads(line) for line in lines]
        assert {event["path"] for event in events if event["event"] == "file"} == shown
        assert events[-1]["state"] == "succeeded"
