"""Memory of the gateway: a budget for bodies, and listings of any length."""

from __future__ import annotations

import http.client
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from efss_transfer.webdav.budget import Budget
from support import faulty_webdav as faulty
from support import service_process, webdav_gateway
from support.storages import digest
from support.watching import WatchedMemory

MIB = 1 << 20
GIB = 1 << 30
OPENING = b'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">'
CLOSING = b"</d:multistatus>"


def gateway(
    url: str, budget: Budget, **options: Any
) -> AbstractContextManager[webdav_gateway.Running]:
    """A gateway that does not ask the server what it is."""
    return webdav_gateway.gateway(url, budget=budget, asks=False, **options)


def asked(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
    """Send a request, read its answer and drop it; return its length, or raise for an error."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        count = 0
        while piece := answer.read(MIB):
            count += len(piece)
        assert answer.status < 300, answer.status
        return count


def test_uploads_wait_for_each_other_when_the_budget_is_small() -> None:
    files = {f"f{number}": os.urandom(128 << 10) for number in range(64)}
    budget = Budget(MIB)
    with (
        faulty.serving() as dav,
        gateway(dav.url, budget) as running,
    ):
        with ThreadPoolExecutor(64) as pool:
            list(pool.map(lambda name: asked(running.url, "PUT", f"/{name}", files[name]), files))
        assert dav.hashes("") == {name: digest(data) for name, data in sorted(files.items())}
    assert 0 < budget.most_held <= MIB // 4
    assert budget.held == 0


def test_caller_that_sends_nothing_holds_up_others_only_until_it_leaves() -> None:
    budget = Budget(MIB)
    with (
        faulty.serving() as dav,
        gateway(dav.url, budget) as running,
    ):
        silent = http.client.HTTPConnection(urlsplit(running.url).netloc)
        silent.putrequest("PUT", "/never")
        silent.putheader("Content-Length", str(128 << 10))
        silent.endheaders()
        until = time.monotonic() + 10
        while not budget.held:
            assert time.monotonic() < until
            time.sleep(0.01)
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(asked, running.url, "PUT", "/second", bytes(128 << 10))
            silent.close()
            second.result(20)
        assert list(dav.hashes("")) == ["second"]


@contextmanager
def listing(size: int) -> Iterator[str]:
    """A WebDAV server whose root has a listing of so many bytes; its URL."""
    entries = b"".join(
        b"<d:response><d:href>/measurement-%05d%b.dat</d:href><d:propstat><d:prop>"
        b"<d:getcontentlength>1</d:getcontentlength><d:resourcetype/><d:getetag>&quot;%032d&quot;"
        b"</d:getetag></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        % (number, b"-long" * 120, number)
        for number in range(1000)
    )
    own = (
        b"<d:response><d:href>/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/>"
        b"</d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                pass
            if not line:
                return
            repeated = size // len(entries)
            whole = len(OPENING) + len(own) + repeated * len(entries) + len(CLOSING)
            head = (
                f"HTTP/1.1 207 Multi-Status\r\nContent-Length: {whole}\r\nConnection: close\r\n\r\n"
            )
            self.wfile.write(head.encode() + OPENING + own)
            for _ in range(repeated):
                self.wfile.write(entries)
            self.wfile.write(CLOSING)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def peak() -> int:
    """The largest memory of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (found,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(found.split()[1]) << 10


@pytest.mark.parametrize("size", [32 * MIB, pytest.param(GIB, marks=pytest.mark.slow)])
def test_listing_passes_through_in_flat_memory(size: int) -> None:
    budget = Budget(16 * MIB)
    with (
        listing(size) as url,
        gateway(url, budget, is_destination=True) as running,
    ):
        Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
        before = peak()
        began = time.monotonic()
        passed = asked(running.url, "PROPFIND", "/", Depth="1")
        seconds = time.monotonic() - began
        grown = peak() - before
    print(f"{size // MIB} MiB in {seconds:.1f} s, {grown / MIB:.1f} MiB more memory")
    assert passed > size // 2
    # The budget's caches are half of it, and fill up.
    assert grown < 16 * MIB


@pytest.mark.slow
def test_hundred_thousand_entries_and_64_transfers_fit_into_512_mib(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    kept = {f"measurement-{number:06}.dat": b"x" for number in range(100_000)}
    new = {f"new-{number:03}.dat": os.urandom(2 * MIB) for number in range(128)}
    with (
        faulty.serving() as source,
        faulty.serving() as destination,
        service_process.function(
            tmp_path / "run",
            WEBDAV_GATEWAY="1",
            CONCURRENT_TRANSFERS="1",
            MEMORY_BYTES=str(352 * MIB),  # what the service leaves of 512 MiB
        ) as function,
    ):
        for dav, files in ((source, kept | new), (destination, kept)):
            dav.folders.add("/data")
            dav.files.update((f"/data/{name}", content) for name, content in files.items())
        with WatchedMemory(function) as watched:
            answer = function.post(
                {
                    "source": source.storage.endpoint("data"),
                    "destination": destination.storage.endpoint("data"),
                    "options": {"transfers": 64, "compare": "size"},
                },
                timeout=600,
            )
        arrived = {name: destination.files.get(f"/data/{name}") for name in new}
    print(
        f"Python {watched.python / MIB:.0f} MiB, rclone {watched.rclone / MIB:.0f} MiB, "
        f"together {watched.both / MIB:.0f} MiB"
    )
    assert answer.status_code == 200, answer.text
    totals = answer.json()["totals"]["files"]
    assert totals == {"transferred": len(new), "skipped": len(kept), "failed": 0}
    assert arrived == new
    assert watched.both < 512 * MIB


def test_rclone_does_not_use_the_memory_of_the_gateways(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (
        faulty.serving() as dav,
        service_process.function(
            tmp_path / "run", WEBDAV_GATEWAY="1", MEMORY_BYTES=str(352 * MIB)
        ) as function,
    ):
        dav.fill("from", {"f": b"x"})
        dav.fill("webdav", {"g": b"y"})
        source = dav.storage.endpoint("from")
        url = f"{dav.storage.parameters['url']}/webdav"
        destination = dav.storage.endpoint("to", url=url, vendor="owncloud")
        answer = function.copy(source, destination, options={"transfers": 64})
    assert answer.status_code == 200, answer.text
    # Three quarters of what the gateways leave, without what rclone needs itself, for 64 files.
    buffers = (352 - 44) * 3 // 4 - 96
    assert answer.json()["rclone"]["tuning"]["buffer_bytes"] == buffers * MIB // 64
