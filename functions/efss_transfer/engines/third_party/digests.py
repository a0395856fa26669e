"""Asks a storage for the checksum of a file (RFC 3230: Want-Digest and Digest)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WANTED: Final = "adler32,md5,sha-256,sha"
"""Kinds to ask for where any will do: those that grid storages keep with a file come first."""

_DIGITS: Final = {"adler32": 8, "md5": 32, "sha": 40, "sha-256": 64, "sha-512": 128}
_NAMES: Final = {"sha1": "sha", "sha-1": "sha", "sha256": "sha-256", "sha512": "sha-512"}
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_LONGEST: Final = 1 << 12


@dataclass(frozen=True)
class Digest:
    """A checksum: its kind, as in the header, and its value in lower-case hexadecimal."""

    kind: str
    value: str

    @property
    def hash(self) -> str:
        """The kind's name in a request and a result."""
        return self.kind.replace("-", "") if self.kind != "sha" else "sha1"


def wanted(hash_: str) -> str:
    """The header's name of a kind that a request names."""
    return _NAMES.get(hash_.lower(), hash_.lower())


def read(headers: Mapping[str, str], kinds: str = WANTED) -> Digest | None:
    """The first checksum of a wanted kind in an answer's headers, which have lower-case names.

    None if there is none, or none that has the length of its kind.
    """
    found: dict[str, str] = {}
    for part in headers.get("digest", "")[:_LONGEST].split(","):
        name, separator, value = part.strip().partition("=")
        kind = wanted(name.strip())
        if separator and (digits := _hexadecimal(kind, value.strip())):
            found.setdefault(kind, digits)
    for kind in kinds.split(","):
        if kind in found:
            return Digest(kind, found[kind])
    return None


def _hexadecimal(kind: str, value: str) -> str:
    """A value in hexadecimal, in which some servers send it; empty if it is no such checksum."""
    length = _DIGITS.get(kind)
    if length is None:
        return ""
    if kind == "adler32":  # RFC 3230 writes it without leading zeros
        return value.lower().zfill(length) if _HEX.fullmatch(value) and len(value) <= 8 else ""
    if len(value) == length and _HEX.fullmatch(value):
        return value.lower()
    try:
        decoded = base64.b64decode(value, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""
    return decoded if len(decoded) == length else ""
