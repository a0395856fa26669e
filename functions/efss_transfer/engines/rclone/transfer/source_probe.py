"""Probes the source before the copy: how large its large files are, and whether they may be read
in parts.

The probe is bounded in time, and its errors do not count: the copy would meet them, too.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.client import Job, RcError
from efss_transfer.engines.rclone.rc.gateway_names import GatewayNames
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.rc.stream_rate import stream_rate
from efss_transfer.engines.rclone.transfer.path_kind import bucket_not_found
from efss_transfer.engines.rclone.transfer.tuning import (
    LARGE,
    MEDIUM,
    UNKNOWN,
    LargeFiles,
    TuningLimits,
    checkers,
)
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Side
from efss_transfer.model.storage_traits import traits

# A listing that takes longer is one of many folders, whose files keep all transfers busy.
_PROBE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1
# The folders of a source whose whole listing takes too long: deep enough to show loops of links.
_UPPER: Final = 8
_MOST_READS: Final = 3
"""How many ranges of a file are read at the same time."""
# Their servers ignore Range at times, and no checksum shows it. So may WebDAV servers, of which the
# gateway sees it; without one, a single try of each request were too few where connections break.
_RANGES_IGNORED: Final = frozenset({"http"})
_LIST_OPTIONS: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}


class SourceProbe:
    """Probes the source. Its methods are generators: they yield events while they wait.

    With `needs_bucket` the destination's bucket must exist, if it has one; with `leaves_bucket` a
    later look at the destination shows that. `note_folder` takes the folders that the probe lists.
    """

    def __init__(
        self,
        run: RunContext,
        progress: ProgressReporter,
        *,
        needs_bucket: bool = True,
        leaves_bucket: bool = False,
        note_folder: Callable[[str], None] | None = None,
    ) -> None:
        self._run = run
        self._note_folder = note_folder
        self._progress = progress
        self._needs_bucket = needs_bucket
        self.leaves_bucket = needs_bucket and leaves_bucket
        """Whether the destination's bucket is still to be confirmed after the probe."""
        self.destination_info: dict[str, Any] | None = None
        """What rclone knows of the destination; None if that could not be opened."""
        self.pages: frozenset[str] | None = None
        """The HTML pages of a source of type `http`; None if they are unknown."""
        self.may_resume = True
        """Whether rclone may ask for the rest of a file that was cut off. A server that ignores
        Range sends the beginning again, and rclone takes that for the rest."""
        self.names = GatewayNames(run)

    def probe(
        self,
        source: RemotePath,
        destination: RemotePath,
        selection: Selection,
        limits: TuningLimits,
        config: Mapping[str, Any],
    ) -> Generator[Event, None, LargeFiles]:
        """Look for large files in the source. Meanwhile open the destination with the `config` of
        the copy; rclone itself would open it only after the source.

        Raises CopyRefused if the destination's bucket does not exist.
        """
        until = time.monotonic() + _PROBE_SECONDS
        rc, log = self._run.rc, self._run.log
        is_seen = Side.SOURCE in self._run.gateways  # a gateway refuses the beginning of a file
        self.may_resume = is_seen or source.remote.backend not in _RANGES_IGNORED
        with log.probing():
            opening = rc.start_probe(
                "operations/fsinfo", {"fs": destination.fs, "_config": dict(config)}
            )
            looking = None if self.leaves_bucket else self._look_for_bucket(destination)
            found = yield from self._large_files(source, destination, selection, limits, until)
            yield from self._confirm_bucket(looking, destination, until)
            # The copy would have to wait for it as well.
            is_open = (yield from self.wait(opening, until)) and not opening.error
            if not is_open:
                # rclone keeps what it took for a file, and would not say a second time why.
                rc.clear_fs_cache()
            self.read_log_to_here()
            if is_open:
                self.destination_info = opening.output
                # Both were opened at the same time, in any order. The copy opens the destination
                # last.
                log.last_opened_side = Side.DESTINATION
            return found

    def ignores_case(self, destination: RemotePath) -> Generator[Event, None, bool]:
        """Find out whether two names of the source that differ only in case are one to the
        destination: by a folder that is made there, looked up in another case, and removed.
        """
        self._run.log.alike_names.forget()
        known = traits(destination.remote.backend)
        is_told = known.has_buckets or known.ignores_case or Side.DESTINATION in self._run.gateways
        if is_told or not self._run.log.alike_names.found:
            return False
        name = f".efss-transfer-{secrets.token_hex(8)}"
        until = time.monotonic() + _PROBE_SECONDS
        folder = {"fs": destination.fs, "remote": name}
        with self._run.log.probing():
            made = yield from self.run_job("operations/mkdir", folder, until)
            if made is None or made.error:
                return False
            other = {"fs": destination.fs, "remote": name.upper(), "opt": _LIST_OPTIONS}
            looked = yield from self.run_job("operations/list", other, until)
            yield from self.run_job("operations/rmdir", folder, until + _PROBE_SECONDS)
        return looked is not None and not looked.error

    def confirm_bucket(self, destination: RemotePath) -> Generator[Event, None, None]:
        """Confirm that the destination's bucket exists. Raises CopyRefused if it does not."""
        with self._run.log.probing():
            looking = self._look_for_bucket(destination)
            until = time.monotonic() + _PROBE_SECONDS
            yield from self._confirm_bucket(looking, destination, until)

    @contextmanager
    def ignoring_log(self) -> Iterator[None]:
        """Ignore the log of probes that are made in the block."""
        with self._run.log.probing():
            try:
                yield
            finally:
                with suppress(EngineError, RcError):
                    self.read_log_to_here()

    def read_log_to_here(self) -> None:
        """Wait until the log of all earlier calls was read: what follows is the copy's."""
        self._run.log.wait_for_marker(self._run.rc.write_log_marker(), _PROBE_SECONDS)

    def _look_for_bucket(self, destination: RemotePath) -> Job | None:
        """List nothing in the destination's bucket, if it must exist."""
        if destination.bucket is None or not self._needs_bucket:
            return None
        # A folder that is not there has no entries, however large the bucket is.
        nothing = f".efss-transfer-{secrets.token_hex(8)}"
        fs = f"{destination.remote.name}:{destination.bucket}"
        parameters = {"fs": fs, "remote": nothing, "opt": _LIST_OPTIONS}
        return self._run.rc.start_probe("operations/list", parameters)

    def _confirm_bucket(
        self, looking: Job | None, destination: RemotePath, until: float
    ) -> Generator[Event, None, None]:
        """Wait for the look. A key may be denied it; then the copy finds out."""
        if looking is None or not (yield from self.wait(looking, until)):
            return
        if error_codes.DIRECTORY_NOT_FOUND in looking.error:
            raise bucket_not_found(destination.bucket or "")

    def _large_files(
        self,
        source: RemotePath,
        destination: RemotePath,
        selection: Selection,
        limits: TuningLimits,
        until: float,
    ) -> Generator[Event, None, LargeFiles]:
        listing = yield from self._sizes(source, destination, selection, limits, until)
        if listing is None:
            return UNKNOWN
        fs, sizes = listing
        path, largest = max(sizes.items(), key=lambda item: item[1], default=("", 0))
        # Only a destination that accepts parts in any order is sent several streams.
        in_any_order = traits(destination.remote.backend).parts_in_any_order
        record = self._run.gateways.get(Side.SOURCE)
        is_whole = record is not None and record.is_read_whole
        is_in_parts = largest >= LARGE and in_any_order and not is_whole
        is_copied_by_storage = source.remote == destination.remote
        rate = None
        is_read = is_in_parts or not self.may_resume
        if is_read and not is_copied_by_storage and self._run.context.end_state() is None:
            at_once = min(_MOST_READS, limits.allowed_transfers or _MOST_READS)
            rate = stream_rate(self._run.rc, fs, path, largest, at_once=at_once)
        self.may_resume = self.may_resume or rate is not None
        count = sum(size >= LARGE for size in sizes.values())
        medium = sum(size >= MEDIUM for size in sizes.values())
        return LargeFiles(count, largest, rate if is_in_parts else None, medium)

    def _sizes(
        self,
        source: RemotePath,
        destination: RemotePath,
        selection: Selection,
        limits: TuningLimits,
        until: float,
    ) -> Generator[Event, None, tuple[str, dict[str, int]] | None]:
        """The sizes that matter, by path, and the fs of the paths; None if they are unknown."""
        if selection.files is not None:
            for one in selection.files:
                self._run.log.alike_names.add(one.path)
            if any(file.size is None for file in selection.files):
                return None
            return source.fs, {file.path: file.size or 0 for file in selection.files}
        filters = rc_config.filter_options(selection)
        smallest = max(filters.get("MinSize", 0), limits.smallest_size_that_matters)
        options = _LIST_OPTIONS
        if has_pages := source.remote.backend == "http":
            # rclone asks for the size and the type of each file anyway, at the same time.
            options = {**_LIST_OPTIONS, "noMimeType": False}
        else:
            filters["MinSize"] = smallest
            options = {**_LIST_OPTIONS, "filesOnly": self._note_folder is None}
        config = {"Checkers": checkers(source.remote, destination.remote, limits)}
        listing = {"fs": source.fs, "remote": "", "opt": options, "_config": config}
        with self.names.quiet_log():
            job = self._run.rc.start_probe("operations/list", {**listing, "_filter": filters})
            is_done = yield from self.wait(job, until)
        if not is_done:
            if job.wait(0):  # A storage that still does not answer would not answer this.
                yield from self.list_folders(source, selection)
            return None
        if not job.error:
            files = job.output.get("list") or ()
            if has_pages:
                pages = (it["Path"] for it in files if is_page(it))
                self.pages = frozenset(pages)
            for item in files:
                if item["IsDir"] and self._note_folder is not None:
                    self._note_folder(item["Path"])
            sizes = {item["Path"]: int(item["Size"]) for item in files if not item["IsDir"]}
            for path in sizes if not self.names.are_noted else ():
                self._run.log.alike_names.add(path)
                self._run.log.sample_names.add(path)
            return source.fs, {path: size for path, size in sizes.items() if size >= smallest}
        if error_codes.IS_A_FILE in job.error:
            file = {"fs": source.parent, "remote": source.name, "opt": _LIST_OPTIONS}
            stat = yield from self.run_job("operations/stat", file, until)
            item = stat.output.get("item") if stat is not None else None
            if item:
                return source.parent, {source.name: int(item["Size"])}
        return None

    def list_folders(self, source: RemotePath, selection: Selection) -> Iterator[Event]:
        """List the upper folders of the source for `note_folder`, if that is not None."""
        if self._note_folder is None:
            return
        opt = {**_LIST_OPTIONS, "filesOnly": False, "dirsOnly": True}
        listing = {"fs": source.fs, "remote": "", "opt": opt, "_config": {"MaxDepth": _UPPER}}
        filters = rc_config.filter_parameter(selection)
        until = time.monotonic() + _PROBE_SECONDS
        job = yield from self.run_job("operations/list", {**listing, **filters}, until)
        for item in job.output.get("list") or () if job is not None else ():
            self._note_folder(item["Path"])

    def run_job(
        self, call: str, parameters: Mapping[str, object], until: float
    ) -> Generator[Event, None, Job | None]:
        """The job once it is done; None if it was stopped because it took too long."""
        job = self._run.rc.start_probe(call, parameters)
        return job if (yield from self.wait(job, until)) else None

    def wait(self, job: Job, until: float) -> Generator[Event, None, bool]:
        """Wait for the end of a job, and return whether it was not stopped."""
        while not job.wait(_POLL_SECONDS):
            if time.monotonic() > until or self._run.context.end_state() is not None:
                self._run.rc.stop_probes()
                job.wait(_PROBE_SECONDS)
                if self._run.context.end_state() is not None:
                    self._run.expect_no_end()  # nothing was sent that would have to be cleaned up
                return False
            yield from self._progress.events()
        return True


def is_page(item: Mapping[str, Any]) -> bool:
    """Whether an item of a listing is an HTML page."""
    return str(item.get("MimeType", "")).startswith("text/html")
