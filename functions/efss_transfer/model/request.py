"""A checked request as frozen types: endpoints, selection, options and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal, TypeVar

from efss_transfer.model.result import Shard
from efss_transfer.model.targets import Target, parse_target
from efss_transfer.model.verification import VerifyMode

Value = str | int | float | bool
Items = Sequence[Mapping[str, Any]]
"""A parameter that is a list of objects."""
Report = Literal["summary", "errors", "all"]
Overwrite = Literal["changed", "newer", "never", "always"]
Compare = Literal["default", "size", "checksum"]
FTS: Final = "fts"
"""The engine that an `FtsServer` is for, which is also the name of its connections' side."""
_TOKEN_ISSUERS: Final = ("token_source", "token_endpoint")
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Endpoint:
    """One end of a transfer: a storage type, its parameters, and a path.

    Attributes:
        type: The storage type, such as `webdav`.
        parameters: The type's parameters, by name; values may be secret.
        path: A path in the storage. If it is empty or ends with `/`, it must be a folder.
        secrets: The values among `parameters` that must never be shown.
        target_forms: The parameters that say where a connection goes, each with the name of
            its form in the schema.
        storage: The name of a storage from the site file; None if the request names the type.
        site_parameters: The names of the parameters that the site file sets.
        lists: The parameters that are lists of objects, which may contain secrets.

    """

    type: str
    parameters: Mapping[str, Value] = field(repr=False)
    path: str
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    target_forms: Mapping[str, str] = field(default_factory=dict)
    storage: str | None = None
    site_parameters: frozenset[str] = frozenset()
    lists: Mapping[str, Items] = field(default_factory=dict, repr=False)

    @property
    def targets(self) -> Mapping[str, Target]:
        """The hosts that the parameters name, by parameter.

        A parameter is absent if it leads only to its storage's own service, or if its value
        is invalid: see `invalid_targets`.
        """
        return self._parsed_targets[0]

    @property
    def locations(self) -> Mapping[str, Target]:
        """The `targets` without the addresses that issue tokens: no files are there."""
        issuers = self.token_issuers
        return {name: target for name, target in self.targets.items() if name not in issuers}

    @property
    def token_issuers(self) -> tuple[str, ...]:
        """The parameters that name where bearer tokens are fetched and renewed; mostly none."""
        return tuple(name for name in _TOKEN_ISSUERS if name in self.parameters)

    @property
    def invalid_targets(self) -> tuple[str, ...]:
        """The parameters whose value is not a host and port that can be checked."""
        return self._parsed_targets[1]

    @cached_property
    def _parsed_targets(self) -> tuple[Mapping[str, Target], tuple[str, ...]]:
        port = self.parameters.get("port")
        targets: dict[str, Target] = {}
        invalid: list[str] = []
        for parameter, form in self.target_forms.items():
            try:
                target = parse_target(
                    form, str(self.parameters[parameter]), None if port is None else int(port)
                )
            except ValueError:
                invalid.append(parameter)
                continue
            if target is not None:
                targets[parameter] = target
        return targets, tuple(invalid)


@dataclass(frozen=True)
class ListedFile:
    """A file that a request names: its path, and its size and checksum if the caller knows them.

    `size` is in bytes. `hash` is the algorithm, `checksum` its value in lower case.
    """

    path: str
    size: int | None = None
    hash: str | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Selection:
    """Which files of the source folder to copy. Sizes are in bytes.

    `files` selects exactly these paths. A file must match all other members; patterns are
    globs, and `exclude` overrides `include`. `shard` then keeps one part of the selected
    files, decided by each file's path alone.
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
        """Whether the selection depends on sizes or times."""
        return (
            self.min_size,
            self.max_size,
            self.modified_after,
            self.modified_before,
        ) != (None,) * 4


@dataclass(frozen=True)
class Options:
    """How to copy; the request's schema describes each member.

    `attempts` includes the first one, `bandwidth_limit` is in bytes a second, and `report`
    says which files a JSON result lists. `detach` answers at once, and lets the transfer go on
    without this service; see `Engine.can_detach`.
    """

    overwrite: Overwrite = "changed"
    compare: Compare = "default"
    verify: VerifyMode = VerifyMode.NONE
    require_checksum: bool = False
    metadata: bool = False
    dry_run: bool = False
    create_bucket: bool = False
    on_error: Literal["continue", "stop"] = "continue"
    attempts: int = 3
    deadline_seconds: float | None = None
    bandwidth_limit: int | None = None
    transfers: int | None = None
    report: Report = "errors"
    detach: bool = False


@dataclass(frozen=True)
class FtsServer:
    """The FTS3 server of a transfer, and how to sign in there.

    A request has the token alone; the rest is the site's. `ca_bundle` is a file with the
    certificates to trust there in place of the usual ones. With `unmanaged_tokens` the server
    neither exchanges nor renews the tokens of the storages.
    """

    url: str = ""
    ca_bundle: str | None = None
    token: str | None = field(default=None, repr=False)
    unmanaged_tokens: bool = False


@dataclass(frozen=True)
class TransferRequest:
    """A checked request: what to copy, from where to where, how, and with which engine.

    `notify` is the URL that receives the result when the transfer ends. Its query may be a
    secret.
    """

    source: Endpoint
    destination: Endpoint
    selection: Selection = Selection()
    options: Options = Options()
    engine: str = "rclone"
    id: str | None = None
    notify: str | None = field(default=None, repr=False)
    fts: FtsServer | None = None


@dataclass(frozen=True)
class Limits:
    """What one transfer may use, and how many may run at a time. None means no limit.

    `transfers` is the number of files that one transfer may copy at a time.
    """

    files: int | None = None
    bytes: int | None = None
    duration_seconds: float | None = None
    concurrent_transfers: int | None = None
    transfers: int | None = None

    def within(self, other: Limits) -> Limits:
        """The stricter of both limits, member by member."""
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
