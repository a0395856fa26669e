"""The JSON Schemas in schema/, as the service publishes them and checks requests with them.

In an installed package they are package data; in a checkout they are beside functions/.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

NAMES: Final = (
    *("request", "result", "event", "problem"),
    *("plan-request", "plan", "list-request", "listing", "check-request", "check", "site"),
)
VERSION: Final = "v1"
"""The contract's version in the schemas' `$id` and path. A contract that accepts fewer
requests needs a new one.
"""


@cache
def schema(name: str) -> dict[str, Any]:
    """Load one of the schemas by name. The result is shared: do not change it."""
    if name not in NAMES:
        raise KeyError(name)
    file = f"{name}.schema.json"
    packaged = files("efss_transfer") / "schema" / file
    if packaged.is_file():
        text = packaged.read_text("utf-8")
    else:
        text = (Path(__file__).parents[3] / "schema" / file).read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
