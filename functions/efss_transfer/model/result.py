"""The result of a transfer as frozen types. `to_json()` returns the contract's form.

schema/result.schema.json describes that form; tests check that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from efss_transfer.model.errors import STILL_RUNNING
from efss_transfer.model.verification import Verification

if TYPE_CHECKING:
    from efss_transfer.model.notification import Notification

Json = Any  # a value for json.dumps; a recursive alias would need casts everywhere

MAX_SAMPLES: Final = 5
"""How many files a group of errors or warnings names."""


class State(StrEnum):
    """How a transfer ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FileState(StrEnum):
    """The outcome of one file."""

    TRANSFERRED = "transferred"
    SKIPPED = "skipped"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a file was skipped.

    `same`: the destination has the same file, by the comparison that the request asked for.
    `older`: the destination's file is newer. `exists`: the destination has a file of this
    name, and the request keeps such files. `dry_run`: the file would have been copied.
    """

    SAME = "same"
    OLDER = "older"
    EXISTS = "exists"
    DRY_RUN = "dry_run"


class Side(StrEnum):
    """The endpoint that an error came from."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the selected files; `index` counts from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def to_json(self) -> dict[str, Json]:
        """The `shard` of a request and of its result."""
        return {"index": self.index, "count": self.count}


@dataclass(frozen=True)
class Failure:
    """Why something failed: a stable code, the side if it is known, and a text for people.

    `message` must be redacted before it is put here.
    """

    code: str
    message: str
    retryable: bool
    side: Side | None = None

    def to_json(self) -> dict[str, Json]:
        """The `error` of a file. An unknown side is omitted, never guessed."""
        json: dict[str, Json] = {"code": self.code, "retryable": self.retryable}
        if self.side is not None:
            json["side"] = self.side.value
        json["message"] = self.message
        return json


@dataclass(frozen=True)
class Sample:
    """One example of a group of errors or warnings; `path` is empty if it concerns no file."""

    path: str
    message: str

    def to_json(self) -> dict[str, Json]:
        """An entry of a group's `samples`."""
        return (
            {"path": self.path, "message": self.message} if self.path else {"message": self.message}
        )


@dataclass(frozen=True)
class ErrorGroup:
    """All failures of one code on one side: their number, and a few examples."""

    code: str
    side: Side | None
    retryable: bool
    count: int
    samples: tuple[Sample, ...]

    def to_json(self) -> dict[str, Json]:
        """An entry of a result's `errors`."""
        json: dict[str, Json] = {"code": self.code}
        if self.side is not None:
            json["side"] = self.side.value
        json["retryable"] = self.retryable
        json["count"] = self.count
        json["samples"] = [sample.to_json() for sample in self.samples]
        return json


@dataclass(frozen=True)
class WarningGroup:
    """All warnings of one code: what is right, but weaker than hoped. The codes and their
    messages are in warnings.py.
    """

    code: str
    message: str
    count: int
    samples: tuple[Sample, ...]

    def to_json(self) -> dict[str, Json]:
        """An entry of a result's `warnings`."""
        json: dict[str, Json] = {"code": self.code, "message": self.message, "count": self.count}
        return json | {"samples": [sample.to_json() for sample in self.samples]}


@dataclass(frozen=True)
class FileOutcome:
    """The outcome of one file. `path` is relative to the source, `size` is in bytes.

    If a path is reported twice, the later outcome counts, because verification reports last.
    """

    path: str
    state: FileState
    size: int | None = None
    error: Failure | None = None
    reason: Reason | None = None

    def to_json(self) -> dict[str, Json]:
        """An entry of a result's `files`, and the members of a `file` event."""
        json: dict[str, Json] = {"path": self.path, "state": self.state.value}
        if self.reason is not None:
            json["reason"] = self.reason.value
        if self.size is not None:
            json["bytes"] = self.size
        if self.error is not None:
            json["error"] = self.error.to_json()
        return json


@dataclass(frozen=True)
class Totals:
    """Exact counts of files and bytes.

    `transferred_bytes` includes files that verification then found to differ;
    `dry_run_bytes` counts the files that would have been copied.
    """

    transferred: int = 0
    skipped: int = 0
    failed: int = 0
    transferred_bytes: int = 0
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    dry_run_bytes: int = 0

    def to_json(self) -> dict[str, Json]:
        """A result's `totals`."""
        json: dict[str, Json] = {
            "files": {
                "transferred": self.transferred,
                "skipped": self.skipped,
                "failed": self.failed,
            },
            "bytes": {"transferred": self.transferred_bytes},
        }
        if reasons := {reason.value: n for reason, n in self.reasons.items() if n}:
            json["skipped"] = reasons
        if Reason.DRY_RUN.value in reasons:
            json["bytes"]["dry_run"] = self.dry_run_bytes
        return json


@dataclass(frozen=True)
class Result:
    """The result of one transfer.

    Attributes:
        code: The error code that decides the HTTP status; None on success.
        warnings: What is right but weaker than hoped. They do not change the state.
        files: The files that the request asked to list; None if it asked for none.
        files_omitted: How many of these files did not fit into the response.
        shard: The part of the files that was copied; None if it was all of them.
        engine_report: What the engine itself returned. Its member in the JSON is the
            engine's name.

    """

    state: State
    engine: str
    totals: Totals
    started: datetime
    finished: datetime
    code: str | None = None
    errors: tuple[ErrorGroup, ...] = ()
    files: tuple[FileOutcome, ...] | None = None
    files_omitted: int = 0
    attempts: int = 1
    verification: Verification | None = None
    warnings: tuple[WarningGroup, ...] = ()
    id: str | None = None
    shard: Shard | None = None
    engine_report: Mapping[str, Json] = field(default_factory=dict)
    notification: Notification | None = None

    @property
    def is_still_running(self) -> bool:
        """Whether the transfer goes on without this service; the same request asks how far."""
        return self.state is State.INCOMPLETE and self.code == STILL_RUNNING

    @property
    def retryable(self) -> bool:
        """Whether sending the same request again can help: files that arrived are skipped then."""
        if self.state in (State.INCOMPLETE, State.CANCELLED):
            return True
        return any(group.retryable for group in self.errors)

    def to_json(self) -> dict[str, Json]:
        """The result in the form of schema/result.schema.json."""
        json: dict[str, Json] = {} if self.id is None else {"id": self.id}
        json["state"] = self.state.value
        if self.is_still_running:
            json["code"] = STILL_RUNNING
        json["engine"] = self.engine
        if self.shard is not None:
            json["shard"] = self.shard.to_json()
        json |= {
            "started": rfc3339(self.started),
            "finished": rfc3339(self.finished),
            "totals": self.totals.to_json(),
            "errors": [group.to_json() for group in self.errors],
        }
        if self.warnings:
            json["warnings"] = [group.to_json() for group in self.warnings]
        if self.files is not None:
            json["files"] = [outcome.to_json() for outcome in self.files]
        if self.verification is not None:
            json["verification"] = self.verification.to_json()
        if self.files_omitted:
            json["files_omitted"] = self.files_omitted
        json["attempts"] = self.attempts
        if self.notification is not None:
            json["notification"] = self.notification.to_json()
        if self.engine_report:
            json[self.engine] = dict(self.engine_report)
        return json


def final_state(totals: Totals, errors: tuple[ErrorGroup, ...]) -> State:
    """The state of a transfer that ran to its end."""
    if not errors:
        return State.SUCCEEDED
    return State.PARTIAL if totals.transferred + totals.skipped else State.FAILED


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Format a time in UTC with milliseconds, as RFC 3339 requires."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
