"""efss-transfer: one HTTP request, one copy between two storages."""

from __future__ import annotations

__version__ = "0.1.0"
