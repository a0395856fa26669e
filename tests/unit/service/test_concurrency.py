"""Slots for transfers: a maximum in total and for each caller."""

from __future__ import annotations

import pytest

from efss_transfer.model.errors import Busy
from efss_transfer.service.concurrency import ConcurrencyLimit


def test_slot_is_refused_while_the_maximum_runs() -> None:
    limit = ConcurrencyLimit(2)
    with (
        limit.slot("alice", None),
        limit.slot("bob", None),
        pytest.raises(Busy),
        limit.slot("carol", None),
    ):
        pass
    with limit.slot("carol", None):
        pass


def test_caller_maximum_does_not_limit_other_callers() -> None:
    limit = ConcurrencyLimit(3)
    with limit.slot("alice", 1):
        with pytest.raises(Busy), limit.slot("alice", 1):
            pass
        with limit.slot("bob", 1):
            pass
    with limit.slot("alice", 1):
        pass


def test_detached_slot_is_released_once_by_its_holder() -> None:
    limit = ConcurrencyLimit(1)
    with limit.slot("alice", None) as slot:
        slot.detached = True
    with pytest.raises(Busy), limit.slot("bob", None):
        pass
    slot.release()
    slot.release()
    with limit.slot("bob", None), pytest.raises(Busy), limit.slot("carol", None):
        pass


def test_error_in_the_block_releases_the_slot() -> None:
    limit = ConcurrencyLimit(1)
    with pytest.raises(ZeroDivisionError), limit.slot("alice", None):
        raise ZeroDivisionError
    with limit.slot("alice", None):
        pass
