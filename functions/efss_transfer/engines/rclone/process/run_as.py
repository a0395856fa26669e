"""The user as whom rclone runs, where the function runs as root."""

from __future__ import annotations

import os
import pwd
from functools import cache
from pathlib import Path
from typing import Final

from efss_transfer.model.errors import ConfigurationError, EngineUnavailable

# What root needs to start a process as another user, and to end it then (capabilities(7)).
_CAPABILITIES: Final = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}


@cache
def find_account(user: str | None) -> pwd.struct_passwd | None:
    """The account as which rclone runs; None for the function's own.

    Raises ConfigurationError, which says what to do, if rclone cannot run as this user.
    """
    if user is None:
        return None
    if os.geteuid() != 0:
        raise ConfigurationError(
            "EFSS_TRANSFER_USER is set, and the function does not run as root: only root can "
            "start rclone as somebody else. Unset it, or start the function as root."
        )
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(
            "EFSS_TRANSFER_USER does not name a user of this machine; "
            "`nobody` is one that most machines have."
        ) from None
    if found.pw_uid == 0:
        raise ConfigurationError("EFSS_TRANSFER_USER must name a user other than root.")
    lacking = [name for name, bit in _CAPABILITIES.items() if not _capabilities() >> bit & 1]
    if lacking:
        raise ConfigurationError(
            f"EFSS_TRANSFER_USER is set, and root lacks {', '.join(lacking)} here: give the "
            "container these capabilities, or run all of it as that user and unset the variable."
        )
    return found


def check_executable(binary: Path, user: str | None) -> None:
    """Raise EngineUnavailable, which says what to do, if that user may not run the program."""
    if (owner := find_account(user)) is None:
        return
    real = binary.resolve()
    for path in (real, *real.parents):
        status = path.stat()
        if owner.pw_uid == status.st_uid:
            mode = status.st_mode >> 6
        elif owner.pw_gid == status.st_gid:
            mode = status.st_mode >> 3
        else:
            mode = status.st_mode
        if not mode & 1:
            raise EngineUnavailable(
                "The user whom EFSS_TRANSFER_USER names may not run rclone where it is: put a copy "
                "where every user may (0755, and so are its folders), and set EFSS_TRANSFER_RCLONE "
                "to its path."
            )


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
