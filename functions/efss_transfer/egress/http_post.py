"""Sends one POST request, only to a host that the egress rules allow.

The host's name is resolved once, each address is checked, and the connection goes to an
address that was checked, whatever the name resolves to a moment later. If the site has a
proxy, the connection goes there. Redirects are not followed, and nothing is read of the
response but its status and one header.

This uses http.client instead of requests because the code must control which address is
dialled, and http.client lets a function of ours make the connection.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

from efss_transfer.egress import addresses
from efss_transfer.egress.rules import Egress
from efss_transfer.model.targets import WEB_PORTS, Address, Target, parse_target


class PostRefused(Exception):
    """The egress rules allow none of the host's addresses."""


def post(
    url: str, egress: Egress, headers: Mapping[str, str], body: bytes, deadline: float
) -> tuple[int, str]:
    """POST once, and return the response's status and its Retry-After header.

    `deadline` is on the clock of `time.monotonic()`. Raises PostRefused; and OSError or
    HTTPException, whose texts may quote the server.
    """
    parts = urlsplit(url)
    target = parse_target("url", url)
    if target is None or target.port is None:  # the policy lets no such URL pass
        raise PostRefused
    host = f"[{target.host}]" if ":" in target.host else target.host
    request_target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = host if target.port == WEB_PORTS[parts.scheme] else f"{host}:{target.port}"
    proxy = egress.proxy
    with ExitStack() as undo:

        def connect(*_: Any) -> socket.socket:
            connected = _connect(target, egress, deadline)
            _close_at(deadline, connected, undo)
            return connected

        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            # The operator chooses the trusted certificates, by OpenSSL's own variables.
            connection = http.client.HTTPSConnection(
                target.host, target.port, context=ssl.create_default_context()
            )
            if proxy is not None:
                connection.set_tunnel(target.host, target.port)
        else:
            connection = http.client.HTTPConnection(target.host, target.port)
            if proxy is not None:
                request_target = f"http://{authority}{request_target}"
        undo.callback(connection.close)
        # http.client makes all its connections here: TLS and tunnels are built on top.
        connection._create_connection = connect  # type: ignore[attr-defined] # typeshed omits it
        connection.request("POST", request_target, body, {"Host": authority, **headers})
        with connection.getresponse() as response:
            return response.status, response.headers.get("Retry-After", "")


def _connect(target: Target, egress: Egress, deadline: float) -> socket.socket:
    """Connect to an allowed address of the host, or to the proxy.

    Raises PostRefused and OSError.
    """
    host, port = target.host, target.port or 0
    if egress.proxy is not None:
        parts = urlsplit(egress.proxy)
        found = addresses.resolve(parts.hostname or "", _seconds_left(deadline))
        port = parts.port or 0
    else:
        found = addresses.resolve(host, _seconds_left(deadline))
        if found:
            found = [address for address in found if _is_permitted(egress, host, port, address)]
            if not found:
                raise PostRefused
    last_error = OSError("no address")
    for address in found:
        try:
            return socket.create_connection((str(address), port), _seconds_left(deadline))
        except OSError as error:
            last_error = error
    raise last_error


def _is_permitted(egress: Egress, host: str, port: int, address: Address) -> bool:
    try:
        return egress.permits(host, port, address)
    except ValueError:  # an IPv6 address with a zone, which selects one of our interfaces
        return False


def _seconds_left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _close_at(deadline: float, connection: socket.socket, undo: ExitStack) -> None:
    """Shut the connection down at the deadline, unless `undo` is unwound first.

    A socket's own timeout restarts with each byte, and a receiver may send them one at a
    time. The timer uses a duplicate of the socket, because TLS owns the original by then.
    """
    duplicate = undo.enter_context(connection.dup())

    def shut_down() -> None:
        with suppress(OSError):
            duplicate.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_seconds_left(deadline), shut_down)
    timer.daemon = True
    undo.callback(timer.cancel)
    timer.start()
