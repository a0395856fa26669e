"""Places that transfers write to are compared by host, port and path."""

from __future__ import annotations

from typing import Any

import pytest

from efss_transfer.model.locations import StoragePath
from efss_transfer.model.request import Endpoint

FORMS = {"url": "url", "host": "host", "endpoint": "url"}


def location(type_: str, path: str, **parameters: Any) -> StoragePath:
    forms = {name: form for name, form in FORMS.items() if name in parameters}
    return StoragePath.of(Endpoint(type_, parameters, path, target_forms=forms))


def dav(path: str, url: str = "https://dav.example.org/files") -> StoragePath:
    return location("webdav", path, url=url, user="alice")


@pytest.mark.parametrize(
    "other",
    [
        dav("a/b"),
        dav("/a//b/"),
        dav("a/b/c"),
        dav("a"),
        dav(""),
        dav("files/a/b", "https://DAV.example.org:443"),
        dav("b", "https://dav.example.org/files/a/"),
    ],
)
def test_same_place_or_one_inside_it_overlaps(other: StoragePath) -> None:
    assert dav("a/b").overlaps(other)
    assert other.overlaps(dav("a/b"))


@pytest.mark.parametrize(
    "other",
    [
        dav("a/bc"),
        dav("a/c"),
        dav("a/b", "https://dav.example.org:8443/files"),
        dav("a/b", "https://other.example.org/files"),
        location("sftp", "files/a/b", host="dav.example.org"),
    ],
)
def test_other_places_do_not_overlap(other: StoragePath) -> None:
    assert not dav("a/b").overlaps(other)
    assert not other.overlaps(dav("a/b"))


def test_storages_without_hosts_are_told_apart_by_their_parameters() -> None:
    one, other = (location("dropbox", "a", token=token) for token in ("1", "2"))
    assert one.overlaps(location("dropbox", "a/b", token="1"))
    assert not one.overlaps(other)
    assert "canary" not in repr(location("dropbox", "a", token="canary"))
