"""Refuse listed files whose paths fall together: a schema compares no two of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from efss_transfer.contract.validation import MAX_VIOLATIONS
from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.request import Endpoint

_TWICE: Final = (
    "Another file has this path, or one that differs only in case or Unicode form, or lies below "
    "it: some storages take both for one."
)


def check_paths(side: str, endpoint: Endpoint) -> None:
    """Refuse files that some storages would take for one. Raises InvalidRequest."""
    paths = [str(file["path"]) for file in endpoint.lists.get("files", ())]
    found = [
        Violation(f"/{side}/parameters/files/{number}/path", "distinct", _TWICE)
        for number in _clashes(paths)
    ]
    if found:
        raise InvalidRequest(found[:MAX_VIOLATIONS], has_more=len(found) > MAX_VIOLATIONS)


def _clashes(paths: Iterable[str]) -> Iterator[int]:
    """Yield the numbers of paths that clash with one before them."""
    files: set[str] = set()
    folders: dict[str, str] = {}
    for number, path in enumerate(paths):
        alike = _alike(path)
        parents = [path[:end] for end, sign in enumerate(path) if sign == "/"]
        is_wrong = alike in files or alike in folders
        for parent in parents:
            folder = _alike(parent)
            is_wrong |= folder in files or folders.setdefault(folder, parent) != parent
        files.add(alike)
        if is_wrong:
            yield number


def _alike(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
