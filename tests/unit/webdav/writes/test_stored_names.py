"""Names that are alike are noticed, however many files were stored between them."""

from __future__ import annotations

import pytest

from efss_transfer.webdav.writes.stored_names import StoredNames


@pytest.mark.parametrize("between", [0, 5_000, 150_000])
def test_name_that_is_alike_is_noticed_and_its_own_is_not(between: int) -> None:
    names = StoredNames()
    names.add("Data/a", "data/a")
    for number in range(between):
        names.add(f"f{number}", f"f{number}")
    assert names.has_another("data/a", "data/a")
    assert not names.has_another("Data/a", "data/a")
    assert not names.has_another("data/b", "data/b")
    names.add("data/a", "data/a")
    assert names.has_another("Data/a", "data/a")
