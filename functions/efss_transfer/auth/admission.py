"""Authenticates callers, and admits those that the site file allows."""

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
_DEFAULT_ALGORITHMS: Final = ("RS256", "ES256")


class Admission:
    """Decides who may call. One instance serves all requests, from many threads."""

    def __init__(self, site: Site, *, behind_proxy: bool = False) -> None:
        """Create the authenticator that the site file asks for.

        `behind_proxy` says that every connection comes from a proxy on this machine, so that
        its address says nothing about the caller.
        """
        self._site = site
        self._behind_proxy = behind_proxy
        self._authenticator = _authenticator(site.authentication)
        self._authentication_is_off = isinstance(self._authenticator, NoAuthentication)
        if self._authentication_is_off:
            _LOG.warning(
                "Authentication is off: only local callers are accepted. Add `authentication` "
                "to the site file to accept others."
            )

    def admit(
        self,
        authorization: str | None,
        remote: str | None,
        origin: str | None,
        *,
        platform_authenticated: bool = False,
    ) -> tuple[str, Caller]:
        """Admit a caller, and return the caller's name and permissions.

        `remote` is the address that the connection came from, `origin` a browser's Origin
        header. If authentication is off, a caller that the platform has authenticated is
        accepted from any address. Raises Unauthenticated, Forbidden, and Busy (see
        Authenticator).
        """
        if self._authentication_is_off and not platform_authenticated:
            _refuse_remote_callers(None if self._behind_proxy else remote, origin)
        name = self._authenticator.caller(authorization)
        caller = self._site.caller(name)
        if caller is None:
            raise Forbidden([Violation("", "policy", "This caller may not use this service.")])
        return name, caller


def _refuse_remote_callers(remote: str | None, origin: str | None) -> None:
    """Refuse other machines, and other sites' pages in a browser on this one.

    If a page's host name resolves to this machine, the browser treats the service as the
    page's own (DNS rebinding). Only the Origin header, which the browser sends with every
    POST, distinguishes such a page from the service's own.
    """
    if not _is_local(remote or ""):
        text = (
            "Authentication is off, so this service accepts only callers on its own machine. "
            "Its operator can add `authentication` to the site file."
        )
    elif origin is not None and not _is_local(_host(origin)):
        text = "Authentication is off, so this service accepts no requests from other hosts' pages."
    else:
        return
    raise Forbidden([Violation("", "policy", text)])


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or unwrap_ipv4(ip_address(host)).is_loopback
    except ValueError:
        return False


def _authenticator(document: Mapping[str, Any]) -> Authenticator:
    """Create the authenticator for `authentication` in the site file.

    Raises ConfigurationError.
    """
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
                algorithms=tuple(document.get("algorithms", _DEFAULT_ALGORITHMS)),
                jwks_uri=document.get("jwks_uri"),
                caller_claim=document.get("caller_claim", "sub"),
                leeway_seconds=document.get("leeway_seconds", 30),
                required_scope=document.get("required_scope"),
            )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.upper())
