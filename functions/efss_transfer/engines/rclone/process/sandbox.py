"""The sandbox of each rclone: the limits of what a storage or a request can make rclone do.

    no new privileges    a setuid program gives it no rights
    files                it reads what it needs to run and to trust a server, and writes nothing
    programs             it starts none but /bin/sh, which started it, and is confined with it
    TCP                  it listens on no port, and connects only to the given ports
    other sockets        none; UDP only if rclone itself must resolve hosts
    processes            it signals only itself, and reaches no abstract socket
    memory               Go keeps below four fifths of the limit; at the limit rclone ends
    user                 another one than root, if the function runs as root

The kernel ties the first six to a thread, and its child processes inherit them. So a separate
thread drops the rights, starts rclone, and ends; the function itself keeps its rights. Each
measure is taken if the machine supports it, and `measures` lists which. If a supported measure
fails, that is an error, and rclone is not started.
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
from efss_transfer.engines.rclone.process.landlock import PathRights, TcpRights

SHELL: Final = Path("/bin/sh")
"""The shell that starts rclone, so rclone may execute it as well."""

_LOG: Final = logging.getLogger(__name__)
# The requirement of each measure, for the warning about missing ones.
_REQUIREMENTS: Final = {
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
# The kernel counts a user's processes on the whole machine, and each thread as one: this is far
# more than all rclones need, and far less than would harm the machine.
_MAX_PROCESSES: Final = 4096
# A connection takes one, and so does a file; rclone has about two for each file that it copies.
_MAX_DESCRIPTORS: Final = 4096

# Files that rclone and Go read, found with strace. /etc/ssl and /etc/pki are not allowed as a
# whole, because they also contain private keys. Certificate files are listed beside their
# folders because they can be links to other folders.
_READABLE: Final = (
    # Certificate authorities.
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
    # Name resolution.
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    # Media types, which some storages get with a file.
    "/usr/share/mime",
    "/usr/local/share/mime",
    "/etc/mime.types",
    "/etc/apache2/mime.types",
    "/etc/httpd/conf/mime.types",
    # The time zone, the page size, and the shell's index of libraries.
    "/etc/localtime",
    "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
    "/etc/ld.so.cache",
)


def measures(settings: Settings, *, by_port: bool = False) -> dict[str, bool | str]:
    """The measures, by name: True or a short description if in force here, else False.

    `by_port` says whether each rclone gets the only ports that it may connect to.
    """
    abi = landlock.abi()
    tcp: bool | str = False
    if abi >= landlock.TCP_SINCE:
        tcp = "listens on no port" + (", connects only to the guard" if by_port else "")
    user: bool | str = settings.rclone.user or "the function's own, not root"
    if settings.rclone.user is None and os.geteuid() == 0:
        user = False
    return {
        "no_new_privileges": _supports_no_new_privileges(),
        "files": abi > 0 and "reads only what it needs, writes nothing",
        "programs": abi > 0 and "starts only the shell that started it",
        "tcp": tcp,
        "other_sockets": seccomp.available() and ("none" if by_port else "only UDP"),
        "processes": abi >= landlock.SCOPES_SINCE and "signals only itself",
        "memory": f"{settings.memory_bytes} bytes",
        "user": user,
    }


def log_measures(found: Mapping[str, bool | str]) -> None:
    """Log the measures in force, and a warning about those that are not."""
    in_force = [
        name if value is True else f"{name} ({value})" for name, value in found.items() if value
    ]
    _LOG.info("rclone's sandbox has: %s", ", ".join(in_force))
    missing = [
        f"{name} (needs {_REQUIREMENTS[name]})" for name, value in found.items() if not value
    ]
    if missing:
        _LOG.warning("rclone's sandbox lacks: %s", ", ".join(missing))


def go_environment(settings: Settings) -> dict[str, str]:
    """Variables of Go's runtime.

    It collects garbage before the memory limit is reached. It uses no more CPUs than its
    control group allows, which it cannot read inside the sandbox.
    """
    variables = {"GOMEMLIMIT": str(settings.memory_bytes * 4 // 5)}
    if landlock.abi() and (cpus := resources.usable_cpus()) is not None:
        variables["GOMAXPROCS"] = str(cpus)
    return variables


def ulimit_commands(settings: Settings) -> str:
    """The launcher's shell commands that set setrlimit(2) limits, for rclone only.

    The memory limit is RLIMIT_DATA, which counts writable memory, and not the more than a
    gigabyte of address space that Go reserves (RLIMIT_AS would). The file size limit is 0: no
    byte can be written to a file. Units are those of POSIX's `ulimit`. POSIX has no option for
    processes, and shells differ.
    """
    wanted = [
        ("-c", resource.RLIMIT_CORE, 0, 512),
        ("-f", resource.RLIMIT_FSIZE, 0, 512),
        ("-n", resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS, 1),
        ("-d", resource.RLIMIT_DATA, settings.memory_bytes, 1024),
    ]
    lines = [
        f"ulimit {option} {_at_most(limit, value) // unit} || exit"
        for option, limit, value, unit in wanted
    ]
    if settings.rclone.user is not None:
        processes = _at_most(resource.RLIMIT_NPROC, _MAX_PROCESSES)
        lines.append(f"ulimit -u {processes} 2>/dev/null || ulimit -p {processes} || exit")
    return "\n".join(lines)


def run_confined(
    launch: Callable[[], _T],
    binary: Path,
    folder: Path,
    connect_ports: frozenset[int] | None,
    *,
    udp: bool = False,
) -> _T:
    """Call `launch` in a confined thread: a process that it starts cannot leave the sandbox.

    The process may be the shell or `binary`, and works in `folder`. `connect_ports` are the only
    TCP ports that it may connect to; None allows all, and UDP as well. With ports UDP is allowed
    only if `udp`. Raises what `launch` raises, and OSError if a supported measure fails.
    """
    launched: list[_T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _confine_thread(binary, folder, connect_ports, udp or connect_ports is None)
            launched.append(launch())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="rclone-start")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return launched[0]


def _confine_thread(
    binary: Path, folder: Path, connect_ports: frozenset[int] | None, udp: bool
) -> None:
    if _supports_no_new_privileges() and _prctl(_SET_NO_NEW_PRIVILEGES, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if seccomp.available():
        seccomp.restrict_thread(udp=udp)
    if landlock.abi():
        _restrict_by_landlock(binary, folder, connect_ports)


def _restrict_by_landlock(binary: Path, folder: Path, connect_ports: frozenset[int] | None) -> None:
    tcp = TcpRights.BIND if connect_ports is None else TcpRights.BIND | TcpRights.CONNECT
    with landlock.ruleset(tcp) as allowed:
        for program in (SHELL, binary):
            allowed.allow(program, PathRights.EXECUTE | PathRights.READ)
            if (loader := _loader(program)) is not None:
                allowed.allow(loader, PathRights.EXECUTE | PathRights.READ)
                # The C library and others are in the folder of the loader.
                allowed.allow(loader.resolve().parent, PathRights.READ)
        certificates = [os.environ.get("SSL_CERT_FILE", "")]
        certificates += os.environ.get("SSL_CERT_DIR", "").split(":")
        for path in (str(folder), *_READABLE, *filter(None, certificates)):
            allowed.allow(Path(path), PathRights.READ | PathRights.LIST)
        allowed.allow(Path(os.devnull), PathRights.READ | PathRights.WRITE | PathRights.TRUNCATE)
        if landlock.abi() >= landlock.TCP_SINCE:
            for port in connect_ports or ():
                allowed.allow_connections(port)
        allowed.restrict_thread()


@cache
def _loader(program: Path) -> Path | None:
    """The dynamic loader of an ELF program; None for a static program."""
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


def _at_most(limit: int, value: int) -> int:
    """The value, or this process's own hard limit if that is lower."""
    _, hard = resource.getrlimit(limit)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


@cache
def _supports_no_new_privileges() -> bool:
    return sys.platform.startswith("linux") and _prctl(_GET_NO_NEW_PRIVILEGES, 0) >= 0


def _prctl(option: int, value: int) -> int:
    longs = (ctypes.c_long(one) for one in (value, 0, 0, 0))
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, *longs))
