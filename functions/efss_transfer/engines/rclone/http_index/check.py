"""Reads each index of a web server again after a copy, for what rclone does not tell of it.

rclone takes the links of an answer for a folder's entries: of an answer that is cut off where only
the end of the connection tells its length, of the first of several pages, and of a login page.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from efss_transfer.engines import globs
from efss_transfer.engines.rclone.http_index import documents, entries
from efss_transfer.engines.rclone.http_index.reader import ERRORS, Page, PageReader
from efss_transfer.engines.rclone.http_index.unseen import UnseenEntries
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, Side

_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 0.1
_MOST_PAGES: Final = 3
_MOST_FOLDERS: Final = 100_000
_CUT: Final = Failure(
    "storage_error",
    "The index of this folder ends before it is complete, so files of it may be missing. Send the "
    "same request again; if that does not help, ask the operator of the server.",
    retryable=True,
    side=Side.SOURCE,
)
_SIGN_IN: Final = Failure(
    "permission_denied",
    "The server answers with a page for signing in, where the index of this folder should be.",
    retryable=False,
    side=Side.SOURCE,
)
_NO_INDEX: Final = Failure(
    "unsupported",
    "The page of this folder has no entries and is not the index of an empty folder: it is made by "
    "a script, or is about something else. Check `url` and `path`, or copy it by another protocol.",
    retryable=False,
    side=Side.SOURCE,
)
_EVERYTHING: Final = Selection()
_UNREAD: Final = "The index of this folder could not be read again."


class _Folder(NamedTuple):
    """A folder that was looked at: its path, what is wrong with its index, its folders, and the
    URL and text of its index.
    """

    path: str
    failure: Failure | None
    inside: tuple[str, ...] = ()
    is_unread: bool = False
    page: tuple[str, str] = ("", "")
    known: frozenset[str] = frozenset()


class IndexCheck:
    """Looks at the indexes of a source of type `http`.

    `recurse`: whether a copy has listed the folders below, too; otherwise its first folder is
    looked at alone, and no file of it has an outcome.
    """

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        selection: Selection = _EVERYTHING,
        *,
        recurse: bool = True,
    ) -> None:
        self._recurse = recurse
        self._run = run
        self._jobs = jobs
        self._selection = selection

    def check(self, source: RemotePath) -> Iterator[Event]:
        """Add each folder that was not listed whole. Call it after the copy of a folder."""
        parameters = source.remote.parameters
        reader = PageReader(parameters, self._run.proxy)
        path = source.path.strip("/")
        url = parameters["url"].rstrip("/") + "/" + (f"{quote(path)}/" if path else "")
        has_slashes = parameters.get("no_slash") != "true"
        threads = ThreadPoolExecutor(_AT_ONCE, "http-index")
        unseen = UnseenEntries(self._run, self._selection, has_outcomes=self._recurse)
        try:
            for folder in self._walked(threads, reader, url, has_slashes=has_slashes):
                if folder is None:
                    yield from self._jobs.pause(0.001)
                    continue
                if folder.failure is not None:
                    self._run.outcomes.add_error(folder.failure, folder.path)
                elif folder.is_unread:
                    self._run.outcomes.warn("listing_unchecked", folder.path, _UNREAD)
                if has_slashes:  # Otherwise a name does not tell whether it is a folder's.
                    found = entries.read(*folder.page)
                    unseen.note(threads, reader, found, folder.page[0], folder.path, folder.known)
            while any(unseen.waiting):
                yield from self._jobs.pause(_POLL_SECONDS)
            unseen.report()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _walked(
        self, threads: ThreadPoolExecutor, reader: PageReader, url: str, *, has_slashes: bool
    ) -> Generator[_Folder | None, None, None]:
        """Each folder that is selected; None while they are awaited."""
        seen = {""}
        running = {threads.submit(_look, reader, url, "", has_slashes=has_slashes)}
        while running:
            done: set[Future[_Folder]]
            done, running = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            if not done:
                yield None
            for future in done:
                folder = future.result()
                yield folder
                for path in folder.inside if self._recurse else ():
                    is_new = path not in seen and len(seen) < _MOST_FOLDERS
                    if is_new and globs.selects(self._selection, path, maybe_folder=True):
                        seen.add(path)
                        below = urljoin(url, f"./{quote(path)}/")
                        running.add(
                            threads.submit(_look, reader, below, path, has_slashes=has_slashes)
                        )


def _look(reader: PageReader, url: str, path: str, *, has_slashes: bool) -> _Folder:
    page = _read(reader, url)
    if page is None:
        return _Folder(path, None, is_unread=has_slashes or not path)
    index = documents.read(url, page.text, ends_with_connection=page.ends_with_connection)
    inside = tuple(
        f"{path}/{name.rstrip('/')}".lstrip("/")
        for name in sorted(index.names)
        if name.endswith("/") or not (has_slashes or "." in name)
    )
    failure, is_unread = None, False
    if index.is_cut:
        failure = _CUT
    elif not index.names and index.asks_for_password:
        failure = _SIGN_IN
    elif not index.names and urlsplit(page.url).path.rstrip("/") != urlsplit(url).path.rstrip("/"):
        failure = _redirected(page.url)
    for more in index.pages[:_MOST_PAGES] if failure is None else ():
        other = _read(reader, more)
        if other is None:
            is_unread = True
        elif documents.read(url, other.text, ends_with_connection=False).names - index.names:
            failure = _paged(more)
            break
    if failure is None:
        failure = _without_entries(url, page, index) or _scripted(page, index)
    return _Folder(path, failure, inside, is_unread, (url, page.text), index.names)


def _without_entries(url: str, page: Page, index: documents.Index) -> Failure | None:
    if index.names or any(True for _ in entries.read(url, page.text)):
        return None
    return _NO_INDEX if entries.is_no_index(url, page.text) else None


def _scripted(page: Page, index: documents.Index) -> Failure | None:
    if not (words := entries.more(page.text, len(index.names))):
        return None
    text = (
        f"The index of this folder has further entries, which only a script loads (`{words[:80]}`)"
        ", so files are missing. Ask the operator for an index of one page, or for another "
        "protocol."
    )
    return Failure("unsupported", text, retryable=False, side=Side.SOURCE)


def _read(reader: PageReader, url: str) -> Page | None:
    """The page, asked for twice at most."""
    for _ in range(2):
        try:
            return reader.read(url)
        except ERRORS:
            continue
    return None


def _redirected(url: str) -> Failure:
    text = (
        f"The server redirects from the index of this folder to {_shown(url)}, where none of its "
        "entries is. Check `url` and `path`, and whether one has to sign in."
    )
    return Failure("storage_error", text, retryable=False, side=Side.SOURCE)


def _paged(url: str) -> Failure:
    text = (
        f"The index of this folder has further pages ({_shown(url)}), which cannot be read, so "
        "files are missing. Ask the operator for an index of one page, or for another protocol."
    )
    return Failure("unsupported", text, retryable=False, side=Side.SOURCE)


def _shown(url: str) -> str:
    """A URL without what may be secret, and not too long."""
    parts = urlsplit(url)
    names = "&".join(word.partition("=")[0] for word in parts.query.split("&") if word)
    return f"`{parts.path[:200]}{'?' if names else ''}{names[:100]}`"
