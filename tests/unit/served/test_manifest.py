"""Lists in memory: found by path, listed by folder, and no two that fall together."""

from __future__ import annotations

import pytest

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.manifest import Found, ListTooLarge, Manifest, UrlFile
from efss_transfer.served.names import PathRefused

MD5 = Checksum("md5", bytes(range(16)))


def made(*paths: str) -> Manifest:
    manifest = Manifest()
    for path in paths:
        manifest.add(UrlFile(path, (f"https://x.test/{path}",)))
    return manifest


def names(manifest: Manifest, *folder: str) -> list[str]:
    return [one.name for piece in manifest.entries(folder) for one in piece]


def test_file_is_found_as_it_was_added() -> None:
    manifest = Manifest()
    urls = ("https://x.test/A?b=c/d", "https://y.test/")
    file = UrlFile("Folder/Ä b", urls, 5, MD5, 7)
    manifest.add(file)
    assert manifest.find(("Folder", "Ä b")) == Found("Ä b", file)
    assert manifest.find(("Folder",)) == Found("Folder")
    assert manifest.find(()) == Found("")
    for absent in (("folder",), ("Folder", "ä b"), ("Folder", "Ä b", "c"), ("x",), ("\ud800",)):
        assert manifest.find(absent) is None
    assert manifest.count == 1


def test_folder_is_listed_in_pieces() -> None:
    paths = [f"f/{number:04}" for number in range(1000)]
    manifest = made(*reversed(paths), "f/sub/x", "g")
    assert names(manifest, "f") == [path[2:] for path in paths] + ["sub"]
    assert names(manifest) == ["f", "g"]
    assert names(manifest, "nothing") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(("a", "a"), ("a", "A"), ("\u00e9", "e\u0301"), ("a", "./a"), ("a//b", "a/b")),
        *(("a", "a/b"), ("a/b", "a"), ("A/x", "a/y"), ("ß", "SS")),
    ],
)
def test_paths_that_fall_together_are_refused(first: str, second: str) -> None:
    manifest = made(first)
    with pytest.raises(PathRefused):
        manifest.add(UrlFile(second, ("https://x.test/",)))
    assert manifest.count == 1


def test_what_a_server_said_is_kept_where_the_list_said_nothing() -> None:
    manifest = made("d/a")
    manifest.add(UrlFile("d/b", ("https://x.test/b",), 5))
    manifest.learn(("d", "a"), 3, 9)
    manifest.learn(("d", "b"), 4, 9)
    found = {one.name: one.file for piece in manifest.entries(("d",)) for one in piece}
    assert [(it.size, it.modified) for it in found.values() if it] == [(3, 9), (5, 9)]


def test_list_takes_no_more_memory_than_it_may() -> None:
    manifest = Manifest(1 << 20)

    def add_many() -> None:
        for number in range(100_000):
            manifest.add(UrlFile(f"{number:x}", (f"https://x.test/{number}",)))

    with pytest.raises(ListTooLarge):
        add_many()
    assert manifest.count > 1000
