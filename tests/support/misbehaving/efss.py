"""A Nextcloud and an OpenCloud that lie in their own dialects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from support import nextcloud, opencloud
from support.misbehaving import lies
from support.misbehaving.troubles import PAGE, Kind, Trouble, Troubles
from support.nextcloud import Nextcloud
from support.nextcloud.tree import File
from support.opencloud import OpenCloud
from support.stand_in.faults import Fault, Request, cut_answer, reset, status
from support.storages import Storage
from support.zips import entries_of

_BULK: Final = "/remote.php/dav/bulk"
_SESSIONS: Final = "/remote.php/dav/uploads/"
_TREES: Final = (
    Kind.TREE_LACKS_FILE,
    Kind.TREE_LACKS_FOLDER,
    Kind.TREE_SHALLOW,
    Kind.TREE_TWICE,
    Kind.TREE_FOREIGN,
)
_ZIPS: Final = tuple(one for one in lies.ARCHIVES if one is not Kind.ARCHIVE_ERROR)
_BULK_ANSWERS: Final = (
    Kind.BULK_LACKS,
    Kind.BULK_ETAG,
    Kind.BULK_SWAPPED,
    Kind.BULK_ERROR,
    Kind.BULK_ODD,
)
_BULK_STORES: Final = (Kind.BULK_LOST, Kind.BULK_SHORT)
_SESSION: Final = (Kind.SESSION_LACKS, Kind.SESSION_SHORT, Kind.SESSION_GONE)

_TUS: Final = (
    Kind.TUS_FORGETS,
    Kind.TUS_OFFSET,
    Kind.TUS_LOST,
    Kind.TUS_BYTES,
    Kind.TUS_GONE,
)
_LISTINGS: Final = (Kind.LISTING_CUT, Kind.LISTING_REFUSED)
_PUTS: Final = (Kind.WRITE_REFUSED, Kind.WRITE_UNANSWERED)
SOURCES: Final = {
    "nextcloud": (_LISTINGS, (Kind.TREE_CUT, *_TREES), _ZIPS, (Kind.READ_CUT,)),
    "opencloud": (_LISTINGS, tuple(lies.ARCHIVES), (Kind.READ_CUT,)),
}
"""Kinds of lies of a source, by the way that they concern."""

DESTINATIONS: Final = {
    "nextcloud": (
        _LISTINGS,
        (Kind.TREE_CUT, *_TREES),
        _BULK_ANSWERS,
        _BULK_STORES,
        (Kind.BULK_CUT, Kind.BULK_PAGE, Kind.BULK_REFUSED),
        _SESSION,
        (Kind.MERGE_UNANSWERED, Kind.MERGE_REFUSED),
        _PUTS,
    ),
    "opencloud": (_LISTINGS, _TUS, _PUTS),
}
SLOW: Final = frozenset({Kind.MERGE_REFUSED, Kind.MERGE_UNANSWERED, Kind.LISTING_REFUSED})
"""What is waited for, until it is certain."""


class Liar:
    """A stand-in whose troubles are planned; `number` chooses the file that one concerns."""

    def __init__(self, site: Nextcloud | OpenCloud) -> None:
        self.site = site
        self.troubles = Troubles()
        self.number = 0
        self.storage: Storage = site.storage()
        site.on_request = self._fault
        site.on_archive = self._archive

    def plan(self, lying: tuple[Trouble, ...], number: int = 0) -> None:
        """Plan these troubles and no others."""
        self.number = number
        self.troubles.plan(lying)

    def _meets(self, kind: Kind) -> bool:
        return self.troubles.meets(kind, "")

    def _archive(self, _: list[str], whole: bytes) -> bytes:
        kind = self.troubles.first(lies.ARCHIVES, "")
        return whole if kind is None else lies.ARCHIVES[kind](entries_of(whole), self.number)

    def _fault(self, request: Request) -> Fault | None:
        """The fault that a request meets; called with the server's guard held."""
        if request.method == "PROPFIND" and request.headers.get("Depth") == "1":
            if self._meets(Kind.LISTING_REFUSED):
                return status(503)
            return cut_answer(after=400) if self._meets(Kind.LISTING_CUT) else None
        if request.method == "GET" and "/files/" in request.path and "?" not in request.target:
            return cut_answer(after=1) if self._meets(Kind.READ_CUT) else None
        if request.method == "PUT" and "/files/" in request.path:
            return self._put()
        return self._own(request)

    def _put(self) -> Fault | None:
        if self._meets(Kind.WRITE_REFUSED):
            return status(500)
        return status(502, carried_out=True) if self._meets(Kind.WRITE_UNANSWERED) else None

    def _own(self, request: Request) -> Fault | None:
        """The fault that a request meets which only this server takes."""
        raise NotImplementedError


