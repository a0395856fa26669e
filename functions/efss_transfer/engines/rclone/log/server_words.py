"""Replaces rclone's sentence for a failure by what the WebDAV server answered.

The gateways record each failed request by its path below the endpoint's URL. A failure of
rclone's log is about a path below the folder that is copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from efss_transfer.engines import globs
from efss_transfer.engines.rclone.log.error_codes import side_of
from efss_transfer.engines.server_codes import failure_of
from efss_transfer.engines.sharding import contains
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

if TYPE_CHECKING:
    from efss_transfer.engines.outcomes import FileOutcomes
    from efss_transfer.engines.redaction import Redactor
    from efss_transfer.model.request import Selection
    from efss_transfer.webdav.words import Record, RequestFailure

# rclone's own findings, after both servers had answered.
_COMPARED: Final = re.compile(
    r"corrupted on transfer|source file is being updated|http: ContentLength=\d+ with Body"
)
_PROCESSING: Final = 425
_OF_A_FILE: Final = frozenset({"GET", "HEAD", "PUT", "MOVE", "COPY", "PROPFIND", "PATCH"})


class ServerWords:
    """The records of the gateways of one run, by the paths of its files.

    `records` has a record for each side with a gateway, `roots` each side's path below its URL.
    """

    def __init__(
        self,
        records: Mapping[Side, Record],
        roots: Mapping[Side, str],
        redactor: Redactor,
    ) -> None:
        self._records = records
        self._roots = {
            side: "/".join(filter(None, root.split("/"))) for side, root in roots.items()
        }
        self._redactor = redactor

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides behind a gateway."""
        return tuple(self._records)

    @property
    def bulk(self) -> dict[str, int]:
        """What was done in the servers' own ways, by the result's names for it: how many files went
        with others in one request, uploads to the destination and reads of both sides, how many
        folders were listed with others, how many bytes were read ahead in vain, and how many of
        uploads were not sent again.
        """
        uploads = [one for side, one in self._records.items() if side is Side.DESTINATION]
        distinct = {id(record): record for record in self._records.values()}
        counts = {
            "bulk_uploads": sum(record.bulk_uploads for record in uploads),
            "bulk_downloads": sum(record.bulk_downloads for record in distinct.values()),
            "bulk_listings": sum(record.bulk_listings for record in distinct.values()),
            "unused_bytes": sum(record.unused_bytes for record in distinct.values()),
            "resumed_bytes": sum(record.resumed_bytes for record in uploads),
        }
        return {name: count for name, count in counts.items() if count}

    def explain(self, path: str, text: str, found: Failure) -> Failure:
        """The failure of a path by its server's answer; `found` if no server refused it.

        `found` is what rclone's `text` means. The side that the text names counts; without one,
        that of `found`, then the other.
        """
        if _COMPARED.search(text):
            return found
        named, first = side_of(text), found.side or Side.DESTINATION
        sides = [named] if named else [first, *(side for side in Side if side is not first)]
        for side in sides:
            for failed in self._recorded(side, path):
                return failure_of(failed, side, self._redactor)
        return found

    def _recorded(self, side: Side, path: str) -> Iterator[RequestFailure]:
        record = self._records.get(side)
        if record is None:
            return
        root = self._roots[side]
        whole = "/".join(filter(None, (root, path)))
        if (failed := record.failures.get(whole)) is not None:
            yield failed
        # A single file is its side's root, whatever its name there.
        if path and path == self._roots[Side.SOURCE].rpartition("/")[2]:
            failed = record.failures.get(root)
            if failed is not None and failed.method in _OF_A_FILE:
                yield failed
        folder = whole
        while folder:
            folder = folder.rpartition("/")[0]
            failed = record.failures.get(folder)
            if failed is not None and failed.method == "MKCOL":
                yield failed

    def add_to(self, outcomes: FileOutcomes, selection: Selection) -> None:
        """Add warnings, files that the source's listing has an error for and rclone passed over,
        and files that the destination had not finished processing when they were verified. Call it
        when the gateways are closed and rclone's log is read.
        """
        if not selection.files:
            self._add_passed_over(outcomes, selection)
        self._add_unready(outcomes)
        self._add_unconfirmed(outcomes)
        for record in {id(record): record for record in self._records.values()}.values():
            for code, warned in record.warnings.items():
                count = warned.count - len(warned.samples) + 1
                for path, text in warned.samples:
                    shown = self._redactor.redact(text, "The text contained a secret.")
                    outcomes.warn(code, self._relative(path), shown, count)
                    count = 1

    def _add_passed_over(self, outcomes: FileOutcomes, selection: Selection) -> None:
        record = self._records.get(Side.SOURCE)
        if record is None:
            return
        root = self._roots[Side.SOURCE]
        inside = f"{root}/" if root else ""
        shard = selection.shard
        for failed in record.entries.values():
            path = failed.path.removeprefix(inside)
            is_ours = shard is None or contains(shard, path)
            if failed.path.startswith(inside) and is_ours and globs.selects(selection, path):
                failure = failure_of(failed, Side.SOURCE, self._redactor)
                outcomes.add_unreported(FileOutcome(path, FileState.FAILED, error=failure))
        if record.dropped_entries:
            text = f"The listing has errors for {record.dropped_entries:,} more files."
            outcomes.add_final_error(Failure("storage_error", text, False, Side.SOURCE))

    def _add_unready(self, outcomes: FileOutcomes) -> None:
        record = self._records.get(Side.DESTINATION)
        for failed in list(record.entries.values()) if record else ():
            path = self._outcome_path(failed.path)
            if failed.words.status == _PROCESSING and outcomes.has_arrived(path):
                outcomes.add_mismatch(path, failure_of(failed, Side.DESTINATION, self._redactor))

    def _add_unconfirmed(self, outcomes: FileOutcomes) -> None:
        """Add uploads that the server reported as successful, and does not show."""
        record = self._records.get(Side.DESTINATION)
        if record is None:
            return
        outcomes.seal()
        for path, text in record.contradicted.items():
            failure = Failure("storage_error", text, retryable=True, side=Side.DESTINATION)
            outcomes.add_mismatch(self._outcome_path(path), failure)
        if record.unlisted and not outcomes.errors:
            folder, said = next(iter(record.unlisted.items()))
            more = len(record.unlisted) - 1
            others = f" and {more} other {'folder' if more == 1 else 'folders'}" if more else ""
            shown = self._redactor.redact(said, "The text contained a secret.")
            text = (
                f"The uploads to the folder {folder or '/'}{others} could not be confirmed: "
                f"{shown} Send the same request again."
            )
            outcomes.add_final_error(Failure("storage_error", text, True, Side.DESTINATION))

    def _outcome_path(self, path: str) -> str:
        """The path by which the outcome of a file at the destination is known."""
        if path == self._roots[Side.DESTINATION]:
            # A single file, whose outcome has the source's name.
            return self._roots[Side.SOURCE].rpartition("/")[2]
        return self._relative(path)

    def _relative(self, path: str) -> str:
        """A path at the destination, relative to the folder of the copy if it is in it."""
        root = self._roots[Side.DESTINATION]
        return path.removeprefix(f"{root}/") if root else path
