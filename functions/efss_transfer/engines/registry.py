"""The engines that this service offers; no other module names one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from efss_transfer.config.rclone import configured_binary
from efss_transfer.model.errors import EngineUnavailable

if TYPE_CHECKING:
    from efss_transfer.config.settings import Settings
    from efss_transfer.engines.base import Engine


def engines(settings: Settings) -> Mapping[str, Engine]:
    """Make every engine, by the name that a request gives it. Raises ConfigurationError."""
    # Here and not above: `prepare` runs before anything that an engine needs is imported.
    from efss_transfer.engines.rclone.engine import RcloneEngine

    return {RcloneEngine.name: RcloneEngine(settings)}


def load() -> None:
    """Import every engine now: what is imported later, the first request waits for."""
    import efss_transfer.engines.rclone.engine  # noqa: F401


def prepare() -> None:
    """Start to hash rclone's binary in the background, which takes about as long as the imports.

    Never raises: the first request that needs the binary reports what is wrong with it.
    """
    from efss_transfer.engines.rclone.process.binary import find_binary, start_hashing

    with suppress(EngineUnavailable):
        start_hashing(find_binary(configured_binary(os.environ)))
