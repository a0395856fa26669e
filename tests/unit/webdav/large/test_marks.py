"""Names of sessions and chunks, from which a later transfer learns where to go on."""

from __future__ import annotations

import hashlib

import pytest

from efss_transfer.webdav.large import marks
from efss_transfer.webdav.large.marks import Chunk, Key, Listed

MIB = 1 << 20
BY = "123456789"


def after(count: int) -> str:
    """The SHA-1 after so many chunks."""
    return marks.decimal(hashlib.sha1(b"x" * count, usedforsecurity=False).digest())


def listed(number: int, by: str = BY, *, released: bool = False) -> Listed:
    name = marks.chunk_name(number, after(number - 1), by)
    return Listed(marks.released_name(name, after(number)) if released else name, MIB, 0.0)


def sure(found: tuple[list[Chunk], list[str]] | None) -> list[str]:
    assert found is not None
    return [chunk.after or "" for chunk in found[0]]


def test_chunk_is_vouched_for_by_the_next_one() -> None:
    files = [listed(number) for number in (3, 1, 2)]
    found = marks.certain(files, {})
    assert sure(found) == [after(1), after(2)]
    assert found is not None
    assert found[1] == [files[0].name]


def test_last_chunk_of_a_released_session_vouches_for_itself() -> None:
    files = [listed(1), listed(2, released=True)]
    assert marks.is_released(files)
    assert sure(marks.certain(files, {})) == [after(1), after(2)]
    assert not marks.is_released([*files, listed(3)])
    assert not marks.is_released([])


def test_chunk_that_was_sent_here_needs_no_other() -> None:
    file = listed(1)
    known = {file.name: Chunk(file.name, MIB, after(1))}
    assert sure(marks.certain([file], known)) == [after(1)]
    # Another size is not what was sent.
    assert sure(marks.certain([Listed(file.name, 5, 0.0)], known)) == []


def test_nothing_after_a_gap_or_a_chunk_of_two_writers_is_certain() -> None:
    gap = marks.certain([listed(1), listed(2), listed(4)], {})
    assert sure(gap) == [after(1)]
    twice = marks.certain([listed(1), listed(2), listed(2, "9" * 9), listed(3)], {})
    assert sure(twice) == []


def test_session_with_other_files_is_not_gone_on_with() -> None:
    assert marks.certain([listed(1), Listed("2", MIB, 0.0)], {}) is None


def test_names_are_numbers_that_servers_sort_by() -> None:
    names = [listed(number).name for number in (1, 9, 10, 10_000)]
    assert names == sorted(names)
    assert [int(float(name)) for name in names] == [1, 9, 10, 10_000]
    assert len(listed(1, released=True).name) < 250


def test_key_is_that_of_one_file_in_one_state() -> None:
    key = Key.of("/a/b", 5, {"x-oc-mtime": "7"})
    session = key.session()
    assert marks.key_of(session) == key
    assert session != key.session()
    for other in (
        Key.of("/a/b", 6, {"x-oc-mtime": "7"}),
        Key.of("/a/b", 5, {"x-oc-mtime": "8"}),
        Key.of("/a/b", 5, {"x-oc-mtime": "7", "oc-checksum": "SHA1:1"}),
    ):
        assert (other.path, other.state == key.state) == (key.path, False)
    assert Key.of("/a/c", 5, {}).path != key.path
    assert marks.key_of("efss-transfer-0123456789abcdef0123456789abcdef") is None
    assert marks.begun_at("web-file-upload-1") is None


@pytest.mark.parametrize(
    ("left", "chunks_left", "most", "rate", "size"),
    [
        (1 << 40, 10_000, None, None, 110 * MIB),
        (1 << 30, 10_000, None, None, 16 * MIB),
        (1 << 30, 10_000, 10 * MIB, None, 10 * MIB),
        (1 << 30, 10_000, 1 * MIB, 1e9, 5 * MIB),
        (1 << 30, 10_000, None, 1e9, 64 * MIB),
        (1 << 30, 10_000, None, 2e6, 10_000_000),
        (1 << 30, 10_000, None, 1e3, 5 * MIB),
        (3 * MIB, 9_000, None, 1e9, 3 * MIB),
        (1 << 30, 1, None, 1e3, 1 << 30),
    ],
)
def test_sizes_of_chunks(
    left: int, chunks_left: int, most: int | None, rate: float | None, size: int
) -> None:
    found = marks.chunk_size(left, chunks_left, most, rate)
    assert found == (-(-(1 << 40) // 10_000) if left == 1 << 40 else size)


def part(number: int, etag: str = "0" * 32) -> Listed:
    """A chunk as a server lists it that keeps it in an object store."""
    return Listed(str(number), MIB, 0.0, etag)


def test_parts_of_an_object_prove_themselves() -> None:
    parts = [part(number) for number in (2, 10, 1, *range(3, 10))]
    assert marks.are_parts(parts)
    found = marks.certain(parts, {})
    assert found is not None
    assert [(one.name, one.md5) for one in found[0]] == [(str(n), "0" * 32) for n in range(1, 11)]
    released = [*parts, Listed(marks.RELEASED, 0, 0.0)]
    assert not marks.is_released(parts)
    assert marks.is_released(released)
    assert marks.certain(released, {}) == (found[0], [marks.RELEASED])


def test_part_that_was_sent_here_needs_no_md5() -> None:
    sent = Chunk(listed(1).name, MIB, after(1))
    assert marks.certain([part(1, "unknown")], {sent.name: sent}) == ([sent], [])
    other_size = {sent.name: Chunk(sent.name, 5, after(1))}
    assert marks.certain([part(1, "unknown")], other_size) is None


def test_parts_that_no_request_removes_spoil_a_session() -> None:
    assert marks.certain([part(1), part(3)], {}) is None
    assert marks.certain([part(1), part(2, "unknown")], {}) is None
    assert marks.certain([part(1), Listed("other", 1, 0.0)], {}) is None
    sent = [Chunk(listed(1).name, MIB, after(1))]
    assert marks.are_those([part(1)], sent)
    assert not marks.are_those([part(1), part(2)], sent)
    assert not marks.are_those([Listed("1", 5, 0.0)], sent)
