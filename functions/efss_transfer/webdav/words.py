"""A server's own words for an error: status, exception, message, Retry-After."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from efss_transfer.backoff import retry_after_seconds

_LONGEST: Final = 500
_DEEPEST: Final = 16
_MOST_RECORDED: Final = 10_000


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
    """Read an error answer. A body that is not a WebDAV error yields no words."""
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
    return Words(
        status,
        found.get("exception", "").strip(),
        found.get("message", "").strip(),
        tuple(conditions[:_DEEPEST]),
        retry_after_seconds(headers.get("retry-after")),
    )


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """Request that failed permanently: its method, its path and the server's response.

    `cause` is the reason for a missing response, if none arrived.
    """

    method: str
    path: str
    words: Words
    cause: str | None = None


@dataclass
class Record:
    """Failures of one gateway, the last one of each path, and counts of warnings by code.

    Written in the event loop; read from another thread once the loop is idle.
    """

    failures: dict[str, RequestFailure] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    dropped: int = 0

    def fail(self, failure: RequestFailure) -> None:
        """Record a failure, or only count it when too many are recorded."""
        if failure.path in self.failures or len(self.failures) < _MOST_RECORDED:
            self.failures[failure.path] = failure
        else:
            self.dropped += 1

    def succeed(self, path: str) -> None:
        """Remove a path's failure after a later success."""
        self.failures.pop(path, None)

    def warn(self, code: str) -> None:
        """Count a case that is right, but weaker than it could be."""
        self.warnings[code] = self.warnings.get(code, 0) + 1
