"""The operator's settings, read once from the environment.

docs/reference/settings.md describes each of them, and a test compares the two.
"""

from __future__ import annotations

import logging
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from efss_transfer.config import resources
from efss_transfer.model.errors import ConfigurationError

PREFIX: Final = "EFSS_TRANSFER_"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS: Final = ("json", "text")
WANTED_TRANSFERS: Final = 8
# Of the command and not of the function: whoever calls a service may serve one as well.
CLIENT_VARIABLES: Final = frozenset(PREFIX + name for name in ("URL", "TOKEN", "ENDPOINTS"))
_PLATFORM_SECONDS: Final = ("CLOUD_RUN_TIMEOUT_SECONDS", "FUNCTION_TIMEOUT_SEC")
_WATCHDOG_SECONDS: Final = "exec_timeout"
_AZURE_SECONDS: Final = "AzureFunctionsJobHost__functionTimeout"
# Set by Knative and Cloud Run, and by whoever puts OpenFaaS's watchdog before the function.
_PLATFORM_PROXIES: Final = ("K_SERVICE", "fprocess", "function_process")
_GO_UNITS: Final = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
# Threads of the HTTP server that no transfer may take: one to answer `busy`, one for
# /healthz. Without them a full service would hang instead of saying that it is full.
SPARE_THREADS: Final = 2
# unix(7): a socket's path has 107 bytes at most, and below this folder it is
# /efss-transfer-<16 digits>/rc.
LONGEST_RUNTIME_DIR: Final = 73
_LEAST_MEMORY: Final = 256 << 20
_WANTED_MEMORY: Final = 2 << 30
# The function's own need, with what its answers hold: measured, 70 to 130 MiB.
_OWN_MEMORY: Final = 160 << 20


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
    standby: bool
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
        site = reader.text("SITE", "")
        rclone = reader.text("RCLONE", "")
        transfers = reader.count("CONCURRENT_TRANSFERS", _default_transfers(environment), 1, 10_000)
        settings = cls(
            rclone=Path(rclone) if rclone else None,
            rclone_sha256=reader.text("RCLONE_SHA256", "").lower() or None,
            site=Path(site) if site else None,
            user=reader.text("USER", "") or None,
            memory_bytes=min(
                reader.count(
                    "MEMORY_BYTES", _default_memory(environment, transfers), _LEAST_MEMORY, 1 << 44
                ),
                # rclone should end by itself, and be told of, before all of the sandbox does.
                max(_LEAST_MEMORY, _for_engines(environment)),
            ),
            concurrent_transfers=transfers,
            duration_seconds=min(
                reader.number("DURATION_SECONDS", 3600, 1, 30 * 86400),
                platform_timeout(environment),
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
            # Before a first request there is no daemon on Lambda, whose sandboxes are copied.
            standby=reader.count("STANDBY", 0, 0, 1) == 1
            and "AWS_LAMBDA_FUNCTION_NAME" not in environment,
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
        if len(os.fsencode(settings.runtime_dir)) > LONGEST_RUNTIME_DIR:
            raise ConfigurationError(
                f"{PREFIX}RUNTIME_DIR must be a path of at most {LONGEST_RUNTIME_DIR} bytes: "
                "a unix socket stands below it."
            )
        return settings


def program(environment: Mapping[str, str]) -> Path | None:
    """The rclone that is set, which is to be known before anything else is read."""
    text = _Reader(environment, {}).text("RCLONE", "")
    return Path(text) if text else None


def platform_timeout(environment: Mapping[str, str]) -> float:
    """How long the platform lets a request run, if it tells.

    Google's Cloud Run and Cloud Functions tell it in whole seconds; OpenFaaS's of-watchdog in
    `exec_timeout`, a duration of Go's (`5m`, `1h30m`) or whole seconds, 0 for none; Azure in
    the app setting that overrides `functionTimeout` of host.json ([days.]hours:minutes:seconds,
    -1 for none). Anything else in them tells nothing.
    """
    told = [environment.get(name, "") for name in _PLATFORM_SECONDS]
    found = [float(text) for text in told if text.isdecimal()]
    found.append(_go_seconds(environment.get(_WATCHDOG_SECONDS, "")))
    found.append(_timespan_seconds(environment.get(_AZURE_SECONDS, "")))
    return min(filter(None, found), default=math.inf)


def behind_platform_proxy(environment: Mapping[str, str]) -> bool:
    """Whether the platform's own proxy, in the same sandbox, passes on what others send: that
    a call comes from this machine says nothing then of who sent it.
    """
    return any(environment.get(name) for name in _PLATFORM_PROXIES)


def _go_seconds(text: str) -> float:
    if text.isdecimal():
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)", text, re.ASCII)
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _GO_UNITS[unit] for number, unit in parts)


def _timespan_seconds(text: str) -> float:
    found = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)", text, re.ASCII)
    if found is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def server_threads(environment: Mapping[str, str]) -> int:
    """How many requests functions-framework's server takes at a time.

    It reads THREADS, and otherwise takes four for each core (functions-framework 3.10,
    `_http/gunicorn.py`).
    """
    try:
        return int(environment["THREADS"])
    except (KeyError, ValueError):
        return (os.cpu_count() or 1) * 4


def warn_about_server_threads(chosen: Settings, environment: Mapping[str, str]) -> None:
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
    """As many as there are threads for, and memory."""
    if "AWS_LAMBDA_FUNCTION_NAME" in environment:
        return 1  # it gives an instance one request at a time
    fitting = _for_engines(environment) // _LEAST_MEMORY
    return max(1, min(WANTED_TRANSFERS, server_threads(environment) - SPARE_THREADS, fitting))


def _default_memory(environment: Mapping[str, str], transfers: int) -> int:
    """What each transfer's engine may take, so that all of them fit."""
    return max(_LEAST_MEMORY, min(_WANTED_MEMORY, _for_engines(environment) // transfers))


def _for_engines(environment: Mapping[str, str]) -> int:
    there = resources.memory_limit(environment)
    return _WANTED_MEMORY * WANTED_TRANSFERS if there is None else there - _OWN_MEMORY


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
