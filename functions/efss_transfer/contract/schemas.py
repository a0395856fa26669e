"""The JSON Schemas: the files in schema/, as they are served and as requests are checked.

They stand in the package when it is installed, and beside functions/ in a checkout.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("request", "result", "event", "problem", "plan-request", "plan", "site")
VERSION: Final = "v1"
"""As it stands in the schemas' `$id` and path. One that takes less would be another."""


@cache
def schema(name: str) -> dict[str, Any]:
    """One of the schemas, by its name. It is shared: treat it as read-only."""
    if name not in NAMES:
        raise KeyError(name)
    file = f"{name}.schema.json"
    packed = files("efss_transfer") / "schema" / file
    if packed.is_file():
        text = packed.read_text("utf-8")
    else:
        text = (Path(__file__).parents[3] / "schema" / file).read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
