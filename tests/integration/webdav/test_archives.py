"""Small files are read from a Nextcloud in zips, and each is held against its listing."""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from support import nextcloud, nextcloud_downloads, service_process
from support.nextcloud import Nextcloud
from support.nextcloud.tree import File
from support.nextcloud_downloads import fill, in_bulk
from support.service_process import Function
from support.stand_in.faults import Request
from support.storages import Storage
from support.zips import ZIP_END as END
from support.zips import zip_entry as _entry

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY or not service_process.ARCHIVES,
    reason="without the gateway, or with archives switched off, each file is read by itself",
)
FROM: Final = "/remote.php/dav/files/alice/from"
FILES: Final = {f"{n % 3}/{n}.txt": b"%d" % n * (n * 37 % 200) for n in range(48)}


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    """A Nextcloud as it is delivered: with zips.

    A GET takes so long that others arrive meanwhile, however slow the machine is.
    """
    with nextcloud.serving(cost=nextcloud.Cost(work={"GET": 0.05})) as running:
        yield running


# With a selection nothing is read ahead.
copy = partial(nextcloud_downloads.copy, selection={"exclude": ["none"]})


def result(answer: Any) -> dict[str, Any]:
    body = answer.json()
    return dict(body.get("result", body))


def zips(cloud: Nextcloud) -> list[Request]:
    return [one for one in cloud.seen("GET") if "accept=zip" in one.target]


def alone(cloud: Nextcloud) -> list[str]:
    gets = [one for one in cloud.seen("GET", f"{FROM}/*") if "accept=zip" not in one.target]
    return [one.path.removeprefix(f"{FROM}/") for one in gets]


def test_small_files_come_in_zips(function: Function, s3: Storage, cloud: Nextcloud) -> None:
    whole = fill(cloud, FILES)
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    # A file that is alone for a moment is not held back.
    assert in_bulk(answer) == len(FILES) - len(alone(cloud)) >= 20
    assert 1 <= len(zips(cloud)) <= 20
    # Nothing is asked for that the engine did not ask for.
    asked = [name for one in zips(cloud) for name in _asked(one)]
    assert len(asked) == len(set(asked)) == in_bulk(answer)


def _asked(request: Request) -> list[str]:
    folder = request.path.removeprefix(FROM).strip("/")
    names = json.loads(parse_qs(urlsplit(request.target).query)["files"][0])
    return [f"{folder}/{name}".strip("/") for name in names]


def test_times_are_kept_and_a_second_copy_reads_nothing(
    function: Function, cloud: Nextcloud
) -> None:
    fill(cloud, FILES)
    with nextcloud.serving() as other:
        ends = cloud.storage().endpoint("from"), other.storage().endpoint("to")
        answer = function.copy(*ends)
        assert answer.status_code == 200, answer.text
        assert other.hashes("to") == cloud.hashes("from")
        assert in_bulk(answer) >= 20
        cloud.heal()
        again = function.copy(*ends)
        assert result(again)["totals"]["files"]["skipped"] == len(FILES)
        assert not cloud.seen("GET", f"{FROM}*")


