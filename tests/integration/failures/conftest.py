"""Fixtures of the tests of failures: a WebDAV server that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import faulty_webdav
from support.faulty_webdav import Faulty


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        yield running
