"""What is refused although the schema allows it, before anything starts.

First what makes no sense (400), then what this site does not allow (403). Both name each
member that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from efss_transfer.egress import addresses
from efss_transfer.egress.rules import Egress, EgressRules
from efss_transfer.engines.base import Engine
from efss_transfer.model import targets
from efss_transfer.model.errors import Forbidden, InvalidRequest, Unreachable, Violation
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.targets import Target
from efss_transfer.site.overlap import distinct
from efss_transfer.site.site_file import Caller, Site

# Where a type connects to if no parameter says so: a name that stands for all of the
# service's, for sites that allow hosts by name. Of types that are not here the guard decides.
_OWN_SERVICES: Final = {
    "s3": "s3.amazonaws.com",
    "google cloud storage": "storage.googleapis.com",
    "azureblob": "account.blob.core.windows.net",
    "azurefiles": "account.file.core.windows.net",
    "drive": "www.googleapis.com",
    "dropbox": "api.dropboxapi.com",
    "onedrive": "graph.microsoft.com",
    "box": "api.box.com",
    "b2": "api.backblazeb2.com",
    "koofr": "app.koofr.net",
    "internetarchive": "s3.us.archive.org",
    "doi": "doi.org",
}

_FORMAT: Final = "Must lead to a host that is a name or an address, and a port up to 65535."


@dataclass(frozen=True)
class Admitted:
    """A request that may run, and where it may connect to while it does."""

    request: TransferRequest
    egress: Egress


@dataclass(frozen=True)
class _Dial:
    """A member that says where a connection goes, and where that is."""

    side: str
    member: str
    target: Target
    own: bool  # the site's, and not the caller's


def admit(request: TransferRequest, site: Site, caller: Caller, engine: Engine) -> Admitted:
    """Let a request run, or refuse it: Raises InvalidRequest, Forbidden, or Unreachable."""
    ends = {"source": request.source, "destination": request.destination}
    dials = _dials(ends)
    distinct(request)
    refused = [*_types(ends, site, caller, engine)]
    own = frozenset(dial.target for dial in dials if dial.own)
    reach = replace(site.reach, own=own)
    refused += _services(ends, reach)
    refused += _receiver(request.notify, site)
    # Of what is refused anyway no name is looked up.
    decided = {violation.pointer.split("/")[1] for violation in refused}
    for dial in dials:
        reason = reach.refusal_by_name(dial.target)
        found: list[targets.Address] = []
        if reason is None and (dial.target.literal is not None or dial.side not in decided):
            found = _addresses(dial.target)
            reason = reach.refusal(dial.target, found)
        if reason is not None:
            pointer = f"/{dial.side}/" + ("storage" if dial.own else f"parameters/{dial.member}")
            refused.append(Violation(pointer, "policy", reason))
        elif engine.unguarded.get(ends[dial.side].type) == dial.member and dial.side not in decided:
            # Nobody looks at this connection when it is made: it goes to the address that
            # was looked at here, and not to a name that may lead elsewhere by then.
            if not found:
                raise Unreachable(f"The host of the {dial.side} has no address.")
            end = ends[dial.side]
            parameters = {**end.parameters, dial.member: str(found[0])}
            ends[dial.side] = replace(end, parameters=parameters)
    if request.notify is not None and not refused:
        receiver = targets.target("url", request.notify)
        if receiver is None:
            raise AssertionError("a URL that leads nowhere")
        reason = site.reach.refusal(receiver, _addresses(receiver))
        if reason is not None:
            refused.append(Violation("/notify/url", "policy", reason))
    if refused:
        raise Forbidden(refused)
    return Admitted(
        replace(request, source=ends["source"], destination=ends["destination"]),
        Egress(reach.permits, site.egress_proxy),
    )


def sensible(request: TransferRequest) -> None:
    """Refuse what makes no sense whatever a site allows; nothing is looked up. Raises
    InvalidRequest.
    """
    _dials({"source": request.source, "destination": request.destination})
    distinct(request)


def _dials(ends: Mapping[str, Endpoint]) -> list[_Dial]:
    """Every host that a request names. Raises InvalidRequest for those that are none."""
    dials, wrong = [], []
    for side, end in ends.items():
        port = end.parameters.get("port")
        for member, form in end.dials.items():
            try:
                target = targets.target(
                    form, str(end.parameters[member]), None if port is None else int(port)
                )
            except ValueError:
                pointer = f"/{side}/parameters/{member}"
                wrong.append(Violation(pointer, "format", _FORMAT))
                continue
            if target is not None:
                dials.append(_Dial(side, member, target, member in end.fixed))
    if wrong:
        raise InvalidRequest(wrong)
    return dials


def _types(
    ends: Mapping[str, Endpoint], site: Site, caller: Caller, engine: Engine
) -> Iterator[Violation]:
    for side, end in ends.items():
        unguarded = end.type in engine.unguarded
        pointer = f"/{side}/" + ("type" if end.storage is None else "storage")
        if unguarded and site.egress_proxy is not None:
            yield Violation(
                pointer, "policy", "This type cannot use the proxy that this site demands."
            )
        if end.storage is not None:
            continue  # which of the site's own storages a caller may use was looked at
        allowed = site.allowed_types
        if end.type in site.denied_types or (allowed is not None and end.type not in allowed):
            yield Violation(pointer, "policy", "This site does not allow this type of storage.")
        elif caller.types is not None and end.type not in caller.types:
            yield Violation(pointer, "policy", "This caller may not use this type of storage.")
        elif unguarded and engine.unguarded[end.type] is None and allowed is None:
            yield Violation(
                pointer,
                "policy",
                "Where this type connects to cannot be checked: the site must allow it by its "
                "name.",
            )


def _services(ends: Mapping[str, Endpoint], reach: EgressRules) -> Iterator[Violation]:
    """What a site does not allow of the services that are reached without being named."""
    for side, end in ends.items():
        named = {form for form in end.dials.values() if form != "service_account"}
        if end.type in _OWN_SERVICES and not named:
            reason = reach.refusal_by_name(Target(_OWN_SERVICES[end.type], 443))
            if reason is not None:
                pointer = f"/{side}/" + ("type" if end.storage is None else "storage")
                yield Violation(pointer, "policy", reason)


def _receiver(url: str | None, site: Site) -> Iterator[Violation]:
    """Why nobody may be notified there, as far as it can be told without looking up the host.

    Raises InvalidRequest. That a storage of the site's own may be reached says nothing here:
    what is sent to a receiver is no storage's business.
    """
    if url is None:
        return
    if site.notify_secret is None:
        yield Violation(
            "/notify",
            "policy",
            "This site notifies nobody: its operator must set `notify.secret` in the site file.",
        )
    try:
        receiver = targets.target("url", url)
    except ValueError:
        raise InvalidRequest([Violation("/notify/url", "format", _FORMAT)]) from None
    reason = receiver and site.reach.refusal_by_name(receiver)
    if reason:
        yield Violation("/notify/url", "policy", reason)


def _addresses(target: Target) -> list[targets.Address]:
    if (literal := target.literal) is not None:
        return [literal]
    return addresses.resolved(target.host)
