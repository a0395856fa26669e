"""Small files are read from an OpenCloud by its archiver, each held against its listing."""

from __future__ import annotations

import struct
import threading
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from support import opencloud, service_process
from support.opencloud import OpenCloud
from support.service_process import Function
from support.stand_in.faults import Request
from support.stand_in.site import Cost
from support.storages import Storage
from support.watching import WatchedMemory

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY or not service_process.ARCHIVES,
    reason="without the gateway, or with archives switched off, each file is read by itself",
)
FROM: Final = "/remote.php/dav/files/alice/from"
CAPABILITIES: Final = "/ocs/v2.php/cloud/capabilities"
FILES: Final = {f"{n % 3}/{n}.txt": b"%d" % n * (n * 37 % 200) for n in range(1, 49)}
# The same two names in each folder, with other sizes and bytes.
MIB: Final = 1 << 20
ALIKE: Final = {f"{n // 2}/{'ab'[n % 2]} ü.txt": b"%d" % n * (n + 1) for n in range(48)}


@pytest.fixture
def ocis() -> Iterator[OpenCloud]:
    """A GET takes so long that others arrive meanwhile, however slow the machine is."""
    with opencloud.serving(cost=Cost(work={"GET": 0.05})) as running:
        yield running


def fill(ocis: OpenCloud, files: dict[str, bytes] = FILES) -> dict[str, str]:
    for name, content in files.items():
        ocis.write(f"/from/{name}", content)
    return ocis.hashes("from")


def copy(
    function: Function, ocis: OpenCloud, s3: Storage, **options: Any
) -> tuple[Any, dict[str, str]]:
    folder = uuid.uuid4().hex
    options = {"report": "all", "attempts": 1, **options}
    ends = ocis.storage().endpoint("from"), s3.endpoint(folder)
    answer = function.copy(*ends, options=options)
    return answer, s3.hashes(f"bucket/{folder}")


def arrives_whole(
    function: Function,
    ocis: OpenCloud,
    s3: Storage,
    files: dict[str, bytes] = FILES,
    **options: Any,
) -> int:
    """Copy the files; return how many of them were read from archives."""
    whole = fill(ocis, files)
    answer, arrived = copy(function, ocis, s3, **options)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    return in_bulk(answer)


def in_bulk(answer: Any) -> int:
    body = answer.json()
    return int(body.get("result", body)["rclone"].get("bulk_downloads", 0))


def archives(ocis: OpenCloud) -> list[Request]:
    return ocis.seen("GET", "/archiver")


def ids(request: Request) -> list[str]:
    return parse_qs(urlsplit(request.target).query)["id"]


def alone(ocis: OpenCloud) -> list[str]:
    return [one.path.removeprefix(f"{FROM}/") for one in ocis.seen("GET", f"{FROM}/*")]


def test_small_files_come_in_archives(function: Function, s3: Storage, ocis: OpenCloud) -> None:
    count = arrives_whole(function, ocis, s3)
    # A file that is alone for a moment is not held back.
    assert count == len(FILES) - len(alone(ocis)) >= 20
    assert len(archives(ocis)) + len(alone(ocis)) <= len(FILES) // 2
    # Nothing is asked for that the engine did not ask for.
    asked = [one for request in archives(ocis) for one in ids(request)]
    assert len(asked) == len(set(asked)) == count
    assert {one.status for one in archives(ocis)} == {200}
    assert len(ocis.seen("GET", CAPABILITIES)) == 1


def test_files_of_one_name_in_several_folders_are_told_apart(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    names: list[list[str]] = []

    def note(paths: list[str], whole: bytes) -> bytes:
        names.append([path.rpartition("/")[2] for path in paths])
        return whole

    ocis.on_archive = note
    assert arrives_whole(function, ocis, s3, ALIKE) >= 20
    assert any(max(Counter(one).values()) > 1 for one in names)


# Servers that lie. Each function gets the entries of an archive, and returns another archive.


def _entry(name: str, content: bytes, *, size: int | None = None) -> bytes:
    raw, crc = name.encode(), zlib.crc32(content)
    size = len(content) if size is None else size
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x808, 0, 0, 33, 0, 0, 0, len(raw), 0)
    return head + raw + content + struct.pack("<4s3I", b"PK\7\x08", crc, size, size)


