"""Long paths are shortened so that they stay different."""

from __future__ import annotations

from efss_transfer.engines.long_names import LONGEST_PATH, is_shortened, shortened


def test_path_that_a_request_may_name_stays() -> None:
    path = "a" * LONGEST_PATH
    assert shortened(path) == path
    assert not is_shortened(path)


def test_long_paths_are_shortened_and_stay_different() -> None:
    one, two = shortened("a" * 300_000 + "b"), shortened("a" * 300_000 + "c")
    assert one != two
    assert one.startswith("aaa")
    assert "300,001 characters" in one
    assert len(one) < 300
    assert is_shortened(one)
    assert shortened(one) == one


def test_path_with_half_of_a_surrogate_pair_is_shortened() -> None:
    assert is_shortened(shortened("\ud800" * 5_000))
