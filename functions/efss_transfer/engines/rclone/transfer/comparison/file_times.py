"""Finds out whether the destination keeps modification times, and compares files accordingly.

rclone takes a file with another time for a changed one. A destination that keeps no times would get
every file again with each request, and a copy with short deadlines would never be complete.

The check is stateless and looks at a few files that are there already; at a destination without
any it ends with that look. Only if all of them have their source's size and another time, one of
them is copied to a temporary name to see which time the destination shows for it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from efss_transfer.engines.rclone.log.sample_names import SampleNames
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.samples import Place, Samples, TimeSample
from efss_transfer.engines.rclone.transfer.partial_files import Placement
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.unclean_names import is_unclean
from efss_transfer.model.events import Event
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.storage_traits import traits

_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 20.0
_SHARE_OF_TIME_LEFT: Final = 0.2
_MOST_LISTED: Final = 1_000
_CLOCK_DIFFERENCE: Final = 300.0
_COARSE: Final = (2, 60, 86_400)
"""Steps in seconds in which storages keep times: FAT, and listings by minutes and by days."""
_NANOSECONDS: Final = 1_000_000_000
# rclone calls the precision of a storage without times a hundred years.
_NOT_SUPPORTED: Final = 365 * 86_400 * _NANOSECONDS
_UNDECIDED: Final = (
    "A dry run writes nothing, so it cannot find out whether the destination keeps times. It plans "
    "to copy such files; the copy itself skips them if the destination keeps none."
)
_NO_CHECKSUM: Final = (
    "The storages have no kind of checksum in common; times were compared as well."
)
_SIZE_ALONE: Final = (
    "The storages have neither a kind of checksum nor modification times in common, so a file with "
    "other content of the same size was not copied."
)


@dataclass(frozen=True)
class TimeRules:
    """How files are compared. `config` holds members of `_config`.

    With `newer_first` a file whose source is newer than its upload is copied first, whatever its
    size is.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    newer_first: bool = False


def by_upload(request: TransferRequest) -> TimeRules:
    """Compare files by their size, and by whether the source changed after the upload."""
    if not compares(request) or request.options.overwrite == "newer":
        return TimeRules()
    return TimeRules({"SizeOnly": True}, newer_first=True)


def looks_later(request: TransferRequest) -> bool:
    """Whether `rules` will look into the destination of a request, if that has a bucket.

    Two object stores mostly have a kind of checksum in common, so that times need not be looked at.
    """
    source, destination = traits(request.source.type), traits(request.destination.type)
    looks = compares(request) and not request.options.dry_run
    return looks and destination.has_buckets and not source.has_buckets


