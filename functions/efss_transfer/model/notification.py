"""The outcome of a notification, as it is reported in a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class NotificationError:
    """Why a notification was not delivered: a stable code, and a text for people."""

    code: Literal["forbidden", "unreachable", "untrusted", "rejected", "internal"]
    message: str

    def to_json(self) -> dict[str, Any]:
        """The `error` of a notification."""
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True)
class Notification:
    """Whether the receiver was notified. `status` is the last HTTP status that it returned."""

    attempts: int
    status: int | None = None
    error: NotificationError | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it."""
        return self.error is None

    def to_json(self) -> dict[str, Any]:
        """A result's `notification`."""
        json: dict[str, Any] = {"delivered": self.delivered, "attempts": self.attempts}
        if self.status is not None:
            json["status"] = self.status
        if self.error is not None:
            json["error"] = self.error.to_json()
        return json
