"""What an engine is: it is given a request and a context, and tells events.

The request's types stand here, beside the protocol that takes them, so that an engine
depends on nothing that checks requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from efss_transfer.addresses import Permits
from efss_transfer.events import Event
from efss_transfer.result import Json, Result, Shard, State, VerifyMode

Value = str | int | float | bool
Report = Literal["summary", "errors", "all"]
Overwrite = Literal["changed", "newer", "never", "always"]
Compare = Literal["default", "size", "checksum"]
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Endpoint:
    """One end of a transfer: a storage's type, its parameters, and a path in it.

    `secrets` are the values among `parameters` that must never be shown; `dials` names the
    parameters that say where a connection goes, each with its form. A `path` that ends with
    `/`, or is empty, names a folder for certain. If the site configured the storage,
    `storage` is its name there, and `fixed` are the parameters that are the site's own.
    """

    type: str
    parameters: Mapping[str, Value] = field(repr=False)
    path: str
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    dials: Mapping[str, str] = field(default_factory=dict)
    storage: str | None = None
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ListedFile:
    """A file that a request names, and what the caller knows of it: its size in bytes, and
    its checksum, of which `hash` is the kind and `checksum` the value in small letters.
    """

    path: str
    size: int | None = None
    hash: str | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Selection:
    """Which files of the source's folder to copy; sizes are bytes.

    `files` are exactly those, and no others; the other members are all to be met. Patterns
    are globs: what `exclude` matches is left out whatever `include` says. Of what is
    selected by all that, a `shard` is one part: which part a file is in is a matter of its
    path alone.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[ListedFile, ...] | None = None
    min_size: int | None = None
    max_size: int | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    shard: Shard | None = None

    @property
    def by_attribute(self) -> bool:
        """Whether sizes or times decide."""
        return (
            self.min_size,
            self.max_size,
            self.modified_after,
            self.modified_before,
        ) != (None,) * 4


@dataclass(frozen=True)
class Options:
    """How to copy, as the request's schema describes each of them.

    `attempts` counts all tries, `bandwidth_limit` is bytes a second, and `report` is which
    files a JSON result names.
    """

    overwrite: Overwrite = "changed"
    compare: Compare = "default"
    verify: VerifyMode = VerifyMode.NONE
    metadata: bool = False
    dry_run: bool = False
    on_error: Literal["continue", "stop"] = "continue"
    attempts: int = 3
    deadline_seconds: float | None = None
    bandwidth_limit: int | None = None
    transfers: int | None = None
    report: Report = "errors"


@dataclass(frozen=True)
class TransferRequest:
    """A request that was checked: what to copy, where to, how, and by which engine.

    `notify` is the URL of whom to tell when it has ended; its query may be a secret.
    """

    source: Endpoint
    destination: Endpoint
    selection: Selection = Selection()
    options: Options = Options()
    engine: str = "rclone"
    id: str | None = None
    notify: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Limits:
    """What one transfer may take, and how many may run at a time; None is no limit.

    `transfers` is how many files of one transfer may be copied at a time.
    """

    files: int | None = None
    bytes: int | None = None
    duration_seconds: float | None = None
    concurrent_transfers: int | None = None
    transfers: int | None = None

    def within(self, other: Limits) -> Limits:
        """The stricter of two, each by itself."""
        return Limits(
            _stricter(self.files, other.files),
            _stricter(self.bytes, other.bytes),
            _stricter(self.duration_seconds, other.duration_seconds),
            _stricter(self.concurrent_transfers, other.concurrent_transfers),
            _stricter(self.transfers, other.transfers),
        )


def _stricter(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


@dataclass(frozen=True)
class Egress:
    """Where a run may connect to. `proxy` is a proxy, http://host:port, that must be used."""

    permits: Permits = lambda _host, _port, _address: False
    proxy: str | None = None


class Observer(Protocol):
    """Is told what happens within a run and is no event of it. Never raises."""

    def booted(self, seconds: float) -> None:
        """The engine gave its first answer, that many seconds after its start."""

    def attempt(self, number: int) -> None:
        """The copy is tried, for the first time (1) or again."""


class Unobserved:
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
    egress: Egress = Egress()
    limits: Limits = Limits()
    observer: Observer = field(default_factory=Unobserved)

    def must_end(self) -> State | None:
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
