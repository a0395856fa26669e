"""Whether a selection's patterns include a path, as rclone's filter decides it.

rclone filters the entries that it lists. The service decides about an entry that rclone passed
over. Where a pattern has no counterpart in Python, the path counts as selected: a file that may be
missing is reported.

rclone 1.75 translates a glob into a regular expression (fs/filter/glob.go, documented in
https://rclone.org/filtering/). A test compares this module with rclone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from efss_transfer.model.request import Selection

_LITERAL: Final = frozenset(".+()|^$")


def selects(selection: Selection, path: str, *, maybe_folder: bool = False) -> bool:
    """Whether the patterns select a file with this path.

    With `maybe_folder` the path may be a folder, in which any pattern may select a file: only
    `exclude` rules it out.
    """
    paths = (path, f"{path}/") if maybe_folder else (path,)
    for glob in selection.exclude:
        rule = _expression(f"{glob}**" if glob.endswith("/") else glob)
        if rule is not None and any(rule.search(it) for it in paths):
            return False
    if not selection.include or maybe_folder:
        return True
    # Of a pattern that ends in a slash rclone makes a rule for folders alone.
    rules = [_expression(it) for it in selection.include if "**" in it or not it.endswith("/")]
    return any(rule is None or rule.search(path) for rule in rules)


@lru_cache(maxsize=1_024)
def _expression(glob: str) -> re.Pattern[str] | None:
    """The regular expression of a glob; None if Python cannot express it as Go does."""
    if "[[" in glob or "[:" in glob:
        return None  # Go's classes of characters
    try:
        return re.compile(_translated(glob))
    except (re.error, ValueError, IndexError):
        return None


def _translated(glob: str) -> str:
    parts = ["^" if glob.startswith("/") else "(?:^|/)"]
    at, depth = int(glob.startswith("/")), 0
    while at < len(glob):
        one = glob[at]
        if glob.startswith("{{", at):
            end = glob.index("}}", at)
            while glob.startswith("}}}", end):
                end += 1
            parts.append(f"(?:{glob[at + 2 : end]})")
            at = end + 2
            continue
        if one == "[":
            end = glob.index("]", at)
            parts.append(glob[at : end + 1])
            at = end
        elif one == "\\":
            at += 1
            parts.append(f"\\{glob[at]}")
        elif one == "*":
            is_double = glob.startswith("**", at)
            parts.append(".*" if is_double else "[^/]*")
            at += is_double
        else:
            depth += (one == "{") - (one == "}")
            parts.append(_of_one(one, depth))
        at += 1
    return "".join(parts) + r"\Z"


def _of_one(one: str, depth: int) -> str:
    if one == ",":
        return "|" if depth else ","
    if one in _LITERAL:
        return f"\\{one}"
    return {"?": "[^/]", "{": "(?:", "}": ")"}.get(one, one)
