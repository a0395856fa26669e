"""Large files go to a Nextcloud in chunks, and go on where they were cut off."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from efss_transfer.webdav.large import marks
from support import nextcloud, service_process
from support.nextcloud import Nextcloud, Request, errors
from support.nextcloud.cloud import Upload
from support.nextcloud.tree import File
from support.service_process import Function
from support.stand_in.faults import Fault
from support.storages import Storage, digest

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY or not service_process.CHUNKS,
    reason="without the gateway, or with chunks switched off, no upload goes on",
)
MIB: Final = 1 << 20
CHUNK: Final = 5 * MIB
SIZE: Final = 3 * CHUNK + 12_345
DATA: Final = random.Random(17).randbytes(SIZE)  # noqa: S311 - the same each time
SESSIONS: Final = "/remote.php/dav/uploads/alice/*"
FILE: Final = "/remote.php/dav/files/alice/to/large.bin"
STALL_SECONDS: Final = 6
AFTER: Final = marks.decimal(hashlib.sha1(DATA[: 2 * CHUNK], usedforsecurity=False).digest())
"""The end of the name of the second chunk, once its session is released."""


@pytest.fixture(scope="module")
def chunking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function, for which a file of 6 MB is large, and which waits for nothing for long."""
    runtime = tmp_path_factory.mktemp("large")
    with service_process.function(
        runtime, WEBDAV_CHUNKS_MB="6", STALL_SECONDS=str(STALL_SECONDS)
    ) as running:
        yield running


@pytest.fixture
def function(chunking: Function) -> Iterator[Function]:
    yield chunking
    chunking.wait_clean()


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    """A Nextcloud that recommends chunks of 5 MiB at most."""
    with nextcloud.serving() as running:
        running.max_chunk = CHUNK
        yield running


class Copies:
    """Copies of one large file from S3, again and again."""

    def __init__(self, function: Function, s3: Storage, cloud: Nextcloud) -> None:
        self.function = function
        self.s3 = s3
        self.cloud = cloud
        self.folder = uuid.uuid4().hex
        self.write(DATA)

    def write(self, content: bytes) -> None:
        self.s3.fill(f"bucket/{self.folder}", {"large.bin": content})

    @property
    def ends(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.s3.endpoint(self.folder), self.cloud.storage().endpoint("to")

    def run(self, **options: Any) -> dict[str, Any]:
        options = {"attempts": 1, "report": "all", **options}
        body = self.function.copy(*self.ends, options=options).json()
        return dict(body.get("result", body))


@pytest.fixture
def copies(function: Function, s3: Storage, cloud: Nextcloud) -> Copies:
    return Copies(function, s3, cloud)


def sent(cloud: Nextcloud) -> int:
    """How many bytes of files arrived."""
    return sum(one.received for one in cloud.seen("PUT"))


def resumed(result: dict[str, Any]) -> int:
    return int(result["rclone"].get("resumed_bytes", 0))


def assert_complete(result: dict[str, Any], cloud: Nextcloud, content: bytes = DATA) -> None:
    assert result["state"] == "succeeded", result["errors"]
    assert cloud.hashes("to") == {"large.bin": digest(content)}
    assert not cloud.user().uploads


def test_large_file_goes_in_chunks_with_destination_and_length(
    copies: Copies, cloud: Nextcloud
) -> None:
    assert_complete(copies.run(), cloud)
    puts = cloud.seen("PUT")
    assert [one.received for one in puts] == [CHUNK, CHUNK, CHUNK, 12_345]
    for one in [*cloud.seen("MKCOL", SESSIONS), *puts, *cloud.seen("MOVE")]:
        assert one.headers["Destination"].endswith("/remote.php/dav/files/alice/to/large.bin")
    for one in [*puts, *cloud.seen("MOVE")]:
        assert one.headers["OC-Total-Length"] == str(SIZE)
    # A second copy finds it as it is, with its time.
    cloud.heal()
    again = copies.run()
    assert again["totals"]["files"] == {"transferred": 0, "skipped": 1, "failed": 0}
    assert not cloud.seen("PUT")


@pytest.mark.parametrize(
    "fault",
    [nextcloud.reset(after=2 * MIB), nextcloud.error(errors.unavailable("busy"))],
    ids=["hang-up", "503"],
)
def test_next_attempt_goes_on(copies: Copies, cloud: Nextcloud, fault: Fault) -> None:
    cloud.fail("PUT", SESSIONS, fault, times=1, skip=2)
    result = copies.run(attempts=2)
    assert_complete(result, cloud)
    assert resumed(result) == 2 * CHUNK
    assert sent(cloud) <= SIZE + CHUNK
    assert len(cloud.seen("MKCOL", SESSIONS)) == 1


def test_next_request_goes_on_at_once(copies: Copies, cloud: Nextcloud) -> None:
    cloud.fail("PUT", SESSIONS, nextcloud.status(500), times=1, skip=2)
    assert copies.run()["state"] == "failed"
    assert len(cloud.user().uploads) == 1
    result = copies.run()
    assert_complete(result, cloud)
    assert resumed(result) == 2 * CHUNK
    assert len(cloud.seen("MKCOL", SESSIONS)) == 1
    # The server has read what it has, and was not told what to find.
    assert [one.status for one in cloud.seen("PATCH")] == [204]


def test_replaced_file_is_the_old_one_until_all_chunks_are_there(
    copies: Copies, cloud: Nextcloud
) -> None:
    cloud.write("/to/large.bin", b"old")
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=MIB), times=1, skip=1)
    assert copies.run()["state"] == "failed"
    assert cloud.read("/to/large.bin") == b"old"
    result = copies.run()
    assert_complete(result, cloud)
    assert resumed(result) == CHUNK


