"""A transfer begins when no earlier one cleans up at its place, whose clean-up then spares it."""

from __future__ import annotations

import threading

import pytest

from efss_transfer.engines.rclone.rc.claims import Claim
from efss_transfer.model.locations import StoragePath

HERE = StoragePath(("sftp", 1), ("data",))
INSIDE = StoragePath(("sftp", 1), ("data", "sub"))
ELSEWHERE = StoragePath(("sftp", 1), ("other",))


def test_claims_elsewhere_do_not_matter() -> None:
    first, second = Claim(), Claim()
    with first.held(HERE), first.cleaning(), second.held(ELSEWHERE):
        assert second.wait(0)
        assert not first.is_contested


def test_earlier_transfer_that_copies_is_not_waited_for() -> None:
    first, second = Claim(), Claim()
    with first.held(HERE), second.held(INSIDE):
        assert second.wait(0)
        assert first.is_contested
        assert not second.is_contested


def test_clean_up_is_waited_for() -> None:
    first, second = Claim(), Claim()
    with first.held(HERE):
        with first.cleaning(), second.held(HERE):
            assert not second.wait(0)
            assert first.wait(0)  # not for a later one, which waits for it
            assert not first.is_contested
        third = Claim()
        with third.held(HERE):
            assert third.wait(0)


def test_transfer_that_ends_is_waited_for_until_all_is_over() -> None:
    first, second = Claim(), Claim()
    began, may_end = threading.Event(), threading.Event()

    def end() -> None:
        with first.held(HERE):
            first.begin_end()
            with first.cleaning():
                began.set()
            assert may_end.wait(10)

    ending = threading.Thread(target=end)
    ending.start()
    assert began.wait(10)
    with second.held(HERE):
        assert not second.wait(0)
        may_end.set()
        assert second.wait(10)
    ending.join()


def test_removal_that_was_not_waited_for_is_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efss_transfer.engines.rclone.rc.claims._LINGERS_SECONDS", 1.5)
    first, second = Claim(), Claim()
    with first.held(HERE):
        first.begin_end()
        first.lingers = True
    with second.held(HERE):
        assert not second.wait(0)
        assert second.wait(10)


def test_claim_without_place_waits_for_nothing() -> None:
    claim = Claim()
    with claim.cleaning():
        assert claim.wait(0)
    assert not claim.is_contested
