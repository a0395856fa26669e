"""Values of published JSON, of whatever type they are."""

from __future__ import annotations

from typing import Any

import pytest

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.formats import values


@pytest.mark.parametrize(
    ("given", "size"),
    [(5, 5), (0, 0), ("12", 12), (-1, None), (True, None), ("1 MB", None), (1.5, None)],
)
def test_size_is_a_whole_number(given: Any, size: int | None) -> None:
    assert values.size(given) == size


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("2026-01-31", 1_769_817_600),
        ("2026-01-31T00:00:00Z", 1_769_817_600),
        ("2026-01-31T01:00:00.5+01:00", 1_769_817_600),
        ("last year", None),
        (None, None),
        ("0001-01-01T00:00:00+23:00", None),
        ("1969-12-31", None),
        ("9999-12-31", None),
    ],
)
def test_time_is_a_date_or_a_time(given: Any, time: int | None) -> None:
    assert values.time(given) == time


def test_checksum_without_a_kind_is_md5() -> None:
    raw = bytes(range(16))
    assert values.checksum(raw.hex()) == Checksum("md5", raw)
    assert values.checksum(f"md5:{raw.hex()}") == Checksum("md5", raw)
    assert values.checksum("crc32:00") is None
    assert values.checksum(5) is None


def test_strongest_checksum_counts() -> None:
    told = {"md5": "00" * 16, "sha256": "11" * 32, "sha512": "no checksum"}
    assert values.strongest(told) == Checksum("sha256", b"\x11" * 32)
    assert values.strongest({}) is None


def test_anything_may_stand_in_place_of_an_object_or_an_array() -> None:
    assert values.members([1]) == {}
    assert list(values.items([1, 2])) == [1, 2]
    assert list(values.items("a")) == ["a"]
    assert list(values.items(None)) == []
    assert values.text(5) is values.text("") is None
