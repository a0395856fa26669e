"""The operator's settings, read once from the environment.

docs/reference/settings.md describes each of them; a test compares its table with this module.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from efss_transfer.config import resources
from efss_transfer.config.environment import PREFIX, EnvironmentReader
from efss_transfer.config.platforms import is_aws_lambda, platform_timeout, server_threads
from efss_transfer.config.rclone import RcloneSettings
from efss_transfer.model.errors import ConfigurationError

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS: Final = ("json", "text")
DEFAULT_TRANSFERS: Final = 8
# Threads of the HTTP server that no transfer may take: one to answer `busy`, one for
# /healthz. Without them a full service would hang instead of answering that it is full.
SPARE_THREADS: Final = 2
# A unix socket's path has at most 107 bytes (unix(7)); below this folder it is
# /efss-transfer-<16 digits>/rc.
LONGEST_RUNTIME_DIR: Final = 73
_LEAST_MEMORY: Final = 256 << 20
_DEFAULT_MEMORY: Final = 2 << 30
# The service's own memory, with the answers that it holds: measured, 70 to 130 MiB.
_SERVICE_MEMORY: Final = 160 << 20


@dataclass(frozen=True)
class Settings:
    """The operator's settings. Durations are in seconds, sizes in bytes.

    `memory_bytes` is for each transfer's engine. Each engine has settings of its own.
    """

    site: Path | None
    memory_bytes: int
    concurrent_transfers: int
    duration_seconds: float
    retry_seconds: float
    body_bytes: int
    response_bytes: int
    runtime_dir: Path
    log_level: str
    log_format: str
    rclone: RcloneSettings

    @classmethod
    def read(
        cls, environment: Mapping[str, str], limits: Mapping[str, float] | None = None
    ) -> Settings:
        """Read the settings from `environment`; `limits`, by name, are their upper bounds.

        Raises ConfigurationError, which names the variable, for a value that cannot be used
        and for an unknown variable with this service's prefix.
        """
        variables = EnvironmentReader(environment, limits)
        settings = _read(variables)
        variables.refuse_unknown()
        _check(settings)
        return settings


def known_variables() -> frozenset[str]:
    """The names of all variables that `Settings.read` knows."""
    variables = EnvironmentReader({})
    _read(variables)
    return variables.known


def _read(variables: EnvironmentReader) -> Settings:
    environment = variables.environment
    site = variables.text("SITE", "")
    transfers = variables.whole_number(
        "CONCURRENT_TRANSFERS", _default_transfers(environment), 1, 10_000
    )
    memory = variables.whole_number(
        "MEMORY_BYTES", _default_memory(environment, transfers), _LEAST_MEMORY, 1 << 44
    )
    return Settings(
        site=Path(site) if site else None,
        # An engine that meets its own limit ends with an error that is reported; at the sandbox's
        # limit the whole function is killed.
        memory_bytes=min(memory, max(_LEAST_MEMORY, _memory_for_engines(environment))),
        concurrent_transfers=transfers,
        duration_seconds=min(
            variables.number("DURATION_SECONDS", 3600, 1, 30 * 86400),
            platform_timeout(environment),
        ),
        retry_seconds=variables.number("RETRY_SECONDS", 4, 0.01, 600),
        body_bytes=variables.whole_number("BODY_BYTES", 1 << 20, 1, 1 << 30),
        # A result without files and samples always fits into the lowest value.
        response_bytes=variables.whole_number("RESPONSE_BYTES", 5 << 20, 64 << 10, 1 << 30),
        # `gettempdir` is called only if needed: it fails where /tmp is read-only.
        runtime_dir=Path(variables.text("RUNTIME_DIR", "") or tempfile.gettempdir()),
        log_level=variables.text("LOG_LEVEL", "INFO").upper(),
        log_format=variables.text("LOG_FORMAT", "json").lower(),
        rclone=RcloneSettings.read(variables),
    )


def _check(settings: Settings) -> None:
    if settings.log_level not in LOG_LEVELS:
        raise ConfigurationError(f"{PREFIX}LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}.")
    if settings.log_format not in LOG_FORMATS:
        raise ConfigurationError(f"{PREFIX}LOG_FORMAT must be {' or '.join(LOG_FORMATS)}.")
    if not settings.runtime_dir.is_dir():
        raise ConfigurationError(f"{PREFIX}RUNTIME_DIR must be a folder that exists.")
    if len(os.fsencode(settings.runtime_dir)) > LONGEST_RUNTIME_DIR:
        raise ConfigurationError(
            f"{PREFIX}RUNTIME_DIR must be a path of at most {LONGEST_RUNTIME_DIR} bytes, because "
            "a unix socket is created below it."
        )


def warn_about_server_threads(settings: Settings, environment: Mapping[str, str]) -> None:
    """Log a warning if transfers can occupy every thread of the HTTP server."""
    threads = server_threads(environment)
    needed = settings.concurrent_transfers + SPARE_THREADS
    if needed > threads:
        logging.getLogger("efss_transfer").warning(
            "%sCONCURRENT_TRANSFERS is %d, but the server has only %d threads: while all "
            "transfers run, further requests wait instead of being answered `busy`. "
            "Set THREADS to %d or more.",
            PREFIX,
            settings.concurrent_transfers,
            threads,
            needed,
        )


def _default_transfers(environment: Mapping[str, str]) -> int:
    """As many transfers as threads and memory allow."""
    if is_aws_lambda(environment):
        return 1
    by_memory = _memory_for_engines(environment) // _LEAST_MEMORY
    by_threads = server_threads(environment) - SPARE_THREADS
    return max(1, min(DEFAULT_TRANSFERS, by_threads, by_memory))


def _default_memory(environment: Mapping[str, str], transfers: int) -> int:
    """Memory for one transfer's engine, so that all transfers fit."""
    share = _memory_for_engines(environment) // transfers
    return max(_LEAST_MEMORY, min(_DEFAULT_MEMORY, share))


def _memory_for_engines(environment: Mapping[str, str]) -> int:
    limit = resources.memory_limit(environment)
    if limit is None:
        return _DEFAULT_MEMORY * DEFAULT_TRANSFERS
    return limit - _SERVICE_MEMORY
