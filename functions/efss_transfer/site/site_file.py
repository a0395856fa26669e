"""Reads the site file: callers, storages, and where transfers may connect to.

It is read once, at start. All mistakes are reported together, each with its JSON Pointer:
a mistake that is ignored could leave the service open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.validation import escape_token, load, violations
from efss_transfer.egress.rules import EgressRules
from efss_transfer.model import targets
from efss_transfer.model.errors import InvalidJson, InvalidSite, Violation
from efss_transfer.model.request import Limits, Value
from efss_transfer.model.targets import Network
from efss_transfer.site import secrets
from efss_transfer.site.fts_server import SiteFts

_SIDES: Final = frozenset({"source", "destination"})
DEFAULT_ENGINE: Final = "rclone"
"""The engine that every site has."""
INVALID_TARGET: Final = "Must name a host, or an IP address, and a port of at most 65535."


@dataclass(frozen=True)
class SiteStorage:
    """A storage that requests can name.

    `parameters` are values, or references to secrets. A request may set `caller_parameters`.
    Paths are below `root`. `use` has the sides that it may be.
    """

    name: str
    type: str
    parameters: Mapping[str, Value | secrets.Reference] = field(repr=False)
    caller_parameters: frozenset[str] = frozenset()
    root: str = ""
    use: frozenset[str] = _SIDES


@dataclass(frozen=True)
class Caller:
    """A caller's permissions. None means everything that the site allows."""

    storages: frozenset[str] | None = None
    types: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Site:
    """The operator's settings. The defaults apply without a site file.

    They admit local callers only, and connections to public addresses only.
    """

    storages: Mapping[str, SiteStorage] = field(default_factory=dict)
    allowed_types: frozenset[str] | None = None
    denied_types: frozenset[str] = frozenset()
    egress_rules: EgressRules = field(default_factory=EgressRules)
    egress_proxy: str | None = None
    limits: Limits = field(default_factory=Limits)
    body_bytes: int | None = None
    authentication: Mapping[str, Any] = field(default_factory=lambda: {"mode": "none"}, repr=False)
    callers: Mapping[str, Caller] | None = None
    notify_secret: secrets.Reference | None = None
    engines: frozenset[str] = frozenset({DEFAULT_ENGINE})
    fts: SiteFts | None = None

    def settings(self) -> dict[str, float]:
        """The limits that override settings: see Settings.read."""
        limits = {
            "CONCURRENT_TRANSFERS": self.limits.concurrent_transfers,
            "DURATION_SECONDS": self.limits.duration_seconds,
            "BODY_BYTES": self.body_bytes,
        }
        return {name: value for name, value in limits.items() if value is not None}

    def caller(self, name: str) -> Caller | None:
        """A caller's permissions, or None if the site does not admit the caller."""
        if self.callers is None:
            return Caller()
        return self.callers.get(name) or self.callers.get("*")


def read(file: Path, *, credentials: Path | None = None, may_lack_secrets: bool = False) -> Site:
    """Read a site file.

    `credentials` is where to look for files that systemd will load: see secrets.relocate.
    Raises InvalidSite with every mistake: in the JSON, against the schema, or in references
    to a storage or a caller; and with every secret that is not on this machine, unless it
    `may_lack_secrets`.
    """
    try:
        body = file.read_bytes()
    except OSError as error:
        raise InvalidSite(f"The file cannot be read ({error.strerror}).") from None
    try:
        document = load(body, "The file")
    except InvalidJson as error:
        raise InvalidSite(str(error)) from None
    found, has_more = violations("site", document)
    if not found:
        if credentials is not None:
            document = secrets.relocate(document, credentials)
        found = sorted(_mistakes(document), key=lambda mistake: mistake.pointer)
    lacks_only_secrets = all(mistake.keyword == "secret" for mistake in found)
    if found and not (lacks_only_secrets and may_lack_secrets):
        reason = "It has no mistakes, but this machine lacks secrets that it refers to."
        raise InvalidSite(reason if lacks_only_secrets else "", found, has_more=has_more)
    return _site(document)


def _mistakes(document: Mapping[str, Any]) -> Iterator[Violation]:
    """Find mistakes that the schema cannot express."""
    storages, callers = document.get("storages", {}), document.get("callers")
    for name, storage in storages.items():
        yield from _storage_mistakes(f"/storages/{name}", storage)
    for kind in ("allow", "deny"):
        for index, text in enumerate(document.get(kind, {}).get("networks", [])):
            try:
                ip_network(text)
            except ValueError as error:
                yield Violation(f"/{kind}/networks/{index}", "format", f"Not a network: {error}.")
    if "token" in (fts := document.get("engines", {}).get("fts", {})):
        yield from _reference_mistakes("/engines/fts/token", fts["token"])
    if "notify" in document:
        yield from _reference_mistakes("/notify/secret", document["notify"]["secret"])
    authentication = document.get("authentication", {"mode": "none"})
    yield from _authentication_mistakes(authentication, callers)
    for name, caller in (callers or {}).items():
        for index, storage in enumerate(caller.get("storages", [])):
            if storage not in storages:
                yield Violation(
                    f"/callers/{escape_token(name)}/storages/{index}",
                    "reference",
                    "`storages` has no storage of this name.",
                )


