"""Work that AWS Lambda can do before the first request, while it starts the function.

It holds nothing secret and starts no process.
"""

from __future__ import annotations


def begin() -> None:
    """Start to verify the engines' programs in the background. Never raises."""
    # Imported when it is called, so that importing this module costs nothing.
    from efss_transfer.engines import registry

    registry.prepare()


def load_engines() -> None:
    """Import the engines, so that the first request need not wait for that."""
    from efss_transfer.engines import registry

    registry.load()
