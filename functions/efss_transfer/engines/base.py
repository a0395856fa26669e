"""The protocol of an engine: it takes a request and a context, and yields events.

It depends only on the model and the egress policy, and not on the modules that parse and check
requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from efss_transfer.egress.rules import Egress
from efss_transfer.model.events import Event
from efss_transfer.model.request import Endpoint, FtsServer, Limits, TransferRequest
from efss_transfer.model.result import Failure, Json, Result, State

if TYPE_CHECKING:
    from efss_transfer.model.listing import FolderListing
    from efss_transfer.model.storage_check import StorageCheck


_Outcome = TypeVar("_Outcome")


def outcome_of(
    events: Generator[Event, None, _Outcome], note: Callable[[Event], None] = lambda _: None
) -> _Outcome:
    """Run a generator to its end, and return its outcome. Only `note` gets its events."""
    with closing(events):
        while True:
            try:
                note(next(events))
            except StopIteration as end:
                outcome: _Outcome = end.value
                return outcome


class Observer(Protocol):
    """Receives measurements of a run, which are for metrics and logs. No method raises."""

    def booted(self, seconds: float) -> None:
        """The engine sent its first response, `seconds` after its start."""

    def attempt(self, number: int) -> None:
        """An attempt to copy starts; the first has the number 1."""


class NullObserver:
    """An observer that ignores all measurements."""

    def booted(self, seconds: float) -> None:
        """Do nothing."""

    def attempt(self, number: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Context:
    """Deadlines, limits and policy of one run.

    `deadline` is a time of `time.monotonic()`, and so is `last_start`: after it the engine starts
    no further file, and files already started may complete. `interrupted` returns the state in
    which the run must end early, or None; the thread that drives the run calls it often.
    `egress` refuses every connection by default. The engine applies the `limits` of files and
    bytes. `observer` receives measurements.
    """

    deadline: float
    last_start: float = math.inf
    interrupted: Callable[[], State | None] = lambda: None
    egress: Egress = field(default_factory=Egress)
    limits: Limits = field(default_factory=Limits)
    observer: Observer = field(default_factory=NullObserver)

    def end_state(self) -> State | None:
        """The state in which the run must end now; None if it may continue."""
        if (state := self.interrupted()) is not None:
            return state
        return State.INCOMPLETE if time.monotonic() >= self.deadline else None

    def may_start(self) -> bool:
        """Whether another file may still be started."""
        return time.monotonic() < min(self.last_start, self.deadline)


@dataclass(frozen=True)
class Survey:
    """The outcome of a dry run over both sides, which writes nothing to the destination.

    The other members are valid only if `result` succeeded. `files` and `bytes` would be copied;
    `unsized` of these files have no known size, and `largest` is the path and size of the largest
    one. `there` files would be skipped. `free` is the free space of the destination in bytes, and
    `rate` the measured read rate of the largest file in bytes per second; both are None if
    unknown. `seconds` is the time that starting and surveying took.
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
    """Whether an engine is usable here; if it is not, `detail` says what to do.

    `sandbox` lists the measures that confine the engine's programs on this machine: by name,
    True or a short description of a measure in force, False for one that is not.
    """

    usable: bool
    version: str | None = None
    detail: str | None = None
    sandbox: Mapping[str, bool | str] | None = None

    def to_json(self) -> dict[str, Json]:
        """The engine's entry in /healthz."""
        json: dict[str, Json] = {"usable": self.usable}
        if self.version is not None:
            json["version"] = self.version
        if self.detail is not None:
            json["detail"] = self.detail
        if self.sandbox is not None:
            json["sandbox"] = dict(self.sandbox)
        return json


@dataclass(frozen=True)
class ServerProbe:
    """What trying an engine's server showed. Without a `failure` it can be used.

    `is_reached`: something answered there; `is_trusted`: also by TLS, where its address has that.
    """

    is_reached: bool
    is_trusted: bool
    failure: Failure | None = None


class Engine(Protocol):
    """Copies data. One instance serves all requests, from many threads at once."""

    @property
    def name(self) -> str:
        """The name by which a request selects the engine."""

    @property
    def unguarded(self) -> Mapping[str, str | None]:
        """Storage types whose connections cannot be routed through the egress guard.

        The value is the parameter that must then hold an address and not a name; None if the
        engine connects to hosts that no parameter names.
        """

    @property
    def is_third_party(self) -> bool:
        """Whether the storages copy between themselves: those bytes pass no guard of this service,
        so the site must allow both hosts by their names.
        """

    @property
    def can_detach(self) -> bool:
        """Whether a transfer can go on without this service, as `options.detach` asks for.

        If so, `run` of a request with `detach` starts what is missing, or finds it running, and
        ends at once: as `incomplete` with the code `still_running` while it runs, and with the
        result once it has ended. With `dry_run` as well it looks and starts nothing: what does
        not run is then reported as by any dry run.
        """

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        """Copy, and yield events: `Started` first, `Finished` last.

        An event follows at least every second. Closing the generator early cancels the copy.
        However the run ends, it leaves no process and no file behind. Raises EngineError if the
        copy could not start, which is before `Started`.
        """

    def survey(
        self, request: TransferRequest, context: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        """Find out what `run` would do, without writing, and return that.

        With `measure`, part of the largest file is read to measure the rate. Yields the events
        of `run`, except those of files and the result. Closing the generator early ends the
        survey, which leaves nothing behind. Raises the same errors as `run`.
        """

    def health(self) -> Health:
        """Whether the engine could serve a request now."""


@runtime_checkable
class ListingEngine(Engine, Protocol):
    """An engine that can also list a folder. A request to one that cannot is refused."""

    def list_folder(self, endpoint: Endpoint, limit: int, context: Context) -> FolderListing:
        """List the content of the endpoint's path, or the file that it is.

        Nothing is written. The memory that it takes depends on `limit` and not on the folder.
        A storage that refuses is the listing's `failure`. Raises EngineError if the engine
        could not start or broke down.
        """


@runtime_checkable
class CheckingEngine(Engine, Protocol):
    """An engine that can also check a storage. A request to one that cannot is refused."""

    def check(self, endpoint: Endpoint, context: Context, *, write: bool) -> StorageCheck:
        """Find out what may be done with a storage, and what it can.

        With `write` something of a random name is made in the endpoint's path and removed;
        otherwise nothing is written. Raises EngineError if the engine could not start.
        """


@runtime_checkable
class ServerEngine(Engine, Protocol):
    """An engine that needs a server, which the site file names."""

    def probe(self, server: FtsServer, context: Context) -> ServerProbe:
        """Find out whether the server can be reached and accepts the token, by the context's
        deadline.

        Nothing is submitted. It is for operators who ask: `health` is for probes of liveness, and
        asks no remote server. Raises ConfigurationError if the site's files cannot be read.
        """