def _authentication_mistakes(
    authentication: Mapping[str, Any], callers: Mapping[str, Any] | None
) -> Iterator[Violation]:
    mode = authentication["mode"]
    used = {"none": set(), "tokens": {"tokens"}}.get(mode, set(authentication) - {"mode", "tokens"})
    for member in sorted(set(authentication) - {"mode"} - used):
        yield Violation(
            f"/authentication/{member}", "mode", f"The mode `{mode}` does not use this member."
        )
    if mode == "none" and callers is not None:
        yield Violation(
            "/callers",
            "mode",
            "Callers have no names in the mode `none`: remove it, or choose another mode.",
        )
    for index, token in enumerate(authentication.get("tokens", [])):
        if callers is not None and not {token["caller"], "*"} & set(callers):
            yield Violation(
                f"/authentication/tokens/{index}/caller",
                "reference",
                "`callers` has no caller of this name.",
            )


def _storage_mistakes(at: str, storage: Mapping[str, Any]) -> Iterator[Violation]:
    storage_type, parameters = storage["type"], storage["parameters"]
    known = storage_types.parameters(storage_type)
    caller_parameters = storage.get("caller_parameters", [])
    sample: dict[str, Any] = {}
    for name, value in parameters.items():
        pointer = f"{at}/parameters/{escape_token(name)}"
        if isinstance(value, Mapping):
            yield from _reference_mistakes(pointer, value)
            # The secret is not read here; an example takes its place.
            value = known[name]["examples"][0] if name in known else ""
        elif name in storage_types.secret_parameters(storage_type):
            yield Violation(
                pointer,
                "reference",
                'The site file must not contain a secret: refer to it, as {"env": "NAME"} or '
                '{"file": "/run/secrets/name"}.',
            )
        sample[name] = value
    for index, name in enumerate(caller_parameters):
        pointer = f"{at}/caller_parameters/{index}"
        if name not in known:
            yield Violation(pointer, "reference", "This storage type has no such parameter.")
        elif name in storage_types.target_parameters(storage_type) and not (
            # A share's address comes with its secret, which goes nowhere else.
            storage_type == "ocm" and "sharedSecret" in caller_parameters
        ):
            text = "A request may not set where a connection goes; set it in `parameters`."
            yield Violation(pointer, "policy", text)
        elif name in parameters:
            yield Violation(pointer, "reference", "`parameters` already sets this.")
        else:
            sample[name] = known[name]["examples"][0]
    found, _ = violations(
        "request", sample, part=storage_types.schema_pointer(storage_type), at=f"{at}/parameters"
    )
    yield from found
    if not found:
        yield from (
            Violation(f"{at}/parameters/{name}", "format", INVALID_TARGET)
            for name in parameters
            if name in storage_types.target_parameters(storage_type)
            and not _is_target(storage_type, name, sample)
        )


def _reference_mistakes(pointer: str, value: secrets.Reference) -> Iterator[Violation]:
    if len(set(value) - {"key"}) > 1:
        yield Violation(pointer, "reference", "Give exactly one reference.")
    elif (reason := secrets.check_reference(value)) is not None:
        yield Violation(pointer, "secret", reason)


def _is_target(storage_type: str, name: str, parameters: Mapping[str, Any]) -> bool:
    try:
        form = storage_types.target_parameters(storage_type)[name]
        targets.parse_target(form, str(parameters[name]))
    except ValueError:
        # The example that takes a secret's place need not be a complete value.
        return name in storage_types.secret_parameters(storage_type)
    return True


def _site(document: Mapping[str, Any]) -> Site:
    allow, deny = document.get("allow", {}), document.get("deny", {})
    limits = document.get("limits", {})
    callers = document.get("callers")
    return Site(
        storages={
            name: SiteStorage(
                name=name,
                type=it["type"],
                parameters=it["parameters"],
                caller_parameters=frozenset(it.get("caller_parameters", ())),
                root=it.get("root", "").strip("/") if it.get("root") != "/" else "/",
                use=frozenset(it.get("use", _SIDES)),
            )
            for name, it in document.get("storages", {}).items()
        },
        allowed_types=_optional_set(allow, "types"),
        denied_types=frozenset(deny.get("types", ())),
        egress_rules=EgressRules(
            hosts=_hosts(allow["hosts"]) if "hosts" in allow else None,
            networks=_networks(allow.get("networks", ())),
            denied_hosts=_hosts(deny.get("hosts", ())),
            denied_networks=_networks(deny.get("networks", ())),
        ),
        egress_proxy=document.get("egress_proxy"),
        limits=_limits(limits),
        body_bytes=limits.get("body_bytes"),
        notify_secret=document.get("notify", {}).get("secret"),
        authentication=document.get("authentication", {"mode": "none"}),
        engines=frozenset({DEFAULT_ENGINE, *document.get("engines", ())}),
        fts=SiteFts(**document["engines"]["fts"]) if "fts" in document.get("engines", ()) else None,
        callers=None
        if callers is None
        else {
            name: Caller(
                storages=_optional_set(it, "storages"),
                types=_optional_set(it, "types"),
                limits=_limits(it.get("limits", {})),
            )
            for name, it in callers.items()
        },
    )


def _limits(document: Mapping[str, Any]) -> Limits:
    return replace(
        Limits(), **{name: value for name, value in document.items() if name != "body_bytes"}
    )


def _optional_set(document: Mapping[str, Any], name: str) -> frozenset[str] | None:
    return frozenset(document[name]) if name in document else None


def _hosts(patterns: Iterable[str]) -> tuple[str, ...]:
    return tuple(pattern.lower().removesuffix(".") for pattern in patterns)


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)
