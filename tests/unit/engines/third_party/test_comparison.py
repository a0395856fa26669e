"""Which files are copied: by size, and by whether the source changed after the upload."""

from __future__ import annotations

import pytest

from efss_transfer.engines.third_party.comparison import FileInfo, may_be_same, reason_to_skip
from efss_transfer.model.request import Options
from efss_transfer.model.result import Reason

OLD, SAME, NEW = (FileInfo(5, modified) for modified in (10.0, 20.0, 30.0))
LARGER = FileInfo(6, 10.0)
UNKNOWN = FileInfo(5, None)


@pytest.mark.parametrize(
    ("options", "ours", "reason"),
    [
        (Options(), OLD, Reason.SAME),
        (Options(), SAME, Reason.SAME),
        (Options(), NEW, None),
        (Options(), LARGER, None),
        (Options(), UNKNOWN, None),
        (Options(compare="size"), NEW, Reason.SAME),
        (Options(compare="checksum"), OLD, None),
        (Options(overwrite="always"), OLD, None),
        (Options(overwrite="never"), LARGER, Reason.EXISTS),
        (Options(overwrite="newer"), NEW, None),
        (Options(overwrite="newer"), OLD, Reason.SAME),
        (Options(overwrite="newer"), LARGER, Reason.OLDER),
    ],
)
def test_file_that_the_destination_has(
    options: Options, ours: FileInfo, reason: Reason | None
) -> None:
    assert reason_to_skip(options, ours, SAME) is reason


@pytest.mark.parametrize("overwrite", ["changed", "newer", "never", "always"])
def test_file_that_is_missing_is_copied(overwrite: str) -> None:
    options = Options(overwrite=overwrite)  # type: ignore[arg-type]
    assert reason_to_skip(options, OLD, None) is None


def test_checksums_decide_only_about_files_of_one_size() -> None:
    options = Options(compare="checksum")
    assert may_be_same(options, NEW, SAME)
    assert not may_be_same(options, LARGER, SAME)
    assert not may_be_same(options, NEW, None)
    assert not may_be_same(Options(), NEW, SAME)
