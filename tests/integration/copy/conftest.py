"""Fixtures of the copy tests."""

from __future__ import annotations

import uuid

import pytest

from support.outcomes import FILES
from support.storages import Storage


@pytest.fixture
def filled(webdav: Storage) -> str:
    path = uuid.uuid4().hex
    webdav.fill(path, FILES)
    return path
