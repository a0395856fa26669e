"""Results of a transfer as tests compare them."""

from __future__ import annotations

from typing import Any

from support import contract
from support.storages import Storage

FILES = {
    "a.h5": b"a" * 10,
    "b.txt": b"b" * 20,
    "raw/c.h5": b"c" * 30,
    "raw/d.tmp": b"d" * 40,
    "raw/deep/e.h5": b"e" * 50,
    "Übung/f 1.txt": b"f" * 60,
}


def checked_result(answer: Any) -> dict[str, Any]:
    """The result of an answer, which fits its schema, success or problem."""
    document = answer.json()
    kind = "result" if answer.status_code == 200 else "problem"
    assert contract.complaints(kind, document) == []
    result: dict[str, Any] = document if kind == "result" else document["result"]
    return result


def arrived(storage: Storage, path: str) -> dict[str, str]:
    """The hashes of what is at a path of a storage, as its endpoint has it."""
    return storage.hashes("/".join(filter(None, (storage.base, path))))


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    """The state of every file that a result names, and its reason."""
    return {
        file["path"]: f"{file['state']} {file['reason']}" if "reason" in file else file["state"]
        for file in result["files"]
    }
