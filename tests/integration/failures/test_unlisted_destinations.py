"""A destination that cannot be listed: its files are not taken for incomplete copies."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import pytest

from support.faulty_webdav import Faulty, stall, status, truncate
from support.listings import with_status
from support.service_process import Function
from support.stand_in.faults import Fault, Request
from support.storages import Storage, digest

OLD: Final = b"an older version"
FILES: Final = {
    "old.bin": b"n" * 5000,
    "new.bin": b"o" * 6000,
    "sub/old.bin": b"p" * 7000,
}


def lists(request: Request) -> bool:
    return request.depth == "1"


@pytest.fixture
def source(s3: Storage) -> dict[str, Any]:
    here = uuid.uuid4().hex
    s3.fill(f"bucket/{here}", FILES)
    return s3.endpoint(here)


@pytest.mark.parametrize("served_by", ["function", "direct"])
@pytest.mark.parametrize("folder", ["/to", "/to/sub"])
@pytest.mark.parametrize("fault", [status(500), truncate(200)], ids=["500", "cut off"])
def test_old_file_stays_when_its_folder_cannot_be_listed_and_the_copy_is_stopped(
    served_by: str,
    folder: str,
    fault: Fault,
    dav: Faulty,
    source: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    function: Function = request.getfixturevalue(served_by)
    old = {f"{folder}/old.bin".removeprefix("/to/"): OLD}
    dav.fill("to", old)
    dav.fail("PROPFIND", folder, fault, when=lists)
    # Uploads are under way when the attempt is stopped, and no byte of them is sent yet.
    dav.fail("MKCOL", folder, stall())
    answer = function.copy(
        source, dav.endpoint("to"), options={"attempts": 1, "deadline_seconds": 5}
    )
    assert answer.status_code != 200
    assert dav.hashes("to").items() >= {path: digest(OLD) for path in old}.items()


def test_old_file_stays_when_the_listing_lost_it_and_the_copy_is_stopped(
    direct: Function, dav: Faulty, source: dict[str, Any]
) -> None:
    dav.fill("to", {"old.bin": OLD})
    dav.rewrite = lambda path, body: (
        with_status(body, "/to/old.bin", 403, "propstat") if path == "/to" else body
    )
    dav.fail("MKCOL", "*", stall())
    direct.copy(source, dav.endpoint("to"), options={"attempts": 1, "deadline_seconds": 5})
    assert dav.hashes("to") == {"old.bin": digest(OLD)}


@pytest.mark.parametrize("overwrite", ["never", "newer"])
@pytest.mark.parametrize("fault", [status(500), truncate(200)], ids=["500", "cut off"])
def test_old_file_is_kept_when_its_folder_cannot_be_listed(
    overwrite: str, fault: Fault, function: Function, dav: Faulty, source: dict[str, Any]
) -> None:
    """rclone goes on as if the folder were empty, until its listing has failed."""
    dav.fill("to", {"sub/old.bin": b""})
    dav.store("/to/sub/old.bin", OLD, time.time() + 3600)  # newer than its source
    dav.fail("PROPFIND", "/to/sub", fault, when=lists)
    answer = function.copy(source, dav.endpoint("to"), options={"overwrite": overwrite})
    assert answer.status_code != 200
    assert dav.hashes("to")["sub/old.bin"] == digest(OLD)


def test_old_file_is_kept_when_the_first_listing_of_its_folder_fails(
    function: Function, dav: Faulty, source: dict[str, Any]
) -> None:
    dav.fill("to", {"sub/old.bin": OLD})
    dav.fail("PROPFIND", "/to/sub", status(500), when=lists, times=1)
    answer = function.copy(source, dav.endpoint("to"), options={"overwrite": "never"})
    assert answer.status_code == 200, answer.text
    hashes = dav.hashes("to")
    assert hashes["sub/old.bin"] == digest(OLD)
    assert hashes["new.bin"] == digest(FILES["new.bin"])
