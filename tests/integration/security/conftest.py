"""Fixtures of the security tests: a service that tells of every rclone that it starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import service_process
from support.door import Door


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    runtime = tmp_path_factory.mktemp("watched")
    with service_process.function(runtime, LOG_LEVEL="DEBUG") as running:
        yield Door(running)


@pytest.fixture
def door(watched: Door) -> Iterator[Door]:
    """The function; whatever a test sent to it, no rclone may have been started."""
    before = watched.starts()
    yield watched
    assert watched.starts() == before, "rclone was started"
