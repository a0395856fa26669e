"""Destinations that keep no modification times, or coarse ones: repeated transfers converge."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from support import faulty_webdav, odd_s3, odd_sftp, service_process
from support import storages as servers
from support.service_process import Function
from support.storages import Storage, digest

pytestmark = pytest.mark.field_case(
    "F1", variant="SFTP that ignores times, S3 without metadata, FTP to the minute"
)

FILES: Final = {"a.txt": b"1", "b.txt": b"22", "sub/c.txt": b"333", "sub/deep/d.txt": b"4444"}
TIME: Final = 1_600_000_031.5


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function without its WebDAV gateway."""
    runtime = tmp_path_factory.mktemp("direct")
    with service_process.function(runtime, WEBDAV_GATEWAY="0") as running:
        yield running
        running.wait_clean()


@dataclass
class Source:
    """An SFTP server, which keeps times."""

    storage: Storage
    folder: Path

    def store(self, path: str, content: bytes, modified: float = TIME) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (modified, modified))

    def endpoint(self, path: str) -> dict[str, Any]:
        return self.storage.endpoint(path)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    folder = tmp_path / "source"
    with servers.sftp(folder) as storage:
        running = Source(storage, folder)
        for path, content in FILES.items():
            running.store(f"data/{path}", content)
        yield running


Destination = Callable[[ExitStack, Path, dict[str, Storage]], Storage]


def nextcloud(stack: ExitStack, _: Path, __: Any) -> Storage:
    dav = stack.enter_context(faulty_webdav.serving())
    dav.times = lambda _: None
    return dav.nextcloud


def owncloud(stack: ExitStack, _: Path, __: Any) -> Storage:
    dav = stack.enter_context(faulty_webdav.serving())
    dav.times = lambda _: None
    storage = dav.nextcloud
    storage.parameters["vendor"] = "owncloud"
    return storage


def wsgidav(stack: ExitStack, folder: Path, _: Any) -> Storage:
    storage = stack.enter_context(servers.wsgidav(folder))
    storage.parameters["vendor"] = "fastmail"
    return storage


def minutes(stack: ExitStack, _: Path, __: Any) -> Storage:
    dav = stack.enter_context(faulty_webdav.serving())
    dav.times = lambda given: given - given % 60
    return dav.nextcloud


def two_seconds_less(stack: ExitStack, _: Path, __: Any) -> Storage:
    dav = stack.enter_context(faulty_webdav.serving())
    dav.times = lambda given: given - 2
    return dav.nextcloud


def fixed_time(stack: ExitStack, _: Path, __: Any) -> Storage:
    dav = stack.enter_context(faulty_webdav.serving())
    dav.times = lambda _: 86_400.0
    return dav.nextcloud


def sftp_ignores_times(stack: ExitStack, folder: Path, _: Any) -> Storage:
    return stack.enter_context(servers.sftp(folder, odd_sftp.without_times(refuses=False)))


def sftp_refuses_times(stack: ExitStack, folder: Path, _: Any) -> Storage:
    return stack.enter_context(servers.sftp(folder, odd_sftp.without_times(refuses=True)))


def ftp_with_mlsd_without_mfmt(stack: ExitStack, folder: Path, _: Any) -> Storage:
    storage = stack.enter_context(servers.ftp(folder, without=("MFMT",)))
    storage.parameters["disable_mlsd"] = False
    for path in ("to/sub/deep", "to/sub"):
        # This server's MLSD fails for a missing folder in a way that rclone does not know.
        (folder / path).mkdir(parents=True, exist_ok=True)
    return storage


def ftp_without_mfmt(stack: ExitStack, folder: Path, _: Any) -> Storage:
    return stack.enter_context(servers.ftp(folder, without=("MFMT",)))


def s3_without_metadata(stack: ExitStack, _: Path, running: dict[str, Storage]) -> Storage:
    odd = stack.enter_context(odd_s3.before(running["s3"]))
    odd.keeps_metadata = False
    storage = running["s3"]
    parameters = {**storage.parameters, "endpoint": odd.url}
    return Storage("s3", parameters, storage.write, storage.hashes, f"bucket/{uuid.uuid4().hex}")


@pytest.fixture
def make(
    tmp_path: Path, storages: dict[str, Storage]
) -> Iterator[Callable[[Destination], Storage]]:
    with ExitStack() as stack:
        folder = tmp_path / "destination"
        folder.mkdir()
        yield lambda destination: destination(stack, folder, storages)


def hashes_of(storage: Storage, path: str) -> dict[str, str]:
    base = f"{storage.base}/" if storage.base else ""
    return storage.hashes(f"{base}{path}")


