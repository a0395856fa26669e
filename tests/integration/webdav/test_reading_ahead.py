"""Whole folders come from a Nextcloud in a few zips, before rclone asks for each of their files."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
from support.nextcloud.tree import File
from support.nextcloud_downloads import copy, fill, in_bulk
from support.service_process import Function
from support.stand_in.faults import Request
from support.storages import Storage
from support.watching import WatchedMemory
from support.zips import Entries, entries_of, zip_of

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY or not service_process.ARCHIVES,
    reason="without the gateway, or with archives switched off, each file is read by itself",
)
MIB: Final = 1 << 20
FROM: Final = "/remote.php/dav/files/alice/from"
FILES: Final = {f"{n // 20:02}/{n}.txt": b"%d" % n * (n % 90) for n in range(400)}


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving(cost=nextcloud.Cost(work={"GET": 0.02})) as running:
        yield running


def zips(cloud: Nextcloud) -> list[Request]:
    return [one for one in cloud.seen("GET") if "accept=zip" in one.target]


def names(request: Request) -> list[str]:
    """The names that a zip was asked for; none for a whole folder."""
    return list(json.loads(parse_qs(urlsplit(request.target).query).get("files", ["[]"])[0]))


def alone(cloud: Nextcloud) -> list[str]:
    gets = [one for one in cloud.seen("GET", f"{FROM}/*") if "accept=zip" not in one.target]
    return [one.path.removeprefix(f"{FROM}/") for one in gets]


@pytest.mark.parametrize("transfers", [None, 1, 64])
def test_whole_tree_comes_in_one_zip(
    transfers: int | None, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    options: dict[str, Any] = {} if transfers is None else {"transfers": transfers}
    answer, arrived = copy(function, cloud, s3, **options)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert in_bulk(answer) == len(FILES)
    (only,) = zips(cloud)
    assert (only.path, names(only)) == (FROM, [])
    assert not alone(cloud)


@pytest.mark.slow
def test_second_copy_reads_nothing_and_verification_reads_the_server(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    folder = uuid.uuid4().hex
    answer, arrived = copy(function, cloud, s3, folder, verify="download")
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert len([one for one in zips(cloud) if not names(one)]) == 1
    cloud.heal()
    answer, _ = copy(function, cloud, s3, folder, compare="size")
    assert answer.json()["totals"]["files"]["skipped"] == len(FILES)
    assert not cloud.seen("GET", f"{FROM}*")


@pytest.mark.slow
def test_large_tree_comes_in_zips_of_several_folders(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    files = {f"{n // 20:02}/{n % 3}/{n}": b"%d" % n * 2000 for n in range(1200)}
    whole = fill(cloud, files)
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert in_bulk(answer) >= 1100
    assert len(cloud.seen("GET", f"{FROM}*")) <= 60
    asked = [f"{one.path}/{name}" for one in zips(cloud) for name in names(one)]
    assert len(asked) == len(set(asked))


def test_folder_with_large_files_is_asked_for_by_names(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    large = {f"a/large{n}": bytes([n]) * 200_000 for n in range(3)}
    small = {f"a/{n}": b"%d" % n for n in range(150)} | {f"b/{n}": b"x" for n in range(9)}
    whole = fill(cloud, large | small)
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert set(alone(cloud)) == set(large)
    assert in_bulk(answer) == len(small)
    asked = {one.path.removeprefix(FROM).strip("/"): len(names(one)) for one in zips(cloud)}
    assert asked.get("b") == 0
    assert asked.get("a")
    assert len(zips(cloud)) <= 4


def test_only_every_second_file_is_asked_for_when_only_it_is_wanted(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    folder = uuid.uuid4().hex
    ends = cloud.storage().endpoint("from"), s3.endpoint(folder)
    answer = function.copy(*ends, selection={"include": ["*[02468].txt"]})
    assert answer.status_code == 200, answer.text
    wanted = {name: told for name, told in whole.items() if name[-5] in "02468"}
    assert s3.hashes(f"bucket/{folder}") == wanted
    asked = [name for one in zips(cloud) for name in names(one)]
    assert all(name[-5] in "02468" for name in [*asked, *alone(cloud)])
    assert in_bulk(answer) >= 100


@pytest.mark.slow
def test_files_that_the_destination_has_are_not_read(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    half = {name: content for n, (name, content) in enumerate(FILES.items()) if n % 2}
    fill(cloud, half)
    folder = uuid.uuid4().hex
    copy(function, cloud, s3, folder)
    whole = fill(cloud, {name: content for name, content in FILES.items() if name not in half})
    cloud.heal()
    answer, arrived = copy(function, cloud, s3, folder)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert answer.json()["totals"]["files"]["transferred"] == len(FILES) // 2
    asked = [f"{one.path.removeprefix(FROM)}/{it}" for one in zips(cloud) for it in names(one)]
    assert not half.keys() & {*(name.strip("/") for name in asked), *alone(cloud)}
    assert all(names(one) for one in zips(cloud))


# Servers that lie: each function gets the entries of a zip as it should be.
LIES: Final[dict[str, Callable[[Entries], bytes]]] = {
    "left out": lambda its: zip_of([one for at, one in enumerate(its) if at % 40 != 30]),
    "all left out": lambda _: zip_of([]),
    "cut off": lambda its: zip_of(its)[: len(zip_of(its)) // 2],
    "one added": lambda its: zip_of([*its[:50], ("from/00/other", b"x"), *its[50:]]),
    "folder added": lambda its: zip_of([*its[:50], ("from/other/", b""), *its[50:]]),
    "folder twice": lambda its: zip_of([its[0], *its]),
    "folder with content": lambda its: zip_of([(name, one or b"x") for name, one in its]),
    "one twice": lambda its: zip_of([*its[:50], *its[40:]]),
    "other names": lambda its: zip_of([(f"x{name}", one) for name, one in its]),
    "shorter": lambda its: zip_of([(name, one[:-1]) for name, one in its]),
    "changed": lambda its: zip_of([(name, bytes(255 - it for it in one)) for name, one in its]),
    "report": lambda its: zip_of([*its[:50], ("from/missing_files.json", b"[1]")]),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_byte_of_a_false_zip_arrives(
    lie: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    for name, content in FILES.items():
        file = cloud.user().tree.find(f"/from/{name}")
        assert isinstance(file, File)
        file.checksum = f"SHA1:{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"
    cloud.on_archive = lambda names, it: it if names else LIES[lie](entries_of(it))
    answer, arrived = copy(function, cloud, s3, transfers=16)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    # What the zip brought before its first false byte is not read again, and the rest by itself.
    assert len([one for one in zips(cloud) if not names(one)]) == 1
    assert in_bulk(answer) + len(alone(cloud)) == len(FILES)
    assert len(alone(cloud)) >= 40 or lie in ("left out", "one twice", "folder twice")


def test_file_that_changes_between_listing_and_zip_is_not_mixed(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    before = fill(cloud, FILES)

    def grow(request: Request) -> None:
        if "accept=zip" in request.target:
            cloud.on_request = lambda _: None
            for number in (205, 399):
                cloud.write(f"/from/{number // 20:02}/{number}.txt", b"longer" * 100)

    cloud.on_request = grow
    answer, arrived = copy(function, cloud, s3)
    after = cloud.hashes("from")
    changed = {name for name in after if after[name] != before[name]}
    assert len(changed) == 2
    # It has failed, as without zips: it is not the file that the engine had listed.
    assert {**arrived, **{name: after[name] for name in changed}} == after
    assert answer.status_code != 200 or arrived == after


def test_new_attempt_reads_the_server_again(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    bad = next(iter(FILES))
    cloud.on_archive = lambda names, it: it if names else zip_of(entries_of(it)[:3])
    cloud.fail("GET", f"{FROM}/{bad}", nextcloud.status(500), times=20)
    answer, arrived = copy(function, cloud, s3, attempts=3)
    assert arrived.items() <= whole.items()
    assert len(arrived) >= len(FILES) - 1
    assert len([one for one in zips(cloud) if not names(one)]) <= 2
    assert answer.status_code in (200, 207, 502), answer.text


@pytest.mark.slow
def test_what_is_read_ahead_fits_into_the_memory_of_a_small_function(
    cloud: Nextcloud, tmp_path: Path
) -> None:
    files = {f"{n // 20:02}/{n}.bin": b"%d" % n * 30_000 for n in range(400)}
    whole = fill(cloud, files)
    (tmp_path / "run").mkdir()
    with (
        service_process.function(
            tmp_path / "run", WEBDAV_GATEWAY="1", MEMORY_BYTES=str(352 * MIB)
        ) as small,
        nextcloud.serving() as other,
        WatchedMemory(small) as watched,
    ):
        ends = cloud.storage().endpoint("from"), other.storage().endpoint("to")
        answer = small.copy(*ends, options={"attempts": 1})
        assert answer.status_code == 200, answer.text
        assert other.hashes("to") == whole
        small.wait_clean()
    assert watched.both < 512 * MIB
    assert in_bulk(answer) >= 300


@pytest.mark.slow
def test_zip_that_stalls_is_given_up_before_the_deadline(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    stall = nextcloud.stall(after=2000)
    cloud.on_request = lambda request: stall if "accept=zip" in request.target else None
    begun = time.monotonic()
    answer, arrived = copy(function, cloud, s3, deadline_seconds=60)
    assert time.monotonic() - begun < 60
    assert answer.status_code == 200, answer.text
    assert arrived == whole
