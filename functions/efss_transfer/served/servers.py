"""Ask the servers that files are at: each with its own credential, if the caller brings one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from efss_transfer.webdav.credentials.credential import FixedCredential
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, Origin
from efss_transfer.webdav.http.exchange import Call, Sending
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.words import Record, RequestFailure

_MOST_SERVERS: Final = 64
# What a URL may contain as it stands. The rest is percent-encoded, as a browser does it.
_SAFE: Final = "!#$%&'()*+,/:;=?@[]~"


class InvalidAddress(ValueError):
    """Address of a file that is no HTTP URL."""


class Servers:
    """The servers of one list.

    `connect` opens no connection yet: it makes the pool of one server's. `credentials` has the
    value of Authorization by host, for https on its usual port, or by host and port. A credential
    is sent to its own host alone: redirects to others are followed without it.
    """

    def __init__(
        self,
        connect: Callable[[], Connections],
        *,
        may_redirect: Callable[[Origin], bool] = lambda _: False,
        credentials: Mapping[str, str] | None = None,
        record: Record | None = None,
        stall_seconds: float = 60.0,
        patience: float = 30.0,
    ) -> None:
        self.record = record or Record()
        self.record.is_read_whole = True
        self._connect = connect
        self._may_redirect = may_redirect
        self._credentials = dict(credentials or {})
        self._stall_seconds = stall_seconds
        self._patience = patience
        self._sessions: OrderedDict[Origin, tuple[ServerSession, Connections]] = OrderedDict()

    def ask(
        self, method: str, url: str, path: str, headers: Mapping[str, str] | None = None
    ) -> Sending:
        """Send a request for a file of the list: see ServerSession.call, also for its errors.

        Raises InvalidAddress.
        """
        session, target = self._session_of(url)
        return session.call(Call(method, target, headers or {}), path)

    def rejected(self, url: str, method: str, path: str) -> RequestFailure:
        """Record that the server of a URL has rejected the credential, and return that."""
        return RequestFailure(method, path, self._session_of(url)[0].rejected(method, path))

    def begin_attempt(self) -> None:
        """Try rejected credentials again."""
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        while self._sessions:
            self._sessions.popitem()[1][1].close()

    def _session_of(self, url: str) -> tuple[ServerSession, str]:
        try:
            parts = urlsplit(quote(url, safe=_SAFE))
            origin = Origin.of(url)
        except ValueError:
            raise InvalidAddress("Not an http or https URL without a user.") from None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        known = self._sessions.get(origin)
        if known is not None:
            self._sessions.move_to_end(origin)
            return known[0], target
        connections = self._connect()
        upstream = Upstream(
            origin,
            connections,
            may_redirect=self._may_redirect,
            stall_seconds=self._stall_seconds,
        )
        session = ServerSession(
            upstream,
            target,
            credential=FixedCredential(self._credential_for(origin)),
            patience=self._patience,
            record=self.record,
        )
        self._sessions[origin] = session, connections
        if len(self._sessions) > _MOST_SERVERS:
            self._sessions.popitem(last=False)[1][1].close()
        return session, target

    def _credential_for(self, origin: Origin) -> str | None:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        with_port = self._credentials.get(f"{host}:{origin.port}")
        is_plain_name = (origin.scheme, origin.port) == ("https", 443)
        return with_port or (self._credentials.get(host) if is_plain_name else None)
