"""Asks a web server again for the files that it sent, by HEAD alone.

rclone takes whatever comes with status 200 for the file, and the length of the answer for its size
(1.75, backend/http/http.go): also the page for signing in to which a server redirects, or a message
in place of the file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from mimetypes import MimeTypes
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from efss_transfer.engines.rclone.http_index import documents
from efss_transfer.engines.rclone.http_index.reader import ERRORS, PageReader
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, Reason, Side

_MOST: Final = 10_000
_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 0.05
_PAGES: Final = frozenset(
    {".asp", ".aspx", ".cgi", ".htm", ".html", ".jsp", ".php", ".shtml", ".xhtml"}
)
_HTML: Final = ("<!doctype html", "<html", "<head", "<body", "<title", "<form")
_OTHER_SIZE: Final = Failure(
    "checksum_mismatch",
    "The source tells another size of this file than it sent, so what arrived is not the file. "
    "Send the same request again.",
    retryable=True,
    side=Side.SOURCE,
)


class SentFiles:
    """The files of a source of type `http` that have arrived, the first 10,000 of them."""

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._jobs = jobs
        self._types = MimeTypes()
        self._sizes: dict[str, int | None] = {}

    def begin(self, source: RemotePath) -> None:
        """Note the files from now on, if the source is a web server."""
        if source.remote.backend == "http":
            self._run.log.on_outcome(self._note)

    def _note(self, outcome: FileOutcome) -> None:
        """Take the outcome of a file. Called by the thread that reads the log."""
        has_arrived = outcome.error is None and outcome.reason in (None, Reason.SAME)
        if has_arrived and len(self._sizes) < _MOST:
            self._sizes[outcome.path] = outcome.size

    def check(self, source: RemotePath, *, is_file: bool) -> Iterator[Event]:
        """Make each of them a failure that is not what the server has at its address."""
        if not self._sizes:
            return
        parameters = source.remote.parameters
        reader = PageReader(parameters, self._run.proxy)
        folder = posixpath.dirname(source.path.strip("/")) if is_file else source.path.strip("/")
        base = parameters["url"].rstrip("/") + (f"/{quote(folder)}" if folder else "")
        threads = ThreadPoolExecutor(_AT_ONCE, "http-files")
        try:
            asked: dict[str, Future[Failure | None]] = {
                path: threads.submit(self._look, reader, f"{base}/{quote(path)}", path, size)
                for path, size in tuple(self._sizes.items())
            }
            while not all(future.done() for future in asked.values()):
                yield from self._jobs.pause(_POLL_SECONDS)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        self._run.outcomes.seal()
        for path, future in asked.items():
            if (failure := future.result()) is not None:
                self._run.outcomes.add_mismatch(path, failure)

    def _look(self, reader: PageReader, url: str, path: str, size: int | None) -> Failure | None:
        """Return why a file is not what the server has; None if it is, or if there is no answer."""
        try:
            head = reader.head(url)
            if head.status != 200:
                return None
            if head.kind == "text/html" and (failure := self._of_page(reader, head.url, path)):
                return failure
        except ERRORS:
            return None
        # A server may say 0 of a file that it makes only when it is read.
        return _OTHER_SIZE if head.size and size is not None and head.size != size else None

    def _of_page(self, reader: PageReader, url: str, path: str) -> Failure | None:
        name = posixpath.basename(path)
        extension = posixpath.splitext(name)[1].lower()
        is_elsewhere = posixpath.basename(unquote(urlsplit(url).path)) != name
        text = reader.read(url).text
        asks = documents.read(url, text, ends_with_connection=False).asks_for_password
        if is_elsewhere and (asks or extension not in _PAGES):
            return _page(f"it redirects to `{urlsplit(url).path[:200]}`")
        is_html = text[:2_000].lstrip("\ufeff \t\r\n").lower().startswith(_HTML)
        is_known = self._types.guess_type(name)[0] is not None and extension not in _PAGES
        if is_html and (is_known or (asks and extension not in _PAGES)):
            return _page("one for signing in" if asks else "one of HTML")
        return None


def _page(what: str) -> Failure:
    text = (
        f"The server sends a page in place of this file ({what}), and the page has arrived under "
        "its name. Remove it, and ask the operator whether one has to sign in."
    )
    return Failure("permission_denied", text, retryable=False, side=Side.SOURCE)
