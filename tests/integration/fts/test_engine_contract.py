"""Jobs of an FTS server pass the contract of every engine, but for what they refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Engine
from efss_transfer.engines.fts.engine import FtsEngine
from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.events import Event
from efss_transfer.model.request import Endpoint, FtsServer, Options, TransferRequest
from efss_transfer.model.verification import VerifyMode
from engine_contract import EngineContract, Filled, Target, context, result
from support import fts_server
from support.faulty_webdav import Faulty
from support.fts_site import DESTINATION_TOKEN, SOURCE_TOKEN, TOKEN, empty

pytestmark = pytest.mark.slow


class AtServer(FtsEngine):
    """The engine, with the server that the site's policy puts into each request."""

    server = FtsServer()

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        return super().run(replace(request, fts=self.server), context)


def endpoint(dav: Faulty, path: str, token: str) -> Endpoint:
    named = dav.storage.endpoint(path, bearer_token=token)
    return Endpoint(named["type"], named["parameters"], named["path"])


@pytest.fixture
def destination(storages: tuple[Faulty, Faulty]) -> Faulty:
    empty(storages[1])
    return storages[1]


@pytest.fixture
def admitting(fts: fts_server.FtsServer) -> fts_server.FtsServer:
    fts.reset()
    fts.admit(TOKEN)
    return fts


class TestFts(EngineContract):
    @pytest.fixture
    def engine(self, tmp_path: Path, admitting: fts_server.FtsServer) -> Engine:
        (tmp_path / "run").mkdir()
        engine = AtServer(Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path / "run")}))
        engine.server = FtsServer(admitting.url, token=TOKEN)
        return engine

    @pytest.fixture
    def origin(self, storages: tuple[Faulty, Faulty]) -> Faulty:
        empty(storages[0])
        return storages[0]

    @pytest.fixture
    def filled(self, origin: Faulty) -> Filled:
        hashes = origin.fill("data", {"a": b"a", "b/ü.bin": bytes(9999)})
        return endpoint(origin, "data", SOURCE_TOKEN), hashes

    @pytest.fixture
    def target(self, destination: Faulty) -> Target:
        destination.folders.add("/to")
        arrived: Callable[[], dict[str, str]] = lambda: destination.hashes("to")  # noqa: E731
        return endpoint(destination, "to", DESTINATION_TOKEN), arrived

    @pytest.fixture
    def missing(self, origin: Faulty) -> Endpoint:
        return endpoint(origin, "not/there", SOURCE_TOKEN)

    @pytest.fixture
    def endless(self, origin: Faulty, admitting: fts_server.FtsServer) -> Endpoint:
        admitting.hold.set()
        origin.fill("endless", {"file": bytes(1_000_000)})
        return endpoint(origin, "endless", SOURCE_TOKEN)

    def test_verification_says_what_was_compared(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        """By checksums: the bytes are never here, so they cannot be compared by download."""
        refused = TransferRequest(filled[0], target[0], options=Options(verify=VerifyMode.DOWNLOAD))
        with pytest.raises(UnsupportedByEngine, match=r"options\.verify"):
            next(engine.run(refused, context()))
        for _ in range(2):
            options = Options(verify=VerifyMode.CHECKSUM)
            request = TransferRequest(filled[0], target[0], options=options)
            verification = result(list(engine.run(request, context()))).verification
            assert verification is not None
            assert (verification.mode, verification.hash) == (VerifyMode.CHECKSUM, "adler32")
            assert verification.checked == len(filled[1])
            assert (verification.differing, verification.missing) == (0, 0)
            time.sleep(1)  # the upload must not look older than the source
