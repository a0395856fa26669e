"""Each of the servers' own ways comes to its end, and in the memory of a small function."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from support import nextcloud, opencloud, service_process
from support.nextcloud import Nextcloud
from support.opencloud import OpenCloud
from support.service_process import Function
from support.slow_network import distant
from support.storages import Storage
from support.watching import WatchedMemory

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY, reason="only the gateway uses the servers' own ways"
)
MIB: Final = 1 << 20
LARGE: Final = MIB + 12_345
ALL: Final = {"exclude": ["none"]}
"""With a selection nothing is read ahead."""
MOST: Final = 64
SLOW: Final = pytest.mark.slow


@dataclass(frozen=True)
class OwnWay:
    """A way: what is copied from where to where, how it is asked for, and what shows its use."""

    source: str
    destination: str
    size: int
    shown_by: str
    selection: dict[str, Any] | None = None


WAYS: Final = {
    "bulk": OwnWay("s3", "nextcloud", 4000, "POST /remote.php/dav/bulk"),
    "zip": OwnWay("nextcloud", "s3", 4000, "GET *from*", ALL),
    "read ahead": OwnWay("nextcloud", "s3", 4000, "GET *from*"),
    "archiver": OwnWay("opencloud", "s3", 4000, "GET /archiver", ALL),
    "chunks": OwnWay("s3", "nextcloud", LARGE, "MOVE /remote.php/dav/uploads/*"),
    "tus": OwnWay("s3", "opencloud", LARGE, "PATCH /data/*"),
}
SWITCHES: Final = {
    "bulk": service_process.BULK,
    "zip": service_process.ARCHIVES,
    "read ahead": service_process.ARCHIVES,
    "archiver": service_process.ARCHIVES,
    "chunks": service_process.CHUNKS,
    "tus": service_process.CHUNKS,
}


def ways(*names: str) -> list[Any]:
    """Parameters for these ways, of which one that is switched off is skipped."""
    off = "this way is switched off"
    return [
        pytest.param(one, marks=pytest.mark.skipif(not SWITCHES[one], reason=off)) for one in names
    ]


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function, for which a file of more than a megabyte is large."""
    runtime = tmp_path_factory.mktemp("every")
    with service_process.function(runtime, WEBDAV_GATEWAY="1", WEBDAV_CHUNKS_MB="1") as running:
        yield running


class WayEnds:
    """Both ends of one way, with its files at the source."""

    def __init__(self, way: OwnWay, s3: Storage, running: ExitStack, count: int) -> None:
        self.way = way
        self._folder = f"from-{uuid.uuid4().hex}"
        self.site: Nextcloud | OpenCloud
        if "nextcloud" in (way.source, way.destination):
            self.site = running.enter_context(nextcloud.serving())
        else:
            self.site = running.enter_context(opencloud.serving())
        own = self.site.storage()
        self._source, self._destination = (s3, own) if way.source == "s3" else (own, s3)
        content = random.Random(17).randbytes(way.size)  # noqa: S311 - the same each time
        files = {f"{n % 4}/{n}.bin": content[n:] + content[:n] for n in range(count)}
        self.whole = self._source.fill(f"{self._source.base}/{self._folder}".strip("/"), files)

    def copy(
        self, function: Function, transfers: int | None = None, *, url: str = ""
    ) -> dict[str, Any]:
        """Copy all, over another address of the source if one is given."""
        options = {"attempts": 1} | ({"transfers": transfers} if transfers else {})
        members = {"selection": self.way.selection} if self.way.selection else {}
        name = "endpoint" if self._source.type == "s3" else "url"
        source = self._source.endpoint(self._folder, **({name: url} if url else {}))
        ends = source, self._destination.endpoint(self._folder)
        answer = function.copy(*ends, options=options, **members)
        assert answer.status_code == 200, answer.text
        function.wait_clean()
        return dict(answer.json())

    @property
    def address(self) -> str:
        """The source's own address."""
        name = "endpoint" if self._source.type == "s3" else "url"
        return str(self._source.parameters[name])

    def assert_whole(self) -> None:
        """All files are there, byte for byte."""
        at = f"{self._destination.base}/{self._folder}".strip("/")
        assert self._destination.hashes(at) == self.whole

    def assert_used(self) -> None:
        """The way was used."""
        method, path = self.way.shown_by.split(" ")
        assert self.site.seen(method, path)


@pytest.mark.parametrize("transfers", [1, *(pytest.param(n, marks=SLOW) for n in (2, MOST))])
@pytest.mark.parametrize("name", ways("read ahead", "archiver", "chunks", "tus"))
def test_any_number_of_transfers_comes_to_its_end(
    name: str, transfers: int, eager: Function, s3: Storage
) -> None:
    """That of bulk uploads and of zips is shown beside their other tests."""
    with ExitStack() as running:
        ends = WayEnds(WAYS[name], s3, running, 24 if WAYS[name].size < MIB else 6)
        ends.copy(eager, transfers)
        ends.assert_whole()
        # One file at a time is never sent with another one.
        if name != "archiver" or transfers == MOST:
            ends.assert_used()


@pytest.mark.slow
@pytest.mark.parametrize("transfers", [1, MOST])
@pytest.mark.parametrize("name", ways(*WAYS))
def test_files_that_arrive_slowly_come_to_their_end(
    name: str, transfers: int, eager: Function, s3: Storage
) -> None:
    """A second or two for each connection's share, far beyond what a batch waits for."""
    with ExitStack() as running:
        ends = WayEnds(WAYS[name], s3, running, 24 if WAYS[name].size < MIB else 4)
        pace = 20_000 if WAYS[name].size < MIB else 1_000_000
        url = running.enter_context(distant(ends.address, bytes_per_second=pace))
        ends.copy(eager, transfers, url=url)
        ends.assert_whole()


@pytest.mark.slow
@pytest.mark.parametrize("name", ways("bulk", "chunks", "tus"))
def test_uploads_in_flight_fit_into_the_memory_of_a_small_function(
    name: str, s3: Storage, tmp_path: Path
) -> None:
    """100 files of 1 MiB; those of bulk uploads have 128 KiB, which is the most, and are 800."""
    (tmp_path / "run").mkdir()
    way, count = WAYS[name], 100
    if name == "bulk":
        way, count = OwnWay(way.source, way.destination, 1 << 17, way.shown_by), 800
    with (
        ExitStack() as running,
        service_process.function(
            tmp_path / "run",
            WEBDAV_GATEWAY="1",
            WEBDAV_CHUNKS_MB="1",
            CONCURRENT_TRANSFERS="1",
            MEMORY_BYTES=str(352 * MIB),  # what the service leaves of 512 MiB
        ) as small,
    ):
        ends = WayEnds(way, s3, running, count)
        with WatchedMemory(small) as watched:
            ends.copy(small, MOST)
        ends.assert_whole()
        ends.assert_used()
    print(f"Python {watched.python / MIB:.0f} MiB, together {watched.both / MIB:.0f} MiB")
    assert watched.both < 512 * MIB
