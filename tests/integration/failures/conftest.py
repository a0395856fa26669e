"""Fixtures of the tests of failures: servers that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import faulty_webdav
from support.faulty_webdav import Faulty
from support.misbehaving import s3 as misbehaving_s3
from support.misbehaving.s3 import MisbehavingS3
from support.storages import Storage


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        yield running


@pytest.fixture
def odd(s3: Storage) -> Iterator[MisbehavingS3]:
    with misbehaving_s3.before(s3) as running:
        yield running
