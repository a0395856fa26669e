"""A server's own words for an error: status, exception, message, Retry-After."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Final
from urllib.parse import urljoin
from xml.parsers import expat
from xml.sax.saxutils import escape

from efss_transfer.backoff import retry_after_seconds
from efss_transfer.webdav.waiting.waits import Waits

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST: Final = 500
_LONGEST_PAGE: Final = 1 << 14
_LONGEST_OF_PAGE: Final = 300
_HEAD_OF_PAGE: Final = re.compile(r"(?is)<!--.*?-->|<(head|script|style)\b.*?</\1\s*>")
_TAG: Final = re.compile(r"<[^>]*>")
_DEEPEST: Final = 16
_MOST_RECORDED: Final = 10_000
_CREATED: Final = 201
_UNAUTHORIZED: Final = 401
_MOST_SAMPLES: Final = 5
_LONGEST_PATH: Final = 4096
_OURS: Final = re.compile(r"(?i)\b(?:basic|bearer)\b")
# Permanent errors that a server reports as 503, by the start of their message: a disabled
# account, a link that does not exist. Each with the status that describes it.
_PERMANENT: Final = {
    "OC\\User\\DisabledUserException": 401,
    "Sabre\\DAV\\Exception\\NotFound": 404,
}
_DIGEST: Final = re.compile(r"(?i)\bdigest\b")

NO_SIGN_IN: Final = "No token could be had: "
DIGEST_ONLY: Final = (
    "The server accepts Digest authentication only, and the service signs in by a password (Basic) "
    "or a token (Bearer): ask for an app password or a token, or have the server allow Basic."
)
REDIRECTED: Final = "The server redirects this request to "
_UNFOLLOWED: Final = (
    ", and it was not followed: use the URL that it leads to as the storage's, or ask the site to "
    "allow its host"
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READING: Final = frozenset({"GET", "HEAD", "PROPFIND"})


@dataclass(frozen=True, slots=True)
class Words:
    """Error response. `status` is None if the server sent none.

    `exception` and `message` are those of sabre/dav, `conditions` the names inside a DAV:error.
    `retry_after` is in seconds.
    """

    status: int | None
    exception: str = ""
    message: str = ""
    conditions: tuple[str, ...] = ()
    retry_after: float | None = None

    def to_xml(self) -> bytes:
        """Encode the error as XML for the engine."""
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            '<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">'
            f"<s:exception>{_text(self.exception)}</s:exception>"
            f"<s:message>{_text(self.message)}</s:message></d:error>"
        ).encode("utf-8", "replace")


def _text(text: str) -> str:
    return escape("".join(one if one.isprintable() else " " for one in text))


def read(status: int, headers: Mapping[str, str], body: bytes) -> Words:
    """Read an error answer. Of a page, its text is the message."""
    found: dict[str, str] = {}
    conditions: list[str] = []
    path: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(name: str, _: object) -> None:
        path.append(name)
        if len(path) > _DEEPEST:
            raise ValueError
        if path[0] == "DAV: error" and len(path) == 2 and name.startswith("DAV: "):
            conditions.append(name[5:][:_LONGEST])

    def end(_: str) -> None:
        path.pop()

    def text(text: str) -> None:
        if len(path) == 2 and (local := path[1].rpartition(" ")[2]) in ("exception", "message"):
            found[local] = (found.get(local, "") + text)[:_LONGEST]

    def refuse(*_: object) -> None:
        raise ValueError

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, refuse
    try:
        parser.Parse(body.lstrip(), True)
    except (expat.ExpatError, ValueError):
        if not conditions and "exception" not in found:
            found.clear()
    if not conditions and not found:
        found["message"] = _text_of_page(body)
    schemes = headers.get("www-authenticate", "")
    if status == _UNAUTHORIZED and _DIGEST.search(schemes) and not _OURS.search(schemes):
        found["message"] = DIGEST_ONLY
    return Words(
        status,
        found.get("exception", "").strip(),
        found.get("message", "").strip(),
        tuple(conditions[:_DEEPEST]),
        retry_after_seconds(headers.get("retry-after")),
    )


def with_redirect(said: Words, method: str, url: str, location: str | None) -> Words:
    """Name the target of a redirect that a writing request was answered by, without its query."""
    if said.status not in _REDIRECTS or not location or method in _READING:
        return said
    try:
        target = urljoin(url, location).partition("?")[0]
    except ValueError:
        return said
    return replace(said, message=f"{REDIRECTED}{target[:_LONGEST]}{_UNFOLLOWED}")


def _text_of_page(body: bytes) -> str:
    """Return the beginning of a page's text, without markup."""
    text = _HEAD_OF_PAGE.sub(" ", body[:_LONGEST_PAGE].decode("utf-8", "replace"))
    return " ".join(unescape(_TAG.sub(" ", text)).split())[:_LONGEST_OF_PAGE]