def _deflated(name: str, content: bytes) -> bytes:
    raw, crc, packed = name.encode(), zlib.crc32(content), zlib.compress(content, wbits=-15)
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x808, 8, 0, 33, 0, 0, 0, len(raw), 0)
    return head + raw + packed + struct.pack("<4s3I", b"PK\7\x08", crc, len(packed), len(content))


def _flipped(content: bytes) -> bytes:
    return bytes(255 - byte for byte in content)


END: Final = b"PK\5\6" + bytes(18)
Entries = list[tuple[str, bytes]]
LIES: Final[dict[str, Callable[[Entries], bytes]]] = {
    "error in place of all": lambda _: b"error: internal error: reached no storage",
    "error in place of bytes": lambda its: (
        _entry(its[0][0], b"error: too early"[: len(its[0][1])].ljust(len(its[0][1]))) + END
    ),
    "error in the midst": lambda its: (
        _entry(*its[0]) + b"error: too early" + b"".join(_entry(*one) for one in its[1:]) + END
    ),
    "no bytes": lambda its: b"".join(_entry(name, b"") for name, _ in its) + END,
    "last without bytes": lambda its: (
        b"".join(_entry(*one) for one in its[:-1]) + _entry(its[-1][0], b"") + END
    ),
    "left out": lambda its: b"".join(_entry(*one) for one in its[1:]) + END,
    "all left out": lambda _: END,
    "one added": lambda its: b"".join(_entry(*one) for one in its) + _entry("other", b"x") + END,
    "other bytes of the length": lambda its: (
        b"".join(_entry(name, _flipped(content)) for name, content in its) + END
    ),
    "wrong size told": lambda its: b"".join(_entry(*one, size=3) for one in its) + END,
    "longer": lambda its: b"".join(_entry(name, one + b"x") for name, one in its) + END,
    "cut off": lambda its: b"".join(_entry(*one) for one in its)[:-20],
    "folders before names": lambda its: b"".join(_entry(f"x/{a}", b) for a, b in its) + END,
    "bomb": lambda its: b"".join(_deflated(name, bytes(1 << 20)) for name, _ in its) + END,
}


def lie(ocis: OpenCloud, answer: Callable[[Entries], bytes]) -> None:
    ocis.on_archive = lambda paths, _: answer(
        [(path.rpartition("/")[2], file_of(ocis, path)) for path in paths]
    )


def file_of(ocis: OpenCloud, path: str) -> bytes:
    file = ocis.file(path)
    assert file is not None
    return file.content.read_bytes()


