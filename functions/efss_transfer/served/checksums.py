"""Checksums of listed files: kept as bytes, and computed while the bytes pass."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Final

SIZES: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""The kinds of checksum, each with its size in bytes. Longer ones come last."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """Checksum of a file: its kind and its value."""

    kind: str
    value: bytes

    @classmethod
    def parse(cls, text: str) -> Checksum | None:
        """Parse `md5:…` in hexadecimal; None for a kind that is unknown, or another form."""
        kind, _, value = text.strip().partition(":")
        return cls.of(kind, value)

    @classmethod
    def of(cls, kind: str, value: str) -> Checksum | None:
        """Build a checksum from hexadecimal or base64; None if it is neither, or unknown."""
        kind = kind.strip().lower().replace("-", "")
        size = SIZES.get(kind)
        if size is None:
            return None
        value = value.strip()
        try:
            raw = bytes.fromhex(value) if len(value) == 2 * size else base64.b64decode(value)
        except (ValueError, binascii.Error):
            return None
        return cls(kind, raw) if len(raw) == size else None

    def __str__(self) -> str:
        return f"{self.kind}:{self.value.hex()}"

    def hasher(self) -> Any:
        """Return what computes it."""
        return hashlib.new(self.kind, usedforsecurity=False)
