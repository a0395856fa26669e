"""Sources in which something never ends: the rest arrives, in time, and what hung is named."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from support import odd_sftp
from support.service_process import Function
from support.storages import Storage, digest

FILES = {"a.txt": b"a", "sub/b.txt": b"bb", "sub/empty.txt": b"", "z.txt": b"zzz"}
HASHES = {path: digest(content) for path, content in FILES.items()}
MARGIN = 8.0  # the other tests need the processors, too


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the source, with FILES."""
    for path, content in FILES.items():
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(content)
    return tmp_path / "data"


@pytest.fixture
def target() -> str:
    return uuid.uuid4().hex


def failures(answer: Any) -> list[tuple[str, str | None, list[str]]]:
    """Code, side and paths of each error."""
    result = answer.json().get("result") or {}
    return [
        (it["code"], it.get("side"), [sample.get("path", "") for sample in it["samples"]])
        for it in result.get("errors", [])
    ]


@pytest.mark.field_case("G1")
@pytest.mark.parametrize(
    ("names", "members"),
    [
        (["pipe"], {}),
        (["sub/*[odd] {name}?"], {}),
        # More than files are copied at a time.
        pytest.param(
            [f"pipes/{number}" for number in range(10)],
            {"options": {"transfers": 4, "deadline_seconds": 40}},
            marks=pytest.mark.slow,
        ),
        (["pipe"], {"selection": {"files": [{"path": it} for it in (*FILES, "pipe")]}}),
        (["pipe"], {"options": {"verify": "download", "deadline_seconds": 20}}),
    ],
    ids=["one", "odd name", "ten", "listed", "verified"],
)
def test_named_pipe_is_a_failed_file_and_all_others_arrive(
    names: list[str],
    members: dict[str, Any],
    function: Function,
    s3: Storage,
    folder: Path,
    target: str,
) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        os.mkfifo(folder / name)
    request = {"options": {"deadline_seconds": 12}, **members}
    with odd_sftp.running(folder.parent) as source:
        began = time.monotonic()
        answer = function.copy(source.endpoint("data"), s3.endpoint(target), **request)
        seconds = time.monotonic() - began
    assert seconds < request["options"]["deadline_seconds"] + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
    assert failures(answer) == [("unsupported", "source", sorted(names)[:5])]
    totals = answer.json()["result"]["totals"]["files"]
    # The copy is stopped to leave out the pipe. A file whose upload that cuts off may be stored all
    # the same: then it is there when the copy begins again.
    assert totals["transferred"] + totals["skipped"] == len(FILES)
    assert totals["failed"] == len(names)
    assert s3.hashes(f"bucket/{target}") == HASHES
    function.wait_clean()


@pytest.mark.field_case("G1", variant="the pipe is the source itself")
def test_pipe_that_is_the_source_itself_fails_in_time(
    function: Function, s3: Storage, folder: Path, target: str
) -> None:
    os.mkfifo(folder / "pipe")
    with odd_sftp.running(folder.parent) as source:
        answer = function.copy(
            source.endpoint("data/pipe"), s3.endpoint(target), options={"deadline_seconds": 12}
        )
    assert answer.elapsed.total_seconds() < 12 + MARGIN
    assert answer.status_code == 422, answer.text
    assert failures(answer) == [("unsupported", "source", ["pipe"])]
    assert s3.hashes(f"bucket/{target}") == {}
    function.wait_clean()


@pytest.mark.field_case("G1")
@pytest.mark.parametrize("seconds", [3, 5])
def test_pipe_is_named_when_the_time_runs_out_first(
    seconds: int, function: Function, s3: Storage, folder: Path, target: str
) -> None:
    os.mkfifo(folder / "pipe")
    with odd_sftp.running(folder.parent) as source:
        options = {"deadline_seconds": seconds}
        answer = function.copy(source.endpoint("data"), s3.endpoint(target), options=options)
    assert answer.elapsed.total_seconds() < seconds + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete"), answer.text
    assert failures(answer) == [("storage_unreachable", None, ["pipe"])]
    assert s3.hashes(f"bucket/{target}") == HASHES
    function.wait_clean()