FAST: Final = {
    "error in the midst",
    "no bytes",
    "left out",
    "one added",
    "other bytes of the length",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in LIES],
)
def test_no_byte_of_a_false_archive_arrives_and_no_other_is_asked_for(
    name: str, function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    lie(ocis, LIES[name])
    count = arrives_whole(function, ocis, s3, transfers=8)
    assert len(archives(ocis)) == 1
    assert len(alone(ocis)) == len(FILES) - count
    assert set(alone(ocis)) <= set(FILES)


def test_contents_of_equal_names_that_are_swapped_are_found_out(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    """Name and size are right, and the bytes are those of another file."""
    lie(ocis, lambda its: b"".join(_entry(*one) for one in reversed(its)) + END)
    files = {f"{n}/same.txt": b"%03d" % n for n in range(40)}
    arrives_whole(function, ocis, s3, files, transfers=8)
    assert len(archives(ocis)) == 1


def test_limits_of_the_capability_hold(function: Function, s3: Storage, ocis: OpenCloud) -> None:
    ocis.archiver_most_files, ocis.archiver_most_bytes = 5, 1000
    assert arrives_whole(function, ocis, s3, transfers=16) >= 10
    assert all(2 <= len(ids(one)) <= 5 for one in archives(ocis))
    assert {one.status for one in archives(ocis)} == {200}
    assert not set(alone(ocis)) - set(FILES)


@pytest.mark.parametrize("size", [1, 4000])
def test_limit_that_is_lower_than_told_ends_the_use(
    size: int, function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    """Little is refused with 413, and of more a part arrives with 200."""
    files = {f"{n % 3}/{n}": b"%02d" % n * size for n in range(40)}

    def lower(request: Request) -> None:
        if request.path == "/archiver":
            ocis.archiver_most_files = 3

    ocis.on_request = lower
    count = arrives_whole(function, ocis, s3, files, transfers=8)
    # The first requests may be for few files, and once one was right, two may be under way.
    within = [one for one in archives(ocis) if len(ids(one)) <= 3]
    beyond = [one for one in archives(ocis) if len(ids(one)) > 3]
    assert {one.status for one in within} <= {200}
    assert 1 <= len(beyond) <= 2
    assert {one.status for one in beyond} == {413 if size == 1 else 200}
    assert count <= sum(len(ids(one)) for one in within) + 3 * len(beyond)


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 4000])
def test_file_that_is_in_processing_meanwhile_is_waited_for(
    size: int, function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    files = {f"{n % 3}/{n}": b"%02d" % n * size for n in range(40)}
    begun = threading.Event()

    def process(request: Request) -> None:
        if request.path == "/archiver" and not begun.is_set():
            begun.set()
            ocis.process("/from", 1)

    ocis.on_request = process
    count = arrives_whole(function, ocis, s3, files, transfers=8)
    assert begun.is_set()
    assert len(archives(ocis)) == 1
    assert count == 0


def test_file_that_is_listed_in_processing_is_in_no_archive(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    whole = fill(ocis)
    ocis.process("/from/1", 2)
    asked: list[str] = []

    def note(paths: list[str], whole: bytes) -> bytes:
        asked.extend(paths)
        return whole

    ocis.on_archive = note
    answer, arrived = copy(function, ocis, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert {path.split("/")[2] for path in asked} == {"0", "2"}


def _capability(**members: Any) -> dict[str, Any]:
    told = {"enabled": True, "version": "2.0.0", "formats": ["zip"], "archiver_url": "/archiver"}
    return {**told, "max_num_files": "10000", "max_size": 1 << 30, **members}


@pytest.mark.parametrize(
    "archivers",
    [
        [],
        [_capability(version="1.0.0"), _capability(formats=["tar"]), "x"],
    ],
    ids=["none", "old, no zip"],
)
def test_server_without_a_usable_archiver_is_asked_once(
    archivers: Any, function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    ocis.archivers = archivers
    assert arrives_whole(function, ocis, s3) == 0
    assert len(ocis.seen("GET", CAPABILITIES)) == 1
    assert not archives(ocis)
    assert sorted(alone(ocis)) == sorted(FILES)


def test_archiver_at_another_host_is_not_asked(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    with opencloud.serving() as other:
        ocis.archivers = [_capability(archiver_url=f"{other.url}/archiver")]
        assert arrives_whole(function, ocis, s3) == 0
        assert not other.requests
    assert not archives(ocis)


def test_archiver_is_found_by_its_whole_url(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    ocis.archivers = [_capability(archiver_url=f"{ocis.url}/archiver")]
    assert arrives_whole(function, ocis, s3) >= 20


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (CAPABILITIES, 404),
        ("/archiver", 404),
        pytest.param(CAPABILITIES, 403, marks=pytest.mark.slow),
        pytest.param("/archiver", 502, marks=pytest.mark.slow),
    ],
)
def test_refusal_leads_to_the_plain_way_for_good(
    path: str, status: int, function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    ocis.fail("GET", path, opencloud.status(status, b"no"))
    assert arrives_whole(function, ocis, s3) == 0
    assert len(ocis.seen("GET", path)) == 1
    assert sorted(alone(ocis)) == sorted(FILES)


def test_connection_that_breaks_is_tried_again(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    ocis.fail("GET", "/archiver", opencloud.truncate(after=300), times=1)
    assert arrives_whole(function, ocis, s3, transfers=8) >= 10
    assert len(archives(ocis)) > 2


def test_verification_by_content_reads_the_server_again(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    count = arrives_whole(function, ocis, s3, verify="download")
    assert count + len(alone(ocis)) == 2 * len(FILES)
    assert count >= 20


def test_second_copy_reads_nothing(function: Function, s3: Storage, ocis: OpenCloud) -> None:
    fill(ocis)
    ends = ocis.storage().endpoint("from"), s3.endpoint(uuid.uuid4().hex)
    assert function.copy(*ends).status_code == 200
    ocis.heal()
    again = function.copy(*ends)
    assert again.json()["totals"]["files"]["skipped"] == len(FILES)
    assert not archives(ocis)
    assert not alone(ocis)


def test_client_that_hangs_up_ends_the_archive(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    fill(ocis)
    ocis.fail("GET", "/archiver", opencloud.stall(after=200))
    ends = ocis.storage().endpoint("from"), s3.endpoint(uuid.uuid4().hex)
    function.leave({"source": ends[0], "destination": ends[1]}, when=lambda: archives(ocis))
    function.wait_clean(20)


def test_token_that_is_revoked_in_mid_copy_is_not_used_again(
    function: Function, s3: Storage, ocis: OpenCloud
) -> None:
    whole = fill(ocis)

    def revoke(request: Request) -> None:
        if request.path == "/archiver" and len(archives(ocis)) == 2:
            ocis.expire_tokens()

    ocis.on_request = revoke
    answer, arrived = copy(function, ocis, s3, transfers=8)
    body = answer.json()
    (error,) = body.get("result", body)["errors"]
    assert (error["code"], error["side"]) == ("authentication_failed", "source")
    assert arrived.items() < whole.items()
    assert ocis.statuses()[401] <= 17


@pytest.mark.slow
def test_switched_off(s3: Storage, ocis: OpenCloud, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", WEBDAV_GATEWAY="1", WEBDAV_ARCHIVES="0") as off:
        assert arrives_whole(off, ocis, s3) == 0
        off.wait_clean()
    assert sorted(alone(ocis)) == sorted(FILES)
    assert not archives(ocis)
    assert not ocis.seen("GET", CAPABILITIES)


@pytest.mark.slow
def test_files_in_flight_fit_into_the_memory_of_a_small_function(
    s3: Storage, ocis: OpenCloud, tmp_path: Path
) -> None:
    """100 files of 1 MiB, which go one by one, and as many of 128 KiB between them."""
    files = {f"{n % 3}/{n}.bin": bytes([n]) * MIB for n in range(100)}
    files |= {f"{n % 3}/{n}.txt": bytes([n]) * (128 << 10) for n in range(100)}
    (tmp_path / "run").mkdir()
    with (
        service_process.function(
            tmp_path / "run",
            WEBDAV_GATEWAY="1",
            CONCURRENT_TRANSFERS="1",
            MEMORY_BYTES=str(352 * MIB),  # what the service leaves of 512 MiB
        ) as small,
        WatchedMemory(small) as watched,
    ):
        assert arrives_whole(small, ocis, s3, files, transfers=64) >= 50
        small.wait_clean()
    print(f"Python {watched.python / MIB:.0f} MiB, together {watched.both / MIB:.0f} MiB")
    assert watched.both < 512 * MIB
