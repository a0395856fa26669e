"""Files in flight are read from rclone's statistics."""

from __future__ import annotations

from efss_transfer.engines.rclone.rc.progress import in_flight
from efss_transfer.model.events import InFlight


def test_files_in_flight_have_bytes_and_size() -> None:
    transferring = [
        {"name": "a", "bytes": 5, "size": 10},
        {"name": "size known at the end", "bytes": 7, "size": -1},
        {"name": "just begun", "size": 3},
    ]
    assert in_flight({"transferring": transferring}) == (
        InFlight("a", 5, 10),
        InFlight("size known at the end", 7, None),
        InFlight("just begun", 0, 3),
    )


def test_no_file_is_in_flight_without_statistics() -> None:
    assert in_flight({}) == ()
    assert in_flight({"transferring": None}) == ()
