"""Which paths may pass a loop of links."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.transfer.hangs.loops import candidates


@pytest.mark.parametrize(
    ("path", "loop"),
    [
        ("self/self/self", ("self", "")),
        ("data/self/self/self/more", ("data/self", "data")),
        ("a/b/a/b/a/b", ("a/b", "")),
        ("top/sub/up/sub/up/sub/up", ("top/sub/up", "top")),
    ],
)
def test_path_that_passes_three_times_may_be_a_loop(path: str, loop: tuple[str, str]) -> None:
    assert next(candidates(path)) == loop


@pytest.mark.parametrize("path", ["", "a", "data/data", "a/b/a/b", "a/b/c/a/b/c", "2024/2025/2026"])
def test_path_without_three_passes_is_none(path: str) -> None:
    assert list(candidates(path)) == []
