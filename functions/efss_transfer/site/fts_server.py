"""The FTS3 server of the site: what a request needs to use it, and whether it may be reached."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from efss_transfer.egress.rules import EgressRules
from efss_transfer.model import targets
from efss_transfer.model.errors import (
    ConfigurationError,
    InvalidRequest,
    UnsupportedByEngine,
    Violation,
)
from efss_transfer.model.request import FTS, FtsServer, TransferRequest
from efss_transfer.model.targets import Address, Target
from efss_transfer.site.secrets import Reference, SecretResolver

_LOG: Final = logging.getLogger(__name__)
_BRING_YOURS: Final = "This site has no token for its FTS server: give yours."
_SECRETS: Final = SecretResolver()


@dataclass(frozen=True)
class SiteFts:
    """The server that the site file names. `token` is None if each request brings its own."""

    url: str
    ca_bundle: str | None = None
    token: Reference | None = field(default=None, repr=False)
    unmanaged_tokens: bool = False

    @property
    def target(self) -> Target:
        """The server's host and port."""
        found = targets.parse_target("url", self.url)
        assert found is not None  # noqa: S101 - the site file's schema demands an address
        return found


def completed(request: TransferRequest, site: SiteFts | None) -> TransferRequest:
    """The request with the site's server, if its engine is for that.

    A caller's token takes the place of the site's. Raises UnsupportedByEngine if the engine has
    no use for the member `fts`, InvalidRequest without a token, and ConfigurationError if the
    site's token cannot be read.
    """
    if request.engine != FTS:
        if request.fts is not None:
            raise UnsupportedByEngine(
                f"The engine `{request.engine}` has no use for `fts`. Leave that out, or choose "
                "the engine `fts`."
            )
        return request
    if site is None:
        return request  # the policy refuses the engine
    asked = request.fts or FtsServer()
    token = asked.token
    if token is None:
        if site.token is None:
            raise InvalidRequest([Violation("/fts/token", "required", _BRING_YOURS)])
        token = _resolved(site.token)
    server = FtsServer(
        site.url, site.ca_bundle, token, asked.unmanaged_tokens or site.unmanaged_tokens
    )
    return replace(request, fts=server)


def own_server(site: SiteFts) -> FtsServer:
    """The server as a request without a token of its own uses it. Raises ConfigurationError."""
    token = None if site.token is None else _SECRETS.resolve(site.token)
    return FtsServer(site.url, site.ca_bundle, token, site.unmanaged_tokens)


def rules_and_refusal(
    site: SiteFts, rules: EgressRules, resolve: Callable[[Target], list[Address]]
) -> tuple[EgressRules, str | None]:
    """Where connections to the server may go, and why it may not be reached, or None."""
    target = site.target
    own = replace(rules, site_targets=frozenset({target}), data_hosts=frozenset())
    reason = own.refusal_by_name(target)
    return own, reason if reason is not None else own.refusal(target, resolve(target))


def _resolved(token: Reference) -> str:
    try:
        return _SECRETS.resolve(token)
    except ConfigurationError as error:
        _LOG.error("engines.fts.token: %s", error)
        raise ConfigurationError(
            "The FTS server is misconfigured on the server; the server log has the details."
        ) from None
