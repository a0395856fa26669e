"""Large files go to an OpenCloud by tus, and go on where they were cut off."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support import nextcloud, opencloud, service_process
from support.opencloud import OpenCloud, Request
from support.service_process import Function
from support.stand_in.faults import Fault
from support.storages import Storage, digest

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY or not service_process.CHUNKS,
    reason="without the gateway, or with chunks switched off, no upload goes on",
)
MIB: Final = 1 << 20
PART: Final = 5 * MIB
LAST: Final = 1 << 16
SIZE: Final = 3 * PART + 123_456
DATA: Final = random.Random(18).randbytes(SIZE)  # noqa: S311 - the same each time
UPLOADS: Final = "/data/*"
FILE: Final = "/remote.php/dav/files/alice/to/large.bin"
STALL_SECONDS: Final = 6


@pytest.fixture(scope="module")
def resuming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function, for which a file of 6 MB is large, and which waits for nothing for long."""
    runtime = tmp_path_factory.mktemp("tus")
    with service_process.function(
        runtime, WEBDAV_CHUNKS_MB="6", STALL_SECONDS=str(STALL_SECONDS)
    ) as running:
        yield running


@pytest.fixture
def function(resuming: Function) -> Iterator[Function]:
    yield resuming
    resuming.wait_clean()


@pytest.fixture
def ocis() -> Iterator[OpenCloud]:
    """An OpenCloud that recommends parts of 5 MiB at most."""
    with opencloud.serving() as running:
        running.tus.max_chunk = PART
        yield running


class TusCopies:
    """Copies of one large file from S3, again and again."""

    def __init__(self, function: Function, s3: Storage, ocis: OpenCloud) -> None:
        self.function = function
        self.s3 = s3
        self.ocis = ocis
        self.folder = uuid.uuid4().hex
        self.write(DATA)

    def write(self, content: bytes) -> None:
        self.s3.fill(f"bucket/{self.folder}", {"large.bin": content})

    def run(self, **options: Any) -> dict[str, Any]:
        options = {"attempts": 1, "report": "all", **options}
        source, destination = self.s3.endpoint(self.folder), self.ocis.storage().endpoint("to")
        body = self.function.copy(source, destination, options=options).json()
        return dict(body.get("result", body))


@pytest.fixture
def copies(function: Function, s3: Storage, ocis: OpenCloud) -> TusCopies:
    return TusCopies(function, s3, ocis)


def sent(ocis: OpenCloud) -> int:
    """How many bytes of files arrived."""
    return sum(one.received for one in [*ocis.seen("PUT"), *ocis.seen("PATCH")])


def resumed(result: dict[str, Any]) -> int:
    return int(result["rclone"].get("resumed_bytes", 0))


def assert_complete(result: dict[str, Any], ocis: OpenCloud, content: bytes = DATA) -> None:
    assert result["state"] == "succeeded", result["errors"]
    assert ocis.hashes("to") == {"large.bin": digest(content)}
    assert not ocis.uploads


def test_large_file_goes_by_tus(copies: TusCopies, ocis: OpenCloud) -> None:
    result = copies.run()
    assert_complete(result, ocis)
    assert [one.received for one in ocis.seen("PATCH")] == [PART] * 3 + [
        SIZE - LAST - 3 * PART,
        LAST,
    ]
    assert not ocis.seen("PUT")


def test_small_file_has_its_put(function: Function, ocis: OpenCloud, s3: Storage) -> None:
    folder = uuid.uuid4().hex
    expected = s3.fill(f"bucket/{folder}", {"small": DATA[: 5 * MIB]})
    destination = ocis.storage().endpoint("to")
    assert function.copy(s3.endpoint(folder), destination).status_code == 200
    assert ocis.hashes("to") == expected
    assert len(ocis.seen("PUT")) == 1
    assert not ocis.seen("OPTIONS")


def test_time_and_hash_are_kept(copies: TusCopies, ocis: OpenCloud) -> None:
    assert_complete(copies.run(verify="checksum"), ocis)
    ocis.heal()
    again = copies.run()
    assert again["totals"]["files"] == {"transferred": 0, "skipped": 1, "failed": 0}
    assert not ocis.seen("PATCH")


@pytest.mark.parametrize(
    "fault",
    [
        opencloud.reset(after=2 * MIB),
        pytest.param(opencloud.truncate(after=2 * MIB), marks=pytest.mark.slow),
        opencloud.status(500),
        pytest.param(opencloud.status(503), marks=pytest.mark.slow),
        opencloud.status(502, carried_out=True),
        opencloud.reset(after=2 * PART),
    ],
    ids=["hang-up", "end", "500", "503", "502 and done", "answer lost"],
)
def test_next_attempt_goes_on(copies: TusCopies, ocis: OpenCloud, fault: Fault) -> None:
    ocis.fail("PATCH", UPLOADS, fault, times=1, skip=2)
    result = copies.run(attempts=2)
    assert_complete(result, ocis)
    assert resumed(result) >= 2 * PART
    assert sent(ocis) <= SIZE + PART
    assert len(ocis.seen("POST")) == 1
    assert not ocis.seen("DELETE")


