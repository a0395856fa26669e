"""A source that changes while it is copied is told of, and not silently wrong."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.service_process import Function
from support.storages import Storage, digest

pytestmark = pytest.mark.slow  # each copy is slowed down, so that there is a middle of it

Change = Callable[[Path], None]


def grows(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(os.urandom(500_000))


def shrinks(file: Path) -> None:
    os.truncate(file, 1_000_000)


def vanishes(file: Path) -> None:
    file.unlink()


def is_replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(os.urandom(file.stat().st_size))
    other.replace(file)


@pytest.mark.parametrize("change", [grows, shrinks, vanishes, is_replaced])
@pytest.mark.parametrize(
    ("source", "verify"),
    # rclone's own server goes by what it remembers of a folder, so there is nothing to verify.
    [("wsgidav", "none"), ("rclone", "none"), ("sftp", "none"), ("sftp", "download")],
)
def test_a_file_that_changes_while_it_is_copied(
    function: Function,
    storages: dict[str, Storage],
    s3: Storage,
    source: str,
    change: Change,
    verify: str,
) -> None:
    here = storages[source]
    name = uuid.uuid4().hex
    before = os.urandom(3_000_000)
    here.fill(name, {"changing": before})
    file: Path = here.details["folder"] / name / "changing"
    # In the middle of the copy: 6 MB at 2 MB/s, of which some passes at once.
    hashes = here.fill(name, {f"{number}": os.urandom(1_000_000) for number in range(3)})
    timer = threading.Timer(0.7, change, [file])
    timer.start()
    answer = function.copy(
        here.endpoint(name),
        s3.endpoint(name),
        options={
            "bandwidth_limit": 2_000_000,
            "transfers": 7,
            "verify": verify,
            "attempts": 2,
            "report": "all",
        },
    )
    timer.join()
    result: dict[str, Any] = answer.json().get("result") or answer.json()
    arrived = s3.hashes(f"bucket/{name}")
    told = {entry["path"]: entry["state"] for entry in result["files"]}
    assert {path: arrived.get(path) for path in hashes} == hashes
    now = digest(file.read_bytes()) if file.exists() else None
    if told.get("changing") == "transferred":
        # As it was, or as it is now; or, where nobody verified, both of the same size.
        whole = arrived["changing"] in (digest(before), now)
        assert whole or (verify == "none" and change is is_replaced)
        if verify == "download" and now is not None:
            assert arrived["changing"] == now, "verification did not see that it differs"
    else:
        assert told["changing"] == "failed"
        assert answer.status_code == 502
        [group] = result["errors"]
        assert group["code"] in ("checksum_mismatch", "source_not_found", "storage_error"), group
        if "changing" in arrived and change is not vanishes:
            # Nothing half is left under its name.
            assert arrived["changing"] in (digest(before), now)


def test_a_file_that_vanishes_before_its_turn_has_failed(
    function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    here = storages["sftp"]
    name = uuid.uuid4().hex
    hashes = here.fill(name, {f"{number:02}": os.urandom(500_000) for number in range(20)})
    last: Path = here.details["folder"] / name / "19"
    timer = threading.Timer(1.0, last.unlink)
    timer.start()
    began = time.monotonic()
    answer = function.copy(
        here.endpoint(name),
        s3.endpoint(name),
        options={"bandwidth_limit": 2_000_000, "transfers": 1},
    )
    timer.join()
    assert time.monotonic() - began > 1
    result = answer.json()["result"]
    assert (answer.status_code, answer.json()["code"]) == (502, "partial")
    assert [file["path"] for file in result["files"]] == ["19"]
    assert result["files"][0]["error"]["code"] == "source_not_found"
    assert result["files"][0]["error"]["side"] == "source"
    del hashes["19"]
    assert s3.hashes(f"bucket/{name}") == hashes
