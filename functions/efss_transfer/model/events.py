"""The events that an engine emits during a transfer. The last one is the result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from efss_transfer.model.result import FileOutcome, Json, Result, Side, Totals, rfc3339


@dataclass(frozen=True)
class Started:
    """The transfer was accepted, and its engine starts."""

    engine: str
    started: datetime
    id: str | None = None

    def to_json(self) -> dict[str, Json]:
        """A line of the stream."""
        json: dict[str, Json] = {"event": "started", "engine": self.engine}
        if self.id is not None:
            json["id"] = self.id
        return json | {"started": rfc3339(self.started)}


class Phase(StrEnum):
    """A transfer's phase: copying, waiting before the next attempt, or verifying."""

    COPYING = "copying"
    WAITING = "waiting"
    VERIFYING = "verifying"


class WaitReason(StrEnum):
    """What a transfer waits for: a storage, or the time of the next attempt."""

    SERVER_BUSY = "server_busy"
    FILE_LOCKED = "file_locked"
    FILE_PROCESSING = "file_processing"
    NEXT_ATTEMPT = "next_attempt"


@dataclass(frozen=True)
class Wait:
    """What a transfer waits for now, or one of its files.

    `server` is the product at that side, and `path` a file's path in that storage; both are empty
    if they are unknown. `seconds` are left, or None while nobody knows how long it takes.
    """

    reason: WaitReason
    side: Side | None = None
    server: str = ""
    path: str = ""
    seconds: float | None = None

    def to_json(self) -> dict[str, Json]:
        """A progress event's `waiting`."""
        json: dict[str, Json] = {"for": self.reason.value}
        if self.side is not None:
            json["side"] = self.side.value
        texts = {"server": self.server, "path": self.path}
        json |= {name: text for name, text in texts.items() if text}
        if self.seconds is not None:
            json["seconds"] = round(self.seconds, 1)
        return json


@dataclass(frozen=True)
class InFlight:
    """A file that is being copied. Sizes are bytes; `size` is None while it is unknown."""

    path: str
    current_bytes: int
    size: int | None

    def to_json(self) -> dict[str, Json]:
        """An entry of a progress event's `in_flight`."""
        json: dict[str, Json] = {"path": self.path, "bytes": self.current_bytes}
        if self.size is not None:
            json["size"] = self.size
        return json


@dataclass(frozen=True)
class Progress:
    """The progress of a transfer.

    `expected_files` and `expected_bytes` count what is known to need copying so far: they
    grow while the source is being listed. `speed` is in bytes a second.
    """

    totals: Totals
    current_bytes: int
    expected_files: int
    expected_bytes: int
    speed: float
    eta_seconds: float | None = None
    phase: Phase = Phase.COPYING
    attempt: int = 1
    in_flight: tuple[InFlight, ...] = ()
    waiting: Wait | None = None

    def to_json(self) -> dict[str, Json]:
        """A line of the stream."""
        json: dict[str, Json] = {
            "event": "progress",
            "phase": self.phase.value,
            "attempt": self.attempt,
            "files": {
                "transferred": self.totals.transferred,
                "skipped": self.totals.skipped,
                "failed": self.totals.failed,
                "expected": self.expected_files,
            },
            "bytes": {"transferred": self.current_bytes, "expected": self.expected_bytes},
            "bytes_per_second": round(self.speed, 1),
        }
        if self.eta_seconds is not None:
            json["eta_seconds"] = round(self.eta_seconds, 1)
        if self.waiting is not None:
            json["waiting"] = self.waiting.to_json()
        json["in_flight"] = [file.to_json() for file in self.in_flight]
        return json


@dataclass(frozen=True)
class FileDone:
    """The outcome of one file."""

    outcome: FileOutcome

    def to_json(self) -> dict[str, Json]:
        """A line of the stream."""
        return {"event": "file"} | self.outcome.to_json()


@dataclass(frozen=True)
class Finished:
    """The last event: the result."""

    result: Result

    def to_json(self) -> dict[str, Json]:
        """A line of the stream."""
        return {"event": "result"} | self.result.to_json()


Event = Started | Progress | FileDone | Finished