class FileTimes:
    """Decides by the times of a few files. Its methods are generators: they yield events while
    they wait. An error never counts: the copy would meet it, too.
    """

    def __init__(self, run: RunContext, probe: SourceProbe, request: TransferRequest) -> None:
        self._run = run
        self._probe = probe
        self._request = request
        self._are_reported: set[str] = set()
        self._has_listed = False

    def rules(
        self, source: RemotePath, destination: RemotePath, *, is_first: bool
    ) -> Generator[Event, None, TimeRules]:
        """Find out how to compare files that the destination may have already, before an attempt.

        Raises CopyRefused if the destination's bucket does not exist.
        """
        if not compares(self._request):
            return TimeRules()
        with self._probe.ignoring_log():
            samples = self._samples()
            found = yield from self._rules(samples, source, destination, is_first=is_first)
        if self._probe.leaves_bucket and is_first and not self._has_listed:
            yield from self._probe.confirm_bucket(destination)
        return found

    def rules_of_file(
        self, source: RemotePath, placement: Placement
    ) -> Generator[Event, None, TimeRules]:
        """Find out how to compare a single file with what the destination may have already."""
        if not compares(self._request):
            return TimeRules()
        with self._probe.ignoring_log():
            samples = self._samples()
            ours_info = yield from samples.info(source.parent)
            infos = [ours_info, (yield from samples.info(placement.folder))]
            checksum = self._checksum_rule(*infos)
            if checksum is None or not _have_times(*infos):
                return TimeRules()
            ours = Place(source.parent, source.name)
            theirs = Place(placement.folder, placement.name or source.name)
            sample = yield from samples.of_file(ours, theirs)
            found = [] if sample is None else [sample]
            rules = yield from self._by_samples(samples, found, infos, placement.folder)
        if rules.newer_first and sample is not None and sample.source_time > sample.shown_time:
            return TimeRules(checksum)
        return TimeRules({**checksum, **rules.config})

    def _samples(self) -> Samples:
        left = self._run.context.deadline - time.monotonic()
        seconds = max(_SECONDS, min(_LONGEST_SECONDS, left * _SHARE_OF_TIME_LEFT))
        self._has_listed = False
        return Samples(self._run, self._probe, time.monotonic() + seconds)

    def _rules(
        self, samples: Samples, source: RemotePath, destination: RemotePath, *, is_first: bool
    ) -> Generator[Event, None, TimeRules]:
        theirs, options = self._probe.destination_info, self._request.options
        by_checksum = options.compare == "checksum"
        if theirs is None and (options.dry_run or by_checksum):
            theirs = yield from samples.info(destination.fs)
        names = yield from self._names(samples, source)
        if not theirs or not (names.names or by_checksum):
            return TimeRules()
        infos = [(yield from samples.info(source.fs)), theirs]
        checksum = self._checksum_rule(*infos)
        if checksum is None or not _have_times(*infos) or not names.names:
            return TimeRules(checksum or {})
        if traits(destination.remote.backend).has_buckets and _share_checksum(*infos):
            return TimeRules(checksum)  # An object store sets a time without an upload.
        if is_first and self._is_missing(destination):
            return TimeRules(checksum)
        self._has_listed = True
        found = yield from samples.of_folders(source, destination, names)
        rules = yield from self._by_samples(samples, found, infos, destination.fs)
        return TimeRules({**checksum, **rules.config}, rules.newer_first)

    def _names(self, samples: Samples, source: RemotePath) -> Generator[Event, None, SampleNames]:
        """Names of files that the copy will compare."""
        listed = self._request.selection.files
        names = self._run.log.sample_names if listed is None else SampleNames()
        for file in (listed or ())[:_MOST_LISTED]:
            if not is_unclean(file.path):
                names.add(file.path)
        if listed is None and self._request.options.dry_run:
            yield from samples.find_names(source, names)
        return names

    def _is_missing(self, destination: RemotePath) -> bool:
        """Whether the folder is known not to exist, so that there is nothing to look at."""
        record = self._run.gateways.get(destination.side)
        return record is not None and destination.path.strip("/") in record.absent

    def _checksum_rule(
        self, ours: Mapping[str, Any], theirs: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """The member of `_config` that `compare: checksum` needs; None if only that decides.

        Without a common kind of checksum rclone would compare by size alone, and keep an old file
        of the same size.
        """
        if self._request.options.compare != "checksum":
            return {}
        if not ours or not theirs or _share_checksum(ours, theirs):
            return None
        self._report(
            "compared_by_size", "", _NO_CHECKSUM if _have_times(ours, theirs) else _SIZE_ALONE
        )
        return {"CheckSum": False}

    def _by_samples(
        self,
        samples: Samples,
        found: list[TimeSample],
        infos: list[dict[str, Any]],
        folder: str,
    ) -> Generator[Event, None, TimeRules]:
        if not found or not all(sample.differs for sample in found):
            return TimeRules()
        now = time.time()
        # A time from just now may be taken for the time of an upload, and the other way round.
        sample = min(found, key=lambda it: (_is_now(it.source_time, now), it.size))
        if self._request.options.dry_run:
            self._warn(sample, sample.shown_time, _UNDECIDED)
            return TimeRules()
        shown = yield from samples.shown_time(sample, folder)
        if shown is None or sample.is_shown_as(shown):
            return TimeRules()
        return self._weaker(sample, shown, has_hash=_share_checksum(*infos))

    def _weaker(self, sample: TimeSample, shown: float, *, has_hash: bool) -> TimeRules:
        """How files are compared at a destination that shows another time than was set."""
        difference = abs(sample.source_time - shown)
        is_upload_time = _is_now(shown, time.time())
        for step in () if is_upload_time else _COARSE:
            if difference <= step and (shown % step == 0 or step == _COARSE[0]):
                text = f"The destination keeps times in steps of {step} seconds only."
                self._warn(sample, shown, f"{text} Files are compared accordingly.")
                return TimeRules({"ModifyWindow": (step + 1) * _NANOSECONDS})
        if self._request.options.overwrite == "newer":
            return TimeRules()  # The time of an upload is enough for this.
        if has_hash:
            self._warn(sample, shown, "Files are compared by checksum instead.")
            return TimeRules({"CheckSum": True})
        text = "Files are compared by size instead"
        text += ", and by whether the source changed after the upload." if is_upload_time else "."
        self._warn(sample, shown, text)
        return TimeRules({"SizeOnly": True}, newer_first=is_upload_time)

    def _warn(self, sample: TimeSample, shown: float, then: str) -> None:
        times = (
            datetime.fromtimestamp(it, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            for it in (sample.source_time, shown)
        )
        text = "The file's modification time is {} at the source and {} at the destination. {}"
        self._report("time_not_kept", sample.source.path, text.format(*times, then))

    def _report(self, code: str, path: str, text: str) -> None:
        """Warn, once for all attempts."""
        if code not in self._are_reported:
            self._are_reported.add(code)
            self._run.outcomes.warn(code, path, text)


def compares(request: TransferRequest) -> bool:
    """Whether files are compared by more than their names and sizes."""
    options = request.options
    return options.overwrite in ("changed", "newer") and options.compare != "size"


def _is_now(seconds: float, now: float) -> bool:
    """Whether a time can be that of an upload, by clocks that differ a little."""
    return abs(seconds - now) <= _CLOCK_DIFFERENCE


def _share_checksum(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two storages have a kind of checksum in common."""
    return bool(set(ours.get("Hashes") or ()) & set(theirs.get("Hashes") or ()))


def _have_times(*infos: Mapping[str, Any]) -> bool:
    """Whether rclone compares times between these storages."""
    return all(int(info.get("Precision", 0)) < _NOT_SUPPORTED for info in infos)
