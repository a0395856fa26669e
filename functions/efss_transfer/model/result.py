"""The result of a transfer, as frozen types; `to_json()` is the contract's form.

The form is described by schema/result.schema.json, and a test holds the two together.
"""

from __future__ import annotations

import json as _json
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


class Reason(StrEnum):
    """Why a file was skipped.

    `same`: what is there is the same, by the way of comparing that was asked for. `older`:
    what is there is newer. `exists`: something is there, and that was to decide.
    `dry_run`: it would have been copied.
    """

    SAME = "same"
    OLDER = "older"
    EXISTS = "exists"
    DRY_RUN = "dry_run"


class Side(StrEnum):
    """The end of the transfer that an error came from."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of what is to be copied; `index` counts from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def to_json(self) -> dict[str, Json]:
        """As a request names it, and its result."""
        return {"index": self.index, "count": self.count}


# Where Unicode ends a line, and JSON does not.
_LINE_ENDS: Final = "\x85\u2028\u2029"


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
    """What became of one file. `path` is relative to the source, sizes are bytes.

    Of a path that is told twice the later outcome counts: verification has looked again.
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
    """Exact counts. `transferred_bytes` are those of all files that were copied, also of one
    that verification then found to differ; `dry_run_bytes` those that would have been.
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


class VerifyMode(StrEnum):
    """How source and destination are compared after a copy."""

    NONE = "none"
    SIZE = "size"
    CHECKSUM = "checksum"
    DOWNLOAD = "download"


@dataclass(frozen=True)
class Verification:
    """What comparing both sides after the copy has shown, in files.

    `mode` is what was really done: a checksum that the two storages do not share cannot be
    compared, and then sizes were. `hash` names the checksum; `by_size` counts those of the
    `checked` of which a checksum was wanted and one of the two storages had none.
    """

    mode: VerifyMode
    checked: int = 0
    differing: int = 0
    missing: int = 0
    hash: str | None = None
    by_size: int = 0

    def to_json(self) -> dict[str, Json]:
        """A result's `verification`."""
        json: dict[str, Json] = {"mode": self.mode.value}
        if self.hash is not None:
            json["hash"] = self.hash
        json |= {"checked": self.checked, "differing": self.differing, "missing": self.missing}
        if self.by_size:
            json["by_size"] = self.by_size
        return json


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
    `shard` is the part of the files that it is about, None if it is all of them; and
    `code` is the error code that decides the HTTP status, None if it succeeded.
    `files_omitted` counts the files that were asked for and for which there was no room.
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
    id: str | None = None
    shard: Shard | None = None
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
        json |= {"state": self.state.value, "engine": self.engine}
        if self.shard is not None:
            json["shard"] = self.shard.to_json()
        json |= {
            "started": rfc3339(self.started),
            "finished": rfc3339(self.finished),
            "totals": self.totals.to_json(),
            "errors": [group.to_json() for group in self.errors],
        }
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


def now() -> datetime:
    """The time, with its zone, as every timestamp here has it."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """The moment in UTC, to the millisecond, as RFC 3339 writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encoded(content: Json) -> bytes:
    """JSON as it is sent, and as its length is counted. It is a single line to everybody."""
    text = _json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Many a client reads a stream of lines as text (`requests` and `httpx` can), and then
    # these end a line, too. In JSON they stand in strings alone, and have escapes there.
    for sign in _LINE_ENDS:
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    # A name that is no text (half a surrogate pair) must not lose the whole answer.
    return text.encode("utf-8", "replace")
