"""Progress of a service, this one's or a newer one's."""

from __future__ import annotations

from typing import Any

import pytest

from efss_transfer.client.live_progress import progress
from efss_transfer.client.progress import at_end, of_shards
from efss_transfer.model.events import InFlight, Progress, Wait, WaitReason
from efss_transfer.model.result import Result, Side, State, Totals, utc_now
from support.contract import complaints

WAITS = [
    Wait(WaitReason.SERVER_BUSY, Side.SOURCE, "Nextcloud", seconds=20),
    Wait(WaitReason.FILE_LOCKED, Side.DESTINATION, "", "raw/a.h5"),
    Wait(WaitReason.NEXT_ATTEMPT, seconds=3.5),
    None,
]


def event(wait: Wait | None) -> Progress:
    return Progress(
        Totals(1), 5, 2, 10, 1.5, 9.5, in_flight=(InFlight("a", 1, None),), waiting=wait
    )


@pytest.mark.parametrize("wait", WAITS)
def test_progress_is_decoded_as_it_was_sent_and_fits_the_schema(wait: Wait | None) -> None:
    sent = event(wait).to_json()
    assert complaints("event", sent) == []
    assert progress(sent) == event(wait)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ({"for": "a_newer_reason"}, None),
        (None, None),
        ({"for": "server_busy", "side": "between", "more": 1}, Wait(WaitReason.SERVER_BUSY)),
    ],
)
def test_wait_of_a_newer_service_is_passed_over(waiting: Any, expected: Wait | None) -> None:
    assert progress({**event(None).to_json(), "waiting": waiting}).waiting == expected


def test_longest_wait_is_that_of_shards_and_none_is_left_at_the_end() -> None:
    shards = [event(wait) for wait in WAITS]
    assert of_shards(shards).waiting == WAITS[0]
    assert of_shards([event(None)]).waiting is None
    ended = Result(State.SUCCEEDED, "rclone", Totals(), utc_now(), utc_now())
    assert at_end(shards[0], ended).waiting is None
