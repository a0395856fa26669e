"""Third-party copies as REVA answers them: 202, then markers, then the outcome.

    with faulty_webdav.serving() as source, faulty_webdav.serving() as destination:
        destination.copier = third_party_dav.pulls(destination)

The bytes pass between the two servers. A test replaces the answer to see what a lie does.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from support.faulty_webdav import Faulty
from support.stand_in.faults import Request

SUCCESS: Final = b"success: Created\n"


def marker(moved: int) -> bytes:
    """One performance marker."""
    return (
        f"Perf Marker\n  Timestamp: {time.time():.0f}\n  Stripe Index: 0\n"
        f"  Stripe Bytes Transferred: {moved}\n  Total Stripe Count: 1\nEnd\n"
    ).encode()


def failure(reason: str) -> bytes:
    """The last line of a copy that failed."""
    return f"failure: {reason}\n".encode()


def adler32(_: str, content: bytes) -> str:
    """The Digest of a file."""
    return f"adler32={zlib.adler32(content):08x}"


def pulls(destination: Faulty) -> Callable[[Request], Iterator[bytes]]:
    """A destination that fetches what a COPY names as its source."""

    def copy(request: Request) -> Iterator[bytes]:
        fetched = urllib.request.Request(request.headers["source"])
        yield marker(0)
        try:
            _sign_in(fetched, request)
            with urllib.request.urlopen(fetched, timeout=20) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            yield failure(f"rejected GET: {error.code} {error.reason}")
            return
        destination.store(request.path, content)
        yield marker(len(content))
        yield SUCCESS

    return copy


def pushes(source: Faulty) -> Callable[[Request], Iterator[bytes]]:
    """A source that sends a file to what a COPY names as its destination."""

    def copy(request: Request) -> Iterator[bytes]:
        content = source.files.get(request.path, b"")
        target = request.headers["destination"]
        sent = urllib.request.Request(target, content, method="PUT")
        yield marker(0)
        try:
            _sign_in(sent, request)
            urllib.request.urlopen(sent, timeout=20).close()
        except urllib.error.HTTPError as error:
            yield failure(f"rejected PUT: {error.code} {error.reason}")
            return
        yield marker(len(content))
        yield SUCCESS

    return copy


def _sign_in(outgoing: urllib.request.Request, request: Request) -> None:
    credential = request.headers.get("transferheaderauthorization")
    if credential is not None:
        outgoing.add_header("Authorization", credential)
