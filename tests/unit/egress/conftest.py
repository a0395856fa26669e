"""Fixtures for the guard: nothing may be left over, and both ways to relay bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psutil
import pytest

from efss_transfer.egress import relay
from support.socks import eventually


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Check that the test leaves no thread and no descriptor behind."""
    process = psutil.Process()
    threads, descriptors = set(threading.enumerate()), process.num_fds()
    yield
    assert eventually(lambda: set(threading.enumerate()) <= threads)
    assert eventually(lambda: process.num_fds() <= descriptors), process.num_fds() - descriptors


@pytest.fixture(params=["splice", "buffer"])
def relay_mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Relay bytes within the kernel, or through this process."""
    if request.param == "buffer":
        monkeypatch.setattr(relay, "splice_works", lambda: False)
    return str(request.param)
