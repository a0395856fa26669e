"""Linux's Landlock: a thread drops rights, for itself and for all processes that it starts.

libc has no functions for its three system calls. Their numbers are the same on all
architectures that rclone is built for, and landlock(7) describes their arguments. Each version
of the interface (the ABI) knows more rights; a right that the kernel does not know is neither
dropped nor granted.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag
from functools import cache
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_QUERY_VERSION: Final = 1
_RULE_FOR_PATH, _RULE_FOR_PORT = 1, 2


class PathRights(IntFlag):
    """Rights to a file, or to everything below a folder."""

    EXECUTE = 1 << 0
    WRITE = 1 << 1
    READ = 1 << 2
    LIST = 1 << 3
    TRUNCATE = 1 << 14
    USE_DEVICE = 1 << 15


class TcpRights(IntFlag):
    """Rights to a TCP port, at any address."""

    BIND = 1 << 0
    CONNECT = 1 << 1


class Scope(IntFlag):
    """Ways to reach processes that did not drop the same rights."""

    ABSTRACT_SOCKETS = 1 << 0
    SIGNALS = 1 << 1


_FILE_RIGHTS: Final = (
    PathRights.EXECUTE
    | PathRights.WRITE
    | PathRights.READ
    | PathRights.TRUNCATE
    | PathRights.USE_DEVICE
)
# The rights by the ABI that introduced them. ABI 1 has the first four above, and nine to create
# and remove entries of folders; ABI 2 added moving them. Those ten are never granted here.
_PATH_RIGHTS_SINCE: Final = {
    1: (1 << 13) - 1,
    2: 1 << 13,
    3: PathRights.TRUNCATE,
    5: PathRights.USE_DEVICE,
}
TCP_SINCE: Final = 4
SCOPES_SINCE: Final = 6


@cache
def abi() -> int:
    """The version of the kernel's interface.

    It is 0 if the kernel was built without Landlock, Landlock is switched off, or a container's
    rules forbid the call.
    """
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, 0, _QUERY_VERSION)
    except OSError:
        return 0


class Ruleset:
    """The rights that remain after `restrict_thread`; none to begin with.

    Every method raises OSError if the kernel refuses the call.
    """

    def __init__(self, descriptor: int, known_rights: int) -> None:
        self._descriptor = descriptor
        self._known_rights = known_rights

    def allow(self, path: Path, rights: PathRights) -> None:
        """Allow rights to a path and all below it. Links are followed now.

        A path that is missing, or not accessible to this process, is skipped: a child could not
        access it either.
        """
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        try:
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                rights &= _FILE_RIGHTS
            self._add(_RULE_FOR_PATH, struct.pack("=Qi", rights & self._known_rights, target))
        finally:
            os.close(target)

    def allow_connections(self, port: int) -> None:
        """Allow connections to a TCP port."""
        self._add(_RULE_FOR_PORT, struct.pack("=QQ", TcpRights.CONNECT, port))

    def restrict_thread(self) -> None:
        """Drop all other rights of this thread, and of all processes that it starts, for good."""
        _syscall(_RESTRICT_SELF, self._descriptor, 0)

    def _add(self, kind: int, rule: bytes) -> None:
        _syscall(_ADD_RULE, self._descriptor, kind, rule, 0)


@contextmanager
def ruleset(tcp: TcpRights) -> Iterator[Ruleset]:
    """A ruleset for all rights to paths, the given rights to TCP, and all scopes, as far as the
    kernel knows them.

    Use it only if `abi()` is not 0. Raises OSError.
    """
    version = abi()
    paths = sum(int(rights) for since, rights in _PATH_RIGHTS_SINCE.items() if since <= version)
    scopes = Scope.ABSTRACT_SOCKETS | Scope.SIGNALS
    attributes = struct.pack(
        "=QQQ",
        paths,
        tcp if version >= TCP_SINCE else 0,
        scopes if version >= SCOPES_SINCE else 0,
    )
    # Older kernels accept the longer structure if the members that they do not know are zero.
    descriptor = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        yield Ruleset(descriptor, paths)
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    # libc's `syscall` reads each argument as a long; ctypes would pass an int, half as wide.
    longs = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    outcome = int(_libc().syscall(ctypes.c_long(number), *longs))
    if outcome < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return outcome


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
