"""The site file: who may call, which storages there are, and where a transfer may go.

It is read once, at start, and everything that is wrong with it is told at once, each with
its JSON Pointer: a mistake that is passed over would be a door left open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.validation import escaped, load, violations
from efss_transfer.egress.rules import EgressRules
from efss_transfer.model import targets
from efss_transfer.model.errors import InvalidJson, InvalidSite, Violation
from efss_transfer.model.request import Limits, Value
from efss_transfer.model.targets import Network
from efss_transfer.site import secrets

_SIDES: Final = frozenset({"source", "destination"})


@dataclass(frozen=True)
class SiteStorage:
    """A storage that requests can name. `parameters` are values, or references to them."""

    name: str
    type: str
    parameters: Mapping[str, Value | secrets.Reference] = field(repr=False)
    caller_parameters: frozenset[str] = frozenset()
    root: str = ""
    use: frozenset[str] = _SIDES


@dataclass(frozen=True)
class Caller:
    """What a caller may do; None is whatever the site allows to all."""

    storages: frozenset[str] | None = None
    types: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Site:
    """What the operator allows. Without a site file: this machine's callers, public hosts."""

    storages: Mapping[str, SiteStorage] = field(default_factory=dict)
    allowed_types: frozenset[str] | None = None
    denied_types: frozenset[str] = frozenset()
    reach: EgressRules = field(default_factory=EgressRules)
    egress_proxy: str | None = None
    limits: Limits = field(default_factory=Limits)
    body_bytes: int | None = None
    authentication: Mapping[str, Any] = field(default_factory=lambda: {"mode": "none"}, repr=False)
    callers: Mapping[str, Caller] | None = None
    notify_secret: secrets.Reference | None = None

    def settings(self) -> dict[str, float]:
        """The limits that are settings, too: see Settings.read."""
        limits = {
            "CONCURRENT_TRANSFERS": self.limits.concurrent_transfers,
            "DURATION_SECONDS": self.limits.duration_seconds,
            "BODY_BYTES": self.body_bytes,
        }
        return {name: value for name, value in limits.items() if value is not None}

    def caller(self, name: str) -> Caller | None:
        """What a caller may do, or None if the site does not let that caller in."""
        if self.callers is None:
            return Caller()
        return self.callers.get(name) or self.callers.get("*")


def read(file: Path) -> Site:
    """The site that a file describes.

    Raises InvalidSite, which has every mistake: in the JSON, against the schema, or in
    what it refers to (a storage, a caller, a variable, a file).
    """
    try:
        body = file.read_bytes()
    except OSError as error:
        raise InvalidSite(f"It cannot be read ({error.strerror}).") from None
    try:
        document = load(body)
    except InvalidJson as error:
        raise InvalidSite(str(error)) from None
    found, omitted = violations("site", document)
    if not found:
        found = sorted(_mistakes(document), key=lambda mistake: mistake.pointer)
    if found:
        raise InvalidSite("", found, omitted)
    return _site(document)


def _mistakes(document: Mapping[str, Any]) -> Iterator[Violation]:
    """What is wrong although the schema allows it."""
    storages, callers = document.get("storages", {}), document.get("callers")
    for name, storage in storages.items():
        yield from _mistakes_of_storage(f"/storages/{name}", storage)
    for kind in ("allow", "deny"):
        for index, text in enumerate(document.get(kind, {}).get("networks", [])):
            try:
                ip_network(text)
            except ValueError as error:
                yield Violation(f"/{kind}/networks/{index}", "format", f"No network: {error}.")
    if "notify" in document:
        wrong = _mistake_of_reference(document["notify"]["secret"])
        if wrong is not None:
            yield Violation("/notify/secret", "reference", wrong)
    authentication = document.get("authentication", {"mode": "none"})
    yield from _mistakes_of_authentication(authentication, callers)
    for name, caller in (callers or {}).items():
        for index, storage in enumerate(caller.get("storages", [])):
            if storage not in storages:
                yield Violation(
                    f"/callers/{escaped(name)}/storages/{index}",
                    "reference",
                    "There is no such storage in `storages`.",
                )


