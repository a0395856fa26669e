"""Tries the FTS server of a site file: reaches it, trusts it, and shows it the site's token.

/healthz does not: it is asked every few seconds, by what restarts the service.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Final

from efss_transfer.config.settings import Settings
from efss_transfer.egress import addresses
from efss_transfer.egress.rules import Egress
from efss_transfer.engines import registry
from efss_transfer.engines.base import Context, ServerEngine, ServerProbe
from efss_transfer.model.errors import ConfigurationError
from efss_transfer.model.request import FTS
from efss_transfer.model.targets import Address, Target
from efss_transfer.site.engine_rules import check_engine
from efss_transfer.site.fts_server import SiteFts, own_server, rules_and_refusal
from efss_transfer.site.site_file import Site

_SECONDS: Final = 10.0
_CALLERS: Final = "not tried, because each request gives a token (`fts.token`)"


@dataclass(frozen=True)
class ServerOutcome:
    """What trying an engine's server showed: `ok`, `failed`, or `skipped`, where only callers have
    a token for it.

    `text` never contains a secret.
    """

    engine: str
    state: str
    text: str
    code: str | None = None

    def to_json(self) -> dict[str, Any]:
        """An entry of the `engines` that `site check --connect --json` prints."""
        json = {"name": self.engine, "state": self.state, "detail": self.text}
        return json if self.code is None else {**json, "code": self.code}


def outcomes(site: Site, lacking: str | None) -> list[ServerOutcome]:
    """Try the FTS server, if the site has one. `lacking` is why its token is missing.

    Raises ConfigurationError if a setting in the environment cannot be used.
    """
    if site.fts is None:
        return []
    if lacking is not None:
        return [_failed("secret", f"not tried: {lacking}")]
    settings = Settings.read(os.environ, site.settings())
    engine = registry.engines(settings)[FTS]
    if not isinstance(engine, ServerEngine):
        return []
    if refused := [*check_engine(engine, site, [])]:
        return [_failed("forbidden", f"not tried: {refused[0].message}")]
    if site.fts.token is None:
        return [ServerOutcome(FTS, "skipped", _CALLERS)]
    return [_tried(engine, site, site.fts)]


def _tried(engine: ServerEngine, site: Site, fts: SiteFts) -> ServerOutcome:
    rules, reason = rules_and_refusal(fts, site.egress_rules, _addresses)
    if reason is not None:
        return _failed("forbidden", f"not reached: forbidden: {reason}")
    egress = Egress.of_sides({FTS: rules}, site.egress_proxy)
    try:
        server = own_server(fts)
        found = engine.probe(server, Context(time.monotonic() + _SECONDS, egress=egress))
    except ConfigurationError as error:
        return _failed("not_configured", f"not tried: {error}")
    return _told(found, is_encrypted=fts.url.lower().startswith("https:"))


def _told(found: ServerProbe, *, is_encrypted: bool) -> ServerOutcome:
    said = ["reached"] if found.is_reached else []
    if is_encrypted and found.is_trusted:
        said.append("TLS trusted")
    failure = found.failure
    if failure is None:
        return ServerOutcome(FTS, "ok", ", ".join([*said, "token accepted"]))
    if not found.is_reached:
        missing = "not reached"
    elif not found.is_trusted:
        missing = "TLS not trusted"
    elif failure.code == "authentication_failed":
        missing = "token not accepted"
    else:
        missing = "not usable"
    said.append(f"{missing}: {failure.code}: {failure.message}")
    return _failed(failure.code, ", ".join(said))


def _failed(code: str, text: str) -> ServerOutcome:
    return ServerOutcome(FTS, "failed", " ".join(text.split()), code)


def _addresses(target: Target) -> list[Address]:
    return addresses.resolve(target.host) if target.address is None else [target.address]
