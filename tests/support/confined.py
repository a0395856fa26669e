"""Starts a program under the filters of system calls that systemd would make of a unit.

    python confined.py '{"allowed": ["read", …], "families": [1, 2, 10]}' PROGRAM ARGUMENT…

systemd itself needs to be the first process of a machine, which it is not where tests run.
What it makes of SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute and
RestrictNamespaces are filters of seccomp, by libseccomp, as here (systemd 252,
`src/shared/seccomp-util.c`). Debian's apt needs that library, so it is there.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from typing import Final

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_WRITE, _EXECUTE = 2, 4  # PROT_ of mmap(2)
_NO_NEW_PRIVILEGES: Final = 38


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Filter:
    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))
        assert self._filter.value is not None

    def add(self, action: int, name: str, *conditions: _Condition) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # another architecture's, or one that this library does not know: as systemd
        array = (_Condition * max(1, len(conditions)))(*conditions)
        failed = self._library.seccomp_rule_add_array(
            self._filter, ctypes.c_uint32(action), number, len(conditions), array
        )
        assert failed == 0, (name, failed)

    def load(self) -> None:
        failed = self._library.seccomp_load(self._filter)
        assert failed == 0, failed


def _refused(error: int) -> int:
    return _ERRNO | error


def main() -> None:
    """Take the filters on, and become the program."""
    wanted = json.loads(sys.argv[1])
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    rest = _Filter(_ALLOW)
    for family in range(socket.AF_VSOCK + 10):
        if family not in wanted["families"]:
            condition = _Condition(0, _EQUAL, family, 0)
            rest.add(_refused(errno.EAFNOSUPPORT), "socket", condition)
    both = _WRITE | _EXECUTE
    rest.add(_refused(errno.EPERM), "mmap", _Condition(2, _MASKED_EQUAL, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        condition = _Condition(2, _MASKED_EQUAL, _EXECUTE, _EXECUTE)
        rest.add(_refused(errno.EPERM), name, condition)
    rest.add(_refused(errno.ENOSYS), "clone3")
    for name in ("unshare", "setns"):
        rest.add(_refused(errno.EPERM), name)
    rest.load()
    calls = _Filter(_refused(errno.EPERM))
    for name in wanted["allowed"]:
        calls.add(_ALLOW, name)
    calls.load()
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - there is no shell, on purpose


if __name__ == "__main__":
    main()
