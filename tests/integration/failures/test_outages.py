"""Where every file fails for one reason, the answer has them all, and comes within a minute."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from support import http_index
from support import storages as servers
from support.faulty_webdav import Request, status
from support.misbehaving import webdav as odd_webdav
from support.misbehaving.s3 import MisbehavingS3
from support.misbehaving.webdav import MisbehavingDav
from support.service_process import Function
from support.storages import Storage

BOUND: Final = 90
"""A minute, and half of one more where the tests of others run at the same time."""
SLOW_DISKS: Final = ("sftp", "ftp", "webdav")
"""The last of them answers 500, so that rclone tries again."""
MANY: Final = {f"d{number % 7}/{number}.bin": os.urandom(2_000) for number in range(400)}
CUT: Final = {f"d{number % 7}/{number}.bin": os.urandom(20_000) for number in range(120)}


@pytest.fixture
def dav() -> Iterator[MisbehavingDav]:
    with odd_webdav.serving() as running:
        yield running


def copied(function: Function, ends: tuple[Any, Any], **options: Any) -> dict[str, Any]:
    """The result of a copy that does not succeed, within the bound."""
    began = time.monotonic()
    answer = function.copy(*ends, options={"report": "all", **options})
    assert time.monotonic() - began < BOUND
    document = answer.json()
    assert answer.status_code == 502, document
    result = document["result"]
    assert isinstance(result, dict)
    return result


def states(result: dict[str, Any]) -> dict[str, str]:
    """The state of each file, each of which is told once."""
    told = {file["path"]: file["state"] for file in result["files"]}
    assert len(told) == len(result["files"])
    return told


@pytest.mark.slow
@pytest.mark.field_case("K2")
@pytest.mark.parametrize("kind", ["s3", "webdav", "without the gateway", "nextcloud"])
def test_every_write_is_refused(
    kind: str,
    function: Function,
    direct: Function,
    dav: MisbehavingDav,
    odd: MisbehavingS3,
    s3: Storage,
    folder: str,
) -> None:
    if kind == "s3":
        dav.fill("data", MANY)
        odd.refuse = {"PUT": 500}
        ends = (dav.storage.endpoint("data"), odd.storage.endpoint(folder))
    else:
        s3.fill(f"bucket/{folder}", MANY)
        dav.folders |= {"/remote.php", "/remote.php/dav", "/remote.php/dav/files"}
        dav.folders.add("/remote.php/dav/files/alice")
        dav.fail("PUT", "*", status(500))
        to = dav.nextcloud if kind == "nextcloud" else dav.storage
        ends = (s3.endpoint(folder), to.endpoint("to"))
    result = copied(function if kind in ("s3", "webdav") else direct, ends)
    assert (result["state"], result["attempts"]) == ("failed", 3)
    assert states(result) == dict.fromkeys(MANY, "failed")
    assert result["totals"]["files"] == {"transferred": 0, "skipped": 0, "failed": 400}
    assert sum(group["count"] for group in result["errors"]) == 400
    for group in result["errors"]:
        assert (group["code"], group["side"]) == ("storage_error", "destination")
        assert "500" in group["samples"][0]["message"]
    assert any(group["retryable"] for group in result["errors"])
    assert s3.hashes(f"bucket/{folder}") == {} or kind != "s3"
    assert dav.hashes("to") == dav.nextcloud.hashes("to") == {}


@pytest.mark.slow
@pytest.mark.field_case("K2")
@pytest.mark.parametrize("methods", [("PUT",), ("PUT", "MKCOL", "MOVE", "PROPFIND")])
@pytest.mark.parametrize("gateway", [True, False])
def test_outage_of_five_seconds_passes(
    gateway: bool,
    methods: tuple[str, ...],
    function: Function,
    direct: Function,
    dav: MisbehavingDav,
    s3: Storage,
    folder: str,
) -> None:
    hashes = s3.fill(f"bucket/{folder}", MANY)
    begins, is_over = threading.Event(), threading.Event()

    def is_struck(_: Request) -> bool:
        return begins.is_set() and not is_over.is_set()

    def strike(_: Request) -> bool:
        begins.set()
        return True

    for method in methods:
        dav.fail(method, "*", status(500), when=is_struck)
    # It begins once 60 files have been stored.
    dav.fail("PUT", "*", status(500), skip=60, times=1, when=strike)

    def heal() -> None:
        begins.wait(60)
        time.sleep(5)  # as long as the restart of a service
        is_over.set()

    healing = threading.Thread(target=heal)
    healing.start()
    began = time.monotonic()
    answer = (function if gateway else direct).copy(
        s3.endpoint(folder), dav.storage.endpoint("to"), options={"report": "all"}
    )
    healing.join()
    assert time.monotonic() - began < BOUND
    assert answer.status_code == 200, answer.text
    assert dav.hashes("to") == hashes
    assert answer.json()["totals"]["files"]["failed"] == 0


@pytest.mark.slow
@pytest.mark.field_case("K1")
@pytest.mark.parametrize("kind", ["s3", "webdav", "without the gateway", "http"])
def test_every_file_is_cut_short(
    kind: str,
    function: Function,
    direct: Function,
    dav: MisbehavingDav,
    odd: MisbehavingS3,
    s3: Storage,
    folder: str,
) -> None:
    with ExitStack() as stack:
        if kind == "s3":
            s3.fill(f"bucket/{folder}", CUT)
            odd.cuts_short = True
            source = odd.storage.endpoint(folder)
        elif kind == "http":
            files = {f"data/{path}": content for path, content in CUT.items()}
            index = stack.enter_context(http_index.serving(files))
            index.cuts_short = True
            source = index.endpoint("data/")
        else:
            dav.fill("data", CUT)
            dav.cuts_short = True
            source = dav.storage.endpoint("data")
        running = direct if kind == "without the gateway" else function
        result = copied(running, (source, s3.endpoint(f"{folder}-to")))
    assert result["state"] == "failed"
    assert states(result) == dict.fromkeys(CUT, "failed")
    assert {group["side"] for group in result["errors"]} == {"source"}
    assert sum(group["count"] for group in result["errors"]) == len(CUT)
    assert s3.hashes(f"bucket/{folder}-to") == {}


@pytest.mark.field_case("K1", variant="507 for each upload")
@pytest.mark.parametrize(
    "kind", ["rclone", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW_DISKS)]
)
def test_disk_is_full(
    kind: str, function: Function, rclone: Path, s3: Storage, folder: str, tmp_path: Path
) -> None:
    files = {f"{number:02}.bin": os.urandom(40_000) for number in range(60)}
    hashes = s3.fill(f"bucket/{folder}", files)
    serve: dict[str, Callable[[Path], Any]] = {
        "sftp": servers.sftp,
        "ftp": servers.ftp,
        "webdav": servers.wsgidav,
        "rclone": lambda disk: servers.rclone_webdav(disk, rclone),
    }
    with small_disk(tmp_path) as disk, serve[kind](disk) as full:
        result = copied(function, (s3.endpoint(folder), full.endpoint("to")))
        told = states(result)
        assert told.keys() == files.keys()
        arrived = {path for path, state in told.items() if state == "transferred"}
        assert full.hashes("to").items() >= {path: hashes[path] for path in arrived}.items()
    assert result["state"] == ("partial" if arrived else "failed")
    assert {group["side"] for group in result["errors"]} == {"destination"}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk with room for some of the files."""
    disk = folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.geteuid() or subprocess.run(["mount", *options], check=False).returncode:
        pytest.skip("only root mounts a file system, and not on all machines")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
