"""Which uploads are sent with others."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from efss_transfer.webdav.bulk.bulk_uploads import LARGEST, BulkUploads
from efss_transfer.webdav.http.exchange import Held, Upload
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.words import Record
from efss_transfer.webdav.writes.kept import Kept
from efss_transfer.webdav.writes.twins import Twins

HOME = "/cloud/remote.php/dav/files/alice/deep"


class Batches:
    """Batches that store everything at once; the names that they got."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def store(self, file: Any) -> str | None:
        self.names.append(file.name)
        return "1f"


def made(home: str = HOME, *, is_on: bool = True) -> tuple[BulkUploads, Batches]:
    session = cast(ServerSession, SimpleNamespace(home=home, record=Record()))
    listings, memory = cast(Listings, None), Memory()
    memory.etags.put("old", None)
    memory.has_listed(())
    uploads = BulkUploads(session, listings, memory, Twins(session, listings, 0), is_on=is_on)
    batches = Batches()
    cast(Any, uploads)._batches = batches
    return uploads, batches


def stored(uploads: BulkUploads, path: Segments, size: int = 1, **headers: str) -> Kept | None:
    upload: Upload = Held(bytes(size))
    return asyncio.run(uploads.store(path, upload, headers))


def test_small_new_file_goes_with_others_if_another_one_is_under_way() -> None:
    uploads, batches = made()
    with uploads.under_way(("large",)), uploads.under_way(("a",)):
        assert stored(uploads, ("large",), LARGEST + 1) is None
        assert stored(uploads, ("a",)) is None
        with uploads.under_way(("b",)):
            assert stored(uploads, ("b",)) == Kept('"1f"', keeps_time=True, in_bulk=True)
    with uploads.under_way(("c",)):
        assert stored(uploads, ("c",)) is None
    assert batches.names == ["/deep/b"]


@pytest.mark.parametrize(
    ("path", "size", "headers"),
    [
        (("old",), 1, {}),
        (("elsewhere", "a"), 1, {}),
        (("b",), LARGEST + 1, {}),
        (("b ",), 1, {}),
        (("b",), 1, {"x-oc-mtime": "1.5"}),
    ],
)
def test_other_files_go_the_plain_way(path: Segments, size: int, headers: dict[str, str]) -> None:
    uploads, batches = made()
    with uploads.under_way(("a",)), uploads.under_way(path):
        stored(uploads, ("a",))
        assert stored(uploads, path, size, **headers) is None
    assert batches.names == []


@pytest.mark.parametrize(
    ("home", "is_on"),
    [
        (HOME, False),
        ("/remote.php/dav/files", True),
        ("/remote.php/webdav", True),
        ("/public.php/dav/files/TOKEN", True),
        ("/dav/files/alice", True),
        ("/", True),
    ],
)
def test_nothing_goes_with_others_elsewhere(home: str, is_on: bool) -> None:
    uploads, batches = made(home, is_on=is_on)
    with uploads.under_way(("a",)), uploads.under_way(("b",)):
        assert stored(uploads, ("a",)) is None
        assert stored(uploads, ("b",)) is None
    assert batches.names == []
