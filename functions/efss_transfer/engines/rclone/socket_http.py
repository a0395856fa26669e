"""HTTP over a unix socket: one POST after another, or several at once, and their answers.

A module of its own, because it is what takes the longest to import: `Rc` imports it while
rclone boots.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

_BASE: Final = "http://localhost/"
_PIECE: Final = 1 << 18


class Silent(Exception):
    """There was no answer in time."""


class Gone(Exception):
    """Nobody is there any more who could answer."""


class Unreadable(Exception):
    """The answer is no JSON object."""


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its headers, and the JSON object that it is."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any] = field(repr=False)


class Client:
    """Sends to one socket, from many threads.

    No session of requests: cookies, redirects, the environment's proxies and ~/.netrc have
    no business on a private socket, and cost a fifth of a call.
    """

    def __init__(self, path: Path) -> None:
        self._adapter = _Adapter(str(path))

    def post(self, call: str, parameters: Mapping[str, Any], patience: float | None) -> Reply:
        """POST a JSON object; `patience` is in seconds, None is for as long as it takes.

        Raises Silent, Gone or Unreadable; none of them quotes anything that was sent.
        """
        try:
            post = requests.Request("POST", _BASE + call, json=parameters).prepare()
            reply = self._adapter.send(post, timeout=patience)
            body = reply.json()
        # `from None`: an exception of requests can quote what was sent.
        except requests.Timeout:
            raise Silent from None
        except ValueError:  # requests' errors of decoding among them
            raise Unreadable from None
        except requests.RequestException:
            raise Gone from None
        if not isinstance(body, dict):
            raise Unreadable
        return Reply(reply.status_code, reply.headers, body)

    def get(
        self, path: str, headers: Mapping[str, str], count: int, patience: float, enough: float
    ) -> bytes:
        """GET what stands at a quoted path: its first `count` bytes, or those that have come
        about `enough` seconds after the first. Empty if it is not to be had, or nothing of it
        comes for `patience` seconds.
        """
        try:
            get = requests.Request("GET", _BASE + path, headers=dict(headers)).prepare()
            with self._adapter.send(get, stream=True, timeout=patience) as reply:
                if reply.status_code not in (200, 206):
                    return b""
                until = time.monotonic() + enough
                taken = bytearray()
                while len(taken) < count and time.monotonic() < until:
                    piece = reply.raw.read(min(_PIECE, count - len(taken)))
                    if not piece:
                        break
                    taken += piece
                return bytes(taken)
        except (requests.RequestException, HTTPError):
            return b""

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()


class _Connection(HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect; a socket that could not is closed."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self._path)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


class _Pool(HTTPConnectionPool):
    """Connections to one unix socket, kept open between calls."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", maxsize=16)
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class _Adapter(HTTPAdapter):
    """Leads every request to one unix socket.

    requests-unixsocket2 does that too; but it connects anew for every path, which doubled
    the time of a call, and leaves a socket open that could not connect.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = _Pool(path)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> _Pool:
        """The connections to the socket, whatever the URL."""
        return self._pool

    def close(self) -> None:
        """Close them all."""
        super().close()
        self._pool.close()
