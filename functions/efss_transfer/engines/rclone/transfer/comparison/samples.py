"""Looks at files that both sides have, and at the times that the destination shows for them."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.log.sample_names import SampleNames
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.path_kind import bucket_not_found
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.model.events import Event
from efss_transfer.model.storage_traits import traits
from efss_transfer.webdav.writes.names import partial_name

REFUSED: Final = "SetModTime"
"""Part of rclone's error where a storage refuses to set the time of a file."""
_PRECISION: Final = 1.0
"""Storages that keep seconds may round or cut what is smaller."""
_MOST_SAMPLES: Final = 3
_MOST_FOLDERS: Final = 4
_DELETE_SECONDS: Final = 2.0
# With it a listing has folders only, and rclone's log the names of all files.
_NO_FILE: Final = {"MinSize": 1 << 60}
_NAMES_ONLY: Final = {"noModTime": True, "noMimeType": True}


@dataclass(frozen=True)
class Place:
    """A file on one side: the fs of a folder, and the path below it."""

    fs: str
    path: str

    @property
    def parameters(self) -> dict[str, str]:
        """As an rc call names the file."""
        return {"fs": self.fs, "remote": self.path}

    def copying_to(self, copy: Place, **config: object) -> dict[str, Any]:
        """The parameters of `operations/copyfile` for a copy under a name that is free."""
        return {
            "srcFs": self.fs,
            "srcRemote": self.path,
            "dstFs": copy.fs,
            "dstRemote": copy.path,
            "_config": {"IgnoreTimes": True, "LowLevelRetries": 1, **config},
        }


@dataclass(frozen=True)
class TimeSample:
    """A file that both sides have with the same size; times in seconds since 1970."""

    source: Place
    destination: Place
    size: int
    source_time: float
    shown_time: float

    @property
    def differs(self) -> bool:
        """Whether the two times are not the same."""
        return abs(self.source_time - self.shown_time) > _PRECISION

    def is_shown_as(self, shown: float) -> bool:
        """Whether a time is the source's."""
        return abs(self.source_time - shown) <= _PRECISION


class Samples:
    """Finds samples by probes until `until`, a time of `time.monotonic()`. Its methods are
    generators: they yield events while they wait.
    """

    def __init__(self, run: RunContext, probe: SourceProbe, until: float) -> None:
        self._run = run
        self._probe = probe
        self._until = until

    def of_folders(
        self, source: RemotePath, destination: RemotePath, names: SampleNames
    ) -> Generator[Event, None, list[TimeSample]]:
        """Some of the named files. If nothing of them is at the destination, one listing of one of
        its folders has shown that.

        Raises CopyRefused if the destination's bucket does not exist.
        """
        has_buckets = traits(destination.remote.backend).has_buckets
        rules = [f"+ /{rc_config.literal(name)}" for name in names.names]
        opt = {"filesOnly": True, "noMimeType": True, "noModTime": has_buckets}
        listing = {"fs": destination.fs, "remote": names.folder, "opt": opt}
        filters = {"_filter": {"FilterRule": [*rules, "- **"]}}
        job = yield from self._probe.run_job("operations/list", {**listing, **filters}, self._until)
        if job is None:
            return []
        if error_codes.DIRECTORY_NOT_FOUND in job.error and self._probe.leaves_bucket:
            raise bucket_not_found(destination.bucket or "")
        items = job.output.get("list") or ()
        sized = sorted((int(it.get("Size", -1)), str(it["Path"])) for it in items)
        paths = [path for size, path in sized if size >= 0][:_MOST_SAMPLES]
        known = {} if has_buckets else {str(it["Path"]): it for it in items}
        samples: list[TimeSample] = []
        # Most destinations keep times, and the first file shows it.
        for some in (paths[:1], paths[1:]):
            pairs = [(Place(source.fs, path), Place(destination.fs, path)) for path in some]
            samples += yield from self._compared(pairs, known)
            if samples and not samples[0].differs:
                break
        return samples

    def of_file(
        self, source: Place, destination: Place
    ) -> Generator[Event, None, TimeSample | None]:
        """The sample of one file; None if it is not on both sides with the same size."""
        samples = yield from self._compared([(source, destination)], {})
        return samples[0] if samples else None

    def find_names(self, source: RemotePath, names: SampleNames) -> Generator[Event, None, None]:
        """List the first folder of a source that has files, of those near its root. The log has
        the names.
        """
        folder = ""
        for _ in range(_MOST_FOLDERS):
            listing = {"fs": source.fs, "remote": folder, "opt": _NAMES_ONLY, "_filter": _NO_FILE}
            job = yield from self._probe.run_job("operations/list", listing, self._until)
            self._probe.read_log_to_here()
            folders = [] if job is None else [it["Path"] for it in job.output.get("list") or ()]
            if names.names or not folders:
                return
            folder = folders[0]

    def shown_time(self, sample: TimeSample, folder: str) -> Generator[Event, None, float | None]:
        """The time that the destination shows for a file which is copied into its folder, an fs,
        by a name of its own, and removed; None if that is not known.
        """
        copy = Place(folder, partial_name())
        copying = sample.source.copying_to(copy)
        job = yield from self._probe.run_job("operations/copyfile", copying, self._until)
        try:
            if job is None or job.error:
                is_refused = job is not None and REFUSED in job.error
                return time.time() if is_refused else None
            stat = self._stat(copy)
            is_done = yield from self._probe.wait(stat, self._until)
            return _seconds(stat.output.get("item") or {}) if is_done else None
        finally:
            removing = self._run.rc.start_probe("operations/deletefile", copy.parameters)
            removing.wait(_DELETE_SECONDS)

    def info(self, fs: str) -> Generator[Event, None, dict[str, Any]]:
        """What rclone knows of a storage that is open: its checksums and the precision of times."""
        job = yield from self._probe.run_job("operations/fsinfo", {"fs": fs}, self._until)
        return {} if job is None or job.error else job.output

    def _compared(
        self, pairs: Sequence[tuple[Place, Place]], known: Mapping[str, Mapping[str, Any]]
    ) -> Generator[Event, None, list[TimeSample]]:
        """The files of the same size. `known` has entries of a listing of the destination."""
        asked = [
            (pair, [self._stat(place) for place in pair[: 1 if pair[1].path in known else 2]])
            for pair in pairs
        ]
        samples: list[TimeSample] = []
        for (ours, theirs), jobs in asked:
            items: list[Mapping[str, Any]] = []
            for job in jobs:
                is_done = yield from self._probe.wait(job, self._until)
                items.append((job.output.get("item") if is_done and not job.error else None) or {})
            if len(items) == 1:
                items.append(known[theirs.path])
            sizes = [int(item.get("Size", -1)) for item in items]
            times = [_seconds(item) for item in items]
            if sizes[0] == sizes[1] >= 0 and times[0] is not None and times[1] is not None:
                samples.append(TimeSample(ours, theirs, sizes[0], times[0], times[1]))
        return samples

    def _stat(self, place: Place) -> Job:
        opt = {"noMimeType": True, "filesOnly": True}
        return self._run.rc.start_probe("operations/stat", {**place.parameters, "opt": opt})


def _seconds(item: Mapping[str, Any]) -> float | None:
    """The time of an entry of a listing; None if it has none."""
    try:
        return datetime.fromisoformat(str(item.get("ModTime", ""))).timestamp()
    except (ValueError, OverflowError):
        return None