@pytest.mark.parametrize(
    ("destination", "gateway"),
    [
        (nextcloud, True),
        (nextcloud, False),
        (owncloud, True),
        (owncloud, False),
        (wsgidav, True),
        (minutes, True),
        (two_seconds_less, False),
        (fixed_time, True),
        (sftp_ignores_times, True),
        (ftp_with_mlsd_without_mfmt, True),
        (ftp_without_mfmt, True),
        (s3_without_metadata, True),
    ],
)
def test_second_request_has_nothing_to_do(
    destination: Destination,
    gateway: bool,
    make: Callable[[Destination], Storage],
    shared_function: Function,
    direct: Function,
    source: Source,
) -> None:
    function = shared_function if gateway else direct
    storage = make(destination)
    for number in (1, 2):
        answer = function.copy(source.endpoint("data"), storage.endpoint("to"))
        assert answer.status_code == 200, answer.text
        result = answer.json()
        if storage.type != "ftp" and number > 1:
            # rclone asks an FTP server whether it keeps times, and compares by size if not. A look
            # at what the first request has copied would cost calls in every transfer.
            assert [it["code"] for it in result["warnings"]] == ["time_not_kept"], answer.text
        assert hashes_of(storage, "to") == {k: digest(v) for k, v in FILES.items()}
    assert result["totals"]["files"] == {"transferred": 0, "skipped": len(FILES), "failed": 0}
    assert result["totals"]["skipped"] == {"same": len(FILES)}


@pytest.mark.parametrize("destination", [nextcloud, wsgidav, sftp_ignores_times])
def test_change_after_the_upload_is_copied_although_no_times_are_kept(
    destination: Destination,
    make: Callable[[Destination], Storage],
    function: Function,
    source: Source,
) -> None:
    storage = make(destination)
    ends = source.endpoint("data"), storage.endpoint("to")
    assert function.copy(*ends).status_code == 200
    changed = {"a.txt": b"9", "b.txt": b"longer"}
    source.store("data/a.txt", changed["a.txt"], time.time() + 5)  # of the same size
    source.store("data/b.txt", changed["b.txt"], TIME)
    answer = function.copy(*ends, options={"report": "all"})
    assert answer.status_code == 200, answer.text
    result = answer.json()
    copied = {it["path"] for it in result["files"] if it["state"] == "transferred"}
    assert copied == changed.keys(), answer.text
    assert result["totals"]["skipped"] == {"same": len(FILES) - len(changed)}
    assert hashes_of(storage, "to") == {k: digest(v) for k, v in {**FILES, **changed}.items()}


@pytest.mark.parametrize("others", [FILES, {}], ids=["beside old files", "alone"])
def test_time_of_an_upload_is_not_taken_for_a_coarse_one(
    others: dict[str, bytes], function: Function, source: Source
) -> None:
    """An upload in the first second of a minute has the time that minutes would give the file."""

    def minute(seconds: float) -> float:
        return seconds - seconds % 60

    with faulty_webdav.serving() as dav:
        dav.times = lambda _: minute(time.time())
        ends = source.endpoint("now"), dav.nextcloud.endpoint("to")
        files = {**others, "0.txt": b"1"}
        for path, content in files.items():
            source.store(f"now/{path}", content)
        assert function.copy(*ends).status_code == 200
        source.store("now/0.txt", b"9", minute(time.time()) + 30)  # of the same size
        answer = function.copy(*ends)
        assert answer.json()["totals"]["files"]["transferred"] == 1, answer.text
        expected = {**files, "0.txt": b"9"}
        assert dav.nextcloud.hashes("to") == {k: digest(v) for k, v in expected.items()}


@pytest.mark.parametrize("vendor", ["nextcloud", "owncloud"])
def test_file_with_another_time_is_copied_where_times_are_kept(
    vendor: str, function: Function, source: Source
) -> None:
    with faulty_webdav.serving() as dav:
        storage = dav.nextcloud
        for path, content in FILES.items():
            name = f"{faulty_webdav.NEXTCLOUD}/to/{path}"
            storage.write(f"to/{path}", b"x" * len(content))  # written by another, of one size
            dav.store(name, b"x" * len(content), TIME + 1000)
        ends = source.endpoint("data"), storage.endpoint("to", vendor=vendor)
        answer = function.copy(*ends)
        assert answer.json()["totals"]["files"]["transferred"] == len(FILES), answer.text
        assert storage.hashes("to") == {k: digest(v) for k, v in FILES.items()}
        assert "warnings" not in answer.json() or not answer.json()["warnings"]


