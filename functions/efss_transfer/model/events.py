"""What an engine tells while it works. The last event of a transfer is its result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from efss_transfer.model.result import FileOutcome, Json, Result, Totals, rfc3339


@dataclass(frozen=True)
class Started:
    """The transfer was accepted and its engine is about to work."""

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
    """What a transfer is at: copying, waiting before it tries again, or verifying."""

    COPYING = "copying"
    WAITING = "waiting"
    VERIFYING = "verifying"


@dataclass(frozen=True)
class InFlight:
    """A file that is being copied; `size` is None where it is not known before its end."""

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
    """How far the copy is.

    `expected_files` and `expected_bytes` are what is known to need copying so far: they
    grow while the source is still being listed. Speed is bytes a second.
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
