"""The result of a transfer, as frozen types; `to_json()` is the contract's form.

The form is described by schema/result.schema.json, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal

Json = Any  # what json.dumps takes; a recursive alias would cost more than it tells

SAMPLES: Final = 5
"""How many files at most are named in a group of errors."""


class State(StrEnum):
    """How a transfer ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FileState(StrEnum):
    """What became of one file."""

    TRANSFERRED = "transferred"
    SKIPPED = "skipped"
    FAILED = "failed"


class Side(StrEnum):
    """The end of the transfer that an error came from."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True)
class Failure:
    """Why something failed: a stable code, the side where it is known, a text to read.

    `message` is cleaned of everything secret before it is put here.
    """

    code: str
    message: str
    retryable: bool
    side: Side | None = None

    def to_json(self) -> dict[str, Json]:
        """The `error` of a file. An unknown side is left out, not guessed."""
        json: dict[str, Json] = {"code": self.code, "retryable": self.retryable}
        if self.side is not None:
            json["side"] = self.side.value
        json["message"] = self.message
        return json


@dataclass(frozen=True)
class Sample:
    """One example of a group of errors; `path` is empty where no file was concerned."""

    path: str
    message: str


@dataclass(frozen=True)
class ErrorGroup:
    """All failures of one code on one side: how many, and a few of them."""

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
        json["samples"] = [
            {"path": s.path, "message": s.message} if s.path else {"message": s.message}
            for s in self.samples
        ]
        return json


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file. `path` is relative to the source, sizes are bytes."""

    path: str
    state: FileState
    size: int | None = None
    error: Failure | None = None

    def to_json(self) -> dict[str, Json]:
        """An entry of a result's `files`, and the members of a `file` event."""
        json: dict[str, Json] = {"path": self.path, "state": self.state.value}
        if self.size is not None:
            json["bytes"] = self.size
        if self.error is not None:
            json["error"] = self.error.to_json()
        return json


@dataclass(frozen=True)
class Totals:
    """Exact counts. `transferred_bytes` counts the bytes of transferred files only."""

    transferred: int = 0
    skipped: int = 0
    failed: int = 0
    transferred_bytes: int = 0

    def to_json(self) -> dict[str, Json]:
        """A result's `totals`."""
        return {
            "files": {
                "transferred": self.transferred,
                "skipped": self.skipped,
                "failed": self.failed,
            },
            "bytes": {"transferred": self.transferred_bytes},
        }


@dataclass(frozen=True)
class NotificationError:
    """Why a notification was not delivered: a stable code, and a text to read."""

    code: Literal["forbidden", "unreachable", "untrusted", "rejected", "internal"]
    message: str

    def to_json(self) -> dict[str, Json]:
        """The `error` of a notification."""
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True)
class Notification:
    """Whether somebody was told that the transfer ended. `status` is the last HTTP status."""

    attempts: int
    status: int | None = None
    error: NotificationError | None = None

    @property
    def delivered(self) -> bool:
        """Whether its receiver has taken it."""
        return self.error is None

    def to_json(self) -> dict[str, Json]:
        """A result's `notification`."""
        json: dict[str, Json] = {"delivered": self.delivered, "attempts": self.attempts}
        if self.status is not None:
            json["status"] = self.status
        if self.error is not None:
            json["error"] = self.error.to_json()
        return json


@dataclass(frozen=True)
class Result:
    """One transfer from start to end.

    `engine_report` is what the engine itself returned, under the engine's own name;
    `code` is the error code that decides the HTTP status, None if it succeeded.
    """

    state: State
    engine: str
    totals: Totals
    started: datetime
    finished: datetime
    code: str | None = None
    errors: tuple[ErrorGroup, ...] = ()
    files: tuple[FileOutcome, ...] | None = None
    attempts: int = 1
    id: str | None = None
    engine_report: Mapping[str, Json] = field(default_factory=dict)
    notification: Notification | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request, sent again, can do better: the time ran out, or at
        least one of the errors can pass by itself. What arrived is skipped then.
        """
        if self.state in (State.INCOMPLETE, State.CANCELLED):
            return True
        return any(group.retryable for group in self.errors)

    def to_json(self) -> dict[str, Json]:
        """The whole result, as schema/result.schema.json has it."""
        json: dict[str, Json] = {} if self.id is None else {"id": self.id}
        json |= {
            "state": self.state.value,
            "engine": self.engine,
            "started": rfc3339(self.started),
            "finished": rfc3339(self.finished),
            "totals": self.totals.to_json(),
            "errors": [group.to_json() for group in self.errors],
        }
        if self.files is not None:
            json["files"] = [outcome.to_json() for outcome in self.files]
        json["attempts"] = self.attempts
        if self.notification is not None:
            json["notification"] = self.notification.to_json()
        if self.engine_report:
            json[self.engine] = dict(self.engine_report)
        return json


def now() -> datetime:
    """The time, with its zone, as every timestamp here has it."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """The moment in UTC, to the millisecond, as RFC 3339 writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
