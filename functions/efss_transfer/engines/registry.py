"""The engines that this service offers. No other module names an engine."""

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
    """Create every engine, by the name that a request uses. Raises ConfigurationError."""
    # Imported here, because `prepare` runs before an engine's imports.
    from efss_transfer.engines.fts.engine import FtsEngine
    from efss_transfer.engines.rclone.engine import RcloneEngine
    from efss_transfer.engines.tpc.engine import TpcEngine

    offered: tuple[Engine, ...] = (
        RcloneEngine(settings),
        TpcEngine(settings),
        FtsEngine(settings),
    )
    return {engine.name: engine for engine in offered}


def load() -> None:
    """Import every engine now, so that the first request does not wait for the imports."""
    import efss_transfer.engines.rclone.engine  # noqa: F401


def prepare() -> None:
    """Start to hash rclone in the background, which takes about as long as the imports.

    Never raises: the first request that needs rclone reports the error.
    """
    from efss_transfer.engines.rclone.process.binary import find_binary, start_hashing

    with suppress(EngineUnavailable):
        start_hashing(find_binary(configured_binary(os.environ)))
