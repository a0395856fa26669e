"""What the server says of a file that it has stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.memory import strong


@dataclass(slots=True)
class Kept:
    """File properties from the answer to an upload. `in_bulk`: the answer was for many files."""

    etag: str | None = None
    keeps_time: bool = False
    status: int = 201
    checksum: str | None = None
    in_bulk: bool = False

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Read them from the headers of an answer."""
        said = answer.head.headers
        etag = strong(said.get("oc-etag") or said.get("etag"))
        keeps_time = said.get("x-oc-mtime", "").lower() == "accepted"
        return cls(etag, keeps_time, answer.status)
