"""The WebDAV gateways of a transfer, or their absence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.rc.batching import NoBatching
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Side
from efss_transfer.model.storage_traits import traits

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.process.network import Route
    from efss_transfer.engines.rclone.process.webdav_gateways import Gateways
    from efss_transfer.model.storage_check import ServerProduct
    from efss_transfer.webdav.words import Record

_NO_GATEWAY: Final = (
    "Tokens are renewed by the WebDAV gateway, which this site has switched off, and which has no "
    "part in a sign-in to SharePoint. Send a `bearer_token` that is valid for the whole transfer."
)
SHARE: Final = "ocm"
_NO_SHARES: Final = (
    "Shares of Open Cloud Mesh are read by the WebDAV gateway, which this site has switched off. "
    "The operator can switch it on."
)


class NoGateways:
    """The ends of a transfer as the request names them."""

    records: Mapping[Side, Record] = MappingProxyType({})
    memory: Final = 0
    batching: Final = NoBatching()

    def __init__(self, request: TransferRequest) -> None:
        self.request: Final = request

    def routed(self) -> TransferRequest:
        """Return the request unchanged."""
        return self.request

    def remote_parameters(self, _: str) -> dict[str, str]:
        """Return no parameters."""
        return {}

    def ask_source(self, _: Callable[[str], bool]) -> None:
        """Do nothing: nobody asks."""

    def ask_product(self) -> ServerProduct | None:
        """Return None: nobody asks."""
        return None

    def begin_attempt(self, _: int) -> None:
        """Do nothing: nothing is remembered."""

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""

    def confirm_uploads(self) -> None:
        """Do nothing: rclone itself asks for each file after its upload."""


def choose_gateways(
    route: Route,
    context: Context,
    settings: Settings,
    request: TransferRequest,
    redactor: Redactor,
) -> Gateways | NoGateways:
    """Return the WebDAV gateways of a transfer, if they are switched on or a tree is served.

    A source that is a share of Open Cloud Mesh is opened first. Raises InvalidRequest for what
    only a gateway can do, and EndRefused or TransferInterrupted for a share that does not open.
    """
    has_none = route.guard is None or not settings.rclone.webdav_gateway
    _refuse_tokens(request, has_none=has_none)
    if route.guard is None or (has_none and not traits(request.source.type).is_served):
        return NoGateways(request)
    # Here and not above: AWS Lambda's cold start would pay for twenty modules.
    from efss_transfer.engines.rclone.process.gateway_route import GatewayRoute
    from efss_transfer.engines.rclone.process.webdav_gateways import Gateways

    gateway_route = GatewayRoute(route.guard, route.site_proxy, context.egress)
    shared = None
    if request.source.type == SHARE:
        from efss_transfer.engines.rclone.process.ocm_shares import open_source

        side = gateway_route.of("source")
        shared = open_source(request.source, route.guard, side, context, redactor)
        request = replace(request, source=shared.endpoint)
    return Gateways(
        route.guard,
        gateway_route,
        settings.rclone,
        request,
        context.deadline,
        settings.memory_bytes,
        lambda token: redactor.add((token,)),
        shared,
    )


def _refuse_tokens(request: TransferRequest, *, has_none: bool) -> None:
    wrong = [
        Violation(f"/{side}/parameters/{name}", "policy", _NO_GATEWAY)
        for side, end in (("source", request.source), ("destination", request.destination))
        for name in end.token_issuers
        if has_none or str(end.parameters.get("vendor", "")).startswith("sharepoint")
    ]
    if has_none and request.source.type == SHARE:
        wrong.append(Violation("/source/type", "policy", _NO_SHARES))
    if wrong:
        raise InvalidRequest(wrong)
