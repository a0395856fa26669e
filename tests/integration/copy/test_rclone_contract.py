"""rclone passes the contract that every engine must pass."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Engine
from efss_transfer.engines.rclone.engine import RcloneEngine
from efss_transfer.model.request import Endpoint
from engine_contract import EngineContract, Filled, Target
from support import http_servers, service_process
from support.storages import Storage


def endpoint(storage: Storage, path: str) -> Endpoint:
    named = storage.endpoint(path)
    return Endpoint(named["type"], named["parameters"], named["path"])


class TestRclone(EngineContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        (tmp_path / "run").mkdir()
        yield RcloneEngine(Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path / "run")}))
        assert service_process.leftovers(tmp_path / "run") == []

    @pytest.fixture
    def filled(self, webdav: Storage) -> Filled:
        path = uuid.uuid4().hex
        return endpoint(webdav, path), webdav.fill(path, {"a": b"a", "b/ü.bin": bytes(9999)})

    @pytest.fixture
    def target(self, s3: Storage) -> Target:
        path = uuid.uuid4().hex
        arrived: Callable[[], dict[str, str]] = lambda: s3.hashes(f"bucket/{path}")  # noqa: E731
        return endpoint(s3, path), arrived

    @pytest.fixture
    def missing(self, webdav: Storage) -> Endpoint:
        return endpoint(webdav, "not/there")

    @pytest.fixture
    def endless(self) -> Iterator[Endpoint]:
        with http_servers.slow_source(600 << 20, 1 << 20) as slow:
            yield endpoint(slow, "data")