@pytest.mark.field_case("G2")
@pytest.mark.parametrize("side", ["source", "destination"])
def test_shell_that_never_answers_is_named_in_time(
    side: str, function: Function, s3: Storage, folder: Path, target: str
) -> None:
    with odd_sftp.running(folder.parent, greeting="silent") as storage:
        ends = [storage.endpoint("data"), s3.endpoint(target)]
        options = {"deadline_seconds": 9}
        answer = function.copy(*(ends if side == "source" else ends[::-1]), options=options)
    assert answer.elapsed.total_seconds() < 9 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete"), answer.text
    assert "SSH shell" in answer.text
    function.wait_clean()


@pytest.mark.slow
@pytest.mark.field_case("G2")
@pytest.mark.parametrize("side", ["source", "destination"])
def test_shell_that_never_answers_ends_the_transfer_long_before_its_deadline(
    side: str, function: Function, s3: Storage, folder: Path, target: str
) -> None:
    s3.fill(f"bucket/{target}", FILES)
    with odd_sftp.running(folder.parent, greeting="silent") as storage:
        ends = [storage.endpoint("data"), s3.endpoint(target)]
        answer = function.copy(*(ends if side == "source" else ends[::-1]))
    assert answer.elapsed.total_seconds() < 30
    assert answer.status_code == 422, answer.text
    assert failures(answer) == [("unsupported", side, [""])]
    assert "disable_hashcheck" in answer.text
    function.wait_clean()


@pytest.mark.field_case("G2", variant="the shell greets")
@pytest.mark.parametrize("shell", ["silent", "greets"])
def test_shell_is_not_needed_without_hashes(
    shell: str, function: Function, s3: Storage, folder: Path, target: str
) -> None:
    with odd_sftp.running(folder.parent, greeting=shell) as source:
        end = source.endpoint("data", disable_hashcheck=True)
        answer = function.copy(end, s3.endpoint(target), options={"deadline_seconds": 15})
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{target}") == HASHES


@pytest.mark.field_case("G3")
@pytest.mark.parametrize(
    ("links", "loops", "linked"),
    [
        ({"self": "."}, ["self"], {}),
        ({"sub/up": ".."}, ["sub/up"], {}),
        # Each makes two ways at each of forty levels.
        ({"one": ".", "two": "."}, ["one", "two"], {}),
        (
            {"x/to_y": "../y", "y/to_x": "../x"},
            ["x/to_y/to_x", "y/to_x/to_y"],
            {"x/1": b"1", "x/to_y/2": b"2", "y/2": b"2", "y/to_x/1": b"1"},
        ),
    ],
    ids=["self", "above", "two", "mutual"],
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["copy", "dry run"])
def test_link_that_leads_back_is_a_failed_folder(
    links: dict[str, str],
    loops: list[str],
    linked: dict[str, bytes],
    function: Function,
    s3: Storage,
    folder: Path,
    target: str,
    *,
    dry_run: bool,
) -> None:
    for path, content in linked.items():
        if "to_" not in path:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(content)
    for path, to in links.items():
        (folder / path).symlink_to(to)
    options = {"deadline_seconds": 60, "dry_run": dry_run}
    with odd_sftp.running(folder.parent) as source:
        answer = function.copy(source.endpoint("data"), s3.endpoint(target), options=options)
    assert failures(answer) == [("unsupported", "source", loops)], answer.text
    totals = answer.json()["result"]["totals"]["files"]
    expected = {**HASHES, **{path: digest(content) for path, content in linked.items()}}
    count = len(expected)
    if dry_run:
        # It may have counted some files below the loop before it saw the loop.
        assert (totals["transferred"], totals["skipped"] >= count) == (0, True)
    else:
        assert (totals["transferred"], totals["skipped"]) == (count, 0)
    assert s3.hashes(f"bucket/{target}") == ({} if dry_run else expected)


@pytest.mark.field_case("G3")
def test_folders_of_one_name_and_links_to_folders_are_copied(
    function: Function, s3: Storage, folder: Path, target: str
) -> None:
    expected = dict(HASHES)
    for path in ("data", "data/data", "data/data/data", "data/data/data/data"):
        (folder / path).mkdir()
        (folder / path / "same.txt").write_bytes(b"same")
        expected[f"{path}/same.txt"] = digest(b"same")
    (folder / "link").symlink_to("sub")
    expected |= {"link/b.txt": HASHES["sub/b.txt"], "link/empty.txt": HASHES["sub/empty.txt"]}
    with odd_sftp.running(folder.parent) as source:
        answer = function.copy(source.endpoint("data"), s3.endpoint(target))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{target}") == expected
