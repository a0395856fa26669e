"""Work that AWS Lambda does before the first request, while it starts the function.

It handles no secret and starts no process.
"""

from __future__ import annotations


def start_verification() -> None:
    """Start to verify the engines' programs in a background thread. Never raises."""
    # Imported here so that importing this module costs nothing.
    from efss_transfer.engines import registry

    registry.prepare()


def load_engines() -> None:
    """Import the engines, so that the first request need not wait for that."""
    from efss_transfer.engines import registry

    registry.load()
