"""What an engine is: it is given a request and a context, and tells events.

The request's types stand here, beside the protocol that takes them, so that an engine
depends on nothing that checks requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from efss_transfer.egress.rules import Egress
from efss_transfer.model.events import Event
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import Json, Result, State


class Observer(Protocol):
    """Is told what happens within a run and is no event of it. Never raises."""

    def booted(self, seconds: float) -> None:
        """The engine gave its first answer, that many seconds after its start."""

    def attempt(self, number: int) -> None:
        """The copy is tried, for the first time (1) or again."""


class NullObserver:
    """An observer whom nothing interests."""

    def booted(self, seconds: float) -> None:
        """Nothing."""

    def attempt(self, number: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Context:
    """What surrounds one run of an engine.

    `deadline` is on the clock of `time.monotonic()`, and so is `last_start`, after which no
    file is begun: what is on its way then can still arrive. `interrupted` tells whether the run
    must end early, and as what: it is asked often, from the thread that drives the run.
    Unless `egress` says otherwise, no connection may be made. `limits` are for this run;
    the engine keeps those of files and bytes.
    `observer` is told of what is measured and logged, and is no event.
    """

    deadline: float
    last_start: float = math.inf
    interrupted: Callable[[], State | None] = lambda: None
    egress: Egress = field(default_factory=Egress)
    limits: Limits = field(default_factory=Limits)
    observer: Observer = field(default_factory=NullObserver)

    def end_state(self) -> State | None:
        """The state in which to end now, or None to go on."""
        if (state := self.interrupted()) is not None:
            return state
        return State.INCOMPLETE if time.monotonic() >= self.deadline else None

    def may_start(self) -> bool:
        """Whether there is time to begin with another file."""
        return time.monotonic() < min(self.last_start, self.deadline)


@dataclass(frozen=True)
class Survey:
    """What a look at both ends has shown, without moving anything to the destination.

    `result` is that of a dry run: unless it has succeeded, the other members say nothing.
    `files` and `bytes` are what would be copied, `unsized` how many of these files have no
    known size, `largest` the path and size of the largest, and `there` how many files would be
    left as they are. `free` is how many bytes the destination has room for, `rate` how many
    bytes of the largest file came in a second; None where that could not be found out.
    `seconds` is how long it took to begin and to look.
    """

    result: Result
    files: int = 0
    bytes: int = 0
    unsized: int = 0
    largest: tuple[str, int] | None = None
    there: int = 0
    free: int | None = None
    rate: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Health:
    """Whether an engine can work here. `detail` says what to do if it cannot.

    `sandbox` tells how the programs that it starts are confined on this machine: by the
    name of each measure true, or in a few words what it amounts to, and false where the
    measure is not in force.
    """

    usable: bool
    version: str | None = None
    detail: str | None = None
    sandbox: Mapping[str, bool | str] | None = None

    def to_json(self) -> dict[str, Json]:
        """An entry of /healthz."""
        json: dict[str, Json] = {"usable": self.usable}
        if self.version is not None:
            json["version"] = self.version
        if self.detail is not None:
            json["detail"] = self.detail
        if self.sandbox is not None:
            json["sandbox"] = dict(self.sandbox)
        return json


class Engine(Protocol):
    """Moves data. One instance serves all requests, from many threads at once."""

    @property
    def name(self) -> str:
        """The name by which a request chooses it."""

    @property
    def unguarded(self) -> Mapping[str, str | None]:
        """Types of storage whose connections are made past what `Egress` says.

        Each has the parameter that must then be an address and not a name; or None, if it
        connects to hosts that no parameter names.
        """

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        """Copy, and tell how it goes: `Started` first, `Finished` last.

        While it runs there is an event at least every second. Closing the iterator
        early cancels the copy. However it ends, nothing of it is left behind. Raises
        EngineError if it could not even begin, that is before `Started`.
        """

    def survey(
        self, request: TransferRequest, context: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        """Look at what `run` would do, and write nothing; what is found is returned.

        With `measure` some of the largest file is read, to see how fast that is. Events are
        told as `run` tells them, but neither files nor the result. Closing the iterator early
        ends it, nothing is left behind, and it raises as `run` does.
        """

    def health(self) -> Health:
        """Whether a request could be served now."""
