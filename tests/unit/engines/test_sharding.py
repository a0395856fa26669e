"""The shard of a path is the same for this service and for rclone, with any letters."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from efss_transfer.engines.sharding import contains, select_shard
from efss_transfer.model.request import ListedFile, Selection
from efss_transfer.model.result import Shard

COUNT = 4
CASED = [
    letter
    for letter in map(chr, range(sys.maxunicode))
    if letter.lower() != letter or unicodedata.decomposition(letter)
]


def test_rclone_selects_the_same_shard_for_unusual_letters(rclone: Path, tmp_path: Path) -> None:
    # All letters that have a case or are composed, two to a name. The shard is a hash of the name:
    # one letter that is folded differently changes it in three cases of four.
    names = {"".join(CASED[at : at + 2]) for at in range(0, len(CASED), 2)}
    assert len(names) > 3000
    for name in names:
        (tmp_path / f"{name}x").touch()
    for index in range(COUNT):
        listed = subprocess.run(
            [rclone, "lsf", "--config", "", f"--hash-filter={index}/{COUNT}", tmp_path],
            capture_output=True,
            check=True,
            env={},
        )
        by_rclone = set(listed.stdout.decode().splitlines())
        ours = {f"{name}x" for name in names if contains(Shard(index, COUNT), f"{name}x")}
        assert by_rclone == ours


@pytest.mark.parametrize(
    ("one", "other"),
    [("É.txt", "e\u0301.TXT"), ("K", "\u212a"), ("Σ", "σ"), ("\u0130", "i")],
)
def test_names_that_a_storage_may_treat_as_one_share_a_shard(one: str, other: str) -> None:
    for index in range(64):
        assert contains(Shard(index, 64), one) is contains(Shard(index, 64), other)


def test_shards_of_a_list_have_each_file_once() -> None:
    files = tuple(ListedFile(f"{number}") for number in range(100))
    shards = [
        select_shard(Selection(files=files, shard=Shard(index, 7))).files or ()
        for index in range(7)
    ]
    assert sorted(file.path for shard in shards for file in shard) == sorted(f.path for f in files)


def test_selection_without_shard_or_list_is_unchanged() -> None:
    for selection in (Selection(files=(ListedFile("a"),)), Selection(shard=Shard(0, 2))):
        assert select_shard(selection) is selection
