"""Linux's Landlock: a thread gives up rights, for itself and for all that it starts.

Its three system calls have no names in libc. Their numbers are the same on all
architectures that rclone is built for, and what they take is in landlock(7). Each
version of the interface (the ABI) knows more rights; what a kernel does not know is
neither given up nor granted.
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
_ASK_FOR_VERSION: Final = 1
_BENEATH_A_PATH, _AT_A_PORT = 1, 2


class PathRights(IntFlag):
    """Rights to a file, or to everything below a folder."""

    EXECUTE = 1 << 0
    WRITE = 1 << 1
    READ = 1 << 2
    LIST = 1 << 3
    TRUNCATE = 1 << 14
    USE_DEVICE = 1 << 15


class Tcp(IntFlag):
    """Rights to a TCP port, whatever the address."""

    BIND = 1 << 0
    CONNECT = 1 << 1


class Scope(IntFlag):
    """What would reach processes that did not give up the same rights."""

    ABSTRACT_SOCKETS = 1 << 0
    SIGNALS = 1 << 1


_OF_A_FILE: Final = (
    PathRights.EXECUTE
    | PathRights.WRITE
    | PathRights.READ
    | PathRights.TRUNCATE
    | PathRights.USE_DEVICE
)
# By the ABI that brought them. The first four are those above; with them came nine, and then
# a tenth, of making, removing and moving what is in folders, which are never granted here.
_FILES_SINCE: Final = {
    1: (1 << 13) - 1,
    2: 1 << 13,
    3: PathRights.TRUNCATE,
    5: PathRights.USE_DEVICE,
}
TCP_SINCE: Final = 4
BEYOND_SINCE: Final = 6


@cache
def abi() -> int:
    """The version of the interface that the kernel has; 0 if it has none.

    None, because it was left out, switched off, or a container's rules forbid the call.
    """
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _ASK_FOR_VERSION)
    except OSError:
        return 0


class Ruleset:
    """What is still allowed once `restrict_thread` was called; nothing, to begin with.

    Every method raises OSError if the kernel does not do what it is asked.
    """

    def __init__(self, descriptor: int, files: int) -> None:
        self._descriptor = descriptor
        self._files = files

    def allow(self, path: Path, rights: PathRights) -> None:
        """Allow it at a path and below; links are followed now. Nothing if it is missing,
        or out of this process's reach, because it is out of a child's then, too.
        """
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        try:
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                rights &= _OF_A_FILE
            self._add(_BENEATH_A_PATH, struct.pack("=Qi", rights & self._files, target))
        finally:
            os.close(target)

    def allow_connections(self, port: int) -> None:
        """Allow to connect to a TCP port."""
        self._add(_AT_A_PORT, struct.pack("=QQ", Tcp.CONNECT, port))

    def restrict_thread(self) -> None:
        """Give up all else: this thread, what it starts, for good."""
        _call(_RESTRICT_SELF, self._descriptor, 0)

    def _add(self, kind: int, rule: bytes) -> None:
        _call(_ADD_RULE, self._descriptor, kind, rule, 0)


@contextmanager
def ruleset(tcp: Tcp) -> Iterator[Ruleset]:
    """A ruleset for all files, those rights of TCP, and all that reaches beyond, as far as
    the kernel knows them. To be used where `abi()` is not 0. Raises OSError.
    """
    version = abi()
    files = sum(int(rights) for since, rights in _FILES_SINCE.items() if since <= version)
    beyond = Scope.ABSTRACT_SOCKETS | Scope.SIGNALS
    attributes = struct.pack(
        "=QQQ",
        files,
        tcp if version >= TCP_SINCE else 0,
        beyond if version >= BEYOND_SINCE else 0,
    )
    # Older kernels take a longer structure if what they do not know is zero.
    descriptor = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        yield Ruleset(descriptor, files)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes | None) -> int:
    # libc's `syscall` takes as many longs as there are; a plain int would be half of one.
    longs = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    outcome = int(_libc().syscall(ctypes.c_long(number), *longs))
    if outcome < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return outcome


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
