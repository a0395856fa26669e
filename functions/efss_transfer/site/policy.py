"""Refuses requests that fit the schema but make no sense, or that the site does not allow.

Requests that make no sense are refused first (400), then those that the site's policy forbids
(403). Both errors name each member that is wrong. Nothing has started by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from efss_transfer.egress import addresses
from efss_transfer.egress.rules import Egress, EgressRules
from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import Forbidden, InvalidRequest, Unreachable, Violation
from efss_transfer.model.request import FTS, Endpoint, TransferRequest
from efss_transfer.model.storage_traits import traits
from efss_transfer.model.targets import Address, Target, parse_target
from efss_transfer.site.engine_rules import check_engine
from efss_transfer.site.fts_server import completed, rules_and_refusal
from efss_transfer.site.overlap import check_distinct
from efss_transfer.site.site_file import INVALID_TARGET, Caller, Site

_ALONE: Final = "endpoint"
"""The name in the request of an endpoint that has no other side."""


@dataclass(frozen=True)
class AdmittedRequest:
    """A request that may run, and where it may connect to."""

    request: TransferRequest
    egress: Egress


@dataclass(frozen=True)
class _NamedHost:
    """A host and a port that an endpoint names. `pointer` is where the request names them.

    `set_by_site` says that both are the site file's, and none is the caller's.
    """

    side: str
    parameter: str
    target: Target
    set_by_site: bool
    pointer: str


def admit(request: TransferRequest, site: Site, caller: Caller, engine: Engine) -> AdmittedRequest:
    """Admit a request, or refuse it. Raises InvalidRequest, Forbidden or Unreachable, and what
    `fts_server.completed` raises.
    """
    check_sensible(request)
    request = completed(request, site.fts)
    endpoints = {"source": request.source, "destination": request.destination}
    receiver = None if request.notify is None else _receiver(request.notify)
    refused = [] if receiver is None else list(_check_receiver_name(receiver, site))
    rules = _check_endpoints(endpoints, site, caller, engine, refused)
    if receiver is not None and not refused:
        reason = site.egress_rules.refusal(receiver, _addresses(receiver))
        if reason is not None:
            refused.append(Violation("/notify/url", "policy", reason))
    if request.engine == FTS and site.fts is not None and not refused:
        rules[FTS], reason = rules_and_refusal(site.fts, site.egress_rules, _addresses)
        if reason is not None:
            refused.append(Violation("/engine", "policy", reason))
    if refused:
        raise Forbidden(refused)
    return AdmittedRequest(
        replace(request, source=endpoints["source"], destination=endpoints["destination"]),
        Egress.of_sides(rules, site.egress_proxy),
    )


def admit_endpoint(
    endpoint: Endpoint, site: Site, caller: Caller, engine: Engine
) -> tuple[Endpoint, Egress]:
    """Admit a look at one endpoint, by the rules for one side of a transfer, and say where it may
    connect to. Raises as `admit` does.
    """
    endpoints = {_ALONE: endpoint}
    _check_targets(endpoints)
    refused: list[Violation] = []
    rules = _check_endpoints(endpoints, site, caller, engine, refused)
    if refused:
        raise Forbidden(refused)
    # The engine looks at it as at a source.
    return endpoints[_ALONE], Egress.of_sides({"source": rules[_ALONE]}, site.egress_proxy)


def _check_endpoints(
    endpoints: dict[str, Endpoint],
    site: Site,
    caller: Caller,
    engine: Engine,
    refused: list[Violation],
) -> dict[str, EgressRules]:
    """Add to `refused` why the endpoints, by their names in the request, are not allowed, and
    return the rules of each. A host that the engine reaches unguarded is replaced by its address.
    """
    connections = _connections(endpoints)
    rules = {
        side: _side_rules(endpoint, [it for it in connections if it.side == side], site)
        for side, endpoint in endpoints.items()
    }
    refused[:0] = [
        *check_engine(
            engine, site, [(it.pointer, it.target.host) for it in connections if not it.set_by_site]
        ),
        *_check_types(endpoints, site, caller, engine),
        *_check_default_services(endpoints, site.egress_rules),
    ]
    # Names are not looked up for a side that is refused anyway.
    refused_sides = {violation.pointer.split("/")[1] for violation in refused}
    for connection in connections:
        side = connection.side
        is_refused_already = side in refused_sides
        found, reason = _check_connection(
            connection, rules[side], may_resolve=not is_refused_already
        )
        if reason is not None:
            refused.append(Violation(connection.pointer, "policy", reason))
        elif (
            engine.unguarded.get(endpoints[side].type) == connection.parameter
            and not is_refused_already
        ):
            endpoints[side] = _pinned(endpoints[side], connection, found)
    return rules


def check_sensible(request: TransferRequest) -> None:
    """Refuse a request that makes no sense at any site. Looks up no names.

    Raises InvalidRequest.
    """
    _check_targets({"source": request.source, "destination": request.destination})
    check_distinct(request)


def _check_targets(endpoints: Mapping[str, Endpoint]) -> None:
    invalid = [
        Violation(f"/{side}/parameters/{parameter}", "format", INVALID_TARGET)
        for side, endpoint in endpoints.items()
        for parameter in endpoint.invalid_targets
    ]
    if invalid:
        raise InvalidRequest(invalid)


def _connections(endpoints: Mapping[str, Endpoint]) -> list[_NamedHost]:
    return [
        _named_host(side, endpoint, parameter, target)
        for side, endpoint in endpoints.items()
        for parameter, target in endpoint.targets.items()
    ]


def _named_host(side: str, endpoint: Endpoint, parameter: str, target: Target) -> _NamedHost:
    by_site = endpoint.site_parameters
    deciding = [parameter]
    if endpoint.target_forms[parameter] == "host" and "port" in endpoint.parameters:
        deciding.append("port")
    callers = [name for name in deciding if name not in by_site]
    return _NamedHost(
        side,
        parameter,
        Target(target.host, target.port or traits(endpoint.type).default_port),
        set_by_site=not callers,
        # A caller may set the port of a storage whose host is the site's.
        pointer=f"/{side}/parameters/{callers[0]}" if callers else f"/{side}/storage",
    )


def _side_rules(endpoint: Endpoint, connections: list[_NamedHost], site: Site) -> EgressRules:
    """The site's rules, with what this side may reach because it names a storage of the site's.

    The other side does not get it: it may be any server of a caller's, which could redirect to
    the site's private hosts.
    """
    targets = frozenset(it.target for it in connections if it.set_by_site)
    hosts = frozenset(it.host for it in targets)
    return replace(
        site.egress_rules,
        site_targets=targets,
        data_hosts=hosts if endpoint.type == "ftp" else frozenset(),
    )


def _check_connection(
    connection: _NamedHost, rules: EgressRules, *, may_resolve: bool
) -> tuple[list[Address], str | None]:
    """The host's addresses, as far as they were looked up, and why it is refused or None."""
    target = connection.target
    reason = rules.refusal_by_name(target)
    if reason is not None or (target.address is None and not may_resolve):
        return [], reason
    found = _addresses(target)
    return found, rules.refusal(target, found)


