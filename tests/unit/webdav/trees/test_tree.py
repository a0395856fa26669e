"""A listing of a tree is believed folder by folder, where the sizes agree."""

from __future__ import annotations

import pytest

from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments, UnplacedEntry
from efss_transfer.webdav.trees.tree import ArrivingTree, BadTree, unpacked

SIZES = {"": 60, "a/": 30, "a/1": 10, "a/b/": 20, "a/b/2": 20, "c/": 30, "c/3": 30, "empty/": 0}
ROOM = 1 << 20


def entry(path: str, size: int | None, status: int | None = None) -> Entry:
    is_folder = path.endswith("/") or not path
    name = "http://owncloud.org/ns size" if is_folder else "DAV: getcontentlength"
    properties = {} if size is None else {name: str(size)}
    href = f"/dav/r/{path.replace(' ', '%20')}"
    return Entry(href, status, (), collection=is_folder, properties=properties)


def tree(entries: list[Entry], most: int = ROOM) -> ArrivingTree:
    arriving = ArrivingTree(("dav", "r"), most)
    arriving.add(entries)
    return arriving


def folders(sizes: dict[str, int | None]) -> dict[Segments, set[str]]:
    found = tree([entry(*one) for one in sizes.items()]).folders()
    return {folder: {name for name, _ in unpacked(packed)} for folder, packed in found.items()}


def test_folders_are_known_with_all_that_is_in_them() -> None:
    assert folders(dict(SIZES)) == {
        (): {"a", "c", "empty"},
        ("a",): {"1", "b"},
        ("a", "b"): {"2"},
        ("c",): {"3"},
    }
    made = tree([entry(*one) for one in SIZES.items()])
    assert made.names() == {("a", True), ("c", True), ("empty", True)}
    ((name, one),) = unpacked(made.folders()["c",])
    assert (name, one.length, one.collection) == ("3", 30, False)


@pytest.mark.parametrize("path", ["a/1", "a/b/2", "c/3", "a/b/", "c/"])
def test_folder_that_lacks_something_is_not_known(path: str) -> None:
    """Nor is one whose own part is missing. All else is known as it is."""
    left = {name: size for name, size in SIZES.items() if not name.startswith(path)}
    found, whole = folders(dict(left)), folders(dict(SIZES))
    above = tuple(filter(None, path.strip("/").split("/")[:-1]))
    assert above not in found
    assert all(whole[folder] == names for folder, names in found.items())


@pytest.mark.parametrize(
    ("path", "size"), [("a/", None), ("a/", -1), ("c/3", None), ("a/b/", 19), ("", 59)]
)
def test_size_that_is_unknown_or_wrong_makes_a_folder_unknown(path: str, size: int | None) -> None:
    found = folders({**SIZES, path: size})
    above = tuple(filter(None, path.strip("/").split("/")[:-1]))
    assert above not in found


def test_entry_with_an_error_makes_its_folder_unknown() -> None:
    entries = [entry(path, size, 403 if path == "c/3" else None) for path, size in SIZES.items()]
    found = tree(entries).folders()
    assert ("c",) not in found
    assert ("a",) in found


@pytest.mark.parametrize(
    "paths",
    [
        ["a/", ""],
        ["", "a/", "a/"],
        ["", "a/1"],
        ["", "a/", "a/1", "a/1"],
        ["", ""],
        ["", "../other/"],
        ["", "1", "1/2"],
    ],
    ids=["own late", "twice", "orphan", "file twice", "own twice", "elsewhere", "in a file"],
)
def test_what_is_no_tree_is_refused(paths: list[str]) -> None:
    with pytest.raises((BadTree, UnplacedEntry)):
        tree([entry(path, 0) for path in paths])


def test_entry_outside_of_the_folder_is_refused() -> None:
    for href in ("/dav/other/x", "/dav/", "/dav/rx/1"):
        outside = Entry(href, None, (), collection=False)
        with pytest.raises(BadTree):
            tree([entry("", 0), outside])


def test_tree_is_bounded() -> None:
    with pytest.raises(BadTree, match="too large"):
        tree([entry("", 0), *(entry(f"{n}", 0) for n in range(100))], 30_000)
