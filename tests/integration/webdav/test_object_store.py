"""Large files go on at a Nextcloud that keeps chunks as the parts of an object in an S3 store."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
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
DATA: Final = random.Random(18).randbytes(SIZE)  # noqa: S311 - the same each time
SESSIONS: Final = "/remote.php/dav/uploads/alice/*"
OLD: Final = b"old content"


@pytest.fixture(scope="module")
def chunking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function, for which a file of 6 MB is large."""
    runtime = tmp_path_factory.mktemp("parts")
    with service_process.function(runtime, WEBDAV_CHUNKS_MB="6", STALL_SECONDS="6") as running:
        yield running


@pytest.fixture
def function(chunking: Function) -> Iterator[Function]:
    yield chunking
    chunking.wait_clean()


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    """A Nextcloud with an object store, that recommends chunks of 5 MiB at most."""
    with nextcloud.serving() as running:
        running.object_store = True
        running.max_chunk = CHUNK
        yield running


class Copies:
    """Copies of one large file from S3, again and again."""

    def __init__(self, function: Function, s3: Storage, cloud: Nextcloud) -> None:
        self._function = function
        self._folder = uuid.uuid4().hex
        self._s3 = s3
        self._cloud = cloud
        s3.fill(f"bucket/{self._folder}", {"large.bin": DATA})

    def run(self, **options: Any) -> dict[str, Any]:
        ends = self._s3.endpoint(self._folder), self._cloud.storage().endpoint("to")
        options = {"attempts": 1, "report": "all", **options}
        body = self._function.copy(*ends, options=options).json()
        return dict(body.get("result", body))


@pytest.fixture
def copies(function: Function, s3: Storage, cloud: Nextcloud) -> Copies:
    return Copies(function, s3, cloud)


def resumed(result: dict[str, Any]) -> int:
    return int(result["rclone"].get("resumed_bytes", 0))


def assert_complete(result: dict[str, Any], cloud: Nextcloud) -> None:
    assert result["state"] == "succeeded", result["errors"]
    assert cloud.hashes("to") == {"large.bin": digest(DATA)}
    assert not cloud.user().uploads
    assert not cloud.orphans


def cut_off(copies: Copies, cloud: Nextcloud, fault: Fault) -> Upload:
    """The session of an upload that was cut off in its third chunk."""
    cloud.fail("PUT", SESSIONS, fault, times=1, skip=2)
    assert copies.run()["state"] == "failed"
    (session,) = cloud.user().uploads.values()
    assert sorted(session.parts or ()) == [1, 2]
    for part in (session.parts or {}).values():
        part.mtime = int(time.time()) - 3600  # a slow machine may have no time left to release it
    return session


@pytest.mark.parametrize("fault", [nextcloud.reset(after=2 * MIB), nextcloud.status(500)])
def test_next_request_goes_on_after_parts_that_prove_themselves(
    copies: Copies, cloud: Nextcloud, fault: Fault
) -> None:
    cut_off(copies, cloud, fault)
    result = copies.run()
    assert_complete(result, cloud)
    assert resumed(result) == 2 * CHUNK
    assert len(cloud.seen("MKCOL", SESSIONS)) == 1


@pytest.mark.slow
def test_next_attempt_goes_on(copies: Copies, cloud: Nextcloud) -> None:
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=2 * MIB), times=1, skip=2)
    result = copies.run(attempts=2)
    assert_complete(result, cloud)
    assert resumed(result) == 2 * CHUNK


def test_replaced_file_can_be_read_until_the_new_one_is_there(
    copies: Copies, cloud: Nextcloud
) -> None:
    cloud.write("/to/large.bin", OLD)
    cloud.fail("PUT", SESSIONS, nextcloud.reset(after=MIB), times=1, skip=1)
    assert copies.run()["state"] == "failed"
    there = cloud.user().tree.find("/to/large.bin")
    assert there is not None
    assert there.size == len(OLD)
    assert cloud.read("/to/large.bin") == OLD
    result = copies.run()
    assert_complete(result, cloud)
    assert resumed(result) == CHUNK


@pytest.mark.slow
def test_file_that_came_meanwhile_is_replaced_from_the_start(
    copies: Copies, cloud: Nextcloud
) -> None:
    cut_off(copies, cloud, nextcloud.status(500))
    cloud.write("/to/large.bin", OLD)
    result = copies.run()
    assert_complete(result, cloud)
    assert resumed(result) == 0


def other_bytes(session: Upload) -> None:
    """A part holds what the source does not send now."""
    assert session.parts
    session.parts[1].etag = "0" * 32


def no_md5(session: Upload) -> None:
    """The store's ETags say nothing, as where it encrypts."""
    assert session.parts
    for part in session.parts.values():
        part.etag = "unknown"


def forget_a_part(session: Upload) -> None:
    assert session.parts
    del session.parts[1]


@pytest.mark.slow
@pytest.mark.parametrize("lie", [other_bytes, no_md5, forget_a_part])
def test_parts_that_prove_nothing_are_sent_again(
    lie: Callable[[Upload], None], copies: Copies, cloud: Nextcloud
) -> None:
    lie(cut_off(copies, cloud, nextcloud.status(500)))
    result = copies.run(attempts=2)
    assert_complete(result, cloud)
    assert resumed(result) == 0


@pytest.mark.slow
def test_part_of_another_client_is_not_merged(copies: Copies, cloud: Nextcloud) -> None:
    def add(request: nextcloud.Request) -> None:
        for session in cloud.user().uploads.values():
            parts = session.parts or {}
            if request.method == "PUT" and len(parts) == 3:
                cloud.on_request = lambda _: None
                parts[5] = parts[1]

    cloud.on_request = add
    result = copies.run(attempts=2)
    assert_complete(result, cloud)
    assert len(cloud.seen("MKCOL", SESSIONS)) == 2


@pytest.mark.slow
def test_file_that_is_made_while_its_session_is_looked_at_is_not_sent_again(
    copies: Copies, cloud: Nextcloud
) -> None:
    looks = -1

    def finish_late(request: nextcloud.Request) -> None:
        nonlocal looks
        lost = cloud.seen("MOVE")
        if request.method != "PROPFIND" or not lost:
            return
        if "efss-transfer-" in request.path:
            looks += looks >= 0
        else:
            looks = max(looks, 0)  # the next attempt has begun
        if looks == 2 or (looks == 1 and request.path.endswith("large.bin")):
            cloud.on_request = lambda _: None
            cloud.user().uploads.clear()
            cloud.write("/to/large.bin", DATA)
            made = cloud.user().tree.find("/to/large.bin")
            assert isinstance(made, File)
            headers = {name.lower(): value for name, value in lost[0].headers.items()}
            made.mtime = int(headers["x-oc-mtime"])

    cloud.fail("MOVE", SESSIONS, nextcloud.reset(), times=1)
    cloud.on_request = finish_late
    result = copies.run(attempts=5)
    assert_complete(result, cloud)
    assert resumed(result) == SIZE
    assert sum(one.received for one in cloud.seen("PUT")) == SIZE
