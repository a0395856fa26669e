"""Destinations that refuse the times of files: those arrive without them, and a warning says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from support import nextcloud, odd_s3
from support import storages as servers
from support.faulty_webdav import Faulty, status
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

pytestmark = pytest.mark.field_case(
    "I3", variant="times that no calendar has, SFTP and FTP that set none"
)

FILES: Final = {"a.txt": b"aaa", "deep/b.txt": b"bb"}
HASHES: Final = {path: digest(content) for path, content in FILES.items()}


def warned(answer: Any) -> dict[str, Any]:
    """The one warning of a transfer that succeeded, but that there was no gateway."""
    assert answer.status_code == 200, answer.text
    warnings = checked_result(answer)["warnings"]
    (warning,) = (it for it in warnings if it["code"] != "without_gateway")
    assert warning["code"] == "time_not_kept"
    return dict(warning)


@pytest.fixture(params=["gateway", "direct"])
def either(request: pytest.FixtureRequest, function: Function, direct: Function) -> Function:
    """The function with its WebDAV gateway, and without it."""
    return function if request.param == "gateway" else direct


@pytest.mark.parametrize("modified", ["0", "-86400.5", "86400"])
def test_objects_with_times_of_1970_arrive_at_a_nextcloud(
    modified: str, either: Function, s3: Storage, folder: str
) -> None:
    expected = s3.fill(f"bucket/{folder}", FILES)
    for name in ("one", "deep/two"):
        expected[name] = digest(name.encode())
        s3.details["client"].put_object(
            Bucket="bucket",
            Key=f"{folder}/{name}",
            Body=name.encode(),
            Metadata={"mtime": modified},
        )
    with nextcloud.serving() as cloud:
        answer = either.copy(s3.endpoint(folder), cloud.storage().endpoint("to"))
        assert cloud.hashes("to") == expected
    warning = warned(answer)
    assert (warning["count"], {one["path"] for one in warning["samples"]}) == (
        2,
        {"one", "deep/two"},
    )


@pytest.mark.parametrize("modified", ["253402300800", "1e300", "yesterday"])
def test_objects_with_times_that_no_calendar_has_arrive(
    modified: str, either: Function, s3: Storage, folder: str
) -> None:
    s3.details["client"].put_object(
        Bucket="bucket", Key=f"{folder}/a", Body=b"a", Metadata={"mtime": modified}
    )
    with nextcloud.serving() as cloud:
        answer = either.copy(s3.endpoint(folder), cloud.storage().endpoint("to"))
        assert answer.status_code == 200, answer.text
        assert cloud.hashes("to") == {"a": digest(b"a")}


@pytest.mark.parametrize(
    "shown", [b"", b"<d:getlastmodified/>", b"<d:getlastmodified>never</d:getlastmodified>"]
)
def test_files_without_a_time_arrive_at_a_nextcloud(
    shown: bytes, either: Function, dav: Faulty
) -> None:
    expected = dav.fill("data", FILES)
    dav.rewrite = lambda _, body: re.sub(b"<d:getlastmodified>.*?</d:getlastmodified>", shown, body)
    with nextcloud.serving() as cloud:
        answer = either.copy(dav.endpoint("data"), cloud.storage().endpoint("to"))
        assert cloud.hashes("to") == expected
    assert warned(answer)["count"] == 2


def refusing_sftp(error: str) -> Callable[..., Any]:
    """File operations of an SFTP server that sets no times."""
    import asyncssh

    class Files(asyncssh.SFTPServer):
        def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Any:
            if attrs.mtime is not None:
                raise getattr(asyncssh, error)("No times here.")
            return super().setstat(path, attrs)

    return Files


@pytest.mark.parametrize("error", ["SFTPPermissionDenied", "SFTPOpUnsupported", "SFTPFailure"])
@pytest.mark.parametrize("form", ["folder", "listed", "file"])
def test_files_arrive_at_an_sftp_server_that_sets_no_times(
    form: str, error: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    s3.fill(f"bucket/{folder}", FILES)
    ends = ("", "to") if form != "file" else ("/a.txt", "to/a.txt")
    listed = {"selection": {"files": [{"path": path} for path in FILES]}}
    expected = HASHES if form != "file" else {"a.txt": HASHES["a.txt"]}
    with servers.sftp(tmp_path, refusing_sftp(error)) as storage:
        answer = function.copy(
            s3.endpoint(folder + ends[0]),
            storage.endpoint(ends[1]),
            **(listed if form == "listed" else {}),
        )
        assert storage.hashes("to") == expected
    warning = warned(answer)
    assert warning["count"] == len(expected)
    assert checked_result(answer)["totals"]["files"]["transferred"] == len(expected)


@pytest.mark.parametrize("form", ["folder", "listed"])
@pytest.mark.slow
def test_many_files_are_not_all_sent_twice(
    form: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    files = {f"{number:03}": bytes(number) for number in range(100)}
    expected = s3.fill(f"bucket/{folder}", files)
    opened: list[bytes] = []

    class Counting(refusing_sftp("SFTPFailure")):  # type: ignore[misc]
        def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
            opened.append(path)
            return super().open(path, pflags, attrs)

    listed = {"selection": {"files": [{"path": path} for path in files]}}
    with servers.sftp(tmp_path, Counting) as storage:
        answer = function.copy(
            s3.endpoint(folder), storage.endpoint("to"), **(listed if form == "listed" else {})
        )
        assert storage.hashes("to") == expected
    assert warned(answer)["count"] == len(files)
    assert checked_result(answer)["attempts"] == 1
    assert len(opened) < 2 * len(files) - 20


def test_files_arrive_at_an_ftp_server_that_sets_no_times(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    from pyftpdlib.exceptions import FilesystemError
    from pyftpdlib.filesystems import AbstractedFS

    class Disk(AbstractedFS):  # type: ignore[misc]  # pyftpdlib has no types
        def utime(self, path: str, timeval: object) -> None:
            raise FilesystemError("No times here.")

    s3.fill(f"bucket/{folder}", FILES)
    (tmp_path / "to").mkdir()
    with servers.ftp(tmp_path, Disk) as storage:
        answer = function.copy(s3.endpoint(folder), storage.endpoint("to", disable_mlsd=False))
        assert storage.hashes("to") == HASHES
    assert warned(answer)["count"] == 2
    # rclone does not look at such files, so that their sizes are compared in the end.
    verification = {"mode": "size", "checked": 2, "differing": 0, "missing": 0}
    assert checked_result(answer)["verification"] == verification


@pytest.mark.parametrize("code", [403, 405, 500])
def test_unchanged_files_whose_time_cannot_be_corrected_are_as_they_should_be(
    code: int, either: Function, dav: Faulty
) -> None:
    cloud = dav.nextcloud
    cloud.fill("from", FILES)
    hashes = cloud.fill("to", FILES)
    for path, content in FILES.items():
        dav.store(f"/remote.php/dav/files/alice/from/{path}", content, 1_000_000_000)
    dav.fail("PROPPATCH", "*", status(code))
    answer = either.copy(cloud.endpoint("from"), cloud.endpoint("to"))
    warning = warned(answer)
    assert {one["path"] for one in warning["samples"]} == FILES.keys()
    totals = checked_result(answer)["totals"]["files"]
    assert totals == {"transferred": 0, "skipped": 2, "failed": 0}
    assert cloud.hashes("to") == hashes


@pytest.mark.parametrize("code", [403, 501])
def test_unchanged_objects_whose_time_cannot_be_corrected_are_as_they_should_be(
    code: int, function: Function, s3: Storage, folder: str
) -> None:
    for place, modified in (("from", "1000000000"), ("to", "1100000000")):
        s3.details["client"].put_object(
            Bucket="bucket", Key=f"{folder}/{place}/a", Body=b"a", Metadata={"mtime": modified}
        )
    with odd_s3.before(s3) as odd:
        odd.copies = code
        answer = function.copy(odd.endpoint(f"{folder}/from"), odd.endpoint(f"{folder}/to"))
    assert [one["path"] for one in warned(answer)["samples"]] == ["a"]
    assert checked_result(answer)["totals"]["files"]["skipped"] == 1
