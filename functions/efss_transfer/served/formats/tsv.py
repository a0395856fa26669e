"""Read a list of URLs as Google's Storage Transfer Service has it, TsvHttpData-1.0.

Each line has a URL and, if known, the size and the MD5 checksum in base64. A file's path is its
host and the path of its URL.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Final
from urllib.parse import unquote, urlsplit

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.documents import Unlisted
from efss_transfer.served.manifest import UrlFile

FIRST_LINE: Final = "TsvHttpData-1.0"


async def read(lines: AsyncIterable[str]) -> AsyncGenerator[UrlFile, None]:
    """Yield the files of the lines. Raises Unlisted."""
    number = 0
    async for line in lines:
        number += 1
        if number == 1:
            if line.strip() != FIRST_LINE:
                raise Unlisted.because(f"The list does not begin with the line {FIRST_LINE}.")
        elif line.strip():
            yield _listed(line, number)
    if not number:
        raise Unlisted.because("The list is empty.")


def _listed(line: str, number: int) -> UrlFile:
    url, size, md5, *_ = *(part.strip() for part in line.split("\t")), "", ""
    checksum = Checksum.of("md5", md5) if md5 else None
    if (size and not (size.isascii() and size.isdigit())) or (md5 and checksum is None):
        raise Unlisted.because(
            f"Line {number:,} of the list is not a URL, a size and an MD5 checksum in base64."
        )
    return UrlFile(_path(url, number), (url,), int(size) if size else None, checksum)


def _path(url: str, number: int) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise Unlisted.because(f"Line {number:,} of the list does not begin with an http URL.")
    return f"{host}{unquote(parts.path)}"
