"""Checksums in headers: RFC 3230 and what storages make of it."""

from __future__ import annotations

import base64
import hashlib

import pytest

from efss_transfer.engines.third_party import digests
from efss_transfer.engines.third_party.digests import Digest

MD5 = hashlib.md5(b"abc", usedforsecurity=False)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("adler32=024d0127", Digest("adler32", "024d0127")),
        ("ADLER32=24D0127", Digest("adler32", "024d0127")),
        (f"md5={base64.b64encode(MD5.digest()).decode()}", Digest("md5", MD5.hexdigest())),
        (f"md5={MD5.hexdigest()}", Digest("md5", MD5.hexdigest())),
        (f"md5={MD5.hexdigest()}, adler32=024d0127", Digest("adler32", "024d0127")),
        ("sha-512=AAAA", None),
        ("md5=not base64", None),
        ("md5=AAAA", None),
        ("adler32=123456789", None),
        ("", None),
    ],
)
def test_first_wanted_kind_is_taken(header: str, found: Digest | None) -> None:
    assert digests.read({"digest": header}) == found


def test_only_the_wanted_kind_is_taken() -> None:
    assert digests.read({"digest": "adler32=024d0127"}, "md5") is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sha1", "sha"), ("sha256", "sha-256"), ("md5", "md5"), ("SHA512", "sha-512")],
)
def test_kinds_of_a_request_have_names_in_headers(name: str, kind: str) -> None:
    assert digests.wanted(name) == kind
    assert Digest(kind, "00").hash == name.lower()
