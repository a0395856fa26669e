"""Event loops: as few as are used, and none after a failure."""

from __future__ import annotations

import errno
import threading

import pytest

from efss_transfer.egress.event_loops import LoopPool
from support.socks import (
    PATIENCE,
    allow_all,
    eventually,
    guard,
)


def test_pool_has_as_many_loops_as_used_up_to_its_limit(nothing_left: None) -> None:
    pool = LoopPool(2)
    with pool.acquire() as first:
        with pool.acquire() as second, pool.acquire() as third:
            assert first is not second
            assert third is first
        assert not second.is_running
        with pool.acquire() as fourth:
            assert fourth is not first
    assert not first.is_running
    first.call_soon(pytest.fail)
    first.run(pytest.fail)  # is not waited for


def test_loop_without_a_thread_leaves_nothing_behind(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError), guard(allow_all):
        pass


def test_broken_loop_gets_no_new_users(
    nothing_left: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EBADF, "a secret path")

    pool = LoopPool(1)
    with pool.acquire() as broken:
        monkeypatch.setattr(broken._loop, "_run_once", fail)
        broken.call_soon(lambda: None)
        assert eventually(lambda: not broken.is_running)
        with pool.acquire() as other:
            assert other is not broken
            done = threading.Event()
            other.call_soon(done.set)
            assert done.wait(PATIENCE)
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text
