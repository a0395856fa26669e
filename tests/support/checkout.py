"""A copy of this checkout, without what is built or fetched in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.storages import ROOT

_ASIDE = (".git", ".venv", ".tools", "node_modules", "dist", "__pycache__", ".*_cache")


def copied(target: Path) -> Path:
    """Copy the checkout; the target must not exist."""
    return Path(shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*_ASIDE)))
