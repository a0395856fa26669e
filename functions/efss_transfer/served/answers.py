"""Judge whether an answer is the file that a list promises, before any byte of it is passed on."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Final

from efss_transfer.served.manifest import UrlFile
from efss_transfer.webdav.http.exchange import Answer

DIFFERS: Final = "The bytes are not those of the list: "
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
_PAGE_NAMES: Final = (".html", ".htm", ".xhtml", ".php", ".asp", ".aspx", ".jsp")


class WrongAnswer(Exception):
    """Answer that is not the file. Its text says why, for the caller."""


def check(answer: Answer, listed: UrlFile, start: int) -> int | None:
    """Return the size of the whole file by an answer that begins at `start`; None if it says none.

    Raises WrongAnswer.
    """
    coding = (answer.header("content-encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise WrongAnswer("the server sends it compressed only.")
    size = _size(answer, start)
    if size is not None and listed.size is not None and size != listed.size:
        page = " (a web page, such as a login page)" if _is_page(answer) else ""
        raise WrongAnswer(f"{DIFFERS}{size:,} B in place of {listed.size:,} B{page}.")
    is_promised = listed.size is not None and size is not None
    if _is_page(answer) and not is_promised and listed.checksum is None and not _is_named(listed):
        raise WrongAnswer("The server answers with a web page, such as a login page.")
    return size


def modified(answer: Answer) -> int | None:
    """Return when the server says that the file was changed, in seconds since 1970."""
    try:
        return int(parsedate_to_datetime(answer.header("last-modified") or "").timestamp())
    except (ValueError, OverflowError):
        return None


def validator(answer: Answer) -> str | None:
    """Return what stays the same as long as the file does; None if the server sends nothing."""
    etag = answer.header("etag")
    if etag is not None and not etag.startswith("W/"):
        return etag
    return answer.header("last-modified")


def _size(answer: Answer, start: int) -> int | None:
    if answer.status == 206:
        found = _RANGE.fullmatch((answer.header("content-range") or "").strip())
        if found is None or int(found[1]) != start:
            raise WrongAnswer("The server sends another part of the file than was asked for.")
        return None if found[3] == "*" else int(found[3])
    if answer.status != 200 or start:
        raise WrongAnswer("The server cannot send the rest of the file (it ignores Range).")
    text = answer.header("content-length")
    return int(text) if text is not None and text.isdigit() else None


def _is_page(answer: Answer) -> bool:
    return (answer.header("content-type") or "").partition(";")[0].strip().lower() in _PAGES


def _is_named(listed: UrlFile) -> bool:
    """Return whether the file's own name says that it is a page, or its URL does."""
    return listed.path.lower().endswith(_PAGE_NAMES)
