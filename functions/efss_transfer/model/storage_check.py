"""A request to check a storage, and what the check found, as frozen types.

schema/check-request.schema.json and schema/check.schema.json describe their JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import Failure, Json


@dataclass(frozen=True)
class CheckRequest:
    """A checked request to check an endpoint. `write`: whether to make and remove something."""

    endpoint: Endpoint
    write: bool = False
    engine: str = "rclone"


class CheckName(StrEnum):
    """A step of a check. Each needs the ones before it."""

    REACH = "reach"
    SIGN_IN = "sign_in"
    READ = "read"
    WRITE = "write"


class StepState(StrEnum):
    """How a step ended. `skipped`: it was not asked for, or a step that it needs failed."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckStep:
    """The outcome of one step, with its failure if it failed."""

    name: CheckName
    state: StepState
    failure: Failure | None = None

    def to_json(self) -> dict[str, Json]:
        """An entry of a check's `steps`."""
        json: dict[str, Json] = {"step": self.name.value, "state": self.state.value}
        if self.failure is not None:
            json["error"] = {
                "code": self.failure.code,
                "retryable": self.failure.retryable,
                "message": self.failure.message,
            }
        return json


@dataclass(frozen=True)
class StorageSpace:
    """The space of a storage in bytes; None where it tells nothing."""

    free: int | None = None
    total: int | None = None
    used: int | None = None

    def to_json(self) -> dict[str, Json]:
        """The member `space` of a check; empty if nothing is known."""
        known = {"free": self.free, "total": self.total, "used": self.used}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class ServerProduct:
    """What a server says that it is."""

    name: str
    version: str | None = None


@dataclass(frozen=True)
class StorageAbilities:
    """What a storage can do with files; None where that is unknown.

    `checksums` are the kinds that it has for each file, and `third_party` the ways in which it
    copies by itself: `pull` from another storage, `push` to one.
    """

    checksums: tuple[str, ...] | None
    keeps_times: bool
    third_party: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StorageCheck:
    """What a check found. With a `failure` the check itself failed, and nothing else is valid."""

    type: str
    steps: tuple[CheckStep, ...] = ()
    space: StorageSpace = StorageSpace()
    product: ServerProduct | None = None
    abilities: StorageAbilities | None = None
    failure: Failure | None = None

    @property
    def has_passed(self) -> bool:
        """Whether no step failed."""
        return all(step.state is not StepState.FAILED for step in self.steps)

    def to_json(self) -> dict[str, Json]:
        """The check in the form of schema/check.schema.json."""
        json: dict[str, Json] = {
            "passed": self.has_passed,
            "steps": [step.to_json() for step in self.steps],
        }
        if space := self.space.to_json():
            json["space"] = space
        server: dict[str, Json] = {"type": self.type}
        if self.product is not None:
            server["product"] = self.product.name
            if self.product.version is not None:
                server["version"] = self.product.version
        if self.abilities is not None:
            if self.abilities.checksums is not None:
                server["checksums"] = list(self.abilities.checksums)
            server["keeps_times"] = self.abilities.keeps_times
            if self.abilities.third_party is not None:
                server["third_party_copy"] = list(self.abilities.third_party)
        return json | {"server": server}
