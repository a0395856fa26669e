"""What the operator sets, read once from the environment.

Every setting is described in the README's table, and a test holds the two together.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from efss_transfer.errors import ConfigurationError

PREFIX: Final = "EFSS_TRANSFER_"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS: Final = ("json", "text")
WANTED_TRANSFERS: Final = 8
# Of the command and not of the function: whoever calls a service may serve one as well.
CLIENT_VARIABLES: Final = frozenset(PREFIX + name for name in ("URL", "TOKEN", "ENDPOINTS"))
_PLATFORM_SECONDS: Final = ("CLOUD_RUN_TIMEOUT_SECONDS", "FUNCTION_TIMEOUT_SEC")
# Threads of the HTTP server that no transfer may take: one to answer `busy`, one for
# /healthz. Without them a full service would hang instead of saying that it is full.
SPARE_THREADS: Final = 2


@dataclass(frozen=True)
class Settings:
    """The operator's settings. Durations are seconds, sizes are bytes."""

    rclone: Path | None
    rclone_sha256: str | None
    site: Path | None
    user: str | None
    memory_bytes: int
    concurrent_transfers: int
    duration_seconds: float
    boot_seconds: float
    stop_seconds: float
    retry_seconds: float
    stall_seconds: float
    body_bytes: int
    response_bytes: int
    runtime_dir: Path
    log_level: str
    log_format: str

    @classmethod
    def read(
        cls, environment: Mapping[str, str], limits: Mapping[str, float] | None = None
    ) -> Settings:
        """The settings that `environment` holds; `limits`, by name, bound them.

        A limit takes the place of a default, and of a larger value that is set.
        Raises ConfigurationError, which names the variable, for a value that cannot be
        used and for a name that begins like ours and is none: a misspelt limit that is
        ignored would be no limit.
        """
        reader = _Reader(environment, limits or {})
        rclone = reader.text("RCLONE", "")
        site = reader.text("SITE", "")
        settings = cls(
            rclone=Path(rclone) if rclone else None,
            rclone_sha256=reader.text("RCLONE_SHA256", "").lower() or None,
            site=Path(site) if site else None,
            user=reader.text("USER", "") or None,
            memory_bytes=reader.count("MEMORY_BYTES", 2 << 30, 256 << 20, 1 << 44),
            concurrent_transfers=reader.count(
                "CONCURRENT_TRANSFERS", _default_transfers(environment), 1, 10_000
            ),
            duration_seconds=min(
                reader.number("DURATION_SECONDS", 3600, 1, 30 * 86400),
                platform_seconds(environment),
            ),
            boot_seconds=reader.number("BOOT_SECONDS", 15, 0.1, 600),
            stop_seconds=reader.number("STOP_SECONDS", 5, 0.1, 600),
            retry_seconds=reader.number("RETRY_SECONDS", 4, 0.01, 600),
            stall_seconds=reader.number("STALL_SECONDS", 300, 1, 86400),
            body_bytes=reader.count("BODY_BYTES", 1 << 20, 1, 1 << 30),
            # What is told of a transfer without files and samples always fits into the least.
            response_bytes=reader.count("RESPONSE_BYTES", 5 << 20, 64 << 10, 1 << 30),
            # Asked only where it is needed: it fails where /tmp cannot be written to.
            runtime_dir=Path(reader.text("RUNTIME_DIR", "") or tempfile.gettempdir()),
            log_level=reader.text("LOG_LEVEL", "INFO").upper(),
            log_format=reader.text("LOG_FORMAT", "json").lower(),
        )
        reader.refuse_unknown()
        if settings.log_level not in LOG_LEVELS:
            raise ConfigurationError(f"{PREFIX}LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}.")
        if settings.log_format not in LOG_FORMATS:
            raise ConfigurationError(f"{PREFIX}LOG_FORMAT must be {' or '.join(LOG_FORMATS)}.")
        if not settings.runtime_dir.is_dir():
            raise ConfigurationError(f"{PREFIX}RUNTIME_DIR must be a folder that exists.")
        return settings


def platform_seconds(environment: Mapping[str, str]) -> float:
    """How long the platform lets a request run, if it tells: Google's Cloud Run and Cloud
    Functions do so, by these variables, whose value is whole seconds.
    """
    told = (environment.get(name, "") for name in _PLATFORM_SECONDS)
    return min((float(text) for text in told if text.isdecimal() and int(text)), default=math.inf)


def server_threads(environment: Mapping[str, str]) -> int:
    """How many requests functions-framework's server takes at a time.

    It reads THREADS, and otherwise takes four for each core (functions-framework 3.10,
    `_http/gunicorn.py`).
    """
    try:
        return int(environment["THREADS"])
    except (KeyError, ValueError):
        return (os.cpu_count() or 1) * 4


def warn_of_starved_server(chosen: Settings, environment: Mapping[str, str]) -> None:
    """Say it at start if transfers can take every thread that the server has."""
    threads = server_threads(environment)
    if chosen.concurrent_transfers + SPARE_THREADS > threads:
        logging.getLogger("efss_transfer").warning(
            "%sCONCURRENT_TRANSFERS is %d, and the server has %d threads: when all run, "
            "further requests wait instead of being told `busy`. Set THREADS to %d or more.",
            PREFIX,
            chosen.concurrent_transfers,
            threads,
            chosen.concurrent_transfers + SPARE_THREADS,
        )


def _default_transfers(environment: Mapping[str, str]) -> int:
    return max(1, min(WANTED_TRANSFERS, server_threads(environment) - SPARE_THREADS))


class _Reader:
    """Reads variables of ours, and remembers which it was asked for."""

    def __init__(self, environment: Mapping[str, str], limits: Mapping[str, float]) -> None:
        self._environment = environment
        self._limits = limits
        self._known: set[str] = set()

    def text(self, name: str, default: str) -> str:
        self._known.add(PREFIX + name)
        return self._environment.get(PREFIX + name) or default

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        text = self.text(name, str(self._limits.get(name, default)))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            raise ConfigurationError(
                f"{PREFIX}{name} must be a number from {lowest:.10g} to {highest:.10g}."
            )
        return min(value, self._limits.get(name, value))

    def count(self, name: str, default: int, lowest: int, highest: int) -> int:
        text = self.text(name, str(int(self._limits.get(name, default))))
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise ConfigurationError(
                f"{PREFIX}{name} must be a whole number from {lowest} to {highest}."
            )
        return int(min(value, self._limits.get(name, value)))

    def refuse_unknown(self) -> None:
        ours = {name for name in self._environment if name.startswith(PREFIX)}
        unknown = ours - self._known - CLIENT_VARIABLES
        if unknown:
            raise ConfigurationError(
                f"There is no setting {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted(self._known))}."
            )
