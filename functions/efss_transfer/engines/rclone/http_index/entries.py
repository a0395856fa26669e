"""Finds what an index shows to a person as an entry, also where rclone does not take it for one.

rclone takes a link to the folder's own URL and a single name (1.75, backend/http/http.go). It
leaves out, and logs nothing: a link with a query or a session, to another spelling of the host or
of the folder, deeper into it, or one that only a script follows.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urljoin, urlsplit

from efss_transfer.engines.rclone.http_index.documents import HREF, shown

_ANCHOR: Final = re.compile(r"<a\b([^>]*)>(.*?)(?=</a\s*>|<a\b|\Z)", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_FILE_NAME: Final = re.compile(r"[^\s/<>:?#][^/<>?#]*\.[A-Za-z]\w{0,7}")
_MADE_ELSEWHERE: Final = re.compile(
    r"<(script|iframe|frame|object|embed)\b|<meta\b[^>]*http-equiv\s*=\s*[\"']?refresh",
    re.IGNORECASE,
)
_INDEX: Final = re.compile(
    r"<(title|h[1-6])\b[^>]*>[^<]*\b(index of|directory|listing|contents? of|files in)\b",
    re.IGNORECASE,
)
_LIST: Final = re.compile(r"<(ul|ol|pre|table|tbody)\b", re.IGNORECASE)
_RANGE: Final = re.compile(
    r"\b(\d[\d.,']*)\s*(?:-|–|—|to|bis)\s*(\d[\d.,']*)\s*(?:of|von|out of)\s*(\d[\d.,']*\d|\d)",
    re.IGNORECASE,
)
_BUTTON: Final = re.compile(r"<(a|button)\b([^>]*)>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_MORE: Final = re.compile(
    r"(load|show|view|see) (\d+ )?more\b.*|more( files| entries| results)?( ?…| ?\.\.\.)?"
    r"|next( page)?( ?[»›>→]| ?&raquo;)?|[»›]|mehr (laden|anzeigen)|weitere .*|nächste( seite)?.*",
    re.IGNORECASE,
)
_IS_OFF: Final = re.compile(r"\bdisabled\b", re.IGNORECASE)
_MOST: Final = 100_000


@dataclass(frozen=True)
class IndexEntry:
    """An entry: its path in the folder, which ends in `/` if it is a folder's, and its URL."""

    path: str
    url: str


def read(url: str, text: str) -> Iterator[IndexEntry]:
    """The entries of the index at a URL that ends in `/`, the first 100,000."""
    base = urlsplit(url)
    for number, anchor in enumerate(_ANCHOR.finditer(shown(text))):
        if number >= _MOST:
            return
        label = unescape(_TAG.sub("", anchor[2])).strip()
        found = HREF.search(anchor[1])
        link = unescape(next(filter(None, found.groups()), "")).strip() if found else ""
        if link.startswith("#") or link.lower().startswith("javascript:") or not link:
            if _is_name_of_script(label, anchor[1]):
                yield IndexEntry(label, urljoin(url, quote(label)))
            continue
        try:
            target = urlsplit(urljoin(url, link))
            entry = _entry(base, target, label)
        except ValueError:
            # Such as a `%` that begins no escape, for Go.
            continue
        if entry is not None:
            yield entry


def _is_name_of_script(label: str, attributes: str) -> bool:
    """Whether the text of a link without an address is a file's name."""
    if not _FILE_NAME.fullmatch(label):
        return False
    return True if "href" in attributes.lower() else label in unescape(attributes)


def _entry(base: SplitResult, target: SplitResult, label: str) -> IndexEntry | None:
    if target.scheme not in ("http", "https"):
        return None
    whole = target._replace(fragment="").geturl()
    path = _below(base, target)
    labels = (label.rstrip("/"), label.rstrip("/").rpartition("/")[2])
    if target.query:
        named = (posixpath.basename(value.rstrip("/")) for _, value in parse_qsl(target.query))
        if path and posixpath.basename(path) in labels:
            return IndexEntry(path, whole)
        is_by_script = labels[0] in named and _FILE_NAME.fullmatch(labels[0])
        return (
            IndexEntry(labels[0], whole) if is_by_script and _is_same_host(base, target) else None
        )
    if not path:
        return None
    is_deeper = "/" in path.rstrip("/")
    if (is_deeper or not _is_same_host(base, target)) and (
        posixpath.basename(path.rstrip("/")) not in labels
    ):
        return None  # Such as a link of the page's head.
    return IndexEntry(path, whole)


def is_no_index(url: str, text: str) -> bool:
    """Whether a page without entries is not the index of an empty folder, as far as it shows:
    one that is made by a script, in frames, or about something else.
    """
    if _MADE_ELSEWHERE.search(text):
        return not _has_link_upwards(url, text)
    is_known = _INDEX.search(text) or _LIST.search(text) or _has_link_upwards(url, text)
    return not is_known


def _has_link_upwards(url: str, text: str) -> bool:
    base = _plain(urlsplit(url).path)
    for found in HREF.finditer(text):
        link = unescape(next(filter(None, found.groups()), "")).strip()
        try:
            target = urlsplit(urljoin(url, link))
        except ValueError:
            continue
        path = _plain(target.path)
        if target.path.endswith("/") and base != path and base.startswith(path):
            return True
    return False


def more(text: str, count: int) -> str:
    """What a page says of further entries that only a script loads; empty if nothing.

    `count` is the number of entries that it shows.
    """
    plain = shown(text)
    for found in _RANGE.finditer(unescape(_TAG.sub(" ", plain))):
        begin, end, whole = (int(re.sub(r"[.,']", "", number)) for number in found.groups())
        if begin <= end < whole and end - begin + 1 >= count > 0:
            return " ".join(found[0].split())
    for found in _BUTTON.finditer(plain):
        label = " ".join(unescape(_TAG.sub(" ", found[3])).split())
        href = HREF.search(found[2])
        link = next(filter(None, href.groups()), "") if href else ""
        is_script = not link or link.startswith("#") or link.lower().startswith("javascript:")
        if is_script and _MORE.fullmatch(label) and not _IS_OFF.search(found[2]):
            return label
    return ""


def _below(base: SplitResult, target: SplitResult) -> str:
    """The path of a target in the folder; empty if it is none."""
    folder, path = _plain(base.path), _plain(target.path)
    parameters = path.rpartition(";")
    if parameters[1] and "=" in parameters[2] and "/" not in parameters[2]:
        path = parameters[0]  # of a session
    if not _folded(path).startswith(_folded(folder)):
        return ""
    names = [name for name in path.split("/") if name]
    rest = names[len([name for name in folder.split("/") if name]) :]
    return "/".join(rest) + ("/" if rest and path.endswith("/") else "")


def _plain(path: str) -> str:
    """A path without escapes, double slashes and names such as `.`."""
    normal = posixpath.normpath("/" + unquote(path).lstrip("/"))
    return normal if normal == "/" or not path.endswith("/") else f"{normal}/"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _is_same_host(base: SplitResult, target: SplitResult) -> bool:
    return (base.hostname or "").casefold() == (target.hostname or "").casefold()
