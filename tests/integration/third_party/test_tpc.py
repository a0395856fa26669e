"""Two XRootD servers copy between themselves, directed by the engine `tpc`.

Copies that are cut off are tested with stand-ins: Debian's XRootD 5.5.3 breaks down (SIGSEGV) once
in ten times that a connection is dropped in the middle of a copy. See conftest.py for the rest.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from typing import Any

import pytest
import requests

from support.service_process import Function
from support.storages import digest
from support.traffic import Traffic
from support.xrootd import Grid

FILES = {
    "a.txt": b"1",
    "sub/b.bin": bytes(70_000),
    "sub/deep/u\u0308 & 100 %.txt": b"333",
    "sub ü/c": b"4444",
    "empty": b"",
}
# They need XRootD's packages, and copy real files by real servers.
pytestmark = pytest.mark.slow
HASHES = {path: digest(content) for path, content in FILES.items()}


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


def copy(
    third_party: Function, grid: Grid, folder: str, tokens: Any = (None, None), **members: Any
) -> requests.Response:
    source = grid.source.storage(tokens[0]).endpoint(folder)
    destination = grid.destination.storage(tokens[1]).endpoint(folder)
    return third_party.copy(source, destination, engine="tpc", **members)


def arrived(grid: Grid, folder: str) -> dict[str, str]:
    return grid.destination.storage().hashes(folder)


def counts(answer: requests.Response) -> tuple[int, int, int]:
    body = answer.json()
    files = body.get("result", body)["totals"]["files"]
    return files["transferred"], files["skipped"], files["failed"]


def test_folder_is_copied_and_the_second_request_has_nothing_to_do(
    third_party: Function, grid: Grid, folder: str
) -> None:
    grid.source.storage().fill(folder, FILES)
    answer = copy(third_party, grid, folder, options={"verify": "checksum"})
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["state"], result["engine"]) == ("succeeded", "tpc")
    assert counts(answer) == (len(FILES), 0, 0)
    assert result["totals"]["bytes"]["transferred"] == sum(map(len, FILES.values()))
    assert result["verification"] == {
        "mode": "checksum",
        "hash": "adler32",
        "checked": len(FILES),
        "differing": 0,
        "missing": 0,
    }
    # XRootD issues a macaroon for metadata alone to who signs in with one.
    assert result["tpc"] == {"way": "pull", "macaroon": False}
    assert not result.get("warnings")
    assert arrived(grid, folder) == HASHES
    second = copy(third_party, grid, folder)
    assert second.status_code == 200, second.text
    assert counts(second) == (0, len(FILES), 0)


def test_bytes_do_not_pass_through_the_service(
    third_party: Function, grid: Grid, folder: str, traffic: Traffic
) -> None:
    size = 100 << 20
    grid.source.storage().fill(folder, {"large": os.urandom(1 << 20) * (size >> 20)})
    before = traffic.bytes
    answer = copy(third_party, grid, folder)
    assert answer.status_code == 200, answer.text
    assert 0 < traffic.bytes - before < size / 100
    assert arrived(grid, folder) == grid.source.storage().hashes(folder)


def test_server_that_breaks_down_is_started_again(
    third_party: Function, grid: Grid, folder: str
) -> None:
    """A copy fails meanwhile, and the next one is complete: the tests of this folder rely on it."""
    grid.source.storage().fill(folder, FILES)
    before = grid.crashes
    grid.destination.kill()
    assert grid.settled_crashes(before)
    answer = copy(third_party, grid, folder)
    assert answer.status_code == 200, answer.text
    assert arrived(grid, folder) == HASHES


@pytest.mark.slow
def test_server_that_hangs_is_started_again(third_party: Function, grid: Grid, folder: str) -> None:
    grid.source.storage().fill(folder, FILES)
    before = grid.crashes
    grid.destination.hang()
    assert grid.settled_crashes(before)
    answer = copy(third_party, grid, folder)
    assert answer.status_code == 200, answer.text
    assert arrived(grid, folder) == HASHES


def test_changed_file_replaces_the_old_one(third_party: Function, grid: Grid, folder: str) -> None:
    grid.source.storage().fill(folder, FILES)
    assert copy(third_party, grid, folder).status_code == 200
    time.sleep(1.1)  # times are in seconds
    changed = {"a.txt": b"2", "sub ü/c": b"longer"}
    grid.source.storage().fill(folder, changed)
    answer = copy(third_party, grid, folder)
    assert answer.status_code == 200, answer.text
    assert counts(answer) == (2, len(FILES) - 2, 0)
    assert arrived(grid, folder) == HASHES | {k: digest(v) for k, v in changed.items()}


def test_file_that_exists_stays_where_none_may_be_replaced(
    third_party: Function, grid: Grid, folder: str
) -> None:
    grid.source.storage().fill(folder, FILES)
    grid.destination.storage().fill(folder, {"a.txt": b"old"})
    answer = copy(third_party, grid, folder, options={"overwrite": "never"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["skipped"] == {"exists": 1}
    assert arrived(grid, folder) == HASHES | {"a.txt": digest(b"old")}


def test_single_file_is_copied(third_party: Function, grid: Grid, folder: str) -> None:
    grid.source.storage().fill(folder, FILES)
    source = grid.source.storage().endpoint(f"{folder}/sub/b.bin")
    for path, name in ((f"{folder}/as.bin", "as.bin"), (f"{folder}/in/", "in/b.bin")):
        destination = grid.destination.storage().endpoint(path)
        answer = third_party.copy(source, destination, engine="tpc")
        assert answer.status_code == 200, answer.text
        assert arrived(grid, folder)[name] == HASHES["sub/b.bin"]


def test_selected_files_alone_are_copied(third_party: Function, grid: Grid, folder: str) -> None:
    grid.source.storage().fill(folder, FILES)
    selection = {"include": ["sub/**"], "min_size": 100}
    answer = copy(third_party, grid, folder, selection=selection)
    assert answer.status_code == 200, answer.text
    assert list(arrived(grid, folder)) == ["sub/b.bin"]


def test_checksum_of_the_caller_is_held_against_what_arrives(
    third_party: Function, grid: Grid, folder: str
) -> None:
    grid.source.storage().fill(folder, FILES)
    grid.destination.storage().fill(folder, {"a.txt": b"old"})
    md5 = hashlib.md5(FILES["sub/b.bin"], usedforsecurity=False).hexdigest()
    right = {"path": "sub/b.bin", "checksum": f"md5:{md5}"}
    wrong = {"path": "a.txt", "checksum": f"md5:{'0' * 32}"}
    options = {"overwrite": "always", "attempts": 1}
    answer = copy(third_party, grid, folder, selection={"files": [right, wrong]}, options=options)
    assert answer.status_code == 502, answer.text
    assert [it["code"] for it in answer.json()["result"]["errors"]] == ["checksum_mismatch"]
    expected = {"a.txt": digest(b"old"), "sub/b.bin": HASHES["sub/b.bin"]}
    assert arrived(grid, folder) == expected


@pytest.mark.parametrize("side", ["source", "destination"])
def test_wrong_token_blames_its_side(
    side: str, third_party: Function, grid: Grid, folder: str
) -> None:
    grid.source.storage().fill(folder, FILES)
    server = grid.source if side == "source" else grid.destination
    wrong = server.token("READ_METADATA,LIST")
    tokens = (wrong, None) if side == "source" else (None, wrong)
    answer = copy(third_party, grid, folder, tokens)
    assert answer.status_code == 422, answer.text
    result = answer.json()["result"]
    assert {(it["code"], it["side"]) for it in result["errors"]} == {("permission_denied", side)}
    assert arrived(grid, folder) == {}
    assert wrong not in answer.text + third_party.log.read_text()


def test_missing_source_is_named(third_party: Function, grid: Grid, folder: str) -> None:
    answer = copy(third_party, grid, folder)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "source_not_found"


def test_plan_and_dry_run_write_nothing(third_party: Function, grid: Grid, folder: str) -> None:
    grid.source.storage().fill(folder, FILES)
    answer = copy(third_party, grid, folder, options={"dry_run": True})
    assert answer.json()["totals"]["skipped"] == {"dry_run": len(FILES)}, answer.text
    ends = grid.source.storage().endpoint(folder), grid.destination.storage().endpoint(folder)
    body = {"source": ends[0], "destination": ends[1], "engine": "tpc"}
    plan = third_party.post(body, "/plan")
    assert plan.status_code == 200, plan.text
    assert plan.json()["files"] == len(FILES)
    assert arrived(grid, folder) == {}


def test_what_an_earlier_run_left_is_removed(
    third_party: Function, grid: Grid, folder: str
) -> None:
    grid.source.storage().fill(folder, {"a": b"1"})
    left = {".efss-transfer-0000000000000000.partial": b"half"}
    grid.destination.storage().fill(folder, left)
    answer = copy(third_party, grid, folder)
    assert answer.status_code == 200, answer.text
    assert arrived(grid, folder) == {"a": digest(b"1")}
