"""Parse multistatus bodies (RFC 4918, section 13) as they arrive, entry by entry.

The server's data is untrusted: a document type and entities are refused, and depth, text and
unfinished markup are bounded. Each entry is returned as soon as it is complete, so a listing of
any length takes the memory of one entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.entities import html5
from typing import Final, Literal
from xml.parsers import expat

from efss_transfer.webdav.reading.bad_listings import (
    SHOWN,
    CutOff,
    ListingTooLarge,
    Malformed,
    NotMultistatus,
    Truncated,
)

DAV: Final = "DAV:"
OWNCLOUD: Final = "http://owncloud.org/ns"

_DEEPEST: Final = 64
_LONGEST_TEXT: Final = 1 << 16
_LONGEST_MARKUP: Final = 1 << 20
_MOST_PROPSTATS: Final = 64
_MOST_PROPERTIES: Final = 1024
_MOST_NAMES: Final = 4096
_LONGEST_NAME: Final = 1024
_STATUS: Final = re.compile(r"\s*HTTP/[0-9.]+\s+([1-9][0-9]{2})(?:\s|$)")
_HTML: Final = "the body is an HTML page, such as a login page: check the URL"
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_PARTIAL: Final = re.compile(
    r"truncat|incomplete|not (all|complete)|partial|too many|limit|exceed|more than|only the first",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Propstat:
    """Properties that share a status; None if the server sent no readable status.

    A property's name is its namespace, a space and its local name.
    """

    status: int | None
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """Resource of a listing. `status` is that of the whole response, if it has one."""

    href: str
    status: int | None
    propstats: tuple[Propstat, ...]
    collection: bool
    checksums: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def failure(self) -> int | None:
        """Status that explains why this entry's properties are unavailable, or None."""
        if self.status is not None and not 200 <= self.status < 300:
            return self.status
        if not self.propstats or any(_is_good(one.status) for one in self.propstats):
            return None
        return self.propstats[0].status

    def get(self, local: str, namespace: str = DAV) -> str | None:
        """Return a property's text, or None if the server did not send it."""
        return self.properties.get(f"{namespace} {local}")

    @property
    def length(self) -> int | Literal["missing", "empty", "invalid"]:
        """Size of a file in bytes, or the reason why it is unknown."""
        text = self.properties.get("DAV: getcontentlength")
        if text is None:
            return "missing"
        if _NUMBER.fullmatch(text):
            return int(text)
        return "invalid" if text else "empty"


def _is_good(status: int | None) -> bool:
    return status is None or 200 <= status < 300


