"""Names that servers mistake in a Destination."""

from __future__ import annotations

import pytest

from efss_transfer.webdav.writes.names import survive_moves


@pytest.mark.parametrize("path", [("a", "b.txt"), ("100%", "a&b+c"), ("a#b",)])
def test_most_names_survive(path: tuple[str, ...]) -> None:
    assert survive_moves(path)


@pytest.mark.parametrize("path", [("a", "b;c.txt"), ("a?", "b"), ("what?",)])
def test_names_with_marks_of_a_url_do_not(path: tuple[str, ...]) -> None:
    assert not survive_moves(path)
