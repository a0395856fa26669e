"""Places for transfers: as many as there are, in all and for each caller."""

from __future__ import annotations

import pytest

from efss_transfer.model.errors import Busy
from efss_transfer.service.concurrency import ConcurrencyLimit


def test_there_are_as_many_places_as_there_are() -> None:
    capacity = ConcurrencyLimit(2)
    with (
        capacity.place("alice", None),
        capacity.place("bob", None),
        pytest.raises(Busy),
        capacity.place("carol", None),
    ):
        pass
    with capacity.place("carol", None):
        pass


def test_a_caller_has_places_of_its_own() -> None:
    capacity = ConcurrencyLimit(3)
    with capacity.place("alice", 1):
        with pytest.raises(Busy), capacity.place("alice", 1):
            pass
        with capacity.place("bob", 1):
            pass
    with capacity.place("alice", 1):
        pass


def test_a_place_that_was_handed_on_is_given_back_once_by_whoever_has_it() -> None:
    capacity = ConcurrencyLimit(1)
    with capacity.place("alice", None) as place:
        place.handed_on = True
    with pytest.raises(Busy), capacity.place("bob", None):
        pass
    place.give_back()
    place.give_back()
    with capacity.place("bob", None), pytest.raises(Busy), capacity.place("carol", None):
        pass


def test_an_error_gives_the_place_back() -> None:
    capacity = ConcurrencyLimit(1)
    with pytest.raises(ZeroDivisionError), capacity.place("alice", None):
        raise ZeroDivisionError
    with capacity.place("alice", None):
        pass