def _mistakes_of_authentication(
    authentication: Mapping[str, Any], callers: Mapping[str, Any] | None
) -> Iterator[Violation]:
    mode = authentication["mode"]
    theirs = {"none": set(), "tokens": {"tokens"}}.get(
        mode, set(authentication) - {"mode", "tokens"}
    )
    for member in sorted(set(authentication) - {"mode"} - theirs):
        yield Violation(
            f"/authentication/{member}", "mode", f"It has no meaning in the mode `{mode}`."
        )
    if mode == "none" and callers is not None:
        yield Violation("/callers", "mode", "In the mode `none` no caller has a name.")
    for index, token in enumerate(authentication.get("tokens", [])):
        if callers is not None and not {token["caller"], "*"} & set(callers):
            yield Violation(
                f"/authentication/tokens/{index}/caller",
                "reference",
                "There is no such caller in `callers`.",
            )


def _mistakes_of_storage(at: str, storage: Mapping[str, Any]) -> Iterator[Violation]:
    kind, parameters = storage["type"], storage["parameters"]
    known = storage_types.members(kind)
    brought = storage.get("caller_parameters", [])
    sample: dict[str, Any] = {}
    for name, value in parameters.items():
        pointer = f"{at}/parameters/{escaped(name)}"
        if isinstance(value, Mapping):
            if (reason := _mistake_of_reference(value)) is not None:
                yield Violation(pointer, "reference", reason)
            # What it will be is not known here, so it is taken for a good one.
            value = known[name]["examples"][0] if name in known else ""
        elif name in storage_types.secrets(kind):
            yield Violation(
                pointer,
                "reference",
                'A secret does not stand here: refer to it, as {"env": "NAME"} or '
                '{"file": "/run/secrets/name"}.',
            )
        sample[name] = value
    for index, name in enumerate(brought):
        pointer = f"{at}/caller_parameters/{index}"
        if name not in known:
            yield Violation(pointer, "reference", "This type has no such parameter.")
        elif name in storage_types.dialling(kind):
            yield Violation(pointer, "policy", "Where a connection goes is the site's to say.")
        elif name in parameters:
            yield Violation(pointer, "reference", "It stands in `parameters` already.")
        else:
            sample[name] = known[name]["examples"][0]
    found, _ = violations(
        "request", sample, part=storage_types.definition(kind), at=f"{at}/parameters"
    )
    yield from found
    if not found:
        yield from (
            Violation(f"{at}/parameters/{name}", "format", "It is no host that can be checked.")
            for name in parameters
            if name in storage_types.dialling(kind) and not _is_target(kind, name, sample)
        )


def _mistake_of_reference(value: secrets.Reference) -> str | None:
    if len(set(value) - {"key"}) > 1:
        return "Give one reference, not several."
    return secrets.problem(value)


def _is_target(kind: str, name: str, parameters: Mapping[str, Any]) -> bool:
    try:
        targets.target(storage_types.dialling(kind)[name], str(parameters[name]))
    except ValueError:
        # A sample of a secret that is referred to need not be a whole one.
        return name in storage_types.secrets(kind)
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
        allowed_types=_set(allow, "types"),
        denied_types=frozenset(deny.get("types", ())),
        reach=EgressRules(
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
        callers=None
        if callers is None
        else {
            name: Caller(
                storages=_set(it, "storages"),
                types=_set(it, "types"),
                limits=_limits(it.get("limits", {})),
            )
            for name, it in callers.items()
        },
    )


def _limits(document: Mapping[str, Any]) -> Limits:
    return replace(
        Limits(), **{name: value for name, value in document.items() if name != "body_bytes"}
    )


def _set(document: Mapping[str, Any], name: str) -> frozenset[str] | None:
    return frozenset(document[name]) if name in document else None


def _hosts(patterns: Iterable[str]) -> tuple[str, ...]:
    return tuple(pattern.lower().removesuffix(".") for pattern in patterns)


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)
