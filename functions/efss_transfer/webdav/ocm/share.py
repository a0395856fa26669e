"""A share of Open Cloud Mesh as a request has it: draft-ietf-ocm-open-cloud-mesh, `webdav`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.model.request import Value
from efss_transfer.model.targets import ocm_server
from efss_transfer.webdav.http.connections import Origin

_EXCHANGE: Final = "must-exchange-token"
_MFA: Final = "must-use-mfa"
_BY_MFA: Final = (
    "The sender requires readers of this share to sign in with multi-factor authentication "
    "(`must-use-mfa`), which a service cannot do. Ask the sender for a share without this "
    "requirement."
)
_UNKNOWN: Final = (
    "The share has a requirement that the service does not know, so it cannot meet it. It knows "
    "`must-exchange-token`."
)
_PLAIN: Final = (
    "The share's `uri` has no TLS, and its sender's server has: the share's secret is not sent "
    "there. Ask the sender for a share with an https address."
)
_UNREADABLE: Final = "The share's `permissions` do not include `read`."


class ShareUnusable(Exception):
    """A share that cannot be read. `code` is one of the stable codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Share:
    """A share: the server that sent it, its address there, and its secret.

    `uri` is empty for the root that the server names. `client` is the host name of the receiving
    server, by which it asks for tokens; None if it cannot.
    """

    server: Origin
    uri: str
    secret: str = field(repr=False)
    must_exchange: bool = False
    client: str | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Value]) -> Share:
        """Read the parameters of an endpoint. Raises ShareUnusable."""
        requirements = set(str(parameters.get("requirements", "")).split())
        if _MFA in requirements:
            raise ShareUnusable("unsupported", _BY_MFA)
        if requirements - {_EXCHANGE}:
            raise ShareUnusable("unsupported", _UNKNOWN)
        permissions = str(parameters.get("permissions", "")).split()
        if permissions and "read" not in permissions:
            raise ShareUnusable("permission_denied", _UNREADABLE)
        server = Origin.of(ocm_server(str(parameters["sender"])))
        uri, client = str(parameters.get("uri", "")), parameters.get("client_id")
        if server.scheme == "https" and uri.startswith("http://"):
            raise ShareUnusable("unsupported", _PLAIN)
        return cls(
            server,
            uri,
            str(parameters["sharedSecret"]),
            _EXCHANGE in requirements,
            None if client is None else str(client),
        )

    @property
    def is_absolute(self) -> bool:
        """Whether the share has an address of its own, which may be at another host."""
        return "://" in self.uri

    def may_have_secret(self, origin: Origin) -> bool:
        """Whether the secret may be sent to a server.

        That is the sender's, one below its name, or that of the share's own address, and never
        without TLS where the sender has it.
        """
        known = [self.server]
        if self.is_absolute:
            known.append(Origin.of(self.uri))
        return any(
            (origin.host == it.host or origin.host.endswith(f".{it.host}"))
            and (origin.scheme == "https" or it.scheme == "http")
            for it in known
        )
