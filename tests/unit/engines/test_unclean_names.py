"""Keys of an object store and the paths at which they arrive where there are folders."""

from __future__ import annotations

import re
from typing import Final

import pytest

from efss_transfer.engines.rclone.transfer.unclean_files import WITHOUT_CLEAN, WITHOUT_UNCLEAN
from efss_transfer.engines.unclean_names import is_unclean, leads_out, place, taken

UNCLEAN: Final = {
    "data//b": "data/b",
    "/a": "a",
    "//a": "a",
    "dir/": "dir",
    "a/./b": "a/b",
    "a/../b": "b",
    "./a": "a",
    "a/.": "a",
}
CLEAN: Final = (
    "a",
    "a/b",
    ".a",
    "a/.b",
    "a/..b/c",
    "...",
    "a/.../b",
    "a.",
    "a../b",
    "é/ü",
    "a\nb/c",
)
OUTSIDE: Final = ("../a", "a/../../b", "/../a")


@pytest.mark.parametrize(("name", "at"), UNCLEAN.items())
def test_unclean_name_has_a_place(name: str, at: str) -> None:
    assert (is_unclean(name), place(name), leads_out(name)) == (True, at, False)


@pytest.mark.parametrize("name", CLEAN)
def test_clean_name_is_its_own_place(name: str) -> None:
    assert (is_unclean(name), place(name), leads_out(name)) == (False, name, False)


@pytest.mark.parametrize("name", [*UNCLEAN, *CLEAN, *OUTSIDE])
def test_each_name_is_copied_in_exactly_one_of_the_two_steps(name: str) -> None:
    # rclone's glob: /{{…}} is a regular expression for the whole name.
    first, second = (
        re.compile(rule.removeprefix("- /{{").removesuffix("}}"), re.DOTALL)
        for rule in (WITHOUT_UNCLEAN, WITHOUT_CLEAN)
    )
    assert bool(first.fullmatch(name)) == is_unclean(name)
    assert bool(second.fullmatch(name)) != is_unclean(name)


@pytest.mark.parametrize("name", OUTSIDE[:2])
def test_name_that_leads_out_of_the_folder_is_known(name: str) -> None:
    assert (is_unclean(name), leads_out(name)) == (True, True)


def test_clean_name_takes_its_place_and_otherwise_the_first_in_order() -> None:
    names = {"data//b", "data///b", "x//y", "x///y", "/alone"}
    assert taken(names, {"data/b"}) == {
        "data//b": "data/b",
        "data///b": "data/b",
        "x//y": "x///y",
    }