class Parser:
    """Parser that takes a body in pieces and returns entries. Each method raises BadListing."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._parser = expat.ParserCreate(namespace_separator=" ", intern=self._names)
        self._parser.buffer_text = True
        self._parser.buffer_size = 1 << 14
        # Makes expat skip undeclared entities instead of failing: some servers write HTML
        # entities into their XML. Declared entities are refused below.
        self._parser.UseForeignDTD(True)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.SkippedEntityHandler = self._entity
        self._parser.StartDoctypeDeclHandler = _refuse
        self._parser.EntityDeclHandler = _refuse
        self._path: list[str] = []
        self._pieces: list[str] = []
        self._size = 0
        self._fed = 0
        self._begun = False
        self._finished = False
        self._found: list[Entry] = []
        self._ends: Mapping[str, Callable[[str], None]] = {
            "DAV: href": self._href_ends,
            "DAV: status": self._status_ends,
            "DAV: propstat": self._propstat_ends,
            "DAV: response": self._response_ends,
            f"{OWNCLOUD} checksum": self._checksum_ends,
            "DAV: responsedescription": self._description_ends,
            "DAV: number-of-matches-within-limits": self._limit_ends,
        }
        self._clear()

    def feed(self, data: bytes) -> list[Entry]:
        """Parse the next piece of the body; return the entries that it completes."""
        if not self._begun:
            data = data.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not data:
                return []
            _check_start(data)
            self._begun = True
        self._fed += len(data)
        self._parse(data, final=False)
        if self._fed - self._parser.CurrentByteIndex > _LONGEST_MARKUP:
            raise ListingTooLarge("a tag or comment in the listing exceeds 1 MiB")
        if len(self._names) > _MOST_NAMES:  # expat keeps every name until the end
            raise ListingTooLarge(f"the listing uses more than {_MOST_NAMES} distinct names")
        return self._taken()

    def close(self) -> list[Entry]:
        """Finish the body. Raises Truncated if the listing is incomplete."""
        if not self._begun:
            raise NotMultistatus("empty", "the body is empty: check the URL")
        if not self._finished:
            raise Truncated
        self._parse(b"", final=True)
        return self._taken()

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            if not self._path and not self._finished:
                raise NotMultistatus("other", "the body is not XML: check the URL") from error
            detail = expat.ErrorString(error.code)
            raise Malformed(f"the listing is not well-formed XML: {detail}") from error

    def _taken(self) -> list[Entry]:
        found, self._found = self._found, []
        return found

    def _clear(self) -> None:
        self._hrefs: list[str] = []
        self._status: int | None = None
        self._propstat_status: int | None = None
        self._current: dict[str, str] = {}
        self._propstats: list[Propstat] = []
        self._collection = False
        self._checksums: list[str] = []

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        path = self._path
        if len(name) > _LONGEST_NAME or any(len(one) > _LONGEST_NAME for one in attributes):
            raise ListingTooLarge(f"a name in the listing has more than {_LONGEST_NAME} characters")
        if not path and name.rpartition(" ")[2] != "multistatus":
            shown = name.rpartition(" ")[2][:SHOWN]
            if shown.lower() == "html":
                raise NotMultistatus("html", _HTML)
            raise NotMultistatus("xml", f"the body is XML <{shown}>, not a listing: check the URL")
        if len(path) >= _DEEPEST:
            raise ListingTooLarge(f"the listing nests elements more than {_DEEPEST} deep")
        path.append(name)
        self._pieces.clear()
        self._size = 0
        if name == "DAV: collection" and path[-2] == "DAV: resourcetype":
            self._collection = True
        elif name == "DAV: propstat":
            self._propstat_status = None
            self._current = {}

    def _text(self, text: str) -> None:
        self._size += len(text)
        if self._size > _LONGEST_TEXT:
            raise ListingTooLarge("a value in the listing exceeds 64 KiB")
        self._pieces.append(text)

    def _entity(self, name: str, is_parameter: bool) -> None:
        known = None if is_parameter else html5.get(f"{name};")
        if known is None:
            raise Malformed("the listing uses an undeclared entity")
        self._text(known)

    def _end(self, name: str) -> None:
        path = self._path
        path.pop()
        if not path:
            self._finished = True
            return
        text = "".join(self._pieces).strip()
        self._pieces.clear()
        self._size = 0
        if path[-1] == "DAV: prop":
            if len(self._current) >= _MOST_PROPERTIES:
                raise ListingTooLarge(f"a listing entry has over {_MOST_PROPERTIES} properties")
            self._current[name] = text
        elif (ends := self._ends.get(name)) is not None:
            ends(text)

    def _href_ends(self, text: str) -> None:
        if self._path[-1] != "DAV: response":
            return
        if len(self._hrefs) >= _MOST_PROPERTIES:
            raise ListingTooLarge(f"a listing entry has over {_MOST_PROPERTIES} hrefs")
        self._hrefs.append(text)

    def _status_ends(self, text: str) -> None:
        found = _STATUS.match(text)
        status = int(found[1]) if found else None
        if self._path[-1] == "DAV: propstat":
            self._propstat_status = status
        elif self._path[-1] == "DAV: response":
            if status is None:
                raise Malformed("a listing entry has an invalid status")
            self._status = status

    def _propstat_ends(self, _: str) -> None:
        if len(self._propstats) >= _MOST_PROPSTATS:
            raise ListingTooLarge(f"a listing entry has over {_MOST_PROPSTATS} propstats")
        self._propstats.append(Propstat(self._propstat_status, self._current))

    def _checksum_ends(self, text: str) -> None:
        if len(self._checksums) < _MOST_PROPSTATS:
            self._checksums.extend(text.split()[:_MOST_PROPSTATS])

    def _description_ends(self, text: str) -> None:
        # The description of the whole listing, not of one entry.
        if len(self._path) == 1 and _PARTIAL.search(text):
            raise CutOff(text)

    def _limit_ends(self, _: str) -> None:
        raise CutOff("number-of-matches-within-limits")  # RFC 5323 and 6578

    def _response_ends(self, _: str) -> None:
        if len(self._path) != 1:
            return
        if not self._hrefs or not all(self._hrefs):
            raise Malformed("a listing entry has no href")
        # One response may cover several resources that share a status.
        for href in self._hrefs:
            self._emit(href)
        self._clear()

    def _emit(self, href: str) -> None:
        properties: dict[str, str] = {}
        # Properties without a success status may still describe the resource: oCIS sends those
        # of a file that is being processed under 425.
        for one in sorted(self._propstats, key=lambda one: _is_good(one.status)):
            if one.status != 404:
                properties.update(one.properties)
        propstats, checksums = tuple(self._propstats), tuple(self._checksums)
        self._found.append(
            Entry(href, self._status, propstats, self._collection, checksums, properties)
        )


def _check_start(data: bytes) -> None:
    start = data[:SHOWN].lower()
    if start[:1] in (b"{", b"["):
        raise NotMultistatus("json", "the body is JSON, not a listing: check the URL")
    if start.startswith((b"<!doctype html", b"<html")):
        raise NotMultistatus("html", _HTML)
    if start[:1] != b"<" and start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise NotMultistatus("other", "the body is not XML: check the URL")


def _refuse(*_: object) -> None:
    raise Malformed("the listing declares a document type or an entity, which is refused")
