"""A seccomp(2) filter: the sockets that a thread, and processes that it starts, may create.

Landlock covers only TCP ports. The filter closes the other ways out of a process: unix sockets
(those of a container engine among them), raw sockets, multipath TCP, and UDP if all connections
must go through the guard.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass
from functools import cache
from typing import Final

_SET_SECCOMP, _FILTER = 22, 2  # prctl(2)

# Classic BPF, with the numbers of linux/filter.h and linux/seccomp.h.
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EACCES
# Offsets of a call's number, its architecture, and the low halves of its arguments.
_NUMBER, _ARCHITECTURE, _FAMILY, _TYPE, _PROTOCOL = 0, 4, 16, 24, 32
_INET, _INET6, _STREAM, _DATAGRAM, _TCP = 2, 10, 1, 2, 6
_TYPE_MASK: Final = 0xF
# io_uring creates sockets as well, and a filter cannot see which.
_IO_URING_SETUP: Final = 425
# The x86_64 kernel has every call under two numbers; the second series starts here.
_X32: Final = 0x40000000


@dataclass(frozen=True)
class _Machine:
    architecture: int
    socket: int


_MACHINES: Final = {"x86_64": _Machine(0xC000003E, 41), "aarch64": _Machine(0xC00000B7, 198)}


@cache
def available() -> bool:
    """Whether the kernel accepts filters, and this module knows the machine's call numbers."""
    if not sys.platform.startswith("linux") or platform.machine() not in _MACHINES:
        return False
    # A null filter: EFAULT means that the kernel has filters, EINVAL that it has none.
    return _set_filter(None) == errno.EFAULT


def restrict_thread(*, udp: bool) -> None:
    """Allow only TCP sockets, and UDP sockets if `udp`, in this thread and in all processes
    that it starts, for good.

    Use it only if `available()`, after the thread has set no_new_privileges. Raises OSError.
    """
    program = _program(_MACHINES[platform.machine()], udp)
    # struct sock_fprog: the number of instructions, eight bytes each, and their address.
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    if (failed := _set_filter(head)) != 0:
        raise OSError(failed, "seccomp")


def _program(machine: _Machine, udp: bool) -> bytes:
    # Jumps name their targets' indices here; BPF counts from the instruction after the jump.
    refuse, allow = 16, 17
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 2, refuse, machine.architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, refuse, 4, _X32),
        (_IF_EQUAL, refuse, 5, _IO_URING_SETUP),
        (_IF_EQUAL, 6, allow, machine.socket),
        (_LOAD, 0, 0, _FAMILY),
        (_IF_EQUAL, 9, 8, _INET),
        (_IF_EQUAL, 9, refuse, _INET6),
        (_LOAD, 0, 0, _TYPE),
        (_AND, 0, 0, _TYPE_MASK),
        (_IF_EQUAL, 12, 15, _STREAM),
        (_LOAD, 0, 0, _PROTOCOL),
        (_IF_EQUAL, allow, 14, 0),
        (_IF_EQUAL, allow, refuse, _TCP),
        (_IF_EQUAL, allow if udp else refuse, refuse, _DATAGRAM),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(
        struct.pack(
            "=HBBI",
            code,
            if_true - index - 1 if if_true else 0,
            if_false - index - 1 if if_false else 0,
            operand,
        )
        for index, (code, if_true, if_false, operand) in enumerate(steps)
    )


def _set_filter(program: bytes | None) -> int:
    """Set the filter; return the error number, 0 for success."""
    libc = ctypes.CDLL(None, use_errno=True)
    rest = (ctypes.c_long(0), ctypes.c_long(0))
    if libc.prctl(_SET_SECCOMP, ctypes.c_long(_FILTER), program, *rest) == 0:
        return 0
    return ctypes.get_errno()
