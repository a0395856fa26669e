"""Lists of lines: TsvHttpData-1.0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.documents import Unlisted
from efss_transfer.served.formats import tsv
from efss_transfer.served.manifest import UrlFile


def read(*lines: str) -> list[UrlFile]:
    async def given() -> AsyncIterator[str]:
        for line in lines:
            yield line

    async def gathered() -> list[UrlFile]:
        return [one async for one in tsv.read(given())]

    return asyncio.run(gathered())


def test_lines_have_a_url_a_size_and_a_checksum() -> None:
    found = read(
        "TsvHttpData-1.0",
        "https://x.test:8443/a/b%20c?d=e\t5\tAAECAwQFBgcICQoLDA0ODw==",
        "",
        "https://x.test/d\t0",
        "https://x.test/e",
    )
    assert found == [
        UrlFile(
            "x.test/a/b c",
            ("https://x.test:8443/a/b%20c?d=e",),
            5,
            Checksum("md5", bytes(range(16))),
        ),
        UrlFile("x.test/d", ("https://x.test/d",), 0),
        UrlFile("x.test/e", ("https://x.test/e",)),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("https://x.test/a\t1",),
        ("TsvHttpData-1.0", "ftp://x.test/a"),
        ("TsvHttpData-1.0", "https://x.test/a\t-1"),
        ("TsvHttpData-1.0", "https://x.test/a\t1\tAAEC"),
        ("TsvHttpData-1.0", "https://[x.test/a"),
    ],
)
def test_other_lines_are_no_list(lines: tuple[str, ...]) -> None:
    with pytest.raises(Unlisted):
        read(*lines)