def test_first_chunk_that_is_cut_off_leaves_nothing(copies: Copies, cloud: Nextcloud) -> None:
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=MIB), times=1)
    assert copies.run()["state"] == "failed"
    assert not cloud.user().uploads


def test_server_that_takes_no_sessions_gets_one_put(copies: Copies, cloud: Nextcloud) -> None:
    cloud.fail("MKCOL", SESSIONS, nextcloud.error(errors.forbidden("no uploads")))
    assert_complete(copies.run(), cloud)
    assert [one.path for one in cloud.seen("PUT")] == [FILE]


def test_changed_source_is_sent_anew_and_the_old_session_removed(
    copies: Copies, cloud: Nextcloud
) -> None:
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=MIB), times=1, skip=2)
    assert copies.run()["state"] == "failed"
    changed = DATA[:CHUNK] + b"changed" + DATA[CHUNK:]
    copies.write(changed)
    result = copies.run()
    assert_complete(result, cloud, changed)
    assert resumed(result) == 0


def cut_off(copies: Copies, cloud: Nextcloud) -> Upload:
    """The session of an upload that was cut off in its third chunk."""
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=MIB), times=1, skip=2)
    assert copies.run()["state"] == "failed"
    (session,) = cloud.user().uploads.values()
    first, last = sorted(session.chunks)
    if not last.endswith(AFTER):  # a slow machine may have no time left to release it
        session.chunks = {first: session.chunks[first], last + AFTER: session.chunks[last]}
    return session


def age(session: Upload) -> None:
    """As if nobody had written to a session for an hour."""
    for chunk in session.chunks.values():
        chunk.mtime -= 3600


def test_other_bytes_are_never_gone_on_with(copies: Copies, cloud: Nextcloud) -> None:
    session = cut_off(copies, cloud)
    # As if what the first chunk holds were not what the source sends now.
    first, second = sorted(session.chunks)
    other = second[:6] + second[6:55][::-1] + second[55:]
    session.chunks = {first: session.chunks[first], other: session.chunks[second]}
    result = copies.run(attempts=2)
    assert_complete(result, cloud)
    assert resumed(result) == 0
    assert len(cloud.seen("MKCOL", SESSIONS)) == 2


def test_session_that_is_written_to_is_left_alone(copies: Copies, cloud: Nextcloud) -> None:
    session = cut_off(copies, cloud)
    # As its writer names the last chunk before it leaves the session to others.
    first, last = sorted(session.chunks)
    session.chunks = {first: session.chunks[first], last.removesuffix(AFTER): session.chunks[last]}
    for chunk in session.chunks.values():
        chunk.mtime = int(time.time()) + 60
    result = copies.run()
    assert result["state"] == "succeeded"
    assert cloud.hashes("to") == {"large.bin": digest(DATA)}
    assert resumed(result) == 0
    assert list(cloud.user().uploads.values()) == [session]
    # Once it is quiet it is taken over, but for the chunk whose bytes no name tells.
    age(session)
    cloud.heal()
    result = copies.run(overwrite="always")
    assert_complete(result, cloud)
    assert resumed(result) == CHUNK


def forget_a_chunk(session: Upload) -> None:
    del session.chunks[min(session.chunks)]


def cut_a_chunk(session: Upload) -> None:
    """The server lists a chunk with its size, and has not all of it."""
    with min(session.chunks.items())[1].content.open("r+b") as content:
        content.truncate(CHUNK - 100)


def add_a_chunk(session: Upload) -> None:
    """Another client writes to the session."""
    name = max(session.chunks)
    copied = copy(session.chunks[name])
    session.chunks[f"{name[:-58]}{'7' * 9}{name[-49:]}"] = copied


@pytest.mark.parametrize("lie", [forget_a_chunk, cut_a_chunk, add_a_chunk])
def test_lies_about_chunks_cost_bytes_and_no_truth(
    lie: Callable[[Upload], None], copies: Copies, cloud: Nextcloud
) -> None:
    lie(cut_off(copies, cloud))
    assert_complete(copies.run(attempts=2), cloud)


