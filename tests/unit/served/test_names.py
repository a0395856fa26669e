"""Paths of lists: cleaned, or refused."""

from __future__ import annotations

import pytest

from efss_transfer.served.names import PathRefused, clean


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("a", "a"),
        ("./a//b/./c", "a/b/c"),
        ("ü/…/a.b", "ü/…/a.b"),
        ("a..b/..c/...", "a..b/..c/..."),
        ("a:b", "a:b"),
    ],
)
def test_path_is_cleaned(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "/", "a/", "/a", "../a", "a/..", "a/../b", "\\a", "..\\a", "a/..\\b"),
        *("C:/a", "c:\\a", "a\nb", "a\x00", "\u2025/a", "a/\uff0e\uff0e/b", "\ud800"),
        "/".join("a" * 256),
        "a" * 4097,
    ],
)
def test_path_that_leaves_the_tree_is_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        clean(path)