class LyingNextcloud(Liar):
    """A Nextcloud that lies."""

    def __init__(self, site: Nextcloud) -> None:
        super().__init__(site)
        self._cloud = site
        site.max_chunk = 5 << 20
        site.on_tree = self._tree
        site.on_bulk = self._bulk

    def _tree(self, entries: list[str]) -> list[str]:
        kind = self.troubles.first(_TREES, "") if entries else None
        return entries if kind is None else lies.tree_without(entries, kind, self.number)

    def _bulk(self, told: lies.Told) -> lies.Told:
        if (kind := self.troubles.first(_BULK_ANSWERS, "")) is not None:
            told = lies.bulk_answer(told, kind, self.number)
        if told and (kind := self.troubles.first(_BULK_STORES, "")) is not None:
            self._spoil(sorted(told)[self.number % len(told)], kind)
        return told

    def _spoil(self, path: str, kind: Kind) -> None:
        """Lose a file that was stored, or the end of it, which no ETag tells."""
        tree = self._cloud.user().tree
        file = tree.find(path)
        if not isinstance(file, File):
            return
        if kind is Kind.BULK_LOST:
            tree.remove(file)
            return
        with file.content.open("r+b") as content:
            content.truncate(file.size // 2)
        file.size //= 2

    def _own(self, request: Request) -> Fault | None:
        if request.method == "PROPFIND" and request.headers.get("Depth") == "infinity":
            return cut_answer(after=2000) if self._meets(Kind.TREE_CUT) else None
        if request.path == _BULK:
            return self._bulk_fault()
        is_of_session = request.path.startswith(_SESSIONS)
        if is_of_session and request.method == "MOVE" and request.path.endswith("/.file"):
            return self._merge()
        is_chunk = is_of_session and request.method == "PUT"
        if is_chunk and (kind := self.troubles.first(_SESSION, "")) is not None:
            self._forget(request.path.removeprefix(_SESSIONS).partition("/")[0], kind)
        return None

    def _bulk_fault(self) -> Fault | None:
        if self._meets(Kind.BULK_CUT):
            return status(200, json.dumps({"/a": {"error": False}}).encode()[:-4], carried_out=True)
        if self._meets(Kind.BULK_PAGE):
            return status(200, PAGE, carried_out=True)
        return reset(after=100) if self._meets(Kind.BULK_REFUSED) else None

    def _merge(self) -> Fault | None:
        if self._meets(Kind.MERGE_UNANSWERED):
            return status(502, carried_out=True)
        return status(502) if self._meets(Kind.MERGE_REFUSED) else None

    def _forget(self, name: str, kind: Kind) -> None:
        """Forget a session, one of its chunks, or the end of one."""
        uploads = self._cloud.user().uploads
        if kind is Kind.SESSION_GONE:
            uploads.pop(name, None)
        elif (session := uploads.get(name)) is not None and session.chunks:
            chunk = session.chunks[min(session.chunks)]
            if kind is Kind.SESSION_LACKS:
                del session.chunks[chunk.name]
            else:
                with chunk.content.open("r+b") as content:
                    content.truncate(chunk.size // 2)


class LyingOpenCloud(Liar):
    """An OpenCloud that lies."""

    def __init__(self, site: OpenCloud) -> None:
        super().__init__(site)
        self._cloud = site
        site.tus.max_chunk = 5 << 20

    def _own(self, request: Request) -> Fault | None:
        if request.method != "PATCH":
            return None
        tus = self._cloud.tus
        tus.lies.clear()
        if self._meets(Kind.TUS_OFFSET):
            tus.lies.add("offset")
        if self._meets(Kind.TUS_LOST):
            tus.lies.add("lost")
        if self._meets(Kind.TUS_BYTES):
            tus.lies.add("bytes")
        session = self._cloud.uploads.get(request.path.rpartition("/")[2])
        if session is not None and session.file is None and self._meets(Kind.TUS_FORGETS):
            with session.content.open("r+b") as content:
                content.truncate(session.offset // 2)
        if session is not None and self._meets(Kind.TUS_GONE):
            del self._cloud.uploads[session.token]
        return None


@contextmanager
def lying(kind: str) -> Iterator[Liar]:
    """A server of a kind, for the length of the block."""
    if kind == "nextcloud":
        with nextcloud.serving() as cloud:
            yield LyingNextcloud(cloud)
    else:
        with opencloud.serving() as ocis:
            yield LyingOpenCloud(ocis)
