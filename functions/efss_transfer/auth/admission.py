"""Who calls, and whether the site lets that caller in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from efss_transfer.auth.authentication import (
    Authenticator,
    NoAuthentication,
    OidcAuthenticator,
    Token,
    TokenAuthenticator,
)
from efss_transfer.model.errors import Forbidden, Violation
from efss_transfer.model.targets import unwrap_ipv4
from efss_transfer.site.site_file import Caller, Site

_LOG: Final = logging.getLogger(__name__)
_ALGORITHMS: Final = ("RS256", "ES256")


class Admission:
    """The door. One instance serves all requests, from many threads."""

    def __init__(self, site: Site, *, proxied: bool = False) -> None:
        """`proxied`: all callers come through a proxy on this machine, wherever they are."""
        self._site = site
        self._proxied = proxied
        self._authenticator = _authenticator(site.authentication)
        self._asks_nobody = isinstance(self._authenticator, NoAuthentication)
        if self._asks_nobody:
            _LOG.warning(
                "Nobody is asked who they are: callers on this machine are served, and no "
                "others. A site file with `authentication` lets others in."
            )

    def admit(
        self,
        authorization: str | None,
        remote: str | None,
        origin: str | None,
        *,
        vouched: bool = False,
    ) -> tuple[str, Caller]:
        """The caller's name, and what that caller may do.

        `remote` is the address that the connection came from, `origin` the header that a
        browser sends. A caller for whom the platform has `vouched` is served wherever nobody
        is asked, from any address. Raises Unauthenticated, Forbidden, and Busy (see
        Authenticator).
        """
        if self._asks_nobody and not vouched:
            _refuse_others(None if self._proxied else remote, origin)
        name = self._authenticator.caller(authorization)
        caller = self._site.caller(name)
        if caller is None:
            raise Forbidden([Violation("", "policy", "This caller may not use this service.")])
        return name, caller


def _refuse_others(remote: str | None, origin: str | None) -> None:
    """Refuse whoever is not on this machine, and pages of others in a browser on it.

    A page whose host name leads to this machine is, to the browser, at home here: only
    the origin, which the browser sends with every POST, tells it from one of ours.
    """
    if not _is_here(remote or ""):
        text = "Without authentication only callers on this machine are served."
    elif origin is not None and not _is_here(_host(origin)):
        text = "Without authentication no page of another host is served."
    else:
        return
    raise Forbidden([Violation("", "policy", text)])


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or unwrap_ipv4(ip_address(host)).is_loopback
    except ValueError:
        return False


def _authenticator(document: Mapping[str, Any]) -> Authenticator:
    """Who knows callers, by the site file's `authentication`. Raises ConfigurationError."""
    match document["mode"]:
        case "none":
            return NoAuthentication()
        case "tokens":
            return TokenAuthenticator(
                [
                    Token(entry["caller"], entry["sha256"].lower(), _time(entry.get("expires")))
                    for entry in document["tokens"]
                ]
            )
        case _:
            return OidcAuthenticator(
                issuer=document["issuer"],
                audience=tuple(document["audience"]),
                algorithms=tuple(document.get("algorithms", _ALGORITHMS)),
                jwks_uri=document.get("jwks_uri"),
                caller_claim=document.get("caller_claim", "sub"),
                leeway_seconds=document.get("leeway_seconds", 30),
                required_scope=document.get("required_scope"),
            )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.upper())
