"""A source that changes while it is copied is told of, and not silently wrong."""

from __future__ import annotations

import os
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


def copied_while(
    act: Callable[[], None], function: Function, source: Any, destination: Any, **options: Any
) -> dict[str, Any]:
    """The result of a copy, in the middle of which something happens: bytes are on their way. It
    has the files that were told of.
    """
    request = {"source": source, "destination": destination, "options": options}
    files: list[dict[str, Any]] = []
    has_acted = False
    for event in function.events(request):
        files += [event] if event["event"] == "file" else []
        if not has_acted and any(file["bytes"] for file in event.get("in_flight", ())):
            act()
            has_acted = True
    assert has_acted, "no progress was reported"
    assert event["event"] == "result"
    return {**event, "files": files}


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
    result = copied_while(
        lambda: change(file),
        function,
        here.endpoint(name),
        s3.endpoint(name),
        bandwidth_limit=2_000_000,
        transfers=7,
        verify=verify,
        attempts=2,
    )
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
        assert result["state"] == "partial"
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
    result = copied_while(
        last.unlink,
        function,
        here.endpoint(name),
        s3.endpoint(name),
        bandwidth_limit=2_000_000,
        transfers=1,
    )
    assert result["state"] == "partial"
    (failed,) = (file for file in result["files"] if file["state"] == "failed")
    assert failed["path"] == "19"
    assert (failed["error"]["code"], failed["error"]["side"]) == ("source_not_found", "source")
    del hashes["19"]
    assert s3.hashes(f"bucket/{name}") == hashes