def test_file_of_other_bytes_does_not_stay(copies: Copies, cloud: Nextcloud) -> None:
    """Its size and time are the source's, so it would be taken for the file."""
    session = cut_off(copies, cloud)
    with min(session.chunks.items())[1].content.open("r+b") as content:
        content.write(bytes(100))
    cloud.fail("MKCOL", SESSIONS, nextcloud.status(500))
    cloud.fail("PUT", FILE, nextcloud.status(500))
    assert copies.run(attempts=2)["state"] == "failed"
    assert cloud.seen("PATCH")
    assert not cloud.hashes("to")


def test_another_clients_chunk_in_a_new_session_is_not_merged(
    copies: Copies, cloud: Nextcloud
) -> None:
    other = cloud.user().tree.blank()
    other.write_bytes(b"other")

    def meddle(request: Request) -> None:
        if request.method == "PUT" and len(cloud.seen("MKCOL", SESSIONS)) == 1:
            (session,) = cloud.user().uploads.values()
            session.chunks["00001"] = File("00001", None, 0, other, 1, "x", 5)

    cloud.on_request = meddle
    assert_complete(copies.run(attempts=2), cloud)
    assert len(cloud.seen("MKCOL", SESSIONS)) == 2


def test_session_that_vanishes_is_begun_anew(copies: Copies, cloud: Nextcloud) -> None:
    def vanish(request: Request) -> None:
        if request.method == "PUT" and len(cloud.seen("PUT")) == 3:
            cloud.user().uploads.clear()

    cloud.on_request = vanish
    assert_complete(copies.run(attempts=2), cloud)


@pytest.mark.parametrize(
    "fault",
    [
        nextcloud.error(errors.precondition("If", "another file")),
        nextcloud.status(504, carried_out=True),
        nextcloud.status(502, carried_out=True),
    ],
    ids=["412", "504 and done", "502 and done"],
)
def test_answers_to_the_last_request_are_not_taken_for_the_truth(
    fault: Fault, copies: Copies, cloud: Nextcloud
) -> None:
    cloud.fail("MOVE", SESSIONS, fault, times=1)
    assert_complete(copies.run(attempts=2), cloud)
    if fault.carried_out:
        assert sent(cloud) == SIZE


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [nextcloud.status(504), nextcloud.reset()], ids=["504", "broken connection"]
)
def test_last_request_that_was_lost_is_sent_again_once_that_is_safe(
    fault: Fault, copies: Copies, cloud: Nextcloud
) -> None:
    cloud.fail("MOVE", SESSIONS, fault, times=1)
    began = time.monotonic()
    result = copies.run(attempts=5)
    assert_complete(result, cloud)
    assert sent(cloud) == SIZE
    assert resumed(result) == SIZE
    assert time.monotonic() - began > STALL_SECONDS


def test_sessions_are_kept_for_a_day(copies: Copies, cloud: Nextcloud) -> None:
    def add(name: str, age: int) -> None:
        content = cloud.user().tree.blank()
        content.write_bytes(b"1")
        at = int(time.time()) - age
        begun = f"efss-transfer-{at:08x}{name * 16}-{'0' * 16}-{'1' * 16}"
        chunk = File("00001.5", None, 0, content, at, "x", 1)
        cloud.user().uploads[begun] = Upload(at, {"00001.5": chunk})

    add("a", 80_000)
    add("b", 90_000)
    cloud.write("/to/other", b"1")
    assert copies.run(dry_run=True)["state"] == "succeeded"
    (kept,) = cloud.user().uploads
    assert "aaaa" in kept


@pytest.mark.slow
def test_200_mib_that_are_cut_off_four_times(
    copies: Copies, cloud: Nextcloud, tmp_path: Path
) -> None:
    content = DATA * 13
    copies.write(content)
    cloud.max_chunk = 8 * MIB
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=MIB), times=1, skip=5)
    assert copies.run()["state"] == "failed"
    cloud.faults.clear()
    cloud.fail("PUT", SESSIONS, nextcloud.status(500), times=1, skip=4)
    assert copies.run()["state"] == "failed"
    cloud.faults.clear()
    cloud.fail("PUT", SESSIONS, nextcloud.stall(after=MIB), times=1, skip=4)
    assert copies.run(deadline_seconds=4)["state"] == "incomplete"
    cloud.faults.clear()
    (session,) = cloud.user().uploads.values()
    age(session)  # a slow machine may have no time left to release it
    with service_process.function(tmp_path, WEBDAV_CHUNKS_MB="6") as killed:

        def kill(request: Request) -> None:
            if request.method == "PUT" and len(session.chunks) >= 18:
                cloud.on_request = lambda _: None
                os.killpg(killed.process.pid, signal.SIGKILL)

        cloud.on_request = kill
        with pytest.raises(requests.ConnectionError):
            killed.copy(*copies.ends)
    age(session)
    result = copies.run()
    assert_complete(result, cloud, content)
    assert resumed(result) >= 17 * 8 * MIB
    assert sent(cloud) < 1.2 * len(content)
    assert len(cloud.seen("MKCOL", SESSIONS)) == 1
