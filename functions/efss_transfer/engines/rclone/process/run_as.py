"""The user that rclone runs as, if the function runs as root."""

from __future__ import annotations

import os
import pwd
from functools import cache
from pathlib import Path
from typing import Final

from efss_transfer.model.errors import ConfigurationError, EngineUnavailable

# The capabilities that root needs to start a process as another user, and to stop it
# (capabilities(7)).
_CAPABILITIES: Final = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}


@cache
def find_account(user: str | None) -> pwd.struct_passwd | None:
    """The account that rclone runs as; None for the function's own.

    Raises ConfigurationError, which says what to do, if rclone cannot run as this user.
    """
    if user is None:
        return None
    if os.geteuid() != 0:
        raise ConfigurationError(
            "EFSS_TRANSFER_USER is set, but the function does not run as root, and only root can "
            "start rclone as another user. Unset it, or run the function as root."
        )
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(
            "EFSS_TRANSFER_USER does not name a user of this machine. Most machines have the "
            "user `nobody`."
        ) from None
    if account.pw_uid == 0:
        raise ConfigurationError("EFSS_TRANSFER_USER must name a user other than root.")
    effective = _effective_capabilities()
    missing = [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        raise ConfigurationError(
            f"EFSS_TRANSFER_USER is set, but root lacks {', '.join(missing)} here. Give the "
            "container these capabilities, or run the whole container as that user and unset "
            "the variable."
        )
    return account


def check_executable(binary: Path, user: str | None) -> None:
    """Raise EngineUnavailable, which says what to do, if this user may not execute the file."""
    if (account := find_account(user)) is None:
        return
    real = binary.resolve()
    for path in (real, *real.parents):
        status = path.stat()
        if account.pw_uid == status.st_uid:
            mode = status.st_mode >> 6
        elif account.pw_gid == status.st_gid:
            mode = status.st_mode >> 3
        else:
            mode = status.st_mode
        if not mode & 1:
            raise EngineUnavailable(
                "The user in EFSS_TRANSFER_USER may not execute rclone at its path. Copy rclone to "
                "a folder that every user may enter (mode 0755, and so all folders above it), and "
                "set EFSS_TRANSFER_RCLONE to the path of the copy."
            )


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