@pytest.mark.slow
def test_short_deadlines_converge_at_a_destination_without_times(
    make: Callable[[Destination], Storage], function: Function, source: Source
) -> None:
    files = {f"f{number:02}": bytes([number]) * 30_000 for number in range(24)}
    storage = make(wsgidav)
    for path, content in files.items():
        source.store(f"many/{path}", content)
    arrived = []
    options = {"deadline_seconds": 6, "bandwidth_limit": 100_000}
    for _ in range(6):
        answer = function.copy(source.endpoint("many"), storage.endpoint("to"), options=options)
        assert answer.status_code in (200, 504), answer.text
        result = answer.json() if answer.status_code == 200 else answer.json()["result"]
        arrived.append(result["totals"]["files"]["transferred"])
        if answer.status_code == 200:
            break
    assert answer.status_code == 200, arrived
    assert sum(arrived) == len(files)
    assert hashes_of(storage, "to") == {k: digest(v) for k, v in files.items()}


@pytest.mark.parametrize("destination", [nextcloud, sftp_ignores_times, s3_without_metadata])
def test_new_file_before_all_others_is_copied_alone(
    destination: Destination,
    make: Callable[[Destination], Storage],
    function: Function,
    source: Source,
) -> None:
    storage = make(destination)
    ends = source.endpoint("data"), storage.endpoint("to")
    assert function.copy(*ends).status_code == 200
    source.store("data/000.txt", b"new")
    answer = function.copy(*ends)
    assert answer.json()["totals"]["files"]["transferred"] == 1, answer.text
    expected = {"000.txt": b"new", **FILES}
    assert hashes_of(storage, "to") == {k: digest(v) for k, v in expected.items()}


@pytest.mark.parametrize("destination", [nextcloud, sftp_ignores_times, minutes])
def test_listed_files_are_not_copied_again(
    destination: Destination,
    make: Callable[[Destination], Storage],
    function: Function,
    source: Source,
) -> None:
    storage = make(destination)
    ends = source.endpoint("data"), storage.endpoint("to")
    selection = {"files": [{"path": path} for path in FILES]}
    assert function.copy(*ends, selection=selection).status_code == 200
    source.store("data/sub/c.txt", b"999", time.time() + 5)  # of the same size
    answer = function.copy(*ends, selection=selection)
    assert answer.status_code == 200, answer.text
    totals = answer.json()["totals"]
    assert totals["files"] == {"transferred": 1, "skipped": len(FILES) - 1, "failed": 0}
    expected = {**FILES, "sub/c.txt": b"999"}
    assert hashes_of(storage, "to") == {k: digest(v) for k, v in expected.items()}


@pytest.mark.parametrize("to", ["to/", "to/other.txt"], ids=["into-folder", "by-name"])
@pytest.mark.parametrize("destination", [nextcloud, sftp_ignores_times, minutes])
def test_single_file_is_copied_again_only_if_it_changed(
    destination: Destination,
    to: str,
    make: Callable[[Destination], Storage],
    function: Function,
    source: Source,
) -> None:
    storage = make(destination)
    name = to.removeprefix("to/") or "b.txt"
    ends = source.endpoint("data/b.txt"), storage.endpoint(to)
    numbers = []
    for content in (b"22", b"22", b"33"):
        if content != b"22":
            source.store("data/b.txt", content, time.time() + 5)
        answer = function.copy(*ends)
        assert answer.status_code == 200, answer.text
        numbers.append(answer.json()["totals"]["files"]["transferred"])
        assert hashes_of(storage, "to") == {name: digest(content)}
    assert numbers == [1, 0, 1]


def test_second_attempt_does_not_copy_again_what_the_first_one_has(function: Function) -> None:
    with faulty_webdav.serving() as origin, faulty_webdav.serving() as dav:
        dav.times = lambda _: None
        origin.fill("data", FILES)
        origin.fail("PROPFIND", "/data/sub/deep", faulty_webdav.status(503), times=7)
        answer = function.copy(origin.storage.endpoint("data"), dav.nextcloud.endpoint("to"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["attempts"] > 1
        assert dav.nextcloud.hashes("to") == {k: digest(v) for k, v in FILES.items()}
        stored = [it.path for it in dav.seen("PUT") if not it.path.endswith(".partial")]
        assert sorted(stored) == sorted(f"{faulty_webdav.NEXTCLOUD}/to/{it}" for it in FILES)


def test_look_costs_no_request_where_nothing_is_at_the_destination(
    function: Function, s3: Storage, source: Source
) -> None:
    numbers = []
    for compare in ("size", "default"):
        with faulty_webdav.serving() as dav, odd_s3.before(s3) as odd:
            options = {"compare": compare}
            for end in (dav.nextcloud.endpoint("to"), odd.endpoint(uuid.uuid4().hex)):
                answer = function.copy(source.endpoint("data"), end, options=options)
                assert answer.status_code == 200, answer.text
            numbers.append((len(dav.seen()), len(odd.seen)))
    by_size, by_default = numbers
    assert by_default == by_size
