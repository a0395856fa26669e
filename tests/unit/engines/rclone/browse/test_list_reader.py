"""The reply of `operations/list`, in pieces of any size."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from efss_transfer.engines.rclone.browse.list_reader import ListReader, time_of


def item(name: str, size: int = 1, *, folder: bool = False, time: str = "") -> dict[str, Any]:
    return {"Path": name, "Name": name, "Size": size, "ModTime": time, "IsDir": folder}


def reply(*items: dict[str, Any]) -> bytes:
    # rclone indents its replies, and writes names as they are.
    return json.dumps({"list": list(items)}, indent="\t", ensure_ascii=False).encode()


@pytest.mark.parametrize("length", [1, 2, 7, 64, 10_000])
def test_any_pieces_give_the_same_entries(length: int) -> None:
    odd = 'a "list": [ {"x"} ü\u2028.txt'
    content = reply(item("z"), item(odd, 3), item("b", -1, folder=True), item("aé", -1))
    reader = ListReader(10)
    for start in range(0, len(content), length):
        reader.take(content[start : start + length])
    assert [(it.name, it.is_folder, it.size) for it in reader.first()] == [
        ("b", True, None),
        (odd, False, 3),
        ("aé", False, None),
        ("z", False, 1),
    ]
    assert reader.count == 4


@pytest.mark.parametrize("content", [b'{"list": []}', b'{\n\t"list": null\n}\n', b"{}"])
def test_empty_folder_has_no_entries(content: bytes) -> None:
    reader = ListReader(10)
    reader.take(content)
    assert (reader.first(), reader.count) == ((), 0)


def test_only_the_first_are_kept_and_all_are_counted() -> None:
    reader = ListReader(3)
    names = [f"{(number * 7919) % 10_000:05}" for number in range(10_000)]
    content = reply(*map(item, names))
    reader.take(content[:1000])
    reader.take(content[1000:])
    assert [it.name for it in reader.first()] == ["00000", "00001", "00002"]
    assert reader.count == 10_000
    assert len(reader._kept) == 3


def test_entry_without_an_end_is_refused() -> None:
    reader = ListReader(3)
    for _ in range(4):
        reader.take(b'{"list": [{"Name": "' + b"x" * ((1 << 20) - 20))
    with pytest.raises(ValueError, match="too long"):
        reader.take(b"x" * 100)


def test_times_are_utc_and_missing_ones_are_none() -> None:
    assert time_of("2026-11-22T17:00:00.123456789+01:00") == datetime(
        2026, 11, 22, 16, 0, 0, 123456, UTC
    )
    for missing in ("", "yesterday", "2000-01-01T00:00:00.000000000Z", "2026-01-01T00:00:00"):
        assert time_of(missing) is None
    reader = ListReader(3, folders_have_times=False)
    reader.take(reply(item("a", folder=True, time="2026-11-22T16:00:00Z")))
    assert reader.first()[0].modified is None
