"""Fetch the documents that a list consists of: in lines, or as JSON."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from efss_transfer.served.contents import refusal
from efss_transfer.served.servers import InvalidAddress, Servers
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.words import RequestFailure, Words

_UNSUPPORTED: Final = 415
_NOT_FOUND: Final = frozenset({404, 410})
_LONGEST_LINE: Final = 1 << 16
_LONGEST_FIRST_LINE: Final = 1 << 8
_DEEPEST_SHARE: Final = 10
_ACCEPTED: Final = {"Accept": "application/json, text/plain, */*;q=0.5"}
# doi.org leads to a page, and other types to descriptions of it.
_PAGE: Final = {"Accept": "text/html, */*;q=0.5"}


class Unlisted(Exception):
    """List that cannot be read, and why."""

    def __init__(self, failure: RequestFailure) -> None:
        super().__init__(failure.words.message)
        self.failure = failure

    @classmethod
    def because(cls, text: str) -> Unlisted:
        """Build it for a list whose content cannot be used."""
        return cls(RequestFailure("GET", "", Words(None, "", text), None, _UNSUPPORTED))

    @property
    def is_missing(self) -> bool:
        """Return whether the server has no such document."""
        return (self.failure.status or self.failure.words.status) in _NOT_FOUND


class Documents:
    """Fetches documents. `most_bytes` is the size of the largest one that is read as a whole."""

    def __init__(self, servers: Servers, most_bytes: int) -> None:
        self._servers = servers
        self._most_bytes = most_bytes // _DEEPEST_SHARE

    async def lines(self, url: str) -> AsyncGenerator[str, None]:
        """Yield the lines of a text, without their ends. Raises Unlisted."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        rest = ""
        async with self._answer(url) as answer:
            buffer = answer.body.buffer()
            while count := await answer.read(buffer):
                rest += _decoded(decoder, bytes(buffer[:count]))
                *whole, rest = rest.split("\n")
                for line in whole:
                    yield line.removesuffix("\r")
                if len(rest) > _LONGEST_LINE:
                    raise Unlisted.because("A line of the list is longer than 64 KiB.")
            if rest := rest + _decoded(decoder, b"", final=True):
                yield rest.removesuffix("\r")

    async def first_line(self, url: str) -> str:
        """Return the first line of a text. Raises Unlisted."""
        async with self._answer(url) as answer:
            beginning = await answer.text(_LONGEST_FIRST_LINE)
        return beginning.partition(b"\n")[0].decode("utf-8", "replace").strip("\ufeff \r")

    async def json(self, url: str) -> Any:
        """Return the content of a JSON document. Raises Unlisted."""
        async with self._answer(url) as answer:
            text = await answer.text(self._most_bytes + 1)
        if len(text) > self._most_bytes:
            raise Unlisted.because(
                f"The list exceeds the {self._most_bytes:,} B that are read as a whole: use a list "
                "in lines (tsv)."
            )
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise Unlisted.because("The list is not JSON: check its URL and format.") from None

    async def location(self, url: str) -> str:
        """Return the URL that a URL leads to. Raises Unlisted."""
        async with self._answer(url, _PAGE) as answer:
            return answer.redirects[-1] if answer.redirects else url

    async def exists(self, url: str) -> bool:
        """Return whether there is a document. Raises Unlisted if that is unknown."""
        try:
            async with self._answer(url):
                return True
        except Unlisted as error:
            if error.is_missing:
                return False
            raise

    @asynccontextmanager
    async def _answer(
        self, url: str, accepted: Mapping[str, str] = _ACCEPTED
    ) -> AsyncIterator[Answer]:
        try:
            async with self._servers.ask("GET", url, "", accepted) as answer:
                if answer.status != 200:
                    raise Unlisted(await refusal(answer, ""))
                yield answer
        except Refused:
            raise Unlisted(self._servers.rejected(url, "GET", "")) from None
        except Failed as failed:
            raise Unlisted(RequestFailure("GET", "", failed.said, None, failed.status)) from None
        except NoAnswer as error:
            said = Words(None, "", f"The list could not be read: {error}")
            raise Unlisted(RequestFailure("GET", "", said, error.cause)) from None
        except InvalidAddress as error:
            raise Unlisted.because(f"The list's address is wrong: {error}") from None


def _decoded(decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool = False) -> str:
    try:
        return decoder.decode(data, final)
    except UnicodeDecodeError:
        raise Unlisted.because("The list is not text in UTF-8.") from None
