"""Ends a copy that waits for what never comes, so that the rest can be copied without it.

A named pipe is the common case: rclone's SFTP backend lists it as an empty file, and its server
opens it only once a program writes into it. rclone has no call that stops one file. So the service
stops the whole copy, and starts it again without that file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Final

from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.config import literal
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.progress import StallWatch
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.hangs.loops import LinkLoops
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused, refusal
from efss_transfer.model.events import Event
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

# An empty file is read within one round trip.
_SILENT_SECONDS: Final = 2.0
_READ_SECONDS: Final = 2.0
_MOST_READS: Final = 16
# Some shells load half of a cluster's modules when somebody signs in.
_SHELL_SECONDS: Final = 20.0
_PIPE: Final = (
    "The server lists this as an empty file and sends nothing of it, as it does for a named pipe "
    "or a device. Exclude it, or set the parameter `skip_links` of the source, which leaves out "
    "links as well."
)
_SHELL: Final = (
    "The server's SSH shell does not answer, so the storage cannot be opened. Set the parameter "
    "`disable_hashcheck`: then the shell is not used, and files are compared by size."
)


class HangWatch:
    """Decides when a copy waits in vain, and for what. `begin` comes before each copy, and `settle`
    after it.
    """

    def __init__(self, run: RunContext, request: TransferRequest, stalls: StallWatch) -> None:
        self._run = run
        self._stalls = stalls
        source, options = request.source, request.options
        follows_links = source.type == "sftp" and source.parameters.get("skip_links") is not True
        self._is_sftp = source.type == "sftp"
        self._removes = not options.dry_run
        self._loops = LinkLoops(run) if follows_links and request.selection.files is None else None
        self._sides: dict[Side, RemotePath] = {}
        self._fs: str | None = None
        self._reads: dict[str, Job] = {}
        self._reads_until = 0.0
        self._readable: set[str] = set()
        self._silent: tuple[str, ...] = ()
        self._refusal: CopyRefused | None = None
        self._rules: list[str] = []
        if self._loops is not None:
            run.log.on_outcome(self._loops.note)

    @property
    def note_folder(self) -> Callable[[str], None] | None:
        """Takes each folder of the source that is listed before the copy; None for no folder."""
        return None if self._loops is None else self._loops.note_folder

    @property
    def rules(self) -> list[str]:
        """Filter rules that leave out what never ends."""
        return [*self._rules, *(self._loops.rules if self._loops is not None else ())]

    def begin(self, source: RemotePath, destination: RemotePath, fs: str) -> None:
        """Watch a copy from the `fs` of the source."""
        self._sides = {path.side: path for path in (source, destination)}
        self._fs = fs
        self._reads = {}

    def should_stop(self) -> bool:
        """Whether the copy that runs now waits in vain, or copies the same again and again."""
        if self._fs is None:
            return False
        if not (self._silent or self._refusal):
            self._look_at_shells()
            if self._is_sftp:
                self._look_at_files(self._fs)
        return bool(self._silent or self._refusal or (self._loops and self._loops.has_found))

    def find_loops(self, jobs: JobRunner, source: RemotePath) -> Iterator[Event]:
        """Report the loops that the listing before the copy has shown."""
        if self._loops and self._loops.has_found:
            yield from self._loops.confirm(jobs, source)

    def settle(
        self, jobs: JobRunner, source: RemotePath, destination: RemotePath
    ) -> Generator[Event, None, bool]:
        """Report what the copy was stopped for, and return whether to begin it again without that.
        Raises CopyRefused if a storage cannot be opened.
        """
        self._fs = None
        if self._refusal is not None:
            raise self._refusal
        silent, self._silent = self._silent, ()
        loops = self._loops if self._loops and self._loops.has_found else None
        if not silent and loops is None:
            return False
        self._run.log.end_stopping()
        self._run.outcomes.seal()
        for path in silent:
            failure = Failure("unsupported", _PIPE, retryable=False, side=Side.SOURCE)
            self._run.outcomes.add(FileOutcome(path, FileState.FAILED, error=failure))
            self._stalls.give_up(path)
            self._rules.append(f"- /{literal(path)}")
        if loops is not None:
            confirmed = yield from loops.confirm(jobs, source)
            if self._removes:
                yield from loops.remove(jobs, confirmed, destination)
        return True

    def _look_at_files(self, fs: str) -> None:
        if self._reads:
            self._end_reads()
            return
        if not self._stalls.all_stalled_for(_SILENT_SECONDS):
            return
        empty = (file.path for file, _ in self._stalls.stalled(_SILENT_SECONDS) if file.size == 0)
        for path in [path for path in empty if path not in self._readable][:_MOST_READS]:
            # rclone reads the file, and nothing else has to do with the destination.
            file = {"fs": fs, "remote": path, "hashType": "md5", "download": True}
            self._reads[path] = self._run.rc.start_probe("operations/hashsumfile", file)
        self._reads_until = time.monotonic() + _READ_SECONDS

    def _end_reads(self) -> None:
        done = {path for path, job in self._reads.items() if job.wait(0)}
        self._readable |= done
        if len(done) < len(self._reads) and time.monotonic() < self._reads_until:
            return
        self._silent = tuple(path for path in self._reads if path not in done)
        self._reads = {}
        if self._silent:
            self._run.rc.stop_probes()

    def _look_at_shells(self) -> None:
        shells = self._run.log.shells
        name = shells.silent(_SHELL_SECONDS) if shells is not None else None
        if name is not None:
            self._refusal = refusal("unsupported", _SHELL, self._side_of(name))

    def _side_of(self, name: str) -> Side | None:
        """The side of an SFTP storage, from rclone's name for it; None if it may be both."""
        sides = [
            side
            for side, path in self._sides.items()
            if path.remote.backend == "sftp" and _address(path) in name
        ]
        return sides[0] if len(sides) == 1 else None


def _address(path: RemotePath) -> str:
    parameters = path.remote.parameters
    return f"@{parameters.get('host', '')}:{parameters.get('port', '22')}/"