def shown_time(modified: str) -> str:
    """Format a time in seconds since 1970 for people, if it is one."""
    try:
        return (_EPOCH + timedelta(seconds=float(modified))).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return repr(modified)


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """Request that failed permanently: its method, its path and the server's response.

    `cause` is the reason for a missing response, if none arrived. `status` replaces the server's
    if the gateway found its answer unusable, such as a login page with 200.
    """

    method: str
    path: str
    words: Words
    cause: str | None = None
    status: int | None = None


@dataclass
class Warned:
    """Cases of one warning: their number, and a few of them as path and text."""

    count: int = 0
    samples: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Record:
    """Failures of one gateway, the last one of each path, and warnings by code.

    `failures` are those of requests since the attempt began. `entries` are files that a listing
    names with an error in place of their properties: the engine may pass over them.
    `contradicted` are uploads that a listing does not show as they were reported, `unlisted`
    folders whose uploads no listing could confirm; both have texts.

    Written in the event loop. Another thread may look up a path at any time, and read the rest
    once the gateway is closed.
    """

    failures: dict[str, RequestFailure] = field(default_factory=dict)
    entries: dict[str, RequestFailure] = field(default_factory=dict)
    contradicted: dict[str, str] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, Warned] = field(default_factory=dict)
    dropped_entries: int = 0
    bulk_uploads: int = 0
    """Files that were stored by bulk requests."""
    bulk_downloads: int = 0
    """Files that were read from archives."""
    bulk_listings: int = 0
    """Folders that were listed with others."""
    unused_bytes: int = 0
    """Bytes of files that were read ahead in vain."""
    resumed_bytes: int = 0
    """Bytes of large files that were not sent again, because an earlier upload had sent them."""
    adding: set[str] = field(default_factory=set)
    """Methods that were answered by 201."""
    waits: Waits = field(default_factory=Waits, compare=False)
    """What requests wait for now."""
    absent: set[str] = field(default_factory=set)
    """The first paths that the server did not have when the engine asked for them."""
    is_read_whole: bool = False
    """Whether files are to be read in one piece: their checksums are computed on the way."""
    on_file: Callable[[str], None] | None = None
    """Called in the event loop with the path of each file that a listing has."""

    def begin_attempt(self) -> None:
        """Forget the failed requests of the attempt before."""
        self.failures.clear()

    def is_absent(self, path: str) -> None:
        """Record that the server has nothing at a path."""
        if len(self.absent) < _MOST_SAMPLES:
            self.absent.add(path)

    def fail(self, failure: RequestFailure) -> None:
        """Record a failure, unless too many are recorded or no storage takes its path."""
        if len(failure.path) > _LONGEST_PATH:
            return
        if failure.path in self.failures or len(self.failures) < _MOST_RECORDED:
            self.failures[failure.path] = failure

    def fail_entry(self, failure: RequestFailure) -> None:
        """Record a file whose listing has an error for it, or only count it."""
        has_room = failure.path in self.entries or len(self.entries) < _MOST_RECORDED
        if has_room and len(failure.path) <= _LONGEST_PATH:
            self.entries[failure.path] = failure
        else:
            self.dropped_entries += 1

    def succeed(self, path: str) -> None:
        """Remove a path's failure after a later success."""
        self.failures.pop(path, None)
        self.entries.pop(path, None)

    def added(self, method: str, path: str, status: int) -> None:
        """Record the success of a request that must not replace a file.

        201 says that it added one (RFC 9110, section 9.3.4, and RFC 4918, section 9.9.4). A server
        that says so at other times has replaced a file where it does not.
        """
        if status == _CREATED:
            self.adding.add(method)
        elif method in self.adding:
            text = f"The server replaced a file that its listing lacks ({method}: {status})."
            self.warn("preconditions_ignored", path, text)

    def warn(self, code: str, path: str, text: str) -> None:
        """Add a case that is right, but weaker than it could be."""
        warned = self.warnings.setdefault(code, Warned())
        warned.count += 1
        if len(warned.samples) < _MOST_SAMPLES:
            warned.samples.append((path, text))


def permanent_status(said: Words) -> int | None:
    """Return the status that describes an error which no wait can end; None if one may."""
    found = (status for start, status in _PERMANENT.items() if said.message.startswith(start))
    return next(found, None)
