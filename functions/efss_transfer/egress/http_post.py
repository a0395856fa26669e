"""One POST to a host that may be reached, and to no other.

The host's name is looked up here, each address is asked about, and the connection goes to
the very one that was: whatever the name means a moment later is of no account. Where the site
has a proxy, that is used. No redirect is followed, and nothing of an answer is read but its
status and one header.

By http.client and not by requests: what has to be sure is where the connection goes, and
there it is a function that makes it.
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
from efss_transfer.model import targets
from efss_transfer.model.targets import WEB_PORTS, Target


class PostRefused(Exception):
    """None of the host's addresses may be connected to."""


def post(
    url: str, egress: Egress, headers: Mapping[str, str], body: bytes, until: float
) -> tuple[int, str]:
    """POST it once: the answer's status, and its Retry-After.

    It is over at `until`, by `time.monotonic()`. Raises NotAllowed; and OSError or
    HTTPException, whose texts are the other side's.
    """
    parts = urlsplit(url)
    target = targets.target("url", url)
    if target is None or target.port is None:  # not of a URL that has passed the policy
        raise PostRefused
    host = f"[{target.host}]" if ":" in target.host else target.host
    where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = host if target.port == WEB_PORTS[parts.scheme] else f"{host}:{target.port}"
    proxy = egress.proxy
    with ExitStack() as undo:

        def dial(*_: Any) -> socket.socket:
            connection = _dialled(target, egress, until)
            _break_at(until, connection, undo)
            return connection

        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            # Which certificates to trust is the operator's choice, by OpenSSL's own variables.
            connection = http.client.HTTPSConnection(
                target.host, target.port, context=ssl.create_default_context()
            )
            if proxy is not None:
                connection.set_tunnel(target.host, target.port)
        else:
            connection = http.client.HTTPConnection(target.host, target.port)
            if proxy is not None:
                where = f"http://{authority}{where}"
        undo.callback(connection.close)
        # The one place where http.client makes connections: TLS and tunnels stand above it.
        connection._create_connection = dial  # type: ignore[attr-defined]
        connection.request("POST", where, body, {"Host": authority, **headers})
        with connection.getresponse() as answer:
            return answer.status, answer.headers.get("Retry-After", "")


def _dialled(target: Target, egress: Egress, until: float) -> socket.socket:
    """A connection to one of the host's addresses that may be reached, or to the proxy.

    Raises NotAllowed, and OSError.
    """
    host, port = target.host, target.port or 0
    if egress.proxy is not None:
        parts = urlsplit(egress.proxy)
        found = addresses.resolved(parts.hostname or "", _left(until))
        port = parts.port or 0
    else:
        found = addresses.resolved(host, _left(until))
        if found:
            found = [address for address in found if _permitted(egress, host, port, address)]
            if not found:
                raise PostRefused
    failed = OSError("no address")
    for address in found:
        try:
            return socket.create_connection((str(address), port), _left(until))
        except OSError as error:
            failed = error
    raise failed


def _permitted(egress: Egress, host: str, port: int, address: targets.Address) -> bool:
    try:
        return egress.permits(host, port, address)
    except ValueError:  # an address that belongs to one of this machine's interfaces
        return False


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _break_at(until: float, connection: socket.socket, undo: ExitStack) -> None:
    """Break a connection off at that time, unless all is undone before.

    A socket's own timeout begins anew with each byte, and a receiver may send them one by
    one. It is a second handle of the connection: the first belongs to TLS by then.
    """
    twin = undo.enter_context(connection.dup())

    def break_off() -> None:
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_left(until), break_off)
    timer.daemon = True
    undo.callback(timer.cancel)
    timer.start()
