"""Fixtures of the tests of served trees."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.published import Published, publishing


@pytest.fixture
def web() -> Iterator[Published]:
    with publishing() as running:
        yield running


@pytest.fixture
def to() -> str:
    """A path at a destination that belongs to this test alone."""
    return uuid.uuid4().hex
