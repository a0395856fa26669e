"""Finds the entries of an FTP server's listings that rclone cannot read.

A server without MLSD lists folders for people, in a form of its own. rclone leaves out each line
that it cannot read, and says nothing: the transfer would succeed without that file or folder. So
the lines of each folder are counted here, and compared with what rclone has. A server with MLSD
seldom writes a line that cannot be read, and then everywhere: a look at some folders shows it.
"""

from __future__ import annotations

import posixpath
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from efss_transfer.engines.rclone.ftp.connection import ERRORS, FtpConnection
from efss_transfer.engines.rclone.log.listing_lines import Finding, Location
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Side

_POLL_SECONDS: Final = 0.1
_LIST_OPTIONS: Final = {"noModTime": True, "noMimeType": True}
_MOST_NAMED: Final = 1_000
_SECONDS_OF_FACTS: Final = 5.0
_OTHER_FACTS: Final = "set the parameter `disable_mlsd`, or ask the operator of the server."
_NO_SPACES: Final = (
    "let the server list with MLSD, or give its owner and group names without spaces."
)
_USUAL_FORM: Final = "let the server list with MLSD, or in the usual form of `ls -l`."
_PICTURES: Final = {0x2400 + code: code for code in range(32)} | {0x2421: 127}
_Result = TypeVar("_Result")


def guesses(parameters: Mapping[str, str], path: str, may_wait: Callable[[], bool]) -> bool | None:
    """Whether rclone should ask a server for hidden files; None if the server has MLSD.

    Asks as long as `may_wait`. None as well if the server does not answer: the copy finds out why.
    """
    answers: list[bool] = []

    def ask() -> None:
        with suppress(*ERRORS):
            answers.extend(_guesses(parameters, path))

    # A daemon, because a server may be silent for longer than the transfer lasts.
    asking = threading.Thread(target=ask, name="ftp-features", daemon=True)
    asking.start()
    while asking.is_alive() and may_wait():
        asking.join(_POLL_SECONDS)
    return answers[0] if answers else None


def _guesses(parameters: Mapping[str, str], path: str) -> Iterator[bool]:
    is_asked = parameters.get("force_list_hidden") == "true"
    is_without = parameters.get("disable_mlsd") == "true" or is_asked
    connection = FtpConnection(parameters)
    try:
        if is_asked or (not is_without and connection.has_mlsd()):
            if is_asked:
                yield True
            return
        connection.sign_in()
        if not is_without and connection.has_mlsd():  # some say it only after the sign-in
            return
        try:
            yield connection.shows_hidden(path)
        except ERRORS:
            yield False
    finally:
        connection.close()