def test_bytes_of_a_part_that_was_cut_off_are_not_sent_again(
    copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.fail("PATCH", UPLOADS, opencloud.reset(after=2 * MIB), times=1, skip=2)
    result = copies.run(attempts=2)
    assert_complete(result, ocis)
    assert resumed(result) == 2 * PART + 2 * MIB


def test_upload_that_is_cut_off_again_and_again(copies: TusCopies, ocis: OpenCloud) -> None:
    for skip, after in [(0, MIB), (1, 2 * MIB), (1, 3 * MIB), (2, MIB)]:
        ocis.fail("PATCH", UPLOADS, opencloud.reset(after=after), times=1, skip=skip)
    result = copies.run(attempts=6)
    assert_complete(result, ocis)
    assert sent(ocis) < 1.1 * SIZE
    assert len(ocis.seen("POST")) == 1


@pytest.mark.field_case("L6")
@pytest.mark.parametrize(
    "fault", [opencloud.reset(after=MIB), opencloud.status(500)], ids=["hang-up", "500"]
)
def test_upload_that_fails_is_ended(copies: TusCopies, ocis: OpenCloud, fault: Fault) -> None:
    ocis.write("/to/large.bin", b"old")
    ocis.fail("PATCH", UPLOADS, fault, skip=2)
    assert copies.run(attempts=2)["state"] == "failed"
    assert ocis.read_file("to/large.bin") == b"old"
    assert not ocis.uploads
    assert len(ocis.seen("POST")) == 1


@pytest.mark.field_case("L6")
def test_deadline_ends_the_upload(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.fail("PATCH", UPLOADS, opencloud.stall(after=MIB), times=1, skip=2)
    assert copies.run(deadline_seconds=4)["state"] == "incomplete"
    assert not ocis.uploads
    ocis.heal()
    assert_complete(copies.run(), ocis)


@pytest.mark.field_case("L6")
def test_caller_that_hangs_up_ends_the_upload(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.write("/to/large.bin", b"old")
    ocis.fail("PATCH", UPLOADS, opencloud.stall(after=MIB), times=1, skip=2)
    source, destination = copies.s3.endpoint(copies.folder), ocis.storage().endpoint("to")
    events = copies.function.events({"source": source, "destination": destination})

    def read() -> None:
        for _ in events:
            if len(ocis.seen("PATCH")) == 3:
                break

    reading = threading.Thread(target=read)
    reading.start()
    reading.join(30)
    events.close()
    copies.function.wait_clean(20)
    assert ocis.read_file("to/large.bin") == b"old"
    assert not ocis.uploads


def test_server_without_termination_gets_the_next_upload_all_the_same(
    copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.tus.terminates = False
    ocis.fail("PATCH", UPLOADS, opencloud.reset(after=MIB), skip=2)
    assert copies.run()["state"] == "failed"
    assert len(ocis.uploads) == 1
    ocis.heal()
    result = copies.run()
    assert result["state"] == "succeeded"
    assert ocis.hashes("to") == {"large.bin": digest(DATA)}


def forget(ocis: OpenCloud) -> None:
    ocis.uploads.clear()


def expire(ocis: OpenCloud) -> None:
    ocis.upload_tokens = dict.fromkeys(ocis.upload_tokens, 0)


def cut(ocis: OpenCloud) -> None:
    """The server has less than it had said."""
    for upload in ocis.uploads.values():
        with upload.content.open("r+b") as content:
            content.truncate(PART // 2)


def add(ocis: OpenCloud) -> None:
    """The server has more than it was sent."""
    for upload in ocis.uploads.values():
        with upload.content.open("ab") as content:
            content.write(b"0" * PART)


@pytest.mark.parametrize("harm", [forget, expire, cut, add])
def test_harm_to_an_upload_costs_bytes_and_no_truth(
    harm: Any, copies: TusCopies, ocis: OpenCloud
) -> None:
    def meddle(request: Request) -> Fault | None:
        if request.method == "PATCH" and len(ocis.seen("PATCH")) == 3:
            harm(ocis)
            return opencloud.reset()
        return None

    ocis.on_request = meddle
    result = copies.run(attempts=2)
    assert result["state"] == "succeeded", result["errors"]
    assert ocis.hashes("to") == {"large.bin": digest(DATA)}
    assert all(ocis.upload_tokens[token] == 0 for token in ocis.uploads)


@pytest.mark.slow
def test_upload_that_has_expired_is_not_asked_for(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.tus.seconds = 5

    def wait(request: Request) -> Fault | None:
        if request.method == "PATCH" and len(ocis.seen("PATCH")) == 3:
            time.sleep(max(0.0, *(one.expires - time.time() for one in ocis.uploads.values())))
            ocis.tus.seconds = 86_400
            return opencloud.status(500)
        return None

    ocis.on_request = wait
    result = copies.run(attempts=2)
    assert result["state"] == "succeeded", result["errors"]
    assert ocis.hashes("to") == {"large.bin": digest(DATA)}
    assert len(ocis.seen("POST")) == 2
    assert not ocis.seen("HEAD", UPLOADS)
    assert resumed(result) == 0


@pytest.mark.parametrize("lie", ["offset", "bytes", "lost"])
def test_server_that_lies_gets_a_put(lie: Any, copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.tus.lies.add(lie)
    result = copies.run(attempts=2)
    assert_complete(result, ocis)
    assert len(ocis.seen("PUT")) == 1
    assert len(ocis.seen("POST")) == 1


def test_file_of_other_bytes_does_not_stay(copies: TusCopies, ocis: OpenCloud) -> None:
    """Its size and time are the source's, so it would be taken for the file."""
    ocis.tus.lies.add("bytes")
    ocis.fail("PUT", "*", opencloud.status(500))
    assert copies.run(attempts=2)["state"] == "failed"
    assert not ocis.hashes("to")
    ocis.tus.lies.clear()
    ocis.heal()
    assert_complete(copies.run(), ocis)


def test_file_of_other_bytes_that_cannot_be_removed_has_failed(
    copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.tus.lies.add("bytes")
    ocis.fail("PUT", "*", opencloud.status(500))
    ocis.fail("DELETE", FILE, opencloud.status(403))
    ocis.fail("PATCH", UPLOADS, opencloud.reset(), times=1, skip=1)
    result = copies.run(attempts=3)
    assert result["state"] == "failed"
    assert ocis.file("to/large.bin") is not None


def test_changed_source_is_never_mixed(copies: TusCopies, ocis: OpenCloud) -> None:
    changed = random.Random(19).randbytes(SIZE)  # noqa: S311

    def change(request: Request) -> Fault | None:
        if request.method == "PATCH" and len(ocis.seen("PATCH")) == 3:
            copies.write(changed)
            return opencloud.reset(after=MIB)
        return None

    ocis.on_request = change
    result = copies.run(attempts=3)
    assert_complete(result, ocis, changed)


@pytest.mark.parametrize("when", ["first", "last"])
def test_file_that_another_client_stores_meanwhile_is_not_overwritten_unseen(
    when: str, copies: TusCopies, ocis: OpenCloud
) -> None:
    """The upload begins anew, and keeps the other's file as a version."""
    number = 2 if when == "first" else 5

    def meddle(request: Request) -> Fault | None:
        if request.method == "PATCH" and len(ocis.seen("PATCH")) == number:
            ocis.write("/to/large.bin", b"another's")
        return None

    ocis.on_request = meddle
    result = copies.run(attempts=2)
    assert_complete(result, ocis)
    assert len(ocis.seen("POST")) == 2
    assert resumed(result) == 0


@pytest.mark.parametrize(
    "fault",
    [
        opencloud.status(504, carried_out=True),
        opencloud.status(502, carried_out=True),
        opencloud.reset(after=MIB),
    ],
    ids=["504 and done", "502 and done", "answer lost"],
)
@pytest.mark.parametrize("processing", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_answers_to_the_last_part_are_not_taken_for_the_truth(
    processing: int, fault: Fault, copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.processing_seconds = processing
    ocis.fail("PATCH", UPLOADS, fault, times=1, skip=4)
    result = copies.run(attempts=2)
    assert result["state"] == "succeeded", result["errors"]
    assert ocis.hashes("to") == {"large.bin": digest(DATA)}
    assert sent(ocis) == SIZE
    assert not ocis.seen("DELETE")


def test_old_file_stays_until_the_last_part(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.write("/to/large.bin", b"old")
    seen = []

    def look(request: Request) -> None:
        if request.method == "PATCH":
            seen.append(ocis.read_file("to/large.bin"))

    ocis.on_request = look
    assert_complete(copies.run(), ocis)
    assert seen == [b"old"] * 5


def test_quota_is_asked_before_a_byte(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.user().space.quota = SIZE - 1
    result = copies.run()
    assert result["state"] == "failed"
    assert not sent(ocis)
    assert not ocis.seen("POST")


def test_server_without_tus_gets_a_put(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.tus.is_on = False
    assert_complete(copies.run(), ocis)
    assert len(ocis.seen("PUT")) == 1
    assert not ocis.seen("POST")


@pytest.mark.parametrize(
    "code",
    [412, 500, *(pytest.param(code, marks=pytest.mark.slow) for code in (400, 403, 404, 409, 501))],
)
def test_upload_that_the_server_does_not_begin_goes_by_put(
    code: int, copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.fail("POST", "*", opencloud.status(code))
    assert_complete(copies.run(), ocis)
    assert len(ocis.seen("PUT")) == 1


@pytest.mark.parametrize("code", [405, pytest.param(403, marks=pytest.mark.slow)])
@pytest.mark.parametrize("skip", [0, 2])
def test_proxy_that_lets_no_parts_pass_gets_a_put(
    code: int, skip: int, copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.fail("PATCH", UPLOADS, opencloud.status(code), skip=skip)
    assert_complete(copies.run(attempts=3), ocis)
    assert len(ocis.seen("PUT")) == 1
    assert len(ocis.seen("POST")) <= 2


@pytest.mark.field_case("L6", variant="the last part of a tus upload is cut off")
def test_last_part_that_was_cut_off_is_ended(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.fail("PATCH", UPLOADS, opencloud.reset(after=1000), skip=4)
    result = copies.run()
    assert result["state"] == "failed"
    assert not ocis.hashes("to")
    assert not ocis.uploads


def test_upload_at_another_host_gets_no_credential(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.tus.origin = ocis.url.replace("127.0.0.1", "localhost")
    ocis.fail("PATCH", UPLOADS, opencloud.reset(after=MIB), times=1, skip=1)
    result = copies.run(attempts=2)
    assert_complete(result, ocis)
    assert resumed(result) >= PART
    asked = ocis.seen("*", UPLOADS)
    assert {one.method for one in asked} == {"PATCH", "HEAD"}
    assert all(one.headers["Host"].startswith("localhost:") for one in asked)
    assert not any("Authorization" in one.headers for one in asked)


@pytest.mark.parametrize("origin", ["http://10.1.2.3", "ftp://127.0.0.1", "http://a@127.0.0.1"])
def test_upload_where_the_site_allows_nothing_goes_by_put(
    origin: str, copies: TusCopies, ocis: OpenCloud
) -> None:
    ocis.tus.origin = origin
    result = copies.run()
    assert result["state"] == "succeeded", result["errors"]
    assert ocis.hashes("to") == {"large.bin": digest(DATA)}
    assert len(ocis.seen("PUT")) == 1


def test_credential_stays_with_its_origin(copies: TusCopies, ocis: OpenCloud) -> None:
    assert_complete(copies.run(), ocis)
    assert all("Authorization" in one.headers for one in ocis.seen("PATCH", UPLOADS))


def test_address_of_an_upload_is_no_secret_that_is_told(copies: TusCopies, ocis: OpenCloud) -> None:
    ocis.fail("PATCH", UPLOADS, opencloud.status(500))
    result = copies.run()
    assert result["state"] == "failed"
    assert "/data/" not in str(result)


def test_chunks_switched_off_are_one_put(tmp_path: Path, s3: Storage, ocis: OpenCloud) -> None:
    with service_process.function(tmp_path, WEBDAV_CHUNKS_MB="0") as whole:
        assert_complete(TusCopies(whole, s3, ocis).run(), ocis)
        whole.wait_clean()
    assert [one.received for one in ocis.seen("PUT")] == [SIZE]
    assert not ocis.seen("OPTIONS")
    assert not ocis.seen("POST")


def test_source_whose_bytes_have_another_hash_replaces_nothing(
    function: Function, ocis: OpenCloud
) -> None:
    """A server compares the hash with a PUT, and with tus it does not."""
    ocis.write("/to/large.bin", b"old")
    with nextcloud.serving() as cloud:
        cloud.write("/from/large.bin", DATA).checksum = f"SHA1:{'0' * 40}"
        source, destination = cloud.storage().endpoint("from"), ocis.storage().endpoint("to")
        answer = function.copy(source, destination, options={"attempts": 1})
    assert answer.status_code != 200
    assert "checksum_mismatch" in answer.text
    assert ocis.read_file("to/large.bin") == b"old"
    assert not ocis.uploads


@pytest.mark.slow
def test_200_mib_that_are_cut_off_five_times(copies: TusCopies, ocis: OpenCloud) -> None:
    content = DATA * 13
    copies.write(content)
    ocis.tus.max_chunk = 10_000_000
    faults = [opencloud.reset(after=MIB), opencloud.status(500), opencloud.truncate(after=MIB)]
    for skip, fault in zip([4, 8, 12, 15, 18], [*faults, *faults], strict=False):
        ocis.fail("PATCH", UPLOADS, fault, times=1, skip=skip)
    result = copies.run(attempts=6)
    assert_complete(result, ocis, content)
    assert resumed(result) > len(content) / 2
    assert sent(ocis) < 1.2 * len(content)
    assert len(ocis.seen("POST")) == 1
