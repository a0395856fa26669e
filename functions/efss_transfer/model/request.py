"""A checked request: endpoints, selection, options and limits, as frozen types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from efss_transfer.model.result import Shard, VerifyMode

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
