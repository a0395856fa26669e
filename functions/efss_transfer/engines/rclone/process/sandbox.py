"""What an rclone may not do, however a storage or a request misleads it.

    no new privileges    a program with setuid gives it none
    files                it reads what it needs to run and to trust a server, and writes nothing
    programs             it starts none but /bin/sh, which started it, and is confined with it
    TCP                  it listens on no port, and connects to the given ports alone
    other sockets        none; UDP where rclone itself has to ask where a host is
    processes            it signals none but itself, and reaches no abstract socket
    memory               Go keeps below four fifths of the bound; at the bound it ends
    user                 another than root, where the function runs as root

The kernel ties the first six to a thread, which its children inherit from. So a thread of
its own gives up the rights, starts rclone, and ends; the function itself stays as it was.
Each measure is taken where the machine has it; `measures` tells which those are. What is
there and fails is an error, and rclone is not started.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from efss_transfer.config import resources
from efss_transfer.config.settings import Settings
from efss_transfer.engines.rclone.process import landlock, seccomp
from efss_transfer.engines.rclone.process.landlock import PathRights, Tcp

SHELL: Final = Path("/bin/sh")
"""What starts rclone; so that it cannot be forbidden."""

_LOG: Final = logging.getLogger(__name__)
# What each measure needs, told where it is missing.
_NEEDS: Final = {
    "no_new_privileges": "Linux 3.5",
    "files": "Linux 5.13 with Landlock",
    "programs": "Linux 5.13 with Landlock",
    "tcp": "Linux 6.7 with Landlock",
    "other_sockets": "seccomp, on x86_64 or aarch64",
    "processes": "Linux 6.12 with Landlock",
    "user": "EFSS_TRANSFER_USER, because the function runs as root",
}
_T = TypeVar("_T")
_SET_NO_NEW_PRIVILEGES, _GET_NO_NEW_PRIVILEGES = 38, 39  # prctl(2)
# A user's processes are counted all over the machine, and each thread as one: this many
# are far more than all rclones need, and far fewer than would hurt.
_PROCESSES: Final = 4096
# A connection is one, and so is a file; rclone has about two for each file that it copies.
_DESCRIPTORS: Final = 4096

# What rclone and Go read, found by strace. Not all of /etc/ssl and /etc/pki: there are
# private keys, too. The files among the certificates are named beside their folders for
# where they are links to elsewhere.
_READABLE: Final = (
    # Whom to trust.
    "/etc/ssl/certs",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
    # Where hosts are, and at which ports.
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    # What kind a file is, which some storages are told.
    "/usr/share/mime",
    "/usr/local/share/mime",
    "/etc/mime.types",
    "/etc/apache2/mime.types",
    "/etc/httpd/conf/mime.types",
    # The time zone, the size of a page of memory, and where the shell's libraries are.
    "/etc/localtime",
    "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
    "/etc/ld.so.cache",
)


def measures(settings: Settings, *, by_port: bool = False) -> dict[str, bool | str]:
    """Which measures are in force here: true or what it amounts to, and false for none.

    `by_port` says whether rclones are given the ports to which they may connect.
    """
    abi = landlock.abi()
    tcp: bool | str = False
    if abi >= landlock.TCP_SINCE:
        tcp = "listens on no port" + (", connects to the guard's alone" if by_port else "")
    user: bool | str = settings.rclone.user or "the function's, which is not root"
    if settings.rclone.user is None and os.geteuid() == 0:
        user = False
    return {
        "no_new_privileges": _knows_no_new_privileges(),
        "files": abi > 0 and "reads what it needs, writes nothing",
        "programs": abi > 0 and "starts none but the shell that started it",
        "tcp": tcp,
        "other_sockets": seccomp.available() and ("none" if by_port else "UDP alone"),
        "processes": abi >= landlock.BEYOND_SINCE and "signals none but itself",
        "memory": f"{settings.memory_bytes} bytes",
        "user": user,
    }


def log_measures(told: Mapping[str, bool | str]) -> None:
    """Log what `measures` told: what is in force, and as a warning what is not."""
    taken = [name if what is True else f"{name} ({what})" for name, what in told.items() if what]
    _LOG.info("rclone is confined here: %s", ", ".join(taken))
    if missing := [f"{name} needs {_NEEDS[name]}" for name, what in told.items() if not what]:
        _LOG.warning("rclone is not confined here in all: %s", "; ".join(missing))


def go_environment(settings: Settings) -> dict[str, str]:
    """Go's variables: it collects garbage before it meets the memory's bound, and takes no
    more processors than its control group gives it, which it cannot read in the sandbox.
    """
    chosen = {"GOMEMLIMIT": str(settings.memory_bytes * 4 // 5)}
    if landlock.abi() and (processors := resources.usable_cpus()) is not None:
        chosen["GOMAXPROCS"] = str(processors)
    return chosen


def ulimit_commands(settings: Settings) -> str:
    """The launcher's commands that set the limits of setrlimit(2), for rclone alone.

    Memory is RLIMIT_DATA: it counts what can be written to, so not what Go reserves for
    later, which is more than a gigabyte (RLIMIT_AS). No byte can be written to a file. The
    units are those of POSIX's `ulimit`; an option for processes is not in POSIX, and shells
    differ.
    """
    wanted = [
        ("-c", resource.RLIMIT_CORE, 0, 512),
        ("-f", resource.RLIMIT_FSIZE, 0, 512),
        ("-n", resource.RLIMIT_NOFILE, _DESCRIPTORS, 1),
        ("-d", resource.RLIMIT_DATA, settings.memory_bytes, 1024),
    ]
    lines = [
        f"ulimit {option} {_at_most(limit, most) // unit} || exit"
        for option, limit, most, unit in wanted
    ]
    if settings.rclone.user is not None:
        most = _at_most(resource.RLIMIT_NPROC, _PROCESSES)
        lines.append(f"ulimit -u {most} 2>/dev/null || ulimit -p {most} || exit")
    return "\n".join(lines)


def run_confined(
    launch: Callable[[], _T],
    binary: Path,
    folder: Path,
    connect_ports: frozenset[int] | None,
    *,
    udp: bool = False,
) -> _T:
    """Call `launch` where these measures hold: what it starts cannot leave them.

    What it starts may be the shell and `binary`; `folder` is where it works. `connect_ports`
    are all that it connects to; None is any, and UDP as well, which there otherwise is only
    if `udp`. Raises what `launch` raises, and OSError if a measure that there is cannot be
    taken.
    """
    launched: list[_T] = []
    failed: list[BaseException] = []

    def confined() -> None:
        try:
            _confine_thread(binary, folder, connect_ports, udp or connect_ports is None)
            launched.append(launch())
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            failed.append(error)

    thread = threading.Thread(target=confined, name="rclone-start")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return launched[0]


def _confine_thread(
    binary: Path, folder: Path, connect_ports: frozenset[int] | None, udp: bool
) -> None:
    if _knows_no_new_privileges() and _prctl(_SET_NO_NEW_PRIVILEGES, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if seccomp.available():
        seccomp.restrict_thread(udp=udp)
    if landlock.abi():
        _restrict_by_landlock(binary, folder, connect_ports)


def _restrict_by_landlock(binary: Path, folder: Path, connect_ports: frozenset[int] | None) -> None:
    tcp = Tcp.BIND if connect_ports is None else Tcp.BIND | Tcp.CONNECT
    with landlock.ruleset(tcp) as allowed:
        for program in (SHELL, binary):
            allowed.allow(program, PathRights.EXECUTE | PathRights.READ)
            if (loader := _loader(program)) is not None:
                allowed.allow(loader, PathRights.EXECUTE | PathRights.READ)
                # The library of C is where its loader is; others of its kind are there, too.
                allowed.allow(loader.resolve().parent, PathRights.READ)
        trusted = [os.environ.get("SSL_CERT_FILE", "")]
        trusted += os.environ.get("SSL_CERT_DIR", "").split(":")
        for path in (str(folder), *_READABLE, *filter(None, trusted)):
            allowed.allow(Path(path), PathRights.READ | PathRights.LIST)
        allowed.allow(Path(os.devnull), PathRights.READ | PathRights.WRITE | PathRights.TRUNCATE)
        if landlock.abi() >= landlock.TCP_SINCE:
            for port in connect_ports or ():
                allowed.allow_connections(port)
        allowed.restrict_thread()


@cache
def _loader(program: Path) -> Path | None:
    """The dynamic loader that a program of ELF names; None if it needs none."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian
            return None
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        for index in range(count):
            file.seek(table + index * size)
            kind, _, start, _, _, length = struct.unpack("<IIQQQQ", file.read(40))
            if kind == 3:  # PT_INTERP
                file.seek(start)
                return Path(os.fsdecode(file.read(length).rstrip(b"\0")))
    return None


def _at_most(limit: int, most: int) -> int:
    """That much, or what is allowed to this process itself, if it is less."""
    _, own = resource.getrlimit(limit)
    return most if own == resource.RLIM_INFINITY else min(most, own)


@cache
def _knows_no_new_privileges() -> bool:
    return sys.platform.startswith("linux") and _prctl(_GET_NO_NEW_PRIVILEGES, 0) >= 0


def _prctl(option: int, value: int) -> int:
    longs = (ctypes.c_long(one) for one in (value, 0, 0, 0))
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, *longs))