class UnreadEntries:
    """The entries of a source that rclone cannot read. `found` has them after `look`.

    `hidden`: whether rclone asks the server for hidden files; None if the server has MLSD.
    `recurse`: whether the folders below count, too.
    """

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        source: RemotePath,
        *,
        hidden: bool | None,
        recurse: bool = True,
    ) -> None:
        self._recurse = recurse
        self._run = run
        self._jobs = jobs
        self._source = source
        self._has_mlsd = hidden is None
        self._lines: Callable[[FtpConnection], list[str]] = FtpConnection.fact_lines
        self._names: Callable[[FtpConnection], list[str] | None] = FtpConnection.fact_names
        if hidden is not None:
            self._lines = partial(FtpConnection.lines, hidden=hidden)
            self._names = partial(FtpConnection.names, hidden=hidden)
        self.found: list[Finding] = []

    def look(self) -> Generator[Event, None, bool]:
        """Compare all folders, and return whether that was possible. With MLSD compare those of
        the first seconds.
        """
        threads = ThreadPoolExecutor(1, "ftp-listing")
        try:
            opening = threads.submit(_signed_in, self._source.remote.parameters)
            connection = yield from self._result(opening)
            try:
                yield from self._compare_all(threads, connection)
            finally:
                connection.close()
        except ERRORS:
            return False
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        return True

    def _compare_all(
        self, threads: ThreadPoolExecutor, connection: FtpConnection
    ) -> Generator[Event, None, None]:
        folders = [""]
        until = time.monotonic() + _SECONDS_OF_FACTS
        while folders and not (self._has_mlsd and time.monotonic() > until):
            folder = folders.pop()
            known = yield from self._known(folder)
            if known is None:
                return
            path = posixpath.join(self._source.path, folder)
            names = yield from self._ask(threads, connection, path, self._names)
            if connection.was_cut():
                self.found.append(Finding(Location.FOLDER, folder, _CUT, _SOURCE))
                continue
            lost = _missing(names or (), known)
            if not lost and self._has_mlsd:
                lost = yield from self._unlisted(threads, connection, path, known)
            if lost:
                # Another client may have made a file meanwhile.
                lost = _missing(lost, (yield from self._known(folder)) or {})
            if lost:
                yield from self._add(threads, connection, folder, lost)
            elif names is None or len(names) < len(known):
                # No list of all names; but the lines of a listing can be counted.
                lines = yield from self._ask(threads, connection, path, self._lines)
                if connection.was_cut():
                    self.found.append(Finding(Location.FOLDER, folder, _CUT, _SOURCE))
                elif len(lines) > len(known):
                    self._add_folder(folder, len(lines), len(known))
            if self._recurse:
                folders += [
                    posixpath.join(folder, name) for name, is_folder in known.items() if is_folder
                ]

    def _unlisted(
        self,
        threads: ThreadPoolExecutor,
        connection: FtpConnection,
        path: str,
        known: Iterable[str],
    ) -> Generator[Event, None, list[str]]:
        """The names that NLST has and MLSD has not, and that are there."""
        ask = partial(FtpConnection.names, hidden=False)
        names = yield from self._ask(threads, connection, path, ask)

        def there() -> list[str]:
            missing = _missing(names or (), known)[:_MOST_NAMED]
            return [name for name in missing if connection.has(posixpath.join(path, name))]

        return (yield from self._result(threads.submit(there)))

    def _known(self, folder: str) -> Generator[Event, None, dict[str, bool] | None]:
        """The names that rclone has of a folder, and whether each is a folder."""
        parameters = {"fs": self._source.fs, "remote": folder, "opt": _LIST_OPTIONS}
        with self._run.log.probing():  # The copy would meet an error as well.
            job = yield from self._jobs.run("operations/list", parameters)
        if job.error:
            return None
        return {item["Name"]: item["IsDir"] for item in job.output.get("list") or ()}

    def _add(
        self,
        threads: ThreadPoolExecutor,
        connection: FtpConnection,
        folder: str,
        lost: list[str],
    ) -> Generator[Event, None, None]:
        remedy = _OTHER_FACTS if self._has_mlsd else _NO_SPACES
        text = (
            "The server does not list this entry, or in a form that cannot be read"
            f"{', so it was not copied' if self._recurse else ''}: {remedy}"
        )
        failure = _failure(text)
        for name in lost[:_MOST_NAMED]:
            path = posixpath.join(folder, name)
            whole = posixpath.join(self._source.path, path)
            asking = threads.submit(connection.is_folder, whole)
            location = Location.FOLDER if (yield from self._result(asking)) else Location.FILE
            self.found.append(Finding(location, _shown(path), failure, _SOURCE))
        if len(lost) > _MOST_NAMED:
            failure = _failure(f"{len(lost)} entries of this folder cannot be read.")
            self.found.append(Finding(Location.FOLDER, folder, failure, _SOURCE))

    def _add_folder(self, folder: str, count: int, known: int) -> None:
        remedy = _OTHER_FACTS if self._has_mlsd else _USUAL_FORM
        text = (
            f"The server lists {count} entries of this folder, and only {known} of them can be "
            f"read: {remedy}"
        )
        self.found.append(Finding(Location.FOLDER, folder, _failure(text), _SOURCE))

    def _ask(
        self,
        threads: ThreadPoolExecutor,
        connection: FtpConnection,
        path: str,
        ask: Callable[[FtpConnection], _Result],
    ) -> Generator[Event, None, _Result]:
        def listed() -> _Result:
            connection.enter(path)
            return ask(connection)

        return (yield from self._result(threads.submit(listed)))

    def _result(self, future: Future[_Result]) -> Generator[Event, None, _Result]:
        """Wait for a result, and yield events meanwhile."""
        while True:
            try:
                return future.result(_POLL_SECONDS)
            except TimeoutError:
                if future.done():
                    return future.result()
            yield from self._jobs.pause(0.001)


_SOURCE: Final = (Side.SOURCE,)


def _failure(text: str) -> Failure:
    return Failure("storage_error", text, retryable=False, side=Side.SOURCE)


_CUT: Final = _failure(
    "The server does not list all entries of this folder, as it says itself: let it list more of "
    "them (Pure-FTPd: `LimitRecursion`), or split the folder."
)


def _signed_in(parameters: Mapping[str, str]) -> FtpConnection:
    connection = FtpConnection(parameters)
    try:
        connection.sign_in()
    except BaseException:
        connection.close()
        raise
    return connection


def _missing(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names that rclone does not have."""
    there = set(map(_plain, known))
    return [name for name in names if _plain(name) not in there]


def _plain(name: str) -> str:
    """A name without the signs in which rclone shows what not every storage takes."""
    plain = name.translate(_PICTURES)
    if plain.endswith("␠"):
        plain = f"{plain[:-1]} "
    return _shown(plain)


def _shown(path: str) -> str:
    """A path that may have bytes of another encoding, as rclone's JSON has it."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
