"""Settings of the rclone engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from efss_transfer.config.environment import EnvironmentReader
from efss_transfer.config.platforms import is_aws_lambda


@dataclass(frozen=True)
class RcloneSettings:
    """The operator's settings for rclone. Durations are in seconds.

    `binary` is the path of the rclone to run, None for the installed one; `sha256` its
    expected hash in lower-case hexadecimal, None for the pinned one. `user` is the account
    that rclone runs as, None for the service's own. `standby` keeps one rclone booted for the
    next transfer. `webdav_gateway` puts a gateway before each WebDAV storage; `webdav_bulk` lets
    it upload small files together, and `webdav_archives` lets it download them so. Files of more
    than `webdav_chunks_mb` megabytes it may send in parts, 0 for none.
    """

    binary: Path | None
    sha256: str | None
    user: str | None
    standby: bool
    webdav_gateway: bool
    webdav_bulk: bool
    webdav_archives: bool
    webdav_chunks_mb: int
    boot_seconds: float
    stop_seconds: float
    stall_seconds: float

    @classmethod
    def read(cls, variables: EnvironmentReader) -> Self:
        """Read them. Raises ConfigurationError, which names the variable."""
        return cls(
            binary=_binary(variables),
            sha256=variables.text("RCLONE_SHA256", "").lower() or None,
            user=variables.text("USER", "") or None,
            # Lambda copies a sandbox before its first request, and a process cannot be copied.
            standby=variables.whole_number("STANDBY", 0, 0, 1) == 1
            and not is_aws_lambda(variables.environment),
            webdav_gateway=variables.whole_number("WEBDAV_GATEWAY", 1, 0, 1) == 1,
            webdav_bulk=variables.whole_number("WEBDAV_BULK", 1, 0, 1) == 1,
            webdav_archives=variables.whole_number("WEBDAV_ARCHIVES", 1, 0, 1) == 1,
            webdav_chunks_mb=variables.whole_number("WEBDAV_CHUNKS_MB", 100, 0, 1_000_000),
            boot_seconds=variables.number("BOOT_SECONDS", 15, 0.1, 600),
            stop_seconds=variables.number("STOP_SECONDS", 5, 0.1, 600),
            stall_seconds=variables.number("STALL_SECONDS", 300, 1, 86400),
        )


def configured_binary(environment: Mapping[str, str]) -> Path | None:
    """The path of rclone, if it is set; hashing starts before all settings are read."""
    return _binary(EnvironmentReader(environment))


def _binary(variables: EnvironmentReader) -> Path | None:
    text = variables.text("RCLONE", "")
    return Path(text) if text else None
