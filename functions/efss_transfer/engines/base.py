"""What an engine is: it is given a request and a context, and tells events.

The request's types stand here, beside the protocol that takes them, so that an engine
depends on nothing that checks requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from efss_transfer.events import Event
from efss_transfer.result import Json, State

Value = str | int | float | bool
Report = Literal["summary", "errors", "all"]


@dataclass(frozen=True)
class Endpoint:
    """One end of a transfer: a storage's type, its parameters, and a path in it.

    `secrets` are the values among `parameters` that must never be shown. A `path` that
    ends with `/`, or is empty, names a folder for certain.
    """

    type: str
    parameters: Mapping[str, Value] = field(repr=False)
    path: str
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Options:
    """How to copy. `report` is which files a JSON result names."""

    report: Report = "errors"


@dataclass(frozen=True)
class TransferRequest:
    """A request that was checked: what to copy, where to, how, and by which engine."""

    source: Endpoint
    destination: Endpoint
    options: Options = Options()
    engine: str = "rclone"
    id: str | None = None


@dataclass(frozen=True)
class Context:
    """What surrounds one run of an engine.

    `deadline` is on the clock of `time.monotonic()`. `interrupted` tells whether the run
    must end early, and as what: it is asked often, from the thread that drives the run.
    """

    deadline: float
    interrupted: Callable[[], State | None] = lambda: None

    def must_end(self) -> State | None:
        """The state in which to end now, or None to go on."""
        if (state := self.interrupted()) is not None:
            return state
        return State.INCOMPLETE if time.monotonic() >= self.deadline else None


@dataclass(frozen=True)
class Health:
    """Whether an engine can work here. `detail` says what to do if it cannot."""

    usable: bool
    version: str | None = None
    detail: str | None = None

    def to_json(self) -> dict[str, Json]:
        """An entry of /healthz."""
        json: dict[str, Json] = {"usable": self.usable}
        if self.version is not None:
            json["version"] = self.version
        if self.detail is not None:
            json["detail"] = self.detail
        return json


class Engine(Protocol):
    """Moves data. One instance serves all requests, from many threads at once."""

    @property
    def name(self) -> str:
        """The name by which a request chooses it."""

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        """Copy, and tell how it goes: `Started` first, `Finished` last.

        While it runs there is an event at least every second. Closing the iterator
        early cancels the copy. However it ends, nothing of it is left behind. Raises
        EngineError if it could not even begin, that is before `Started`.
        """

    def health(self) -> Health:
        """Whether a request could be served now."""