def test_verification_by_content_reads_the_server_again(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    """A file that changes after the copy, and keeps its size, is found by its bytes."""
    whole = fill(cloud, FILES)
    changed = threading.Event()

    def change(request: Request) -> None:
        # Whether the other folders are asked for by themselves is open.
        is_listed_again = (request.method, request.path) == ("PROPFIND", FROM)
        if is_listed_again and zips(cloud) and not changed.is_set():
            file = cloud.user().tree.find("/from/1/10.txt")
            assert isinstance(file, File)
            file.content.write_bytes(b"x" * file.size)
            changed.set()

    cloud.on_request = change
    answer, arrived = copy(function, cloud, s3, verify="download")
    assert changed.is_set()
    assert arrived == whole
    assert result(answer)["verification"]["differing"] == 1, answer.text
    assert in_bulk(answer) + len(alone(cloud)) == 2 * len(FILES)
    assert in_bulk(answer) >= 20


@pytest.mark.slow
def test_odd_names_and_files_of_each_size_arrive(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    names = ["ä ☃ #%?&.txt", "%41.txt", "a:b;c=d", "  lead", "'\"", "x" * 200, "日本", "a+b", "-"]
    names += ["é", "missing_files.json", "0", "[", "dot.", ",", "null"]
    sizes = [0, 1, 4096, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 1 << 20]
    files = {f"{name}/{name}{n}": b"" if n == 2 else b"%d" % n for name in names for n in range(3)}
    files |= {f"{n}/{size}": bytes([n]) * size for n in range(4) for size in sizes}
    whole = fill(cloud, files)
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert {name for name, content in files.items() if len(content) > 1 << 17} <= set(alone(cloud))
    asked = {name for one in zips(cloud) for name in _asked(one)}
    assert len(asked) == in_bulk(answer) >= 30


@pytest.mark.parametrize("transfers", [1, 2, pytest.param(64, marks=pytest.mark.slow)])
def test_any_number_of_transfers_comes_to_its_end(
    transfers: int, function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    count = 150 if transfers > 2 else 20
    whole = fill(cloud, {f"{n % 7}/{n}": b"%d" % n * 1000 for n in range(count)})
    answer, arrived = copy(function, cloud, s3, transfers=transfers)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    # Two may always miss each other.
    assert (in_bulk(answer) > 0) == (transfers > 1) or transfers == 2


def test_server_that_takes_no_paths_is_asked_for_one_folder_at_a_time(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    whole = fill(cloud, {f"{n % 8}/{n}": b"%d" % n for n in range(64)})

    def refuse(request: Request) -> nextcloud.Fault | None:
        has_paths = "accept=zip" in request.target and "/" in "".join(
            name.removeprefix(request.path.removeprefix(FROM).strip("/") + "/")
            for name in _asked(request)
        )
        return nextcloud.status(404) if has_paths else None

    cloud.on_request = refuse
    answer, arrived = copy(function, cloud, s3, transfers=16)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert 1 <= sum(one.status == 404 for one in zips(cloud)) <= 2
    assert in_bulk(answer) >= 20


LOGIN: Final = b"<!DOCTYPE html><title>Sign in</title>"


@pytest.mark.parametrize(
    "faults",
    [
        [nextcloud.status(400), nextcloud.status(403), nextcloud.status(404)],
        [nextcloud.status(500, b"<d:error/>"), nextcloud.status(502), nextcloud.status(405)],
        [nextcloud.status(200, LOGIN, Content_Type="text/html; charset=utf-8")],
        [nextcloud.status(302, Location="/login"), nextcloud.status(200, LOGIN)],
        [
            nextcloud.status(200, LOGIN, Content_Type="application/zip"),
            nextcloud.status(200, Content_Type="application/zip"),
            nextcloud.truncate(after=0),
        ],
        [nextcloud.reset(), nextcloud.reset(after=300), nextcloud.truncate(after=300)],
    ],
    ids=["refused", "failed", "page", "redirect", "no zip", "cut off"],
)
def test_refused_zip_is_read_file_by_file(
    faults: list[nextcloud.Fault], function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    whole = fill(cloud, FILES)
    left = [*faults]

    def fail(request: Request) -> nextcloud.Fault | None:
        if "accept=zip" not in request.target:
            return None
        return left.pop(0) if len(left) > 1 else left[0]

    cloud.on_request = fail
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    # It is not asked again and again. A broken connection is tried anew once.
    is_no_zip = faults[0].status in (200, 302) and len(faults) < 3
    assert 1 <= len(zips(cloud)) <= (1 if is_no_zip else 7)


def test_server_without_zips_is_asked_once(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    whole = fill(cloud, FILES)
    cloud.archives = False
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert len(zips(cloud)) == 1
    assert in_bulk(answer) == 0


# Servers that lie. Each function gets the names of a zip and the zip, and returns another.


def _deflated(name: str, content: bytes) -> bytes:
    raw, crc = name.encode(), zlib.crc32(content)
    packed = zlib.compress(content, wbits=-15)
    sizes = crc, len(packed), len(content), len(raw), 0
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x800, 8, 0, 33, *sizes) + raw + packed


def _with_sizes(name: str, content: bytes) -> bytes:
    raw = name.encode()
    sizes = zlib.crc32(content), len(content), len(content), len(raw), 0
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x800, 0, 0, 33, *sizes) + raw + content


def _narrow(name: str, content: bytes) -> bytes:
    return _entry(name, content)[:-20] + struct.pack(
        "<3I", zlib.crc32(content), len(content), len(content)
    )


def _flipped(content: bytes) -> bytes:
    return bytes(255 - byte for byte in content)


Entries = list[tuple[str, bytes]]
LIES: Final[dict[str, Callable[[Entries], bytes]]] = {
    "left out": lambda its: b"".join(_entry(*one) for one in its[1:]) + END,
    "all left out": lambda _: END,
    "cut off": lambda its: b"".join(_entry(*one) for one in its)[:-30],
    "shorter entry": lambda its: (
        b"".join(_entry(name, content[:-1]) for name, content in its) + END
    ),
    "longer entry": lambda its: (
        b"".join(_entry(name, content + b"x") for name, content in its) + END
    ),
    "wrong crc": lambda its: b"".join(_entry(*one, crc=1) for one in its) + END,
    "wrong size told": lambda its: b"".join(_entry(*one, size=3) for one in its) + END,
    "changed bytes": lambda its: (
        b"".join(_entry(name, _flipped(content), crc=zlib.crc32(content)) for name, content in its)
        + END
    ),
    "one added": lambda its: _entry("other", b"x") + b"".join(_entry(*one) for one in its) + END,
    "two of a name": lambda its: (
        _entry(*its[0]) + _entry(its[0][0], its[0][1]) + b"".join(_entry(*one) for one in its[1:])
    ),
    "path upwards": lambda its: (
        _entry("../" + its[0][0], its[0][1]) + b"".join(_entry(*one) for one in its[1:]) + END
    ),
    "absolute path": lambda its: b"".join(_entry(f"/{name}", one) for name, one in its) + END,
    "bomb": lambda its: b"".join(_deflated(name, bytes(1 << 20)) for name, _ in its) + END,
    "stored bomb": lambda its: b"".join(_entry(name, bytes(1 << 20)) for name, _ in its) + END,
    "report of what is missing": lambda its: (
        _entry(*its[0]) + _entry("missing_files.json", b'["x"]') + END
    ),
    "names swapped": lambda its: (
        b"".join(_entry(name, its[(at + 1) % len(its)][1]) for at, (name, _) in enumerate(its))
        + END
    ),
}
RIGHT: Final[dict[str, Callable[[Entries], bytes]]] = {
    "sizes before": lambda its: b"".join(_with_sizes(*one) for one in its) + END,
    "narrow descriptors": lambda its: b"".join(_narrow(*one) for one in its) + END,
    "another order": lambda its: b"".join(_entry(*one) for one in reversed(its)) + END,
}


def _answer(cloud: Nextcloud, lie: Callable[[Entries], bytes]) -> None:
    """Answer for a zip by a function of its entries, which may all be as they should be."""

    def answer(names: list[str], _: bytes) -> bytes:
        request = next(one for one in reversed(zips(cloud)) if _relative(one) == names)
        folder = "/from/" + request.path.removeprefix(FROM).strip("/")
        return lie([(name, cloud.read(f"{folder}/{name}")) for name in names])

    cloud.on_archive = answer


def _relative(request: Request) -> list[str]:
    folder = request.path.removeprefix(FROM).strip("/")
    return [name.removeprefix(f"{folder}/") for name in _asked(request)]


@pytest.mark.parametrize(
    "lies",
    [list(LIES)[at : at + 3] for at in range(0, len(LIES), 3)],
    ids=lambda lies: ", ".join(lies),
)
def test_no_byte_of_a_false_zip_arrives(
    lies: list[str], function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    """One zip is wrong in each way, and none is asked for after that."""
    whole = fill(cloud, FILES)
    told: list[str] = []

    def lie(its: Entries) -> bytes:
        told.append(lies[len(told) % len(lies)])
        return LIES[told[-1]](its)

    _answer(cloud, lie)
    answer, arrived = copy(function, cloud, s3, transfers=8)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert set(told) == set(lies)
    assert len(zips(cloud)) <= 6


def test_zips_of_other_writers_are_read(function: Function, s3: Storage, cloud: Nextcloud) -> None:
    whole = fill(cloud, FILES)
    forms = itertools.cycle(RIGHT)
    _answer(cloud, lambda its: RIGHT[next(forms)](its))
    answer, arrived = copy(function, cloud, s3, transfers=8)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert len(zips(cloud)) > len(RIGHT)
    assert in_bulk(answer) == sum(len(_asked(one)) for one in zips(cloud))


def test_checksum_of_the_listing_finds_what_the_crc_does_not(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    whole = fill(cloud, FILES)
    for number, (name, content) in enumerate(FILES.items()):
        file = cloud.user().tree.find(f"/from/{name}")
        assert isinstance(file, File)
        algorithm = ("sha1", "md5", "sha256")[number % 3]
        hashed = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
        file.checksum = f"{algorithm.upper()}:{hashed}"
    _answer(cloud, lambda its: b"".join(_entry(name, _flipped(one)) for name, one in its) + END)
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert zips(cloud)


def test_file_that_changes_between_listing_and_zip_is_read_by_itself(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    """It has failed, as without zips: it is not the file that the engine had listed."""
    fill(cloud, FILES)
    bad: list[str] = []

    def grow(request: Request) -> None:
        if "accept=zip" in request.target and not bad:
            bad.append(_asked(request)[0])
            file = cloud.user().tree.find(f"/from/{bad[0]}")
            assert isinstance(file, File)
            file.content.write_bytes(b"longer than before")
            file.size = 18

    cloud.on_request = grow
    answer, arrived = copy(function, cloud, s3)
    whole = cloud.hashes("from")
    assert {**arrived, bad[0]: whole[bad[0]]} == whole
    assert answer.status_code != 200 or arrived[bad[0]] == whole[bad[0]]


@pytest.mark.slow
def test_switched_off(s3: Storage, cloud: Nextcloud, tmp_path: Path) -> None:
    whole = fill(cloud, FILES)
    (tmp_path / "run").mkdir()
    run = tmp_path / "run"
    with service_process.function(run, WEBDAV_GATEWAY="1", WEBDAV_ARCHIVES="0") as off:
        answer, arrived = copy(off, cloud, s3)
        off.wait_clean()
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert sorted(alone(cloud)) == sorted(FILES)
    assert not zips(cloud)


@pytest.mark.slow
def test_zip_that_stalls_ends_with_the_deadline_and_goes_on_later(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    whole = fill(cloud, FILES)
    stall = nextcloud.stall(after=200)
    cloud.on_request = lambda request: stall if "accept=zip" in request.target else None
    folder = uuid.uuid4().hex
    ends = cloud.storage().endpoint("from"), s3.endpoint(folder)
    begun = time.monotonic()
    answer = function.copy(*ends, options={"deadline_seconds": 4, "report": "all"})
    assert time.monotonic() - begun < 20
    assert answer.status_code == 504, answer.text
    arrived = s3.hashes(f"bucket/{folder}")
    assert arrived.items() <= whole.items()
    cloud.on_request = lambda _: None
    cloud.heal()
    assert function.copy(*ends).status_code == 200
    assert s3.hashes(f"bucket/{folder}") == whole


def test_client_that_hangs_up_ends_the_zip(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    fill(cloud, FILES)
    stall = nextcloud.stall()
    cloud.on_request = lambda request: stall if "accept=zip" in request.target else None
    ends = cloud.storage().endpoint("from"), s3.endpoint(uuid.uuid4().hex)
    function.leave({"source": ends[0], "destination": ends[1]}, when=lambda: zips(cloud))
    function.wait_clean(20)


def test_app_password_that_is_revoked_in_mid_copy_is_not_used_again(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    whole = fill(cloud, FILES)

    def revoke(request: Request) -> None:
        if "accept=zip" in request.target and len(zips(cloud)) == 2:
            cloud.user().app_passwords.clear()

    cloud.on_request = revoke
    answer, arrived = copy(function, cloud, s3, transfers=8)
    (error,) = result(answer)["errors"]
    assert (error["code"], error["side"]) == ("authentication_failed", "source")
    assert arrived.items() <= whole.items()
    assert cloud.statuses()[401] <= 17