def _pinned(endpoint: Endpoint, connection: _NamedHost, found: list[Address]) -> Endpoint:
    """The endpoint with the address that was checked in place of the host's name.

    The engine connects to this host without the guard, so a name could lead to another
    address by then. Raises Unreachable if there is no address.
    """
    if not found:
        raise Unreachable(
            f"The host of the {connection.side} could not be resolved; check its name, or try "
            "again later."
        )
    parameters = {**endpoint.parameters, connection.parameter: str(found[0])}
    return replace(endpoint, parameters=parameters)


def _check_types(
    endpoints: Mapping[str, Endpoint], site: Site, caller: Caller, engine: Engine
) -> Iterator[Violation]:
    for side, endpoint in endpoints.items():
        is_unguarded = endpoint.type in engine.unguarded
        pointer = _type_pointer(side, endpoint)
        if is_unguarded and site.egress_proxy is not None:
            yield Violation(
                pointer, "policy", "This storage type cannot use the proxy that this site requires."
            )
        if endpoint.storage is not None:
            continue  # Storages.endpoint has checked the caller's access to the site's storages
        allowed = site.allowed_types
        if endpoint.type in site.denied_types or (
            allowed is not None and endpoint.type not in allowed
        ):
            yield Violation(pointer, "policy", "This site does not allow this storage type.")
        elif caller.types is not None and endpoint.type not in caller.types:
            yield Violation(pointer, "policy", "This caller may not use this storage type.")
        elif is_unguarded and engine.unguarded[endpoint.type] is None and allowed is None:
            yield Violation(
                pointer,
                "policy",
                "The connections of this storage type cannot be checked, so the site file must "
                "list it in `allow.types`.",
            )


def _check_default_services(
    endpoints: Mapping[str, Endpoint], rules: EgressRules
) -> Iterator[Violation]:
    """Check the services that a type connects to when no parameter names a host.

    Of a type without a known service host, the guard checks the connections alone.
    """
    for side, endpoint in endpoints.items():
        service_host = traits(endpoint.type).service_host
        names_host = any(form != "service_account" for form in endpoint.target_forms.values())
        if service_host is not None and not names_host:
            reason = rules.refusal_by_name(Target(service_host, 443))
            if reason is not None:
                yield Violation(_type_pointer(side, endpoint), "policy", reason)


def _type_pointer(side: str, endpoint: Endpoint) -> str:
    return f"/{side}/" + ("type" if endpoint.storage is None else "storage")


def _receiver(url: str) -> Target:
    """The host that receives the notification. Raises InvalidRequest."""
    try:
        receiver = parse_target("url", url)
    except ValueError:
        receiver = None
    if receiver is None:
        raise InvalidRequest([Violation("/notify/url", "format", INVALID_TARGET)])
    return receiver


def _check_receiver_name(receiver: Target, site: Site) -> Iterator[Violation]:
    """Why the receiver may not be notified, as far as its name shows.

    The hosts of the site's own storages are not allowed here for being the site's: a
    notification is no request to a storage.
    """
    if site.notify_secret is None:
        yield Violation(
            "/notify",
            "policy",
            "This site sends no notifications: its operator must set `notify.secret` in the "
            "site file.",
        )
    reason = site.egress_rules.refusal_by_name(receiver)
    if reason is not None:
        yield Violation("/notify/url", "policy", reason)


def _addresses(target: Target) -> list[Address]:
    return addresses.resolve(target.host) if target.address is None else [target.address]
