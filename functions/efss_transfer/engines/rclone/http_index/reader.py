"""Reads pages of a web server as a remote of type `http` does, through the same proxy."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from efss_transfer.engines.rclone.ftp import tunnel

ERRORS: Final = (OSError, http.client.HTTPException, ValueError)
"""What reading a page raises."""
_SECONDS: Final = 20.0
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_MOST_BYTES: Final = 1 << 25
_SAFE: Final = "!$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True)
class Page:
    """A page, and the URL at which it was found after redirects.

    `ends_with_connection`: whether only the end of the connection shows its length.
    """

    url: str
    text: str
    ends_with_connection: bool


class Head(NamedTuple):
    """The answer to HEAD; None for what it does not tell. `url` is where it was found."""

    status: int
    size: int | None
    modified: datetime | None
    kind: str
    url: str


class NoPage(OSError):
    """The server answered with an error, or with something else than HTML."""


class PageReader:
    """Reads pages. `proxy` is that of the process, for a remote without one of its own.

    Each thread keeps a connection of its own.
    """

    def __init__(self, parameters: Mapping[str, str], proxy: str) -> None:
        proxy = parameters.get("override.http_proxy", proxy)
        scheme, _, address = proxy.partition("://")
        self._route = {"socks_proxy": address} if scheme == "socks5" else {"http_proxy": proxy}
        self._open = threading.local()

    def read(self, url: str) -> Page:
        """Read the page at a URL. Raises one of `ERRORS`."""
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(url)
            answer, body = self._asked(parts)
            if answer.status not in _REDIRECTS or not (onward := answer.getheader("Location")):
                break
            url = urljoin(url, onward)
        kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        if answer.status != http.client.OK or kind != "text/html":
            raise NoPage(f"status {answer.status}")
        is_open = not answer.chunked and answer.getheader("Content-Length") is None
        return Page(url, body.decode("utf-8", "replace"), is_open)

    def head(self, url: str) -> Head:
        """Ask for the headers of a file at a URL. Raises one of `ERRORS`."""
        for _ in range(_MOST_REDIRECTS):
            answer, _ = self._asked(urlsplit(url), "HEAD")
            if answer.status not in _REDIRECTS or not (onward := answer.getheader("Location")):
                break
            url = urljoin(url, onward)
        size = answer.getheader("Content-Length") or ""
        kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        modified = answer.getheader("Last-Modified")
        return Head(
            answer.status,
            int(size) if size.isdecimal() else None,
            parsedate_to_datetime(modified) if modified else None,
            kind,
            url,
        )

    def _asked(
        self, parts: SplitResult, method: str = "GET"
    ) -> tuple[http.client.HTTPResponse, bytes]:
        key = (parts.scheme, parts.netloc)
        known: _OriginConnection | None = getattr(self._open, "connection", None)
        if known is None or known.key != key:
            if known is not None:
                known.close()
            known = self._open.connection = _OriginConnection(parts, self._route)
        try:
            answer = known.asked(parts, method)
            body = answer.read(_MOST_BYTES)
            if answer.read(1):
                raise NoPage("the page is too long")
        except BaseException:
            known.close()
            raise
        return answer, body


class _OriginConnection(http.client.HTTPConnection):
    """A connection to the origin of a URL, through the proxy.

    One of HTTP is asked for pages without TLS, and for a connection otherwise, as rclone does.
    """

    def __init__(self, parts: SplitResult, route: Mapping[str, str]) -> None:
        if parts.scheme not in _PORTS or not parts.hostname:
            raise NoPage("no URL of a web server")
        super().__init__(parts.hostname, parts.port or _PORTS[parts.scheme], timeout=_SECONDS)
        self.key = (parts.scheme, parts.netloc)
        self._route = route
        self._is_encrypted = parts.scheme == "https"
        is_asked = not self._is_encrypted and "http_proxy" in route
        self._proxy = urlsplit(route["http_proxy"]) if is_asked else None

    def asked(self, parts: SplitResult, method: str) -> http.client.HTTPResponse:
        """Ask for the page at a URL of this origin."""
        path = quote(parts.path, safe=_SAFE)
        whole = parts._replace(fragment="", path=path, query=quote(parts.query, safe=_SAFE))
        headers = {"Accept-Encoding": "identity"}
        if self._proxy is None:
            whole = whole._replace(scheme="", netloc="")
        elif self._proxy.username:
            login = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
            token = base64.b64encode(login.encode()).decode("ascii")
            headers["Proxy-Authorization"] = f"Basic {token}"
        self.request(method, whole.geturl() or "/", headers=headers)
        return self.getresponse()

    def connect(self) -> None:
        """Connect through the proxy."""
        if self._proxy is not None and self._proxy.hostname and self._proxy.port:
            address = (self._proxy.hostname, self._proxy.port)
            self.sock = socket.create_connection(address, _SECONDS)
            return
        plain = tunnel.connect(self._route, self.host, self.port, _SECONDS)
        self.sock = self._encrypted(plain) if self._is_encrypted else plain

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        context = ssl.create_default_context()
        return context.wrap_socket(plain, server_hostname=self.host)
