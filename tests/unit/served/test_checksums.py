"""Checksums in the forms in which lists have them."""

from __future__ import annotations

import base64
import hashlib

import pytest

from efss_transfer.served.checksums import SIZES, Checksum


@pytest.mark.parametrize("kind", SIZES)
def test_checksum_is_read_in_hexadecimal_and_in_base64(kind: str) -> None:
    raw = hashlib.new(kind, b"content").digest()
    for text in (raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode()):
        found = Checksum.of(kind.upper(), text)
        assert found == Checksum(kind, raw)
        assert str(found) == f"{kind}:{raw.hex()}"
        hasher = found.hasher()
        hasher.update(b"content")
        assert hasher.digest() == raw


@pytest.mark.parametrize("text", ["md5", "md5:00", "crc32:00000000", "md5:" + "é" * 32, ""])
def test_anything_else_is_none(text: str) -> None:
    assert Checksum.parse(text) is None


def test_kind_with_a_hyphen_is_known() -> None:
    assert Checksum.parse("SHA-1:" + "00" * 20) == Checksum("sha1", bytes(20))
