from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pytest

from efss_transfer.webdav.paths import Base, EntryPlacer, UnplacedEntry, encoded, of_href, segments


@dataclass(frozen=True)
class Item:
    href: str
    collection: bool = False


def placed(base: Base, folder: str, *hrefs: str) -> list[str | None]:
    """The names of entries; what ends with a slash is a folder."""
    listing: EntryPlacer[Item] = EntryPlacer(base, segments(folder))
    names = [name for name, _ in listing.place(Item(href, href.endswith("/")) for href in hrefs)]
    return names + [name for name, _ in listing.finish()]


def base(path: str = "/webdav") -> Base:
    return Base(segments(path))


def test_entries_of_a_correct_server_have_their_names() -> None:
    names = placed(base(), "data", "/webdav/data/", "/webdav/data/a%20b", "/webdav/data/sub/")
    assert names == [None, "a b", "sub"]


@pytest.mark.parametrize(
    "prefix",
    [
        "http://inner.example:8080/webdav/data",
        "https://cloud.example.org/webdav/data",
        "//webdav/data",
        "/webdav//data",
        "/WebDAV/Data",
        "/%77ebdav/data",
    ],
)
def test_other_spelling_of_the_folder_is_the_folder(prefix: str) -> None:
    assert placed(base(), "data", f"{prefix}/", f"{prefix}/a") == [None, "a"]


@pytest.mark.parametrize("prefix", ["", "/inner", "/inner/webdav", "/remote.php/dav/files/u"])
def test_prefix_that_a_proxy_changes_is_learned(prefix: str) -> None:
    known = base("/cloud/webdav")
    assert placed(known, "data", f"{prefix}/data/", f"{prefix}/data/a") == [None, "a"]
    # From now on nothing has to be held back.
    listing: EntryPlacer[Item] = EntryPlacer(known, ("data", "sub"))
    assert [name for name, _ in listing.place([Item(f"{prefix}/data/sub/b")])] == ["b"]


def test_root_behind_a_proxy_is_learned_from_its_entries() -> None:
    assert placed(base(), "", "/", "/a", "/sub/") == [None, "a", "sub"]
    assert placed(base(), "", "/inner/", "/inner/a") == [None, "a"]


def test_folder_itself_may_come_last() -> None:
    assert placed(base(), "data", "/data/a", "/data/b", "/data/") == ["a", "b", None]


def test_name_keeps_the_servers_spelling() -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    names = placed(base(), "é", f"/webdav/{decomposed}/", f"/webdav/{decomposed}/{decomposed}")
    assert names == [None, decomposed]


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("/webdav/100%.txt", "100%.txt"),
        ("/webdav/100%25.txt", "100%.txt"),
        ("/webdav/a?b", "a?b"),
        ("/webdav/a#b", "a#b"),
        ("/webdav/a+b", "a+b"),
        ("/webdav/a:b", "a:b"),
        ("/webdav/%E9", "\udce9"),
    ],
)
def test_name_survives_a_careless_server(href: str, name: str) -> None:
    assert placed(base(), "", "/webdav/", href) == [None, name]


@pytest.mark.parametrize(
    "hrefs",
    [
        ["/webdav/data/", "/webdav/other/a"],
        ["/webdav/data/", "/webdav/data/sub/deep"],
        ["/webdav/data/", "/elsewhere/data/a"],
        ["/x/data/", "/y/data/a"],
        ["/inner/other/"],
        ["/data/a"],
        ["/webdav/data/", "/webdav/data/..%2fa"],
        ["/webdav/data/", "/webdav/data/a%2Fb"],
        ["/webdav/data/", "/webdav/data/../a"],
        ["/webdav/data/", "/webdav/data/a%00"],
        ["/webdav/data/", "/webdav/data/" + "a" * 20_000],
    ],
)
def test_entry_that_fits_nowhere_is_an_error_that_names_it(hrefs: list[str]) -> None:
    with pytest.raises(UnplacedEntry) as caught:
        placed(base(), "data", *hrefs)
    assert hrefs[-1].startswith(caught.value.href.removesuffix("…"))
    assert len(str(caught.value)) < 400


def test_single_entry_elsewhere_is_not_taken_for_the_root() -> None:
    with pytest.raises(UnplacedEntry):
        placed(base(), "", "/elsewhere/")


@pytest.mark.parametrize("name", ["a b", "é", "100%", "a?b#c", "\udce9", "日本", "+&=", "~x"])
def test_name_survives_encoding(name: str) -> None:
    assert segments(encoded(("data", name))) == ("data", name)


def test_href_of_a_bare_host_is_the_root() -> None:
    assert of_href("https://cloud.example.org") == ()


def test_semicolons_are_encoded() -> None:
    # What follows one may be read as a parameter. WsgiDAV decodes first: see writes/names.py.
    assert encoded(("a;b", "c")) == "/a%3Bb/c"
