"""The patterns of a selection include the same paths for this service and for rclone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from efss_transfer.engines.globs import selects
from efss_transfer.model.request import Selection

PATHS = [
    "a.txt",
    "A.TXT",
    "b.h5",
    "data.csv",
    "a+b (1).txt",
    "ü.txt",
    "x[1].txt",
    "{odd}.txt",
    "run/a.txt",
    "run/b.h5",
    "run/2024/a.txt",
    "run/2024/deep/c.h5",
    "other/run/a.txt",
    "other/a-b.txt",
    "running/a.txt",
]
GLOBS = [
    "*",
    "**",
    "*.txt",
    "/*.txt",
    "a.*",
    "?.txt",
    "/run/*",
    "run/**",
    "/run/**.h5",
    "run/",
    "**/run/**",
    "*.{txt,h5}",
    "{a,b}.*",
    "[ab].txt",
    "[^ab].txt",
    "x\\[1\\].txt",
    "\\{odd\\}.txt",
    "a+b (1).txt",
    "2024/*",
    "{{[a-c]\\.(txt|h5)}}",
    "/run/{{.*}}/*.h5",
    "a,b",
    ".txt",
    "ü*",
]
# rclone does not look into these folders, so it passes over no entry there.
UNLISTED = {"run/**": {"other/run/a.txt"}, "2024/*": {"run/2024/a.txt"}}


def by_rclone(rclone: Path, folder: Path, selection: Selection) -> set[str]:
    rules = [f"--filter=- {glob}" for glob in selection.exclude]
    rules += [f"--filter=+ {glob}" for glob in selection.include]
    rules += ["--filter=- **"] if selection.include else []
    listed = subprocess.run(
        [rclone, "lsf", "--config", "", "--recursive", "--files-only", *rules, folder],
        capture_output=True,
        check=True,
        env={},
    )
    return set(listed.stdout.decode().splitlines())


def included(glob: str) -> Selection:
    return Selection(include=(glob,))


def excluded(glob: str) -> Selection:
    return Selection(exclude=(glob,))


@pytest.mark.parametrize("selected", [included, excluded])
def test_rclone_selects_the_same_paths(
    selected: Callable[[str], Selection], rclone: Path, tmp_path: Path
) -> None:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for glob in GLOBS:
        selection = selected(glob)
        ours = {path for path in PATHS if selects(selection, path)}
        unlisted = UNLISTED.get(glob, set()) if selection.include else set()
        assert unlisted <= ours
        assert ours - unlisted == by_rclone(rclone, tmp_path, selection), glob


def test_exclude_overrides_include(rclone: Path, tmp_path: Path) -> None:
    selection = Selection(include=("*.txt", "/run/**"), exclude=("a.*", "2024/"))
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    ours = {path for path in PATHS if selects(selection, path)}
    assert ours == by_rclone(rclone, tmp_path, selection)


def test_what_may_be_a_folder_is_ruled_out_by_exclude_alone() -> None:
    assert selects(Selection(include=("*.txt",)), "sub", maybe_folder=True)
    assert not selects(Selection(include=("*.txt",)), "sub")
    for glob in ("/sub/**", "sub/", "sub"):
        assert not selects(Selection(exclude=(glob,)), "sub", maybe_folder=True)


def test_pattern_that_python_cannot_express_hides_no_file() -> None:
    for selection in (
        Selection(include=("{{[[:upper:]]}}",)),
        Selection(exclude=("{{[[:upper:]]}}",)),
        Selection(exclude=("{{(?P<a>x)\\pL}}",)),
    ):
        assert selects(selection, "a.txt")
