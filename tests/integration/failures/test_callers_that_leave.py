"""A caller who leaves and comes back at once gets what the second answer says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from efss_transfer.webdav.writes.names import PARTIAL
from support import faulty_webdav, http_servers
from support import storages as servers
from support.service_process import Function
from support.storages import Storage, digest

pytestmark = pytest.mark.field_case("K3")

SIZE: Final = 3_000_000
FILES: Final = 4
SECONDS: Final = 1.0
"""How long the source takes for a file."""
WHOLE: Final = {f"{number}.bin": digest(bytes(SIZE)) for number in range(FILES)}


@contextmanager
def slow_sftp(folder: Path) -> Iterator[Storage]:
    """An SFTP server that removes slowly."""
    import asyncssh

    class Slow(asyncssh.SFTPServer):
        async def remove(self, path: bytes) -> None:
            await asyncio.sleep(2)
            super().remove(path)

    with servers.sftp(folder, Slow) as storage:
        yield storage


@contextmanager
def slow_webdav(_: Path) -> Iterator[Storage]:
    """A WebDAV server that removes slowly, and keeps what has arrived of an upload."""
    with faulty_webdav.serving() as dav:
        dav.in_place, dav.delete_seconds = True, 2
        yield dav.storage


def leave(function: Function, request: Any) -> None:
    """Send a request, and leave in the middle of the files."""
    with closing(function.events(request)) as events:
        for event in events:
            files = event.get("in_flight", ())
            if any(file["bytes"] for file in files):
                return
    raise AssertionError("nothing was in flight")


def stored(to: Storage) -> dict[str, str]:
    """The files there, without uploads of the gateway that were left: the server removes them more
    slowly than a caller is made to wait.
    """
    return {name: it for name, it in to.hashes("to").items() if not PARTIAL.fullmatch(name)}


@pytest.mark.slow  # it waits for removals
@pytest.mark.parametrize(
    ("kind", "times"), [("without the gateway", 3), ("webdav", 3), ("sftp", 1)]
)
def test_clean_up_spares_what_the_next_request_stores(
    kind: str, times: int, function: Function, direct: Function, tmp_path: Path
) -> None:
    running = direct if kind == "without the gateway" else function
    serve = slow_sftp if kind == "sftp" else slow_webdav
    rate = int(SIZE / SECONDS)
    with serve(tmp_path) as to, http_servers.slow_source(SIZE, rate, FILES) as slow:
        request = {"source": slow.endpoint("data"), "destination": to.endpoint("to")}
        for _ in range(times):
            leave(running, request)
        answer = running.post(request)
        assert answer.status_code == 200, answer.text
        assert stored(to) == WHOLE
        running.wait_clean(20)
        time.sleep(2.5)  # what a server was asked to remove would be gone by now
        assert stored(to) == WHOLE


def test_request_to_another_place_does_not_wait(function: Function, s3: Storage) -> None:
    with (
        slow_webdav(Path()) as to,
        http_servers.slow_source(SIZE, int(SIZE / SECONDS), FILES) as slow,
    ):
        leave(function, {"source": slow.endpoint("data"), "destination": to.endpoint("to")})
        s3.fill("bucket/elsewhere", {"a.txt": b"a"})
        answer = function.copy(s3.endpoint("elsewhere"), to.endpoint("other"))
        assert answer.status_code == 200, answer.text
        assert to.hashes("other") == {"a.txt": digest(b"a")}
        function.wait_clean(20)
