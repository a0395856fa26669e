"""Decides which local clients the guard serves: those of its own transfer.

The guard listens on loopback, where every process of the machine can connect. Its secret reaches
the engine over the engine's private API, and so stands in no command line, no environment and no
file. A user name beside it says which connections a client makes, because each side of a transfer
has rules of its own.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/net/tcp")
_INODE_COLUMN: Final = 9


class Access:
    """Admits clients that know the secret, and the connections of one process if that is set."""

    def __init__(self, users: Collection[str]) -> None:
        self.secret: str = secrets.token_hex(16)
        self._users = {name.encode(): name for name in users}
        self._process: tuple[int, str] | None = None

    def admit_process(self, pid: int, user: str) -> None:
        """Serve this process without the secret, too, as `user`."""
        self._process = pid, user

    def user(self, name: bytes, password: bytes) -> str | None:
        """The user of this name, if the password is the secret."""
        if not hmac.compare_digest(password, self.secret.encode()):
            return None
        return self._users.get(name)

    def basic_user(self, value: str) -> str | None:
        """The user of a Proxy-Authorization header (RFC 7617), if its password is the secret."""
        scheme, _, encoded = value.strip().partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except ValueError:  # not ASCII, or not base64
            return None
        return self.user(name, password)

    def stranger(self, client: socket.socket) -> str | None:
        """The user of a connection that came without the secret, if its process is admitted."""
        if self._process is None:
            return None
        pid, user = self._process
        return user if owns_connection(pid, client) else None


def owns_connection(pid: int, client: socket.socket) -> bool:
    """Whether a process has the other end of a loopback connection (IPv4) open.

    The kernel lists the inode of each end, and a process's descriptors name it. Both must be
    readable: for a process of another user that takes the capability SYS_PTRACE.
    """
    with suppress(OSError, ValueError):
        wanted = [_hexadecimal(*end) for end in (client.getpeername(), client.getsockname())]
        with _TABLE.open() as table:
            inodes = {
                fields[_INODE_COLUMN] for line in table if (fields := line.split())[1:3] == wanted
            }
        links = {f"socket:[{inode}]" for inode in inodes - {"0"}}
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(_target(entry.path) in links for entry in entries)
    return False


def _hexadecimal(host: str, port: int) -> str:
    """An address as /proc/net/tcp has it: in the byte order of the machine."""
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"


def _target(link: str) -> str:
    try:
        return str(Path(link).readlink())
    except OSError:
        return ""  # it was closed meanwhile
